"""A training in phases: a `fit` each, with an optimizer, checkpoints and rows of its own.

A killed run goes through its phases again. `fit` finds that a phase is complete, and puts back
what it ended with; the one that was killed goes on inside.
"""

from __future__ import annotations

import csv
import pathlib
from typing import Any

import keras

from kapps import files
from kapps.training import run as runs


class Phase:
    """What `fit` takes for a run: a directory of the run's checkpoints.

    Attributes:
        path: where its metrics.csv is.
        checkpoints: where its checkpoints are; the same.
        number: from 1 on.
        name: for messages.
        last: whether nothing is trained after it.
        tensorboard: where its TensorBoard files are.
        callbacks: those of the run.
        epochs_before: how many were trained in the phases before.
        gradient_flow: where `--gradient-flow` writes; None if this phase is not measured.
    """

    def __init__(
        self,
        run: runs.Run,
        number: int,
        name: str,
        *,
        last: bool = True,
        gradient_flow: bool = False,
        epochs_before: int = 0,
    ):
        self.number, self.name, self.last = number, name, last
        self.path = self.checkpoints = run.checkpoints / f"{number}-{name}"
        self.tensorboard = run.tensorboard / self.path.name
        self.callbacks = run.callbacks
        self.epochs_before = epochs_before
        self.gradient_flow = run.gradient_flow if gradient_flow else None
        self.path.mkdir(parents=True, exist_ok=True)
        files.remove_leftovers(self.path)


class JoinedRows(keras.callbacks.Callback):
    """Keeps metrics.csv of the run: the rows of all phases so far, epochs counted through.

    Args:
        run: the run.
        phases: those that are complete, and last the one that is trained.
    """

    def __init__(self, run: runs.Run, phases: list[Phase]):
        super().__init__()
        self.run, self.phases = run, phases

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """The epoch before has its row by now."""
        self.on_train_end()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Write."""
        rows = joined([read_rows(phase.path) for phase in self.phases])
        if rows:
            runs.write_rows(self.run.path / "metrics.csv", rows)


def joined(phases: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of several phases as one history: `phase` is a column, epochs go on."""
    rows = [(number, row) for number, phase in enumerate(phases, start=1) for row in phase]
    return [
        {**row, "epoch": epoch, "phase": number}
        for epoch, (number, row) in enumerate(rows, start=1)
    ]


def read_rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of metrics.csv in a directory, as text; none if it is not there."""
    try:
        with open(path / "metrics.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []
