"""One server for all tests of this folder: it takes seconds to start."""

import base64
import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from serving.server import plain_models  # noqa: E402

REPOSITORY = Path(__file__).parents[3]


class Running:
    """A server, and how it is asked."""

    def __init__(self, root, *flags):
        self.root = root
        paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kapps", "serve", str(root), "--port", "0", *flags],
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        self._read = b""
        self.events = []
        first = self.event("listening", 120)
        self.url, self.grpc = first["url"], first.get("grpc")

    def event(self, name, seconds=60, **facts):
        """The next event of a name in the log, with these facts."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for event in self._new():
                self.events.append(event)
                if event["event"] == name and facts.items() <= event.items():
                    return event
        raise AssertionError(f"no {name} {facts}; {self.events[-5:]}")

    def _new(self):
        ready, _, _ = select.select([self.process.stderr], [], [], 0.5)
        if not ready:
            return
        more = os.read(self.process.stderr.fileno(), 2**16)
        if not more:
            raise AssertionError(f"the server has ended: {self._read.decode()}")
        *lines, self._read = (self._read + more).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                yield json.loads(line)

    def drain(self):
        """Takes what the log holds, so that later events are later."""
        while select.select([self.process.stderr], [], [], 0)[0]:
            self.events += self._new()

    def wait_ready(self, seconds=120):
        until = time.monotonic() + seconds
        while self.get("/readyz")[0] != 200:
            assert time.monotonic() < until, self.get("/models")
            time.sleep(0.1)

    def raw(self, path, body=None, method=None, headers=None):
        request = urllib.request.Request(
            self.url + path, data=body, method=method, headers=headers or {}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def get(self, path):
        status, _, body = self.raw(path)
        return status, json.loads(body)

    def post(self, path, body):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, said = self.raw(path, body)
        return status, json.loads(said)

    def metric(self, name, **labels):
        """The sum of a metric's lines with these labels."""
        text = self.raw("/metrics")[2].decode()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(name + "{") and all(words in line for words in wanted)
        )

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        finally:
            self.process.stderr.close()


@pytest.fixture(scope="session")
def served_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    for name in ("half_plus_two", "counter", "mixed", "fragile"):
        version = 123 if name == "half_plus_two" else 1
        plain_models.publish(root, name, version, getattr(plain_models, name))
    return root


@pytest.fixture(scope="session")
def server(served_root):
    running = Running(
        served_root, "--grpc-port", "0", "--poll", "0.2", "--max-body", "1", "--batch", "8",
        "--timeout", "20",
    )  # fmt: skip
    running.wait_ready()
    yield running
    running.stop()


def b64(data):
    return {"b64": base64.b64encode(data).decode()}
