"""Schedules of the weight of the KL, against posteriors that collapse early in training."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kapps.errors import UserError


@keras.saving.register_keras_serializable("kapps")
class KLWarmup(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 to `beta` in a straight line over `steps`, then `beta` (arXiv:1602.02282)."""

    def __init__(self, steps: int, beta: float = 1.0):
        if steps < 1 or beta < 0:
            raise UserError(f"KL warm-up over {steps} steps to {beta}: 1 step or more, beta >= 0")
        self.steps, self.beta = steps, beta

    def __call__(self, step: Any) -> tf.Tensor:
        """The weight at a step, counted from 0."""
        return self.beta * tf.minimum(1.0, tf.cast(step, tf.float32) / self.steps)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"steps": self.steps, "beta": self.beta}


@keras.saving.register_keras_serializable("kapps")
class CyclicKL(keras.optimizers.schedules.LearningRateSchedule):
    """A warm-up that restarts every `period` steps (arXiv:1903.10145, eq. 6).

    In each cycle the weight rises over the first half and stays at `beta` in the second. After the
    last cycle it stays there.
    """

    def __init__(self, period: int, cycles: int = 4, beta: float = 1.0):
        if period < 2 or cycles < 1 or beta < 0:
            raise UserError(
                f"cyclic KL: period {period} must be 2 or more, cycles {cycles} 1 or more, beta "
                f"{beta} 0 or more"
            )
        self.period, self.cycles, self.beta = period, cycles, beta

    def __call__(self, step: Any) -> tf.Tensor:
        """The weight at a step, counted from 0."""
        step = tf.cast(step, tf.float32)
        rising = tf.minimum(1.0, 2.0 * tf.math.floormod(step, self.period) / self.period)
        return self.beta * tf.where(step < self.cycles * self.period, rising, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {"period": self.period, "cycles": self.cycles, "beta": self.beta}
