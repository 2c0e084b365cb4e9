"""Which network classifies series, and how long it is trained, where the flags leave that open.

It is decided once, before the training, and noted in config.json: a run that is resumed, or trained
longer, reads it there.

network  Recurrent layers for the memory tasks, for numbers, and where a flag of theirs is given.
         InceptionTime for series of more than `LONG` steps: a recurrent network computes them one
         after the other, and its gradients hardly reach that far. Of shorter series both are
         trained for `TRIAL_STEPS` steps, and the one with the higher validation accuracy is taken,
         InceptionTime among equals; without `ENOUGH` validation series, or on several machines,
         there is no trial, and InceptionTime is taken.
batch    64 series; of fewer than 640 to train on 32, of fewer than 320 16. (Of a small set, a large
         batch is the same few series again and again. The convolutional networks that
         InceptionTime followed took a tenth of the training series, 16 at most: arXiv:1611.06455.)
epochs   As many as make `STEPS` steps, and `FEWEST_EPOCHS` at least.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from kapps.training.distributed.devices import cluster
from kapps.training.fitting.phases import better_phase
from kapps.training.fitting.resumable import fit
from kapps.training.flags.series import MEMORY_TASKS
from kapps.training.run_directory.run import Run
from kapps.training.setup import scope

if TYPE_CHECKING:
    from kapps.data import SequenceData

LONG = 100  # steps of a series
ENOUGH = 30  # validation series, to compare two networks by
TRIED = ("inception_time", "rnn")
TRIAL_STEPS = 200
STEPS, FEWEST_EPOCHS = 1000, 5
BATCHES = ((320, 16), (640, 32))  # below so many training series; 64 from there on
LARGEST_BATCH = 64
FACT = "settled"  # in config.json

Batches = Callable[[Any], tuple]


def settle_series(
    config: Any,
    series: SequenceData,
    run: Run,
    devices: tf.distribute.Strategy,
    compiled: Callable[[Any, int], keras.Model],
    batches: Batches,
) -> Any:
    """The configuration without gaps: `model`, `batch_size` and `epochs` as they will be.

    What the flags say is left as it is.

    Args:
        config: a recipe's flags, `SeriesNetworkFlags` among them.
        series: what is trained on.
        run: where the decision is noted, and found when the run is resumed.
        devices: what `begin` returned.
        compiled: (config, steps of the training) -> a compiled network.
        batches: config -> batches to train on, for validation, and of the training split.
    """
    if FACT in run.facts():
        return settled(config, run)
    found: dict[str, Any] = {}
    if config.batch_size is None:
        found["batch_size"] = usual_batch(config.dataset, series.counts["train"])
    config = dataclasses.replace(config, **found)
    if config.model == "auto":
        found["model"], found["why"] = _model(config, series, run, devices, compiled, batches)
        config = dataclasses.replace(config, model=found["model"])
    if config.epochs is None:
        steps = batches(config)[0].steps
        known = config.epochs_by_flags
        found["epochs"] = known or max(FEWEST_EPOCHS, math.ceil(STEPS / steps))
    run.record(**{FACT: found})
    return settled(config, run)


def settled(config: Any, run: Run) -> Any:
    """The configuration without gaps, as `settle_series` has noted it in the run.

    Args:
        config: a recipe's flags.
        run: whose notes tell why the network is what it is.
    """
    found = dict(run.facts().get(FACT, {}))
    why = found.pop("why", "")
    if why and why not in run.notes:
        run.notes.append(why)
    return dataclasses.replace(config, **found)


def usual_batch(dataset: str, count: int) -> int:
    """Series per step, where `--batch-size` does not say.

    Args:
        dataset: its spec; a memory task has as many series as one likes.
        count: series to train on.
    """
    if dataset in MEMORY_TASKS:
        return LARGEST_BATCH
    return next((size for below, size in BATCHES if count < below), LARGEST_BATCH)


def _model(config, series, run, devices, compiled, batches) -> tuple[str, str]:
    """The network, and why it is that one."""
    known = config.model_by_flags
    if known != "auto":
        return known, ""
    if not series.classes:
        return "rnn", ""
    if series.steps > LONG:
        why = f"--model auto: inception_time, as for all series of more than {LONG} steps"
        return "inception_time", why
    if not series.held_out or series.counts["validation"] < ENOUGH or cluster():
        return "inception_time", (
            "--model auto: inception_time, as there is no trial of both networks without "
            f"{ENOUGH} validation series, or on several machines"
        )
    histories = {}
    for name in TRIED:
        one = dataclasses.replace(config, model=name)
        train, validation, _ = batches(one)
        with scope(one, run, devices):
            model = compiled(one, TRIAL_STEPS)
        print(f"trial     {name}: {TRIAL_STEPS} steps")  # noqa: T201
        first: Any = _FirstSteps(train)
        histories[name] = fit(model, first, validation, epochs=1, verbose=0)
        keras.backend.clear_session()
    best = better_phase(histories, "val_accuracy", "max")
    told = ", ".join(
        f"{name} {100 * history.rows[0]['val_accuracy']:.1f} %"
        for name, history in histories.items()
    )
    return best, f"--model auto: {best}, by validation accuracy after {TRIAL_STEPS} steps ({told})"


class _FirstSteps:
    """The first `TRIAL_STEPS` steps of training batches, as one epoch."""

    by_part = False  # each of several machines makes all rows, and keeps its own

    def __init__(self, train: Any):
        self._train, self.batch_size, self.steps = train, train.batch_size, TRIAL_STEPS

    def dataset(self, first: int, last: int, start: int = 0) -> tf.data.Dataset:
        """As that of `data.IndexedBatches`, of its one epoch."""
        passes = math.ceil(self.steps / self._train.steps)
        return self._train.dataset(0, passes).take(self.steps)
