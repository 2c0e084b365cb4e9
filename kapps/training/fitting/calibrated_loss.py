"""The loss of a classifier after the best temperature, measured batch by batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

# One to four times as unsure, and down to twice as sure; between two of them hardly anything lies:
# the loss is flat around its minimum.
TEMPERATURES = 2.0 ** np.arange(-1.0, 2.01, 0.25)


@keras.saving.register_keras_serializable("kapps")
class CalibratedLoss(keras.metrics.Metric):
    """Cross-entropy of `softmax(logits / T)` in nats, for the T of a grid that makes it lowest.

        min_T mean_i -sum_k y_ik log softmax(logits_i / T)_k

    Temperature scaling (arXiv:1706.04599) mends a network that is surer than it is right; this is
    what the loss would be then. Of two epochs with as many right answers it tells the better one,
    which the loss itself does not. T is one of 13 values from 1/2 to 4.

    Args:
        name: of the metric.
        dtype: of its variables.
    """

    def __init__(self, name: str = "calibrated_loss", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)
        self.sums = self.add_weight(
            shape=(len(TEMPERATURES),), initializer="zeros", name="sums", dtype="float32"
        )
        self.count = self.add_weight(shape=(), initializer="zeros", name="count", dtype="float32")

    def update_state(self, y_true, y_pred, sample_weight=None) -> None:
        """Add examples.

        Args:
            y_true: one-hot or soft labels [..., classes].
            y_pred: logits [..., classes].
            sample_weight: [...], or without its last axes; None counts every example once.
        """
        logits = ops.cast(y_pred, "float32")[..., None, :]
        scaled = logits / ops.cast(TEMPERATURES, "float32")[:, None]
        losses = -ops.sum(
            ops.cast(y_true, "float32")[..., None, :] * ops.log_softmax(scaled, axis=-1), axis=-1
        )
        weights = ops.ones_like(losses[..., 0])
        if sample_weight is not None:
            given = ops.cast(sample_weight, "float32")
            if len(given.shape) > len(weights.shape):
                given = ops.squeeze(given, axis=-1)
            while len(given.shape) < len(weights.shape):
                given = given[..., None]
            weights = weights * given
        axes = tuple(range(len(losses.shape) - 1))
        self.sums.assign(self.sums + ops.sum(losses * weights[..., None], axis=axes))
        self.count.assign(self.count + ops.sum(weights))

    def result(self):
        """Nats; 0 before the first example."""
        return ops.divide_no_nan(ops.min(self.sums), self.count)
