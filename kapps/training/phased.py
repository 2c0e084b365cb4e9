"""`fit` for one phase of a training, and one history of all phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from kapps.data import TrainingBatches
from kapps.training.flags import CommonFlags
from kapps.training.phases import JoinedRows, Phase, joined, read_rows
from kapps.training.resumable import History, fit
from kapps.training.run import Run


def fit_phase(
    name: str,
    phases: Sequence[str],
    model: keras.Model,
    train: TrainingBatches,
    validation: tf.data.Dataset,
    *,
    config: CommonFlags,
    run: Run,
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
        histories,
        kept,
    )
