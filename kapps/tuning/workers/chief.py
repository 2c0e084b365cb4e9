"""The chief's side of a search on several machines: it searches, workers ask it for trials.

A worker that ends closes its connection, and the system notices a machine that is switched off
(`wire.authenticated` asks it to): the trial goes to another.
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

import kapps
from kapps.errors import UserError
from kapps.tuning.workers import wire, worker

ABSENCE = 600.0  # seconds without a worker after which a search ends
STRANGERS = 64  # connections that are not yet authenticated, at the same time


class Entrance:
    """Where workers connect. Each is authenticated in a thread of its own, so none can block it.

    Attributes:
        arrived: to wait on; it can be read when a worker has come.

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

    def arrivals(self) -> list[wire.Worker]:
        """Workers that have come since the last time."""
        found = []
        while self.arrived.poll():
            self.arrived.recv_bytes()
            found.append(wire.Worker(self._came.get()))
        return found

    def close(self) -> None:
        """Accept no more connections."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # ends accept()
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


class Machines:
    """The workers that have come: a crew for `kapps.tuning.dispatch`.

    Args:
        target: what is tried; only asked for its space.
        identity: a worker with another is sent away.
    """

    def __init__(self, target: Any, identity: dict[str, Any]):
        self.target, self.identity = target, {"kapps": kapps.__version__, **identity}
        self.workers: list[wire.Worker] = []
        self._known: set[wire.Worker] = set()  # those that have said who they are
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
        """Take up those that have come."""
        self.workers += self.entrance.arrivals()

    def listen(self, hear: Callable[[Any, dict | None], None], timeout: float | None) -> None:
        """Wait for messages or arrivals, and pass messages on.

        Raises:
            UserError: no worker has been here for long.
        """
        if self.workers:
            self._last = time.monotonic()
        elif time.monotonic() - self._last > ABSENCE:
            raise UserError(
                f"no worker for {ABSENCE / 60:.0f} minutes. Run the same commands to continue."
            )
        else:
            timeout = ABSENCE / 60 if timeout is None else min(timeout, ABSENCE / 60)
        connections = [one.connection for one in self.workers]
        ready = wait([self.entrance.arrived, *connections], timeout)
        for one in [one for one in self.workers if one.connection in ready]:
            message = one.receive()
            if message is not None and one not in self._known:
                message = self._greeted(one, message)
            hear(one, message)

    def _greeted(self, one: wire.Worker, message: dict[str, Any]) -> dict[str, Any] | None:
        """None if it cannot stay: it says nothing of itself, or is of another search."""
        theirs = message.get("identity")
        if message["is"] != "hello" or not isinstance(theirs, dict):
            return None
        one.name = f"worker {message.get('name')}"
        others = [
            f"{name} ({theirs.get(name)!r} there, {value!r} here)"
            for name, value in self.identity.items()
            if theirs.get(name) != value
        ]
        if others:
            one.send({"do": "exit", "why": f"another {', '.join(others)}"})
            return None
        self._known.add(one)
        return message

    def released(self, one: wire.Worker) -> None:
        """It looks after its own process."""

    def remove(self, one: wire.Worker) -> None:
        """It is gone."""
        self.workers.remove(one)
        self._known.discard(one)
        one.close()
