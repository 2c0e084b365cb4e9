"""Augmentation of image batches as pure functions of (images, targets, seed).

Keras' preprocessing layers draw from a state that advances with every call, which neither a
resumed run nor a parallel input pipeline can reproduce; these functions draw from a stateless
seed instead. They run in the input pipeline, so none of it is in the model that is exported.

Images keep their dtype up to the mixing functions, which return float32.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from kapps.errors import UserError


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What to do to training pictures, and how strongly; zero or False switches a part off.

    Attributes:
        flip: mirror left and right with probability 1/2 (wrong for digits and letters).
        crop: shift by up to this fraction of each side, zeros coming in: the same as padding
            and cropping at random (4 pixels of 32 is 0.125).
        rotation: turn by up to this many degrees, either way.
        erasing: probability of erasing a random rectangle (arXiv:1708.04896).
        mixup: concentration alpha of Beta(alpha, alpha) (arXiv:1710.09412).
        cutmix: concentration alpha of the area that comes from another picture
            (arXiv:1905.04899).
    """

    flip: bool = False
    crop: float = 0.0
    rotation: float = 0.0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        """Refuse strengths that mean nothing.

        Raises:
            UserError: a value out of its range.
        """
        limits = {"crop": 1.0, "rotation": 180.0, "erasing": 1.0, "mixup": math.inf}
        limits["cutmix"] = math.inf
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0.0 <= value <= limit:
                raise UserError(f"augmentation {name}={value}: it must be between 0 and {limit:g}")

    def __call__(
        self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Augment a batch; the same seed gives the same result."""
        if self.flip or self.crop or self.rotation:
            images = move(images, _fold(seed, 0), self.flip, self.crop, self.rotation)
        if self.erasing:
            images = erase(images, _fold(seed, 1), self.erasing)
        if self.mixup and self.cutmix:  # one or the other, a coin per batch
            coin = tf.random.stateless_uniform([], _fold(seed, 2)) < 0.5
            return tf.cond(
                coin,
                lambda: mixup(images, targets, _fold(seed, 3), self.mixup),
                lambda: cutmix(images, targets, _fold(seed, 4), self.cutmix),
            )
        if self.mixup:
            images, targets = mixup(images, targets, _fold(seed, 3), self.mixup)
        if self.cutmix:
            images, targets = cutmix(images, targets, _fold(seed, 4), self.cutmix)
        return images, targets


def move(images: tf.Tensor, seed: tf.Tensor, flip: bool, crop: float, rotation: float) -> tf.Tensor:
    """Mirror, shift and turn in one resampling.

    The three are one affine map from output to input pixels, so the picture is interpolated
    once, and not at all (nearest pixel, exact) when nothing is turned.
    """
    batch = tf.shape(images)[0]
    height, width = images.shape[1], images.shape[2]
    mirror = tf.ones([batch])
    if flip:
        mirror -= 2.0 * tf.cast(_uniform(seed, 0, batch) < 0.5, tf.float32)
    # A crop of the padded picture starts at a whole pixel.
    reach = [float(round(crop * width)), float(round(crop * height))]
    shift_x = tf.floor(_uniform(seed, 1, batch) * (2 * reach[0] + 1)) - reach[0]
    shift_y = tf.floor(_uniform(seed, 2, batch) * (2 * reach[1] + 1)) - reach[1]
    angle = (2.0 * _uniform(seed, 3, batch) - 1.0) * (rotation * math.pi / 180.0)
    cos, sin = tf.cos(angle), tf.sin(angle)
    center_x, center_y = (width - 1) / 2.0, (height - 1) / 2.0
    # input = center + mirror(turn(output - center)) + shift
    x_x, x_y = mirror * cos, -mirror * sin
    zeros = tf.zeros([batch])
    maps = tf.stack(
        [
            x_x,
            x_y,
            center_x - x_x * center_x - x_y * center_y + shift_x,
            sin,
            cos,
            center_y - sin * center_x - cos * center_y + shift_y,
            zeros,
            zeros,
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=maps,
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR" if rotation else "NEAREST",
        fill_mode="CONSTANT",
    )


def erase(images: tf.Tensor, seed: tf.Tensor, probability: float) -> tf.Tensor:
    """Replace a rectangle (2 to 33 % of the area, aspect 0.3 to 3.3) by uniform noise."""
    batch = tf.shape(images)[0]
    area = 0.02 + _uniform(seed, 0, batch) * (0.33 - 0.02)
    aspect = tf.exp((2.0 * _uniform(seed, 1, batch) - 1.0) * math.log(3.3))
    inside = _rectangles(
        images,
        height=tf.sqrt(area * aspect),
        width=tf.sqrt(area / aspect),
        seed=_fold(seed, 2),
    )
    inside &= (_uniform(seed, 3, batch) < probability)[:, None, None, None]
    noise = tf.random.stateless_uniform(tf.shape(images), _fold(seed, 4), maxval=256.0)
    return tf.where(inside, tf.cast(tf.floor(noise), images.dtype), images)


def mixup(
    images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, alpha: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Convex combination of each example with another: eq. 1 of arXiv:1710.09412."""
    images = tf.cast(images, tf.float32)
    share = _beta(seed, tf.shape(images)[0], alpha)
    share_image = share[:, None, None, None]
    # The batch is a random draw already: its neighbour is as good as a random partner.
    images = share_image * images + (1.0 - share_image) * tf.roll(images, 1, axis=0)
    targets = share[:, None] * targets + (1.0 - share[:, None]) * tf.roll(targets, 1, axis=0)
    return images, targets


def cutmix(
    images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, alpha: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """A rectangle of another picture; targets mixed by the pixels really replaced."""
    images = tf.cast(images, tf.float32)
    side = tf.sqrt(1.0 - _beta(seed, tf.shape(images)[0], alpha))
    inside = _rectangles(images, height=side, width=side, seed=_fold(seed, 2))
    mixed = tf.where(inside, tf.roll(images, 1, axis=0), images)
    share = 1.0 - tf.reduce_mean(tf.cast(inside, tf.float32), axis=[1, 2, 3])[:, None]
    return mixed, share * targets + (1.0 - share) * tf.roll(targets, 1, axis=0)


def _rectangles(
    images: tf.Tensor, height: tf.Tensor, width: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Boolean masks [b, H, W, 1]: rectangles of given relative size around random centres."""
    batch, shape = tf.shape(images)[0], images.shape

    def interval(size, length, index):
        center = _uniform(seed, index, batch) * length
        half = tf.minimum(size, 1.0) * length / 2.0
        pixels = tf.range(length, dtype=tf.float32) + 0.5
        return tf.abs(pixels[None] - center[:, None]) < half[:, None]

    rows = interval(height, float(shape[1]), 0)[:, :, None, None]
    columns = interval(width, float(shape[2]), 1)[:, None, :, None]
    return rows & columns


def _beta(seed: tf.Tensor, count: tf.Tensor, alpha: float) -> tf.Tensor:
    """Draws from Beta(alpha, alpha), shape [count], as a ratio of Gamma draws."""
    first = tf.random.stateless_gamma([count], _fold(seed, 5), alpha=alpha)
    second = tf.random.stateless_gamma([count], _fold(seed, 6), alpha=alpha)
    # A tiny alpha can underflow both draws; the limit is one picture or the other.
    return tf.math.divide_no_nan(first, first + second)


def _uniform(seed: tf.Tensor, index: int, count: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([count], _fold(seed, index))


def _fold(seed: tf.Tensor, index: int) -> tf.Tensor:
    return tf.random.fold_in(seed, index)
