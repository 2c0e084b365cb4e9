"""One version of a model that is served: its queue, and the workers that empty it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kapps.serving.server.limits import Limits
from kapps.serving.server.metrics import Metrics
from kapps.serving.server.refusals import Refused
from kapps.serving.server.work.workers import CannotLoad, Died, Nursery, Worker

LOADING, AVAILABLE, UNLOADING, END = "LOADING", "AVAILABLE", "UNLOADING", "END"
_log = logging.getLogger("kapps.serve")
_FRAME_BYTES = 2**22  # what is handed to a worker at once, but for a request that is larger alone
_ATTEMPTS = 3
Answer = tuple[dict[str, Any], bytes]


@dataclass(eq=False)
class Request:
    """What waits in the queue."""

    head: dict[str, Any]
    body: bytes
    deadline: float
    answer: asyncio.Future[Answer]
    deaths: int = 0  # of workers, while this one was computed
    started: bool = field(default=False)


class Version:
    """A version under one number.

    Attributes:
        state: as TensorFlow Serving's ModelVersionStatus names them.
        error: why it is not served.
        about: what a worker said of it.
    """

    def __init__(
        self,
        model: str,
        number: int,
        directory: Path,
        nursery: Nursery,
        limits: Limits,
        metrics: Metrics,
        engine: str = "auto",
    ):
        self.model, self.number, self.directory = model, number, directory
        self.state, self.error = LOADING, ""
        self.about: dict[str, Any] = {}
        self._nursery, self._limits, self._metrics = nursery, limits, metrics
        self._engine = engine
        self._queue: deque[Request] = deque()
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task] = []
        self._busy = 0
        self.processes: dict[int, int] = {}  # slot -> process

    async def load(self) -> None:
        """Starts the workers; the version is served when each is warm."""
        began = time.monotonic()
        try:
            workers = await asyncio.gather(
                *(self._start() for _ in range(self._limits.workers)), return_exceptions=True
            )
            for result in workers:
                if isinstance(result, BaseException):
                    for other in workers:
                        if isinstance(other, Worker):
                            other.kill()
                    raise result
        except CannotLoad as error:
            self.state, self.error = END, str(error)
            self._say(logging.ERROR, "cannot load", error=str(error))
            return
        started = [worker for worker in workers if isinstance(worker, Worker)]
        if self.state != LOADING:  # taken away meanwhile
            for worker in started:
                worker.kill()
            return
        self.about = started[0].about
        for note in self.about["engines"]:
            level = logging.WARNING if "reason" in note else logging.INFO
            self._say(level, "engine", **note)
        self._tasks = [
            asyncio.create_task(self._serve(slot, worker)) for slot, worker in enumerate(started)
        ]
        self.state = AVAILABLE
        self._say(
            logging.INFO,
            "available",
            seconds=round(time.monotonic() - began, 3),
            processes=[worker.process for worker in started],
        )

    async def ask(self, head: dict[str, Any], body: bytes) -> Answer:
        """The answer to a request.

        Raises:
            Refused: the queue is full, or the time is over; and what the worker refuses.
        """
        limits = self._limits
        if len(self._queue) >= limits.queue:
            raise Refused(
                "RESOURCE_EXHAUSTED", f"{limits.queue} requests wait already; try again later"
            )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limits.seconds
        request = Request(head, body, deadline, loop.create_future())
        self._queue.append(request)
        self._arrived.set()
        late = Refused("DEADLINE_EXCEEDED", f"no answer within {limits.seconds:g} s")
        end = loop.call_at(deadline, _refuse, request, late)
        try:
            answer = await request.answer
        finally:
            end.cancel()
        if "code" in answer[0]:
            raise Refused(
                answer[0]["code"], answer[1].decode("utf-8", "replace"), answer[0]["status"]
            )
        return answer

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    async def drain(self) -> None:
        """Answers what is in the queue, and ends the workers. No new request may come."""
        if self.state == END:
            return
        self.state = UNLOADING
        until = time.monotonic() + self._limits.seconds
        while (self._queue or self._busy) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for request in self._queue:
            _refuse(request, Refused("UNAVAILABLE", "the version was removed"))
        self._queue.clear()
        self.state = END
        self._say(logging.INFO, "unloaded")

    async def _start(self) -> Worker:
        limits = self._limits
        order = {"together": limits.together, "engine": self._engine}
        return await Worker.start(self._nursery, self.directory, order, limits.load_seconds)

    async def _serve(self, slot: int, worker: Worker | None) -> None:
        """Empties the queue with one worker, and with the next one when that has died."""
        pause = 0.0
        try:
            while True:
                if worker is None:
                    worker, pause = await self._replaced(pause)
                    continue
                self.processes[slot] = worker.process
                requests = await self._next()
                self._busy += 1
                try:
                    if await self._answered(worker, requests):
                        pause = 0.0
                    else:
                        worker.kill()
                        worker = None
                finally:
                    self._busy -= 1
        finally:
            self.processes.pop(slot, None)
            if worker is not None:
                worker.close()

    async def _replaced(self, pause: float) -> tuple[Worker | None, float]:
        self._metrics.restarted(self.model, self.number)
        await asyncio.sleep(pause)
        try:
            return await self._start(), min(2 * pause + 0.1, 10.0)
        except CannotLoad as error:
            self._say(logging.ERROR, "worker cannot be replaced", error=str(error))
            return None, min(2 * pause + 0.5, 10.0)

    async def _next(self) -> list[Request]:
        """Requests that go to a worker together: all that wait, within limits."""
        while True:
            taken: list[Request] = []
            size = 0
            now = asyncio.get_running_loop().time()
            while self._queue and len(taken) < self._limits.together:
                request = self._queue[0]
                if request.answer.done() or request.deadline < now:
                    self._queue.popleft()  # nobody waits any more
                    continue
                alone = request.deaths > 0
                if taken and (alone or size + len(request.body) > _FRAME_BYTES):
                    break
                taken.append(self._queue.popleft())
                size += len(request.body)
                if alone:
                    break
            if taken:
                return taken
            self._arrived.clear()
            await self._arrived.wait()

    async def _answered(self, worker: Worker, requests: list[Request]) -> bool:
        """Whether the worker is alive after these; what it did not answer waits again."""
        for request in requests:
            request.started = False
        left = dict(enumerate(requests))
        self._metrics.batch(self.model, len(requests))

        def on_start(numbers: list[int]) -> None:
            for number in numbers:
                requests[number].started = True

        def on_answer(number: int, head: dict[str, Any], body: bytes) -> None:
            request, seen = left.pop(number), head.pop("seen", {})
            scored = head.pop("scored", None)
            if not request.answer.done():
                request.answer.set_result((head, body))
            self._metrics.inputs(self.model, self.number, self.about["statistics"], seen)
            if scored:
                threshold = self.about["out_of_distribution"]["threshold"]
                self._metrics.scores(self.model, self.number, threshold, scored)

        late = False
        try:
            parts = [(request.head, request.body) for request in requests]
            await worker.ask(parts, on_start, on_answer, self._limits.seconds)
            return True
        except Died:
            self._say(logging.WARNING, "worker died", process=worker.process)
        except asyncio.TimeoutError:
            late = True
            self._say(logging.WARNING, "worker takes too long", process=worker.process)
        except asyncio.CancelledError:
            for request in left.values():
                _refuse(request, Refused("UNAVAILABLE", "the version was removed"))
            raise
        except Exception as error:  # a fault of the server, which has to go on all the same
            self._say(logging.ERROR, "fault", error=f"{type(error).__name__}: {error}")
        started = [request for request in left.values() if request.started]
        suspects = started or list(left.values())
        for request in suspects:
            request.deaths += 1
            if late and len(suspects) == 1:
                _refuse(request, Refused("DEADLINE_EXCEEDED", "the model takes too long"))
            elif request.deaths >= _ATTEMPTS:
                _refuse(
                    request,
                    Refused("INTERNAL", f"{_ATTEMPTS} workers ended while they computed this"),
                )
        again = [request for request in left.values() if not request.answer.done()]
        self._queue.extendleft(reversed(again))
        self._arrived.set()
        return False

    def _say(self, level: int, event: str, **facts: Any) -> None:
        about = {"event": event, "model": self.model, "version": self.number, **facts}
        _log.log(level, event, extra={"facts": about})


def _refuse(request: Request, refused: Refused) -> None:
    if not request.answer.done():
        head = {"code": refused.code, "status": refused.status}
        request.answer.set_result((head, refused.message.encode()))
