"""Learning-rate range test (Smith 2017, arXiv:1506.01186, section 3.3)."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.training.distributed.patch import patch_for_replicas

SMOOTHING = 0.9
SETTLED = 10  # steps until the average holds as many losses as it is meant to: 1 / (1 - SMOOTHING)
WINDOW = 9  # steps over which the slope is taken; from step to step there is only noise
DIVERGED = 4.0  # times the smallest loss so far


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """Loss by learning rate.

    Attributes:
        learning_rates: one per step, rising exponentially.
        losses: smoothed training loss at each (nats).
        suggestion: where the loss falls fastest per decade of learning rate.
        highest: a tenth of the rate at which the loss is smallest; above it, expect trouble.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    suggestion: float
    highest: float


def range_test(
    model: keras.Model,
    batches: tf.data.Dataset,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 120,
) -> RangeTest:
    """Train for a moment with a rising learning rate; weights and optimizer are put back.

    Args:
        model: compiled, with an optimizer whose learning rate is a number, not a schedule.
        batches: training batches; repeated when there are fewer than `steps`.
        lowest: first learning rate.
        highest: last one, if the loss does not diverge before.
        steps: how many rates are tried.

    Raises:
        UserError: the learning rate is a schedule, or the loss is not finite from the start.
    """
    patch_for_replicas(model)
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    variables = [*model.variables, *optimizer.variables]
    before = [variable.numpy() for variable in variables]
    rates = np.geomspace(lowest, highest, steps)
    losses, average = [], 0.0
    try:
        for step, batch in enumerate(batches.repeat().take(steps)):
            try:
                optimizer.learning_rate = rates[step]
            except TypeError:
                raise UserError("the range test needs a constant learning rate") from None
            model.reset_metrics()
            loss = float(model.train_on_batch(*batch, return_dict=True)["loss"])
            average = SMOOTHING * average + (1.0 - SMOOTHING) * loss
            losses.append(average / (1.0 - SMOOTHING ** (step + 1)))
            if not np.isfinite(loss) or losses[-1] > DIVERGED * min(losses):
                break
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
    return summarize(rates[: len(losses)], np.asarray(losses))


def summarize(rates: np.ndarray, losses: np.ndarray) -> RangeTest:
    """The suggestion that a curve of losses makes.

    Raises:
        UserError: fewer than ten finite losses.
    """
    finite = np.isfinite(losses)
    rates, losses = rates[finite], losses[finite]
    if len(losses) < 10:
        raise UserError(
            "the loss was not finite at the lowest learning rates already: look at the data and "
            "at the model's scale before the learning rate"
        )
    bottom = int(np.argmin(losses))
    # Fastest fall, before the bottom: after it there is only noise and divergence. The first
    # averages are noise, too, where there are enough others.
    first = min(SETTLED, max(0, bottom - WINDOW))
    decades = np.log10(rates)
    half = WINDOW // 2
    slopes = {
        i: np.polyfit(decades[i - half : i + half + 1], losses[i - half : i + half + 1], 1)[0]
        for i in range(max(first, half), min(bottom + 1, len(losses) - half))
    }
    steepest = min(slopes, key=slopes.__getitem__) if slopes else max(0, bottom - 1)
    return RangeTest(rates, losses, float(rates[steepest]), float(rates[bottom] / 10.0))
