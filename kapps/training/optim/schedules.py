"""Learning-rate schedules in optimizer steps, and momentum that moves against the rate.

Rows of `SCHEDULES` are `(learning_rate, steps, warmup) -> what Keras takes as learning_rate`.
Reduce-on-plateau is not among them: it follows the validation loss and is a callback.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from kapps.errors import UserError


@keras.saving.register_keras_serializable("kapps")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Up from `start` to `peak` and down to `end`, both along half a cosine.

    Super-convergence, arXiv:1708.07120; cosine arms as fastai made usual. Used twice: for the
    learning rate, and upside down for the momentum.

    Args:
        peak: value at the top, reached after `warmup * steps` steps.
        steps: length of the cycle; `end` is kept afterwards.
        start: first value.
        end: last value.
        warmup: part of the cycle that goes up.
    """

    def __init__(
        self, peak: float, steps: int, *, start: float, end: float, warmup: float = 0.25, name=None
    ):
        super().__init__()
        self.peak, self.steps, self.start, self.end = peak, steps, start, end
        self.warmup, self.name = warmup, name

    def __call__(self, step):
        """Value at a step (from 0), a float32 scalar."""
        step = ops.cast(step, "float32")
        top = max(1.0, self.warmup * self.steps)
        rise = ops.clip(step / top, 0.0, 1.0)
        fall = ops.clip((step - top) / max(1.0, self.steps - 1 - top), 0.0, 1.0)
        up = self.start + (self.peak - self.start) * (1.0 - ops.cos(math.pi * rise)) / 2.0
        down = self.end + (self.peak - self.end) * (1.0 + ops.cos(math.pi * fall)) / 2.0
        return ops.where(step < top, up, down)

    def get_config(self) -> dict:
        """Arguments, for saving."""
        names = ("peak", "steps", "start", "end", "warmup", "name")
        return {name: getattr(self, name) for name in names}


def _constant(learning_rate: float, steps: int, warmup: float):
    if not warmup:
        return learning_rate
    return OneCycle(learning_rate, steps, start=0.0, end=learning_rate, warmup=warmup)


def _plateau(learning_rate: float, steps: int, warmup: float):
    """A plain number, which `ReduceLROnPlateau` can change."""
    if warmup:
        raise UserError("the plateau schedule has no warm-up: use cosine, or --warmup 0")
    return learning_rate


def _step(learning_rate: float, steps: int, warmup: float):
    """A tenth of the rate after half of the steps, a hundredth after three quarters (He 2015)."""
    if warmup:
        raise UserError("the step schedule has no warm-up: use cosine, or --warmup 0")
    boundaries = [max(1, steps // 2), max(2, steps * 3 // 4)]
    values = [learning_rate, learning_rate / 10.0, learning_rate / 100.0]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)


def _cosine(learning_rate: float, steps: int, warmup: float):
    """Half a cosine down to zero (arXiv:1608.03983), after a linear warm-up from zero."""
    rise = round(warmup * steps)
    if not rise:
        return keras.optimizers.schedules.CosineDecay(learning_rate, max(1, steps))
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - rise), warmup_target=learning_rate, warmup_steps=rise
    )


def _one_cycle(learning_rate: float, steps: int, warmup: float):
    return OneCycle(
        learning_rate,
        steps,
        start=learning_rate / 25.0,
        end=learning_rate / 1e4,
        warmup=warmup or 0.25,
    )


SCHEDULES = {
    "constant": _constant,
    "step": _step,
    "cosine": _cosine,
    "one-cycle": _one_cycle,
    "plateau": _plateau,
}


def learning_rate_schedule(name: str, learning_rate: float, *, steps: int, warmup: float = 0.0):
    """A schedule by name, over `steps` optimizer steps.

    Args:
        name: constant, step, cosine, one-cycle or plateau (constant; add `ReduceLROnPlateau`).
        learning_rate: the highest rate.
        steps: all optimizer steps of the training.
        warmup: part of the steps in which the rate rises; one-cycle takes 0.25 when it is 0.

    Raises:
        UserError: an unknown name, a rate or a part that means nothing.
    """
    if name not in SCHEDULES:
        raise UserError(f"unknown schedule {name!r}: it is one of {', '.join(SCHEDULES)}")
    if not learning_rate > 0.0 or not math.isfinite(learning_rate):
        raise UserError(f"learning rate {learning_rate}: it must be above 0")
    if not 0.0 <= warmup < 1.0:
        raise UserError(f"warmup {warmup}: the part of the steps must be in [0, 1)")
    return SCHEDULES[name](learning_rate, steps, warmup)


def momentum_cycle(
    steps: int, *, high: float = 0.95, low: float = 0.85, warmup: float = 0.25
) -> OneCycle:
    """Momentum that is low where one-cycle's learning rate is high (arXiv:1803.09820, sec. 4.4)."""
    return OneCycle(low, steps, start=high, end=high, warmup=warmup)
