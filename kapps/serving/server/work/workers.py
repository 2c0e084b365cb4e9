"""Worker processes, as the server sees them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kapps.serving.server.work import frames

_TURNS, _PLAYED_SECONDS = 40, 0.3  # of the warm-up over the connection, at most


class Died(Exception):
    """A worker has ended while it was asked."""


class CannotLoad(Exception):
    """A version cannot be served."""


class Nursery:
    """The process that workers are forked from; started when the first is wanted, and again."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()

    async def fork(self) -> tuple[socket.socket, int]:
        """A new worker: the connection to it and its number."""
        async with self._lock:
            return await asyncio.to_thread(self._fork)

    def close(self) -> None:
        """Ends the process; workers go on."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            self._process = None

    def _fork(self) -> tuple[socket.socket, int]:
        for attempt in (1, 2):
            if self._control is None:
                self._start()
            ours, theirs = socket.socketpair()
            try:
                control = self._control
                if control is None:
                    raise EOFError
                socket.send_fds(control, [b"+"], [theirs.fileno()])
                answer = control.makefile("rb", 0).readline()
                if not answer:
                    raise EOFError
                said = json.loads(answer)
                if isinstance(said, dict):
                    raise CannotLoad(f"TensorFlow cannot be imported: {said['error']}")
                return ours, said
            except (OSError, EOFError) as error:
                ours.close()
                self.close()
                if attempt == 2:
                    raise CannotLoad("the process that forks workers has ended") from error
            finally:
                theirs.close()
        raise AssertionError  # the second attempt has returned or raised

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        # TensorFlow has threads of its own; those that NumPy's library starts would not survive
        # the fork.
        calm = {"TF_CPP_MIN_LOG_LEVEL": "2", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        package = Path(__file__).resolve().parents[4]
        path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", ""))))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kapps.serving.server.work.nursery", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**calm, **os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("TF_CPP_MIN_LOG_LEVEL") else subprocess.DEVNULL,
        )
        theirs.close()
        self._control = ours


class _Connection(asyncio.Protocol):
    """What a worker says, a frame at a time.

    Attributes:
        heard: is given the parts of each frame.
        ended: is called when there will be no more.
    """

    def __init__(self) -> None:
        self.heard: Callable[[list[frames.Part]], None] = lambda parts: None
        self.ended: Callable[[], None] = lambda: None
        self.over = False
        self._received = bytearray()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (parts := frames.take(self._received)) is not None:
            self.heard(parts)

    def connection_lost(self, exc: Exception | None) -> None:
        self.over = True
        self.ended()


class Worker:
    """One process that holds one version."""

    def __init__(
        self, connection: _Connection, transport: asyncio.WriteTransport, process: int
    ) -> None:
        self._connection, self._transport = connection, transport
        self.process = process
        self.about: dict[str, Any] = {}

    @classmethod
    async def start(
        cls, nursery: Nursery, directory: Path, order: dict[str, Any], seconds: float
    ) -> Worker:
        """A worker that has loaded and warmed up a version.

        Args:
            nursery: what it is forked from.
            directory: of the version.
            order: what else the worker is told.
            seconds: it has for that.

        Raises:
            CannotLoad: it cannot, and why.
        """
        own_end, process = await nursery.fork()
        own_end.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_unix_connection(_Connection, sock=own_end)
        worker = cls(connection, transport, process)
        said: list[dict[str, Any]] = []

        def heard(parts: list[frames.Part]) -> bool:
            said.extend(head for head, _ in parts)
            return True

        try:
            await worker._told([({"directory": str(directory), **order}, b"")], heard, seconds)
        except Died as error:
            worker.kill()
            raise CannotLoad("the process that loaded it ended: out of memory?") from error
        except asyncio.TimeoutError as error:
            worker.kill()
            raise CannotLoad(f"not loaded within {seconds:g} s") from error
        except BaseException:
            worker.kill()
            raise
        [about] = said
        if "error" in about:
            worker.close()
            raise CannotLoad(about["error"])
        worker.about = about
        try:
            await worker._play(seconds)
        except (Died, asyncio.TimeoutError) as error:
            worker.kill()
            raise CannotLoad("the process ended in its warm-up, or takes too long") from error
        except BaseException:
            worker.kill()
            raise
        return worker

    async def _play(self, seconds: float) -> None:
        """Some turns of the warm-up over the connection: the first ones take twice as long."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PLAYED_SECONDS
        for turn in range(_TURNS if self.about.get("played") else 0):
            part = ({frames.TURN: turn}, b"")
            await self.ask([part], lambda started: None, lambda *answer: None, seconds)
            if loop.time() > until:
                return

    async def ask(
        self,
        parts: Sequence[frames.Part],
        on_start: Callable[[list[int]], None],
        on_answer: Callable[[int, dict[str, Any], bytes], None],
        seconds: float,
    ) -> None:
        """Hands requests over and answers on, as they come.

        Args:
            parts: the requests.
            on_start: is told which are computed next, where not all are computed together.
            on_answer: is given the number, head and body of each answer.
            seconds: how long nothing may come.

        Raises:
            Died: the process has ended.
            asyncio.TimeoutError: nothing came in time.
        """
        left = len(parts)

        def heard(answers: list[frames.Part]) -> bool:
            nonlocal left
            for head, body in answers:
                if "started" in head:
                    on_start(head["started"])
                else:
                    left -= 1
                    on_answer(head.pop("number"), head, body)
            return not left

        await self._told(parts, heard, seconds)

    async def _told(
        self,
        parts: Sequence[frames.Part],
        heard: Callable[[list[frames.Part]], bool],
        seconds: float,
    ) -> None:
        """Sends parts and waits until `heard` has heard enough."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        last = loop.time()

        def on_frame(parts: list[frames.Part]) -> None:
            nonlocal last
            last = loop.time()
            try:
                enough = heard(parts)
            except Exception as error:  # else it would wait for an answer that has come
                fail(error)
                return
            if enough and not done.done():
                done.set_result(None)

        def fail(error: Exception) -> None:
            if not done.done():
                done.set_exception(error)

        def check() -> None:
            nonlocal watch
            if loop.time() >= last + seconds:
                fail(asyncio.TimeoutError())
            else:
                watch = loop.call_at(last + seconds, check)

        if self._connection.over:
            raise Died
        self._connection.heard, self._connection.ended = on_frame, lambda: fail(Died())
        watch = loop.call_at(last + seconds, check)
        try:
            self._transport.write(frames.pack(parts))
            await done
        finally:
            watch.cancel()
            self._connection.heard, self._connection.ended = lambda parts: None, lambda: None

    def close(self) -> None:
        """The worker ends when it has read that nothing more comes."""
        self._transport.close()

    def kill(self) -> None:
        """Ends it now."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
        self._transport.abort()
