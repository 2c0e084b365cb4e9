"""Differentiable augmentation for GANs (arXiv:2006.10738).

Real and fake images go through the same random functions before the discriminator sees them, and
the generator's gradient goes back through them. Augmenting the real ones alone would teach the
generator to make augmented images.

Images are float32 [batch, height, width, channels] with values of -1..1, so that the zeros that
come in at the borders are gray. Each example draws its own numbers from `seed`, int32 [2].
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from kapps import replicas
from kapps.errors import UserError

_SHIFT = 1 / 8  # of the sides
_HOLE = 1 / 2  # of the sides


def differentiable_augmentation(
    images: tf.Tensor, seed: tf.Tensor, policy: Sequence[str]
) -> tf.Tensor:
    """Apply parts of the policy: color, translation, cutout.

    Args:
        images: [batch, height, width, channels], -1..1.
        seed: int32 [2]; each part and each example draws something else.
        policy: which parts, in this order.

    Raises:
        UserError: an unknown part.
    """
    functions = [function for part in check_policy(policy) for function in POLICY[part]]
    for i, function in enumerate(functions):
        images = function(images, tf.random.experimental.stateless_fold_in(seed, i))
    return images


def check_policy(policy: Sequence[str]) -> tuple[str, ...]:
    """The parts of a policy.

    Raises:
        UserError: an unknown part.
    """
    parts = (policy,) if isinstance(policy, str) else tuple(policy)
    for part in parts:
        if part not in POLICY:
            raise UserError(f"unknown augmentation {part!r}: there is {', '.join(POLICY)}")
    return parts


def brightness(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Add a number of -1/2..1/2 to all values."""
    return images + _uniform(images, seed, -0.5, 0.5)


def saturation(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Scale the distances of the channels to their mean by 0..2; gray images stay as they are."""
    mean = tf.reduce_mean(images, axis=-1, keepdims=True)
    return (images - mean) * _uniform(images, seed, 0.0, 2.0) + mean


def contrast(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Scale the distances of all values to their mean by 1/2..3/2."""
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return (images - mean) * _uniform(images, seed, 0.5, 1.5) + mean


def translation(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Shift by up to an eighth of each side, zeros coming in."""
    seeds = tf.random.experimental.stateless_split(seed, 2)
    # Products with matrices that have a shifted diagonal: as quick as a copy, and their gradients
    # of every order are products, too.
    rows = _shifts(images, seeds[0], axis=1)
    columns = _shifts(images, seeds[1], axis=2)
    images = tf.einsum("bih,bhwc->biwc", rows, images)
    return tf.einsum("bjw,biwc->bijc", columns, images)


def cutout(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Zeros in a rectangle with half the sides, its center anywhere in the image."""
    seeds = tf.random.experimental.stateless_split(seed, 2)
    rows = _inside_hole(images, seeds[0], axis=1)[:, :, None]
    columns = _inside_hole(images, seeds[1], axis=2)[:, None, :]
    hole = tf.logical_and(rows, columns)[..., None]
    return images * tf.cast(tf.logical_not(hole), images.dtype)


def _uniform(images, seed, low, high):
    shape = [tf.shape(images)[0], 1, 1, 1]
    return replicas.uniform(shape, seed, low, high, images.dtype)


def _rounded(side, fraction):
    """That fraction of a side in pixels, halves rounded up as the reference implementation does."""
    return tf.cast(tf.floor(tf.cast(side, tf.float32) * fraction + 0.5), tf.int32)


def _shifts(images, seed, axis):
    """Matrices [batch, side, side] with ones where `column = row - shift`."""
    count, side = tf.shape(images)[0], tf.shape(images)[axis]
    most = _rounded(side, _SHIFT)
    shift = replicas.uniform([count, 1, 1], seed, -most, most + 1, tf.int32)
    place = tf.range(side)
    matches = tf.equal(place[None, None, :], place[None, :, None] - shift)
    return tf.cast(matches, images.dtype)


def _inside_hole(images, seed, axis):
    """Whether a row or column is hit, bool [batch, side]."""
    count, side = tf.shape(images)[0], tf.shape(images)[axis]
    size = _rounded(side, _HOLE)
    center = replicas.uniform([count, 1], seed, 0, side + (1 - size % 2), tf.int32)
    place = tf.range(side)[None]
    first = center - size // 2
    return tf.logical_and(place >= first, place < first + size)


POLICY = {
    "color": (brightness, saturation, contrast),
    "translation": (translation,),
    "cutout": (cutout,),
}
