"""A search on several machines: a chief that searches, workers that ask it for trials.

The same command is started everywhere, with KerasTuner's environment variables:

    KERASTUNER_TUNER_ID      chief, or a name for each worker
    KERASTUNER_ORACLE_IP     address of the chief
    KERASTUNER_ORACLE_PORT   port of the chief

Messages are JSON over TCP: nobody who reaches the port can make a process run code, but he can read
points and figures and take part. Use a network that you trust, or set KAPPS_TUNER_KEY to the same
secret everywhere. Everybody says that he is alive; who is silent is taken for dead, and his trial
goes to another.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import queue
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, wait
from typing import Any

from kapps.errors import UserError
from kapps.tuning.workers import pool

BEAT = 5.0  # seconds between signs of life
SILENCE = 30.0  # seconds after which somebody is dead
LARGEST = 1 << 26  # bytes of a message
RETRIES = 60.0  # seconds for a chief to appear, the first time and after it was killed
NAMES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


def remote_role() -> str | None:
    """What this process is in a search on several machines: "chief", "worker" or None.

    Raises:
        UserError: some of the environment variables are missing, or the port is no number.
    """
    given = {name: os.environ.get(name) for name in NAMES}
    if given["KERASTUNER_ORACLE_IP"] is None:
        return None
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise UserError(f"KERASTUNER_ORACLE_IP is set, and {' and '.join(missing)} not")
    if not given["KERASTUNER_ORACLE_PORT"].isdigit():
        raise UserError(f"KERASTUNER_ORACLE_PORT {given['KERASTUNER_ORACLE_PORT']!r}: no number")
    return "chief" if "chief" in given["KERASTUNER_TUNER_ID"] else "worker"


def address() -> tuple[str, int]:
    """Of the chief."""
    return os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])


def _key() -> bytes | None:
    secret = os.environ.get("KAPPS_TUNER_KEY")
    return secret.encode() if secret else None


class Door:
    """Where workers come in.

    Attributes:
        bell: to wait on; it can be read when somebody has come.

    Raises:
        UserError: the port cannot be listened at.
    """

    def __init__(self):
        try:
            self._listener = Listener(address(), backlog=64, authkey=_key())
        except OSError as error:
            raise UserError(
                f"the chief cannot listen at {address()[0]}:{address()[1]}: {error.strerror}"
            ) from None
        self._came: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self.bell, self._rope = os.pipe()
        threading.Thread(target=self._open, daemon=True).start()

    def arrivals(self) -> list[RemoteWorker]:
        """Who has come since the last time."""
        found = []
        while not self._came.empty():
            os.read(self.bell, 1)
            found.append(RemoteWorker(self._came.get()))
        return found

    def close(self) -> None:
        """Let nobody in any more."""
        with contextlib.suppress(OSError):
            self._listener.close()

    def _open(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except (AuthenticationError, EOFError, ConnectionError):
                continue  # a stranger
            except OSError:
                return  # closed
            self._came.put(connection)
            os.write(self._rope, b"!")


class RemoteWorker:
    """A worker on another machine, as the chief sees it; see `pool.LocalWorker`."""

    remote = True

    def __init__(self, connection: Connection):
        self.connection, self.number, self.trials = connection, 0, 0
        self.busy, self.ready, self.name = None, False, "a worker"
        self.heard = time.monotonic()

    def send(self, message: dict[str, Any]) -> None:
        """Tell it something; whether it is gone shows when it is listened to."""
        with contextlib.suppress(OSError):
            self.connection.send_bytes(json.dumps(message).encode())

    def receive(self) -> dict[str, Any] | None:
        """What it says, or None if it is gone or talks of something else."""
        try:
            message = json.loads(self.connection.recv_bytes(LARGEST))
        except (EOFError, OSError, ValueError):
            return None
        if not isinstance(message, dict) or "is" not in message:
            return None
        self.heard = time.monotonic()
        return message

    @property
    def silent(self) -> bool:
        """Whether nothing was heard of it for too long."""
        return time.monotonic() - self.heard > SILENCE

    def obituary(self) -> str:
        """Why it is gone."""
        return f"{self.name} was not heard of any more"

    def close(self) -> None:
        """Send it home."""
        self.send({"do": "exit"})
        self.connection.close()


def serve_chief(
    target: Any,
    directory: str | os.PathLike,
    *,
    identity: dict[str, Any] | None = None,
    recycle: int = 50,
) -> int:
    """Run trials for a chief until it has no more; what a worker does instead of searching.

    A trial runs in a process of its own, as on one machine. It is kept where the chief keeps it if
    that directory is here, too, so that another can go on with it; else below `directory`.

    Args:
        target: as for `run_search`.
        directory: of this worker.
        identity: as for `run_search`: the chief sends away who has another.
        recycle: trials after which its process is replaced.

    Returns:
        How many trials it has run.

    Raises:
        UserError: no chief answers, it has another identity, or the target cannot be sent to a
            process.
    """
    blob, own, trials = pool.pickled(target), pathlib.Path(directory), 0
    own.mkdir(parents=True, exist_ok=True)
    while True:
        chief = _connected()
        agent = _Agent(chief, blob, own, identity or {}, recycle)
        try:
            sent_home = agent.work()
        finally:
            trials += agent.trials
            agent.close()
        if sent_home:
            return trials


def _connected() -> Connection:
    begin = time.monotonic()
    while True:
        try:
            return Client(address(), authkey=_key())
        except AuthenticationError:
            raise UserError("the chief has another KAPPS_TUNER_KEY") from None
        except (OSError, EOFError):
            if time.monotonic() - begin > RETRIES:
                where = ":".join(map(str, address()))
                raise UserError(f"no chief answers at {where}. Start it, then this.") from None
            time.sleep(0.2)


class _Agent:
    """Stands between a chief and the process that runs its trials."""

    def __init__(self, chief, blob, directory: pathlib.Path, identity, recycle: int):
        self.chief, self.blob, self.directory, self.recycle = chief, blob, directory, recycle
        self.trials, self._lock, self._over = 0, threading.Lock(), threading.Event()
        self.local, self.job = self._start(), None
        threading.Thread(target=self._beat, daemon=True).start()
        name = os.environ["KERASTUNER_TUNER_ID"]
        self._say({"is": "hello", "name": name, "identity": identity})

    def work(self) -> bool:
        """Until the chief says that it is over (True) or is gone (False)."""
        while True:
            for one in wait([self.chief, self.local.connection]):
                if one is self.chief:
                    order = self._order()
                    if order is None:
                        return False
                    if order.get("why"):
                        raise UserError(f"the chief sends this worker away: {order['why']}")
                    if order["do"] == "exit":
                        return True
                    if order["do"] == "run":
                        order = {"do": "run", "trial": self._placed(order["trial"])}
                        self.job = order["trial"]
                    self.local.send(order)
                else:
                    self._forward()

    def close(self) -> None:
        self._over.set()
        self.local.close()
        self.chief.close()

    def _order(self) -> dict[str, Any] | None:
        try:
            return json.loads(self.chief.recv_bytes())
        except (EOFError, OSError):
            return None

    def _placed(self, job: dict[str, Any]) -> dict[str, Any]:
        """A job whose directories are here."""
        if pathlib.Path(job["directory"]).parents[1].is_dir():
            return job
        past = job["past"] and str(self.directory / pathlib.Path(job["past"]).name)
        return job | {"directory": str(self.directory / job["id"]), "past": past}

    def _forward(self) -> None:
        message = self.local.receive()
        if message is None:
            why = self.local.obituary()
            self.local.close()
            if self.job is None and not self.local.ready:
                raise UserError(f"no worker process starts: {why}")
            self.local = self._start()
            if self.job is not None:
                self._end({"is": "failed", "reason": why})
            return
        if message["is"] == "broken":
            raise UserError(f"a worker cannot load what is to be tried: {message['reason']}")
        if message["is"] == "ready":
            self.local.ready = True
            self._say(message)
        elif message["is"] == "rows":
            self._say(message)
        else:
            self.local.trials += 1
            if self.local.trials >= self.recycle:
                self.local.close()
                self.local = self._start()
            self._end(message)

    def _end(self, message: dict[str, Any]) -> None:
        self.job = None
        self.trials += 1
        self._say({key: value for key, value in message.items() if key != "detail"})

    def _start(self) -> pool.LocalWorker:
        environment = pool.environments(1, [])[0]
        return pool.LocalWorker(0, self.blob, environment, self.directory / "worker.log")

    def _say(self, message: dict[str, Any]) -> None:
        with self._lock, contextlib.suppress(OSError):
            self.chief.send_bytes(json.dumps(message).encode())

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            self._say({"is": "alive"})
