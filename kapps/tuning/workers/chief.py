"""The chief's side of a search on several machines: it searches, workers ask it for trials.

Everybody says that he is alive; who is silent is taken for dead, and his trial goes to another.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

from kapps.errors import UserError
from kapps.tuning.workers import wire, worker

TURN = 5.0  # seconds between looks at who is silent
ABSENCE = 600.0  # seconds without a worker after which a search ends
STRANGERS = 64  # connections that are not yet authenticated, at the same time


class Entrance:
    """Where workers come in. Each is authenticated in a thread of its own: nobody can block it.

    Attributes:
        arrived: to wait on; it can be read when somebody has come.

    Raises:
        UserError: the port cannot be listened at.
    """

    def __init__(self):
        where = wire.address()
        try:
            self._server = socket.create_server(where, backlog=STRANGERS)
        except OSError as error:
            raise UserError(
                f"the chief cannot listen at {where[0]}:{where[1]}: {error.strerror}"
            ) from None
        self._came: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._free = threading.Semaphore(STRANGERS)
        self.arrived, self._announce = Pipe(duplex=False)
        threading.Thread(target=self._accept, daemon=True).start()

    def arrivals(self) -> list[RemoteWorker]:
        """Who has come since the last time."""
        found = []
        while self.arrived.poll():
            self.arrived.recv_bytes()
            found.append(RemoteWorker(self._came.get()))
        return found

    def close(self) -> None:
        """Let nobody in any more."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes up who accepts
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except ConnectionError:
                continue
            except OSError:
                return  # closed
            if self._free.acquire(blocking=False):
                threading.Thread(target=self._let_in, args=[sock], daemon=True).start()
            else:
                sock.close()

    def _let_in(self, sock: socket.socket) -> None:
        try:
            connection = wire.authenticated(sock, chief=True)
        except Exception:
            return  # a stranger
        finally:
            self._free.release()
        self._came.put(connection)
        with contextlib.suppress(OSError):
            self._announce.send_bytes(b"")


class RemoteWorker:
    """A worker on another machine, as the chief sees it; see `pool.LocalWorker`."""

    remote = True

    def __init__(self, connection: Connection):
        self.connection, self.trial, self.ready = connection, None, False
        self.name = "a worker"
        self.heard = time.monotonic()

    def send(self, message: dict[str, Any]) -> None:
        """Tell it something; whether it is gone shows when it is listened to."""
        wire.send(self.connection, message)

    def receive(self) -> dict[str, Any] | None:
        """What it says, or None if it is gone or talks of something else."""
        message = wire.receive(self.connection)
        if message is None or not _is_understood(message):
            return None
        self.heard = time.monotonic()
        return message

    @property
    def silent(self) -> bool:
        """Whether nothing was heard of it for too long."""
        return time.monotonic() - self.heard > wire.SILENCE

    def why_gone(self) -> str:
        """What can be said of its end."""
        return f"{self.name} was not heard of any more"

    def close(self) -> None:
        """Send it home."""
        self.send({"do": "exit"})
        self.connection.close()


class Machines:
    """The workers that have come: a crew for `kapps.tuning.dispatch`.

    Args:
        target: what is tried; only asked for its space.
        identity: who has another is sent away.
    """

    def __init__(self, target: Any, identity: dict[str, Any]):
        self.target, self.identity = target, identity
        self.workers: list[RemoteWorker] = []
        self._last = time.monotonic()  # when a worker was here

    def __enter__(self) -> Machines:
        self.entrance = Entrance()
        return self

    def __exit__(self, *exception: object) -> None:
        self.entrance.close()
        for one in self.workers:
            one.close()

    def declared(self, given: dict[str, Any]) -> dict[str, Any]:
        """The space of the target."""
        return worker.space(worker.declared(self.target, given))

    def fill(self, most: int) -> None:
        """Nobody can be made to come."""
        self.workers += self.entrance.arrivals()

    def listen(self, hear: Callable[[Any, dict | None], None], timeout: float | None) -> None:
        """Wait for messages, arrivals or silence, and pass messages on.

        Raises:
            UserError: no worker has been here for long.
        """
        if self.workers:
            self._last = time.monotonic()
        elif time.monotonic() - self._last > ABSENCE:
            raise UserError(
                f"no worker has been here for {ABSENCE / 60:.0f} minutes. The same commands go on."
            )
        connections = [one.connection for one in self.workers]
        ready = wait(
            [self.entrance.arrived, *connections], TURN if timeout is None else min(timeout, TURN)
        )
        for one in list(self.workers):
            if one.connection in ready:
                message = one.receive()
                if message is not None and message["is"] == "hello":
                    message = self._greeted(one, message)
                hear(one, message)
            elif one.silent:
                hear(one, None)

    def _greeted(self, one: RemoteWorker, message: dict[str, Any]) -> dict[str, Any] | None:
        """None if it cannot stay."""
        one.name = f"worker {message['name']}"
        others = [
            f"{name} ({message['identity'].get(name)!r} there, {value!r} here)"
            for name, value in self.identity.items()
            if message["identity"].get(name) != value
        ]
        if others:
            one.send({"do": "exit", "why": f"another {', '.join(others)}"})
        return None if others else message

    def released(self, one: RemoteWorker) -> None:
        """It looks after its own process."""

    def remove(self, one: RemoteWorker) -> None:
        """It is gone."""
        self.workers.remove(one)
        one.close()


def _is_understood(message: dict[str, Any]) -> bool:
    """Whether a message has what belongs to it; a worker of another version may say anything."""
    kind = message.get("is")
    if kind in ("alive", "ready"):
        return True
    if kind == "hello":
        return isinstance(message.get("name"), str) and isinstance(message.get("identity"), dict)
    if kind in ("failed", "fatal", "broken"):
        return isinstance(message.get("reason"), str)
    if kind == "rows":
        rows = message.get("rows")
        return (
            isinstance(message.get("execution"), int)
            and isinstance(rows, list)
            and all(isinstance(r, dict) and isinstance(r.get("epoch"), int) for r in rows)
        )
    done = message.get("executions")
    needed = {"score", "best_epoch", "epochs", "metrics", "rows", "seconds", "facts"}
    return (
        kind == "ended"
        and isinstance(done, list)
        and bool(done)
        and all(isinstance(one, dict) and needed <= one.keys() for one in done)
        and "pruned" in message
    )
