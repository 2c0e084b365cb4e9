"""Augmentation of series: in time, in size, and by noise. Padding stays padding."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

_WAVES = 3  # half waves of the warp


@dataclasses.dataclass(frozen=True)
class SeriesAugmentation:
    """What is done to the series of a training batch, each differently, by a seed.

    Attributes:
        window: up to this part of a series is cut off at its ends, and the rest stretched back to
            its length (window slicing: Le Guennec 2016).
        warp: steps go faster and slower by up to this part (time warping: Um 2017,
            arXiv:1706.00527).
        scale: deviation of a factor for each series and feature, around 1.
        jitter: deviation of the noise, in units of `std`.
        std: of each feature, over the training split.
    """

    window: float = 0.0
    warp: float = 0.0
    scale: float = 0.0
    jitter: float = 0.0
    std: tuple[float, ...] = (1.0,)

    def __call__(self, x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Change a batch.

        Args:
            x: float32 [batch, steps, features], padded with NaN.
            seed: int32 [2] or int64 [2].

        Returns:
            The same shape; padding where it was.
        """
        count, features = tf.shape(x)[0], x.shape[-1]
        if self.window or self.warp:
            x = self._resampled(x, count, seed)
        if self.scale:
            factor = tf.random.stateless_normal([count, 1, features], _child(seed, 4))
            x *= 1.0 + self.scale * factor
        if self.jitter:
            noise = tf.random.stateless_normal(tf.shape(x), _child(seed, 5))
            x += self.jitter * tf.constant(self.std, tf.float32) * noise
        return x

    def _resampled(self, x, count, seed):
        here = tf.math.logical_not(tf.math.is_nan(x[..., 0]))
        last = tf.cast(
            tf.reduce_sum(tf.cast(here, tf.int32), axis=1, keepdims=True) - 1, tf.float32
        )
        last = tf.maximum(last, 1.0)
        place = tf.minimum(tf.range(tf.shape(x)[1], dtype=tf.float32) / last, 1.0)  # 0 to 1
        part = 1.0 - self.window * tf.random.stateless_uniform([count, 1], _child(seed, 1))
        start = (1.0 - part) * tf.random.stateless_uniform([count, 1], _child(seed, 2))
        bend = tf.random.stateless_uniform([count, _WAVES], _child(seed, 3), -1.0, 1.0)
        for k in range(1, _WAVES + 1):
            # Its slope is below warp / _WAVES, so that time never runs backwards for warp < 1.
            wave = tf.sin(k * math.pi * place) / (k * math.pi)
            place += self.warp / _WAVES * bend[:, k - 1 : k] * wave
        place = tf.clip_by_value((start + part * place) * last, 0.0, last)
        below = tf.minimum(tf.floor(place), last - 1.0)
        weight = (place - below)[..., None]
        index = tf.cast(below, tf.int32)
        top = tf.shape(x)[1] - 1
        left = tf.gather(x, index, axis=1, batch_dims=1)
        right = tf.gather(x, tf.minimum(index + 1, top), axis=1, batch_dims=1)
        # A series of one step has nothing to the right of it.
        mixed = tf.where(tf.math.is_nan(right), left, left + weight * (right - left))
        return tf.where(here[..., None], mixed, math.nan)


def _child(seed: tf.Tensor, stream: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(tf.cast(seed, tf.int32), stream)
