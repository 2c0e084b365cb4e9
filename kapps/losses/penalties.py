"""Penalties on the slope of a GAN's discriminator, for what keeps it from growing too steep.

`gradients` are those of each logit with respect to the image that it judges, [batch, height,
width, channels]. Values are one per example, `[batch]`, float32.
"""

from __future__ import annotations

import tensorflow as tf

_EPSILON = 1e-4  # under the root, whose slope at zero is infinite


def squared_norm(gradients: tf.Tensor) -> tf.Tensor:
    """|g|^2 over height, width and channels."""
    return tf.reduce_sum(tf.square(tf.cast(gradients, tf.float32)), axis=(1, 2, 3))


def zero_centered_penalty(gradients: tf.Tensor, gamma: float) -> tf.Tensor:
    """gamma / 2 |g|^2: R1 at real images and R2 at fakes, arXiv:1801.04406, eqs. 9 and 10."""  # noqa: D403
    return 0.5 * gamma * squared_norm(gradients)


def one_centered_penalty(gradients: tf.Tensor, weight: float) -> tf.Tensor:
    """Weight (|g| - 1)^2 between real images and fakes, arXiv:1704.00028, eq. 3."""
    return weight * tf.square(tf.sqrt(squared_norm(gradients) + _EPSILON) - 1.0)
