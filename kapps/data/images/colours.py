"""Changes of colour and light, and a policy that draws one of many changes for each picture.

As in `kapps.data.images.augmentation`: pure functions of (images, seed), of 0..255 in any dtype,
which stays as it is.
"""

from __future__ import annotations

import math

import tensorflow as tf

from kapps.data.pipeline import Part, own_rows

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
HUE = 0.1  # of a turn, at a strength of one
# What `policy` draws from; the rest of arXiv:1909.13719's list but equalize, which is no function
# of single pixels.
LIGHT = ("autocontrast", "brightness", "colour", "contrast", "posterize", "solarize", "sharpness")
MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
DRAWN = ("identity", *LIGHT, *MOVES)
ROUNDS = 2  # changes of a picture, as the paper has them
STRONGEST = 10.0
_TURN, _SHEAR, _SHIFT = math.radians(30.0), 0.3, 0.3  # at that magnitude


def jitter(
    images: tf.Tensor, seed: tf.Tensor, strength: float, part: Part | None = None
) -> tf.Tensor:
    """Brightness, contrast, saturation and hue, drawn anew for each picture.

    The first three are multiplied by 1 - strength to 1 + strength; the hue is turned by up to a
    tenth of a circle times the strength (arXiv:2002.05709, appendix A). Pictures that are not RGB
    have the first two alone.

    Args:
        images: [b, H, W, C].
        seed: int [2].
        strength: 0.4 is usual.
        part: which rows of a batch these are; default: all.
    """
    batch = _rows(images, part)

    def factor(index):
        drawn = 1.0 + strength * (2.0 * _uniform(seed, index, batch) - 1.0)
        return own_rows(tf.maximum(drawn, 0.0), part)

    x = _brightness(tf.cast(images, tf.float32), factor(0))
    x = _contrast(x, factor(1))
    if images.shape[-1] == 3:
        x = _colour(x, factor(2))
        turn = (2.0 * _uniform(seed, 3, batch) - 1.0) * (2.0 * math.pi * HUE * strength)
        x = _turned_hue(x, own_rows(turn, part))
    return as_dtype(x, images.dtype)


def policy(
    images: tf.Tensor, seed: tf.Tensor, magnitude: float, part: Part | None = None
) -> tf.Tensor:
    """Two changes of each picture, drawn from `DRAWN`: RandAugment (arXiv:1909.13719).

    Args:
        images: [b, H, W, C].
        seed: int [2].
        magnitude: from 0 to 10; 9 is usual for large networks.
        part: which rows of a batch these are; default: all.
    """
    for number in range(ROUNDS):
        images = _round(images, tf.random.fold_in(seed, number), magnitude / STRONGEST, part)
    return images


def _round(images: tf.Tensor, seed: tf.Tensor, strength: float, part: Part | None) -> tf.Tensor:
    """One change of each picture."""
    batch = _rows(images, part)
    drawn = tf.random.stateless_uniform(
        [batch], tf.random.fold_in(seed, 0), maxval=len(DRAWN), dtype=tf.int32
    )
    signs_of_all = tf.where(_uniform(seed, 1, batch) < 0.5, -1.0, 1.0)
    which, sign, count = own_rows(drawn, part), own_rows(signs_of_all, part), tf.shape(images)[0]
    # What a picture gets depends on nothing but itself: each change is computed of its own ones.
    places = tf.dynamic_partition(tf.range(count), which, len(DRAWN))
    groups = tf.dynamic_partition(images, which, len(DRAWN))
    signs = tf.dynamic_partition(sign, which, len(DRAWN))
    changed = []
    for name, group, signed in zip(DRAWN, groups, signs, strict=True):
        group = tf.ensure_shape(group, [None, *images.shape[1:]])
        if name in LIGHT:
            x = _lit(name, tf.cast(group, tf.float32), signed, strength)
            group = as_dtype(x, images.dtype)
        changed.append(group)
    images = tf.ensure_shape(tf.dynamic_stitch(places, changed), [None, *images.shape[1:]])
    images = tf.reshape(images, [count, *images.shape[1:]])
    return _moved(images, drawn, signs_of_all * strength, part)


def _lit(name: str, x: tf.Tensor, sign: tf.Tensor, strength: float) -> tf.Tensor:
    factor = 1.0 + 0.9 * strength * sign
    if name == "autocontrast":
        low = tf.reduce_min(x, axis=(1, 2), keepdims=True)
        high = tf.reduce_max(x, axis=(1, 2), keepdims=True)
        return tf.where(high > low, (x - low) * 255.0 / tf.maximum(high - low, 1e-3), x)
    if name == "brightness":
        return _brightness(x, factor)
    if name == "colour":
        return _colour(x, factor) if x.shape[-1] == 3 else x
    if name == "contrast":
        return _contrast(x, factor)
    if name == "posterize":
        step = float(2 ** round(4.0 * strength))  # 8 to 4 bits
        return tf.floor(x / step) * step
    if name == "solarize":
        return tf.where(x >= 256.0 * (1.0 - strength), 255.0 - x, x)
    return _sharpness(x, factor)


def _moved(
    images: tf.Tensor, which: tf.Tensor, amount: tf.Tensor, part: Part | None = None
) -> tf.Tensor:
    """Pictures whose change is a move, in one resampling; the others stay to the bit."""
    height, width = images.shape[1], images.shape[2]

    def of(name, most):
        return tf.where(tf.equal(which, DRAWN.index(name)), amount * most, 0.0)

    angle = of("rotate", _TURN)
    cos, sin = tf.cos(angle), tf.sin(angle)
    x_y = -sin + of("shear_x", _SHEAR)
    y_x = sin + of("shear_y", _SHEAR)
    shift_x = tf.round(of("translate_x", _SHIFT * width))
    shift_y = tf.round(of("translate_y", _SHIFT * height))
    return affine(images, (cos, x_y, y_x, cos), (shift_x, shift_y), (0.0, 0.0), "BILINEAR", part)


def affine(
    images, linear, shift, middle, interpolation: str, part: Part | None = None
) -> tf.Tensor:
    """Resamples pictures: input pixel = linear (output pixel - centre) + centre + middle + shift.

    Args:
        images: [b, H, W, C]; zeros come in.
        linear: (x from x, x from y, y from x, y from y), [b] each.
        shift: (x, y) in pixels, [b] each.
        middle: (x, y) in pixels, [b] each or numbers: where the middle of the output lies.
        interpolation: "NEAREST" or "BILINEAR".
        part: which rows of a batch the images are; the numbers are those of all of it.
    """
    height, width = images.shape[1], images.shape[2]
    x_x, x_y, y_x, y_y = linear
    center_x, center_y = (width - 1) / 2.0, (height - 1) / 2.0
    zeros = tf.zeros_like(x_x)
    maps = tf.stack(
        [
            x_x,
            x_y,
            center_x - x_x * center_x - x_y * center_y + shift[0] + middle[0],
            y_x,
            y_y,
            center_y - y_x * center_x - y_y * center_y + shift[1] + middle[1],
            zeros,
            zeros,
        ],
        axis=1,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=own_rows(maps, part),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )


def as_dtype(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Levels cut to 0..255, and rounded where the dtype has no fractions."""
    x = tf.clip_by_value(x, 0.0, 255.0)
    return tf.cast(tf.round(x) if dtype.is_integer else x, dtype)


def _brightness(x, factor):
    return x * factor[:, None, None, None]


def _contrast(x, factor):
    mean = tf.reduce_mean(_grey(tf.clip_by_value(x, 0.0, 255.0)), axis=(1, 2), keepdims=True)
    return mean + (x - mean) * factor[:, None, None, None]


def _colour(x, factor):
    grey = _grey(x)
    return grey + (x - grey) * factor[:, None, None, None]


def _sharpness(x, factor):
    """Between the picture and a smoothed one, as Pillow has it; the border stays."""
    height, width = x.shape[1], x.shape[2]
    if min(height, width) < 3:
        return x
    # No convolution: TensorFlow's has another shape where no picture is asked for.
    around = [x[:, i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)]
    middle = around[4]
    inner = (tf.add_n(around) + 4.0 * middle) / 13.0
    smooth = tf.pad(inner - middle, [[0, 0], [1, 1], [1, 1], [0, 0]]) + x
    return smooth + (x - smooth) * factor[:, None, None, None]


def _turned_hue(x, angle):
    """A turn around the grey axis in YIQ, which keeps the luma."""
    to = tf.constant([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], tf.float32)
    back = tf.linalg.inv(to)
    cos, sin, one, zero = tf.cos(angle), tf.sin(angle), tf.ones_like(angle), tf.zeros_like(angle)
    turn = tf.stack(
        [
            tf.stack([one, zero, zero], -1),
            tf.stack([zero, cos, -sin], -1),
            tf.stack([zero, sin, cos], -1),
        ],
        axis=1,
    )
    whole = tf.einsum("ij,bjk,kl->bil", back, turn, to)
    return tf.einsum("bij,bhwj->bhwi", whole, x)


def _grey(x):
    if x.shape[-1] == 3:
        return tf.reduce_sum(x * LUMA, axis=-1, keepdims=True)
    return tf.reduce_mean(x, axis=-1, keepdims=True)


def _rows(images: tf.Tensor, part: Part | None) -> tf.Tensor | int:
    """How many rows the batch has: numbers are drawn for all of them."""
    return tf.shape(images)[0] if part is None else part.whole


def _uniform(seed, index, count):
    return tf.random.stateless_uniform([count], tf.random.fold_in(seed, index))
