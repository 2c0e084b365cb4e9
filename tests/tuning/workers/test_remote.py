import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Client

import pytest

from kapps import tuning
from kapps.errors import UserError
from kapps.tuning.workers import remote
from tuning import fakes

HERE = pathlib.Path(__file__).parents[1]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds processes in /proc")
def test_a_worker_is_killed_then_the_chief_and_the_search_ends(tmp_path):
    port, notes = str(free_port()), tmp_path / "notes"

    def start(name):
        variables = dict(zip(remote.NAMES, (name, "127.0.0.1", port), strict=True))
        with (tmp_path / f"{name}.err").open("a") as err:
            return subprocess.Popen(
                [sys.executable, "-W", "ignore", HERE / "roles.py", tmp_path],
                env=os.environ | variables,
                stdout=err,
                stderr=err,
            )

    def lines(kind):
        return [n for n in fakes.notes(notes) if n[0] == kind] if notes.exists() else []

    chief, one, other = start("chief"), start("one"), start("other")
    try:
        wait_for(lambda: len(lines("end")) >= 2)  # both have had a trial
        one.kill()
        before = len(lines("end"))
        wait_for(lambda: len(lines("end")) >= before + 2)
        chief.kill()
        chief.wait()
        before = len(lines("end"))
        chief = start("chief")
        wait_for(lambda: len(lines("end")) > before)
        assert chief.wait(60) == 0, (tmp_path / "chief.err").read_text()
        last = time.monotonic()
        assert other.wait(30) == 0 and time.monotonic() - last < 30
    finally:
        for process in (chief, one, other):
            process.send_signal(signal.SIGKILL)
            process.wait()
    records = tuning.read_results(tmp_path / "run").records
    assert [r.number for r in records] == list(range(10))
    assert {r.status for r in records} == {"completed"}
    assert all([row["epoch"] for row in r.curves[0]] == [1, 2, 3] for r in records)
    trained = [tuple(n) for n in lines("epoch")]
    assert len(trained) == len(set(trained))  # the directory is common: nothing was done twice
    wait_for(lambda: not with_port(port), 10.0)  # nothing is left behind


def with_port(port):
    """Processes that were started for this test, and those that they have started."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if f"KERASTUNER_ORACLE_PORT={port}\0".encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


@pytest.fixture
def variables(monkeypatch):
    for name, value in zip(remote.NAMES, ("one", "127.0.0.1", str(free_port())), strict=True):
        monkeypatch.setenv(name, value)


def test_roles(monkeypatch, variables):
    assert remote.remote_role() == "worker"
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    assert remote.remote_role() == "chief"
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "http")
    with pytest.raises(UserError, match="no number"):
        remote.remote_role()
    monkeypatch.delenv("KERASTUNER_ORACLE_PORT")
    with pytest.raises(UserError, match="KERASTUNER_ORACLE_PORT not"):
        remote.remote_role()
    monkeypatch.delenv("KERASTUNER_ORACLE_IP")
    assert remote.remote_role() is None


def test_a_worker_without_a_chief_says_so(tmp_path, monkeypatch, variables):
    monkeypatch.setattr(remote, "RETRIES", 0.3)
    with pytest.raises(UserError, match="no chief answers at 127.0.0.1"):
        tuning.serve_chief(fakes.bowl, tmp_path)


def test_strangers_and_silence(monkeypatch, variables):
    monkeypatch.setenv("KAPPS_TUNER_KEY", "secret")
    door = remote.Door()
    with pytest.raises(Exception, match="digest|auth|rejected|reset"):
        Client(remote.address(), authkey=b"guessed")
    visitor = Client(remote.address(), authkey=b"secret")
    found = []
    wait_for(lambda: found.extend(door.arrivals()) or found)
    (worker,) = found
    visitor.send_bytes(json.dumps({"is": "alive"}).encode())
    assert worker.receive() == {"is": "alive"} and not worker.silent
    worker.heard -= remote.SILENCE + 1
    assert worker.silent
    visitor.send_bytes(b"GET / HTTP/1.1")
    assert worker.receive() is None  # who talks of something else is sent away
    worker.close()
    visitor.close()
    door.close()
    with pytest.raises(UserError, match="cannot listen"):
        monkeypatch.setenv("KERASTUNER_ORACLE_IP", "203.0.113.1")
        remote.Door()
