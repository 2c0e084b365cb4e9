"""A worker's side of a search on several machines: it runs trials for a chief."""

from __future__ import annotations

import os
import pathlib
import socket
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, wait
from typing import Any

from kapps.errors import UserError
from kapps.tuning.workers import pool, wire

BEAT = 5.0  # seconds between signs of life
ATTEMPTS = 3  # how often a trial is begun whose process is killed
RETRIES = 60.0  # seconds for a chief to appear, the first time and after it was killed


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
            sock = socket.create_connection(wire.address(), timeout=wire.HANDSHAKE)
            return wire.authenticated(sock, chief=False)
        except AuthenticationError:
            raise UserError("the chief has another KAPPS_TUNER_KEY") from None
        except OSError:
            if time.monotonic() - begin > RETRIES:
                where = ":".join(map(str, wire.address()))
                raise UserError(f"no chief answers at {where}. Start it, then this.") from None
            time.sleep(0.2)


class _Agent:
    """Stands between a chief and the process that runs its trials."""

    def __init__(self, chief, blob, directory: pathlib.Path, identity, recycle: int):
        self.chief, self.blob, self.directory, self.recycle = chief, blob, directory, recycle
        self.trials, self._lock, self._over = 0, threading.Lock(), threading.Event()
        self.local, self.job, self._lost = self._start(), None, 0
        threading.Thread(target=self._beat, daemon=True).start()
        name = os.environ["KERASTUNER_TUNER_ID"]
        self._say({"is": "hello", "name": name, "identity": identity})

    def work(self) -> bool:
        """Until the chief says that it is over (True) or is gone (False)."""
        while True:
            for one in wait([self.chief, self.local.connection]):
                if one is self.chief:
                    order = wire.receive(self.chief)
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

    def _placed(self, job: dict[str, Any]) -> dict[str, Any]:
        """A job whose directories are here."""
        if pathlib.Path(job["directory"]).parents[1].is_dir():
            return job
        past = job["past"] and str(self.directory / pathlib.Path(job["past"]).name)
        return job | {"directory": str(self.directory / job["id"]), "past": past}

    def _forward(self) -> None:
        message = self.local.receive()
        if message is None:
            why, ready = self.local.why_gone(), self.local.ready
            self.local.close()
            self._lost += 1
            if not ready and self._lost >= ATTEMPTS and self.job is None:
                raise UserError(f"no worker process starts: {why}")
            self.local = self._start()
            if self.job is not None and self._lost < ATTEMPTS:
                self.local.send({"do": "run", "trial": self.job})
            elif self.job is not None:
                self._end({"is": "failed", "reason": f"{why}, {ATTEMPTS} times"})
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
        self.job, self._lost = None, 0
        self.trials += 1
        self._say({key: value for key, value in message.items() if key != "detail"})

    def _start(self) -> pool.LocalWorker:
        environment = pool.environments(1, [])[0]
        return pool.LocalWorker(0, self.blob, environment, self.directory / "worker.log")

    def _say(self, message: dict[str, Any]) -> None:
        with self._lock:
            wire.send(self.chief, message)

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            self._say({"is": "alive"})
