"""Trials in this process: no isolation, and no waiting for processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kapps.tuning.workers import worker


class InThisProcess:
    """A crew of one (see `kapps.tuning.dispatch`), which is also its only worker.

    Args:
        target: what is tried.
    """

    remote, ready, trial = False, True, None

    def __init__(self, target: Any):
        self.target, self.workers = target, [self]
        self._order: dict[str, Any] = {}

    def __enter__(self) -> InThisProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def declared(self, given: dict[str, Any]) -> dict[str, Any]:
        """The space of the target."""
        return worker.space(worker.declared(self.target, given))

    def fill(self, most: int) -> None:
        """There is always one."""

    def send(self, message: dict[str, Any]) -> None:
        """Keep an order until it is listened to."""
        self._order = message

    def listen(self, hear: Callable[[Any, dict], None], timeout: float | None) -> None:
        """Run the trial that was given, or what can be run of it within the time."""
        end = None if timeout is None else time.monotonic() + timeout

        def tell(message: dict[str, Any]) -> bool:
            hear(self, message)
            if end is not None and time.monotonic() >= end:
                raise _OutOfTime
            return self._order["do"] != "stop"

        try:
            answer = worker.attempt(self.target, self._order["trial"], tell)
        except _OutOfTime:
            return
        hear(self, answer)

    def released(self, one: InThisProcess) -> None:
        """It goes on."""


class _OutOfTime(BaseException):
    """No Exception: a target that catches those does not catch it."""
