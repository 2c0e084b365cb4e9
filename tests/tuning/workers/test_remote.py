import contextlib
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge

import keras_tuner as kt
import pytest

from kapps import tuning
from kapps.errors import UserError
from kapps.tuning.workers import agent, chief, wire
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
        variables = dict(zip(wire.NAMES, (name, "127.0.0.1", port, "secret"), strict=True))
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
    for name, value in zip(
        wire.NAMES, ("one", "127.0.0.1", str(free_port()), "secret"), strict=True
    ):
        monkeypatch.setenv(name, value)


def test_roles(monkeypatch, variables):
    assert tuning.remote_role() == "worker"
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    assert tuning.remote_role() == "chief"
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "http")
    with pytest.raises(UserError, match="no number"):
        tuning.remote_role()
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8000")
    monkeypatch.delenv("KAPPS_TUNER_KEY")
    with pytest.raises(UserError, match="KAPPS_TUNER_KEY not; it is the same secret"):
        tuning.remote_role()
    monkeypatch.delenv("KERASTUNER_ORACLE_PORT")
    with pytest.raises(UserError, match="KERASTUNER_ORACLE_PORT and KAPPS_TUNER_KEY not"):
        tuning.remote_role()
    monkeypatch.delenv("KERASTUNER_ORACLE_IP")
    assert tuning.remote_role() is None


@pytest.mark.slow
def test_a_worker_without_a_chief_says_so(tmp_path, monkeypatch, variables):
    monkeypatch.setattr(agent, "RETRIES", 0.3)
    with pytest.raises(UserError, match="no chief answers at 127.0.0.1"):
        tuning.serve_chief(fakes.bowl, tmp_path)


def connected():
    return wire.authenticated(socket.create_connection(wire.address(), 5), chief=False)


def arrived(entrance):
    found = []
    wait_for(lambda: found.extend(entrance.arrivals()) or found)
    return found[0]


def noise(*content):
    """A stranger, who says this and stays."""
    sock = socket.create_connection(wire.address(), 5)
    for part in content:
        sock.sendall(part)
    return sock


HELLO = json.dumps({"is": "hello"}).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    "strangers",
    [
        [()],  # says nothing
        [(struct.pack("!i", len(HELLO)), HELLO)],
        [(b"GET / HTTP/1.1\r\n\r\n",)],
        [(b"\0\0",)] * 3,  # half a length
        [()] * 70,  # more than may wait
    ],
)
def test_a_stranger_neither_gets_in_nor_keeps_a_worker_out(strangers, monkeypatch, variables):
    monkeypatch.setattr(wire, "HANDSHAKE", 0.5)
    entrance = chief.Entrance()
    try:
        socks = [noise(*content) for content in strangers]
        found = []

        def try_again():
            with contextlib.suppress(OSError):
                found.append(connected())
            return found

        wait_for(try_again)
        worker = arrived(entrance)
        wire.send(found[0], {"is": "alive"})
        assert worker.receive() == {"is": "alive"}
        time.sleep(0.6)
        assert entrance.arrivals() == []  # and the strangers are gone
        assert all(rejected(sock) for sock in socks)
        worker.close()
        found[0].close()
    finally:
        entrance.close()


def rejected(sock):
    sock.settimeout(5)
    with contextlib.suppress(ConnectionError):
        while sock.recv(1024):
            pass
    sock.close()
    return True


def test_another_secret_is_no_secret(monkeypatch, variables):
    entrance = chief.Entrance()
    monkeypatch.setattr(wire, "HANDSHAKE", 2.0)
    sock = socket.create_connection(wire.address(), 5)
    sock.setblocking(True)
    connection = Connection(os.dup(sock.fileno()))
    sock.close()
    with pytest.raises(AuthenticationError):
        answer_challenge(connection, b"guessed")
    connection.close()
    assert entrance.arrivals() == []
    entrance.close()


def test_a_worker_obeys_no_chief_that_does_not_know_the_secret(variables):
    """One that lets everybody in and then says what is to be run."""
    server = socket.create_server(wire.address())

    def impostor():
        sock, _ = server.accept()
        connection = Connection(os.dup(sock.fileno()))
        sock.close()
        connection.send_bytes(b"#CHALLENGE#" + os.urandom(20))
        connection.recv_bytes(256)  # an answer that it cannot check
        connection.send_bytes(b"#WELCOME#")
        with contextlib.suppress(AuthenticationError, OSError, EOFError):
            answer_challenge(connection, b"guessed")
        connection.close()

    thread = threading.Thread(target=impostor)
    thread.start()
    with server, pytest.raises(AuthenticationError):
        connected().close()
    thread.join()


@pytest.mark.parametrize("message", [b"GET / HTTP/1.1", b"[1]", b"{}", b'{"is": 1}'])
def test_who_talks_of_something_else_is_sent_away(message, variables):
    entrance = chief.Entrance()
    connection = connected()
    worker = arrived(entrance)
    connection.send_bytes(message)
    assert worker.receive() is None
    for one in (worker, connection, entrance):
        one.close()


@pytest.mark.slow
def test_half_a_message_of_a_worker_that_hangs_does_not_stop_the_chief(monkeypatch, variables):
    monkeypatch.setattr(wire, "SILENCE", 1.0)
    entrance = chief.Entrance()
    connection = connected()
    worker = arrived(entrance)
    os.write(connection.fileno(), struct.pack("!i", 100) + b"half")
    assert worker.receive() is None
    for one in (worker, connection, entrance):
        one.close()


@pytest.mark.slow
def test_a_worker_waits_for_an_order_as_long_as_it_takes(monkeypatch, variables):
    monkeypatch.setattr(wire, "SILENCE", 1.0)
    entrance = chief.Entrance()
    connection = connected()
    worker = arrived(entrance)
    timer = threading.Timer(1.5, worker.send, [{"do": "exit"}])
    timer.start()
    assert wire.receive(connection) == {"do": "exit"}
    timer.join()
    for one in (worker, connection, entrance):
        one.close()


def test_another_identity_is_sent_away_with_the_reason(tmp_path, monkeypatch, variables):
    machines = chief.Machines(fakes.bowl, {"data": "x"})
    with machines:
        connection = connected()
        hello = {"is": "hello", "name": "one", "identity": {"data": "y", "kapps": "0"}}
        wire.send(connection, hello)
        heard = []
        wait_for(lambda: machines.fill(1) or machines.workers)
        machines.listen(lambda one, message: heard.append(message), 5.0)
        assert heard == [None]
        why = wire.receive(connection)["why"]
        assert "data ('y' there, 'x' here)" in why and "kapps ('0' there" in why
        connection.close()


@pytest.mark.parametrize(
    "first", [{"is": "ready"}, {"is": "hello"}, {"is": "hello", "name": "x", "identity": "none"}]
)
def test_who_does_not_say_who_it_is_gets_no_trial(first, variables):
    machines = chief.Machines(fakes.bowl, {"data": "x"})
    with machines:
        connection = connected()
        wire.send(connection, first)
        heard = []
        wait_for(lambda: machines.fill(1) or machines.workers)
        machines.listen(lambda one, message: heard.append(message), 5.0)
        assert heard == [None]
        connection.close()


def test_who_belongs_here_is_heard(variables):
    machines = chief.Machines(fakes.bowl, {"data": "x"})
    with machines:
        connection = connected()
        hello = {"is": "hello", "name": "one", "identity": dict(machines.identity)}
        heard = []
        wait_for(lambda: machines.fill(1) or machines.workers)
        for message in (hello, {"is": "ready"}):
            wire.send(connection, message)
            machines.listen(lambda one, message: heard.append(message["is"]), 5.0)
        assert heard == ["hello", "ready"] and machines.workers[0].name == "worker one"
        connection.close()


def test_a_chief_that_nobody_visits_ends(tmp_path, monkeypatch, variables):
    monkeypatch.setattr(chief, "ABSENCE", 0.2)
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief")
    hp = kt.HyperParameters()
    hp.Float("x", 0.0, 10.0)
    oracle = tuning.oracle("random", kt.Objective("val_score", "max"), hp)
    with pytest.raises(UserError, match="no worker for"):
        tuning.run_search(fakes.bowl, oracle, tmp_path)


def test_a_port_that_cannot_be_listened_at(monkeypatch, variables):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "203.0.113.1")
    with pytest.raises(UserError, match="cannot listen"):
        chief.Entrance()
