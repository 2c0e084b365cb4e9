"""One server for all tests of this folder: it takes seconds to start."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
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
        self._log = Path(tempfile.mkdtemp(), "log")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kapps", "serve", str(root), "--port", "0", *flags],
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            )
        until = time.monotonic() + 300
        while not (first := [e for e in self.events() if e["event"] == "listening"]):
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        self.url, self.grpc = first[0]["url"], first[0].get("grpc")

    def events(self):
        """What the log says so far."""
        lines = self._log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line[0] == "{" and line[-1] == "\n"]

    def wait_ready(self, seconds=300):
        until = time.monotonic() + seconds
        while self.get("/readyz")[0] != 200:
            assert time.monotonic() < until, self.get("/models")
            time.sleep(0.1)

    def raw(self, path, body=None, method=None, headers=None):
        request = urllib.request.Request(
            self.url + path, data=body, method=method, headers=headers or {}
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
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

    def workers(self):
        """Numbers of the processes that hold models."""
        # Whole lines, however long the path of the interpreter and however narrow the terminal.
        said = subprocess.run(
            ["ps", "-ww", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
        ).stdout
        processes = [line.split(maxsplit=2) for line in said.splitlines()[1:]]
        nursery = next(
            number for number, parent, command in processes
            if parent == str(self.process.pid) and "kapps.serving.server.work.nursery" in command
        )  # fmt: skip
        return [int(number) for number, parent, _ in processes if parent == nursery]

    def kill_workers(self):
        for number in self.workers():
            with contextlib.suppress(ProcessLookupError):  # of a version that is drained just now
                os.kill(number, signal.SIGKILL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def served_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("served")
    for name in ("half_plus_two", "counter", "mixed", "fragile", "watched"):
        version = 123 if name == "half_plus_two" else 1
        plain_models.publish(root, name, version, getattr(plain_models, name))
    return root


@pytest.fixture(scope="session")
def server(served_root):
    running = Running(
        served_root, "--grpc-port", "0", "--poll", "0.2", "--max-body", "1", "--batch", "8",
        "--timeout", "60",  # a busy machine takes its time to replace a worker
    )  # fmt: skip
    running.wait_ready()
    yield running
    assert running.stop() == 0  # SIGTERM is how it is told to end


def b64(data):
    return {"b64": base64.b64encode(data).decode()}
