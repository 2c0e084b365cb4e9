"""How many latents of a VAE are in use, as a metric."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("kapps")
class ActiveUnits(keras.metrics.Metric):
    """How many latents depend on the image: Var_x(E_q[z_d]) > 0.01 (arXiv:1509.00519, sec. 5.3).

    Args:
        dims: latent dimensions.
        threshold: variance of the mean from which a unit counts.
    """

    def __init__(self, dims: int, threshold: float = 0.01, name: str = "active_units"):
        super().__init__(name=name)
        self.threshold = threshold
        self.count = self.add_variable((), "zeros", name="count")
        self.sum = self.add_variable((dims,), "zeros", name="sum")
        self.squares = self.add_variable((dims,), "zeros", name="squares")

    def update_state(self, means: tf.Tensor, sample_weight: Any = None) -> None:
        """Count posterior means, [batch, dims]."""
        means = tf.cast(means, tf.float32)
        self.count.assign_add(tf.cast(tf.shape(means)[0], tf.float32))
        self.sum.assign_add(tf.reduce_sum(means, axis=0))
        self.squares.assign_add(tf.reduce_sum(tf.square(means), axis=0))

    def result(self) -> tf.Tensor:
        """The number of active units."""
        count = tf.maximum(tf.convert_to_tensor(self.count), 1.0)
        mean = tf.convert_to_tensor(self.sum) / count
        variance = tf.convert_to_tensor(self.squares) / count - tf.square(mean)
        return tf.reduce_sum(tf.cast(variance > self.threshold, tf.float32))
