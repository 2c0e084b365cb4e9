"""A training in phases: a `fit` each, with an optimizer, checkpoints and rows of its own.

A killed run goes through its phases again. `fit` finds that a phase is complete, and puts back
what it ended with; the one that was killed goes on inside.
"""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from kapps import files
from kapps.data import TrainingBatches
from kapps.training.fitting.kept_epoch import best_epoch
from kapps.training.fitting.resumable import History, fit
from kapps.training.flags.fine_tuning import PROBE
from kapps.training.flags.groups import CommonFlags
from kapps.training.optim.optimizers import usual_learning_rate
from kapps.training.run_directory import run as runs


def fit_phase(
    name: str,
    phases: Sequence[str],
    model: keras.Model,
    train: TrainingBatches,
    validation: tf.data.Dataset,
    *,
    config: CommonFlags,
    run: runs.Run,
    epochs: int,
    gradient_flow: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **settings: Any,
) -> History:
    """Train in one of several phases, with checkpoints and rows of its own.

    metrics.csv of the run holds the rows of all phases so far.

    Args:
        name: of this phase.
        phases: the names of all, in order.
        model: compiled for this phase.
        train: batches that can begin at any step.
        validation: batches measured after every epoch.
        config: a recipe's flags.
        run: the run.
        epochs: of this phase.
        gradient_flow: whether `--gradient-flow` measures this phase.
        callbacks: further Keras callbacks.
        **settings: further arguments of `fit`.
    """
    print(f"phase     {name}: {epochs} epochs")  # noqa: T201
    so_far: list[Phase] = []
    for number, each in enumerate(phases[: phases.index(name) + 1], start=1):
        phase = Phase(
            run,
            number,
            each,
            last=each == phases[-1],
            gradient_flow=gradient_flow and each == name,
            epochs_before=sum(len(read_rows(before.path)) for before in so_far),
        )
        so_far.append(phase)
    return fit(
        model,
        train,
        validation,
        config=config,
        run=so_far[-1],
        epochs=epochs,
        callbacks=[*callbacks, JoinedRows(run, so_far)],
        **settings,
    )


def join_histories(histories: Mapping[str, History], kept: str) -> History:
    """One history of all phases: epochs go on, `phase` is a column.

    Args:
        histories: by the name of the phase, in order.
        kept: the phase whose weights are kept; the best epoch is its.
    """
    names, parts = list(histories), list(histories.values())
    before = sum(len(histories[name].rows) for name in names[: names.index(kept)])
    return History(
        joined([each.rows for each in parts]),
        before + histories[kept].best_epoch,
        sum(each.train_seconds for each in parts),
        histories[kept].examples_per_second,
        tuple(f"{name}: {note}" for name, each in histories.items() for note in each.notes),
        tuple(flow for each in parts for flow in each.gradient_flow),
        tuple(profile for each in parts for profile in each.profile),
        histories,
        kept,
    )


def better_phase(
    histories: Mapping[str, History], monitor: str, mode: Literal["min", "max"]
) -> str:
    """The phase whose kept epoch is the best; the first of those that are as good.

    Args:
        histories: by the name of the phase, in order.
        monitor: the column that is judged.
        mode: "min" or "max": where it is best.
    """
    names = list(histories)
    best = [histories[name].rows[histories[name].best_epoch - 1] for name in names]
    return names[best_epoch(best, monitor, mode) or 0]


def phase_rates(config: Any, names: Iterable[str]) -> dict[str, float]:
    """The highest learning rate of each phase; what is added to fine-tuning has its.

    Args:
        config: a recipe's flags, `FineTuningFlags` among them.
        names: of the phases.
    """
    rate = config.learning_rate or usual_learning_rate(config.optimizer)
    tuned = config.fine_tune_learning_rate or rate / 3.0
    return {name: rate if name == PROBE else tuned for name in names}


class Phase:
    """What `fit` takes for a run: a directory of the run's checkpoints.

    Attributes:
        run: the run.
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
        self.run, self.number, self.name, self.last = run, number, name, last
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
