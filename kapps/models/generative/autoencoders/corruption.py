"""Noise that a denoising autoencoder has to undo (Vincent et al. 2010, section 3.3)."""

from __future__ import annotations

import tensorflow as tf

from kapps import replicas
from kapps.models import arguments


def _gaussian(x: tf.Tensor, amount: float, seed: tf.Tensor) -> tf.Tensor:
    return x + amount * replicas.normal(tf.shape(x), seed)


def _masking(x: tf.Tensor, amount: float, seed: tf.Tensor) -> tf.Tensor:
    return tf.where(replicas.uniform(tf.shape(x), seed) < amount, 0.0, x)


def _salt_and_pepper(x: tf.Tensor, amount: float, seed: tf.Tensor) -> tf.Tensor:
    # One draw decides both: below `amount` the value changes, below half of it to 0, else to 1.
    draw = replicas.uniform(tf.shape(x), seed)
    extreme = tf.where(draw < amount / 2.0, 0.0, 1.0)
    return tf.where(draw < amount, extreme, x)


CORRUPTIONS = {"gaussian": _gaussian, "masking": _masking, "salt_and_pepper": _salt_and_pepper}


def corrupt(x: tf.Tensor, kind: str, amount: float, seed: tf.Tensor) -> tf.Tensor:
    """Values with noise on them, each value by itself; nothing is clipped.

    Args:
        x: values of 0..1, float32 of any shape.
        kind: gaussian (added), masking (set to 0) or salt_and_pepper (set to 0 or to 1).
        amount: standard deviation of the Gaussian; else the fraction of the values that is changed.
        seed: int32 [2]; the same one gives the same noise.

    Raises:
        UserError: an unknown kind.
    """
    return CORRUPTIONS[arguments.one_of("corruption", kind, tuple(CORRUPTIONS))](x, amount, seed)
