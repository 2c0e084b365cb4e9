"""One point that is being tried, as the code that trains it sees it.

Nothing here imports TensorFlow: what is trained decides whether it needs it.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from kapps.errors import UserError
from kapps.tuning.workers import journal


class SearchError(UserError):
    """Raised by a target: no other point would do better, so the search ends with the message."""


class Trial:
    """A point, where to keep what belongs to it, and whom to tell.

    A search calls `target(trial)` for each seed of each point, in a worker process. The target
    trains, calls `report` after every epoch and ends when that says so. Whatever it keeps in
    `directory` is there again if it is called for the same point after a kill.

    Attributes:
        number: from 0.
        execution: which of the seeds of this point, from 0.
        values: the active hyperparameters by name.
        seed: of this execution.
        epochs: how many to train for, those before a promotion included; None if not limited.
        directory: its own, already made.
        past: directory of the same execution of the trial that was promoted to this one, or None.
        facts: figures that do not change while it trains: `parameters`, `multiply_adds` ...
    """

    def __init__(
        self,
        job: dict[str, Any],
        execution: int,
        tell: Callable[[dict[str, Any]], bool],
    ):
        self.number, self.execution = job["number"], execution
        self.values, self.space = job["values"], job["space"]
        self.seed, self.epochs = job["seeds"][execution], job["epochs"]
        self.directory = pathlib.Path(job["directory"], f"seed-{execution}")
        self.past = job["past"] and pathlib.Path(job["past"], f"seed-{execution}")
        self.facts: dict[str, Any] = {}
        self._tell, self._left_out = tell, set()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._rows = journal.Journal(self.directory / "rows.journal")
        self._by_epoch = {row["epoch"]: row for row in self._rows.entries}
        if self.past is not None:  # the epochs before the promotion belong to the curve
            for row in journal.read(self.past / "rows.journal")[0]:
                self._by_epoch.setdefault(row["epoch"], row)
        if self._by_epoch:
            tell({"is": "rows", "execution": execution, "rows": self.rows})

    @property
    def trial_id(self) -> str:
        """KerasTuner's name for its number."""
        return f"{self.number:04d}"

    @property
    def hyperparameters(self) -> Any:
        """KerasTuner's name for `hp`."""
        return self.hp

    @functools.cached_property
    def hp(self) -> Any:
        """The point as `keras_tuner.HyperParameters`."""
        from kapps.tuning.spaces.points import (
            hyperparameters,
        )  # imports KerasTuner and so TensorFlow

        return hyperparameters({"space": self.space}, self.values)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What was reported, a dictionary per epoch, those of killed processes included."""
        return [self._by_epoch[epoch] for epoch in sorted(self._by_epoch)]

    def report(self, epoch: int, metrics: dict[str, Any]) -> bool:
        """Say how the trial does after an epoch.

        Args:
            epoch: from 1.
            metrics: figures of validation, and others; what is no single number is left out.

        Returns:
            Whether to go on. If not, the target has to end; it is no failure.
        """
        row = numbers(metrics) | {"epoch": int(epoch)}
        if left_out := metrics.keys() - row.keys() - self._left_out:
            self._left_out |= left_out
            sys.stdout.write(f"note: {', '.join(sorted(left_out))} is no single number\n")
        self._by_epoch[row["epoch"]] = row
        self._rows.append(row, flush=False)
        return self._tell({"is": "rows", "execution": self.execution, "rows": [row]})

    def close(self) -> None:
        """Let go of the file of the rows."""
        self._rows.close()


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Those metrics that are single numbers."""
    found = {}
    for name, value in metrics.items():
        with contextlib.suppress(TypeError, ValueError):  # a vector, or a text
            found[name] = float(value)
    return found
