"""Augmentation of image batches as pure functions of (images, targets, seed).

Keras' preprocessing layers draw from a state that advances with every call, which neither a
resumed run nor a parallel input pipeline can reproduce; these functions draw from a stateless
seed instead. They run in the input pipeline, so none of it is in the model that is exported.

Images keep their dtype up to the mixing functions, which return float32.

What is drawn for an image depends on the seed and on its place in the batch. So several machines
can each make some rows of a batch (`Part`): the small numbers are drawn for all rows, and those of
the own ones are taken.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
from collections.abc import Callable

import tensorflow as tf

from kapps.data.images import colours
from kapps.data.pipeline import Part, own_rows
from kapps.errors import UserError

ASPECT = 4 / 3  # of a random resized crop, at most, either way


class OwnAugmentation:
    """An augmentation of one's own, known by its name and its source.

    Args:
        function: `(images [b, H, W, C] of 0..255, seed int32 [2]) -> images` of the same shape, in
            graph mode, that draws from the seed alone (`tf.random.stateless_uniform`): so a
            resumed run sees what an uninterrupted one does, and N devices what one does.
    """

    def __init__(self, function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]):
        self.function = function
        try:
            source = inspect.getsource(function)
        except (OSError, TypeError):  # no file has it
            source = repr(getattr(getattr(function, "__code__", None), "co_code", None))
        name = getattr(function, "__qualname__", type(function).__name__)
        self.name = f"{name}:{hashlib.sha256(source.encode()).hexdigest()[:12]}"

    def __call__(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Images of another look, of the same shape and dtype.

        Raises:
            UserError: the function changes the shape.
        """
        changed = tf.convert_to_tensor(self.function(images, seed))
        if not changed.shape.is_compatible_with(images.shape):
            raise UserError(
                f"the augmentation {self.name} makes {changed.shape} of images {images.shape}; the "
                "shape must stay"
            )
        changed = tf.ensure_shape(changed, images.shape)
        if changed.dtype == images.dtype:
            return changed
        return colours.as_dtype(tf.cast(changed, tf.float32), images.dtype)

    def __repr__(self) -> str:
        return self.name


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What to do to training pictures, and how strongly; zero or False switches a part off.

    Attributes:
        flip: mirror left and right with probability 1/2 (wrong for digits and letters).
        crop: shift by up to this fraction of each side, zeros coming in: the same as padding
            and cropping at random (4 pixels of 32 is 0.125).
        rotation: turn by up to this many degrees, either way.
        resized_crop: enlarge a rectangle of at least this part of the area, of an aspect ratio
            between 3:4 and 4:3 of the picture's own (arXiv:1409.4842, section 6).
        jitter: brightness, contrast and saturation times 1 - jitter to 1 + jitter, and the hue by
            a part of that, see `colours.jitter`.
        randaugment: magnitude, from 0 to 10, of two changes drawn from a list for each picture
            (arXiv:1909.13719), see `colours.policy`.
        own: a function of one's own, see `OwnAugmentation`; after those before, before those that
            follow.
        erasing: probability of erasing a random rectangle (arXiv:1708.04896).
        mixup: concentration alpha of Beta(alpha, alpha) (arXiv:1710.09412).
        cutmix: concentration alpha of the area that comes from another picture
            (arXiv:1905.04899).
    """

    flip: bool = False
    crop: float = 0.0
    rotation: float = 0.0
    resized_crop: float = 0.0
    jitter: float = 0.0
    randaugment: float = 0.0
    own: OwnAugmentation | None = None
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self):
        """Refuse strengths that mean nothing.

        Raises:
            UserError: a value out of its range.
        """
        limits = {"crop": 1.0, "rotation": 180.0, "erasing": 1.0, "mixup": math.inf}
        limits |= {"cutmix": math.inf, "resized_crop": 1.0, "jitter": 1.0}
        limits["randaugment"] = colours.STRONGEST
        for name, limit in limits.items():
            value = getattr(self, name)
            if not 0.0 <= value <= limit:
                raise UserError(f"augmentation {name}={value}: it must be between 0 and {limit:g}")

    @property
    def neighbours(self) -> int:
        """How many rows before its own a part of a batch needs, see `Part`."""
        return int(self.mixup > 0 or self.cutmix > 0)

    def __call__(
        self, images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, part: Part | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Augment a batch; the same seed gives the same result.

        Args:
            images: of the batch, or of `part`.
            targets: theirs.
            seed: int32 [2].
            part: which rows of a batch these are; default: all. The rows before its own come out
                unmixed.
        """
        apply = self._apply
        if self.own is None:  # there is nothing to rewrite, which takes two seconds
            apply = tf.autograph.experimental.do_not_convert(apply)
        return apply(images, targets, seed, part)

    def _apply(self, images, targets, seed, part):
        if self.flip or self.crop or self.rotation or self.resized_crop:
            images = move(
                images, _fold(seed, 0), self.flip, self.crop, self.rotation, part, self.resized_crop
            )
        if self.randaugment:
            images = colours.policy(images, _fold(seed, 5), self.randaugment, part)
        if self.jitter:
            images = colours.jitter(images, _fold(seed, 6), self.jitter, part)
        if self.own is not None:
            if part is not None and part.rows is not None:
                raise UserError("an augmentation of one's own is for one machine")
            images = self.own(images, _fold(seed, 7))
        if self.erasing:
            images = erase(images, _fold(seed, 1), self.erasing, part)
        if self.mixup and self.cutmix:  # one or the other, a coin per batch
            coin = tf.random.stateless_uniform([], _fold(seed, 2)) < 0.5
            return tf.cond(
                coin,
                lambda: mixup(images, targets, _fold(seed, 3), self.mixup, part),
                lambda: cutmix(images, targets, _fold(seed, 4), self.cutmix, part),
            )
        if self.mixup:
            images, targets = mixup(images, targets, _fold(seed, 3), self.mixup, part)
        if self.cutmix:
            images, targets = cutmix(images, targets, _fold(seed, 4), self.cutmix, part)
        return images, targets


def move(
    images: tf.Tensor,
    seed: tf.Tensor,
    flip: bool,
    crop: float,
    rotation: float,
    part: Part | None = None,
    resized_crop: float = 0.0,
) -> tf.Tensor:
    """Mirror, shift, turn and enlarge in one resampling.

    They are one affine map from output to input pixels, so the picture is interpolated once, and
    not at all (nearest pixel, exact) when nothing is turned or enlarged.
    """
    batch = _rows(images, part)
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
    # input = center + enlarge(mirror(turn(output - center))) + middle of the rectangle + shift
    linear, middle = (mirror * cos, -mirror * sin, sin, cos), (0.0, 0.0)
    if resized_crop:
        wide, high = _rectangle(seed, batch, resized_crop)
        linear = tuple(share * x for share, x in zip((wide, wide, high, high), linear, strict=True))
        middle = tuple(
            (_uniform(seed, index, batch) - 0.5) * (1.0 - share) * (side - 1.0)
            for index, share, side in ((6, wide, width), (7, high, height))
        )
    sharp = not (rotation or resized_crop)
    return colours.affine(
        images, linear, (shift_x, shift_y), middle, "NEAREST" if sharp else "BILINEAR", part
    )


def _rectangle(seed: tf.Tensor, batch: tf.Tensor, least: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Width and height of rectangles of `least` to all of the area, as parts of the picture's."""
    area = least + (1.0 - least) * _uniform(seed, 4, batch)
    root = tf.exp((2.0 * _uniform(seed, 5, batch) - 1.0) * (0.5 * math.log(ASPECT)))
    return tf.minimum(tf.sqrt(area) * root, 1.0), tf.minimum(tf.sqrt(area) / root, 1.0)


def erase(
    images: tf.Tensor, seed: tf.Tensor, probability: float, part: Part | None = None
) -> tf.Tensor:
    """Replace a rectangle (2 to 33 % of the area, aspect 0.3 to 3.3) by uniform noise."""
    batch = _rows(images, part)
    area = 0.02 + _uniform(seed, 0, batch) * (0.33 - 0.02)
    aspect = tf.exp((2.0 * _uniform(seed, 1, batch) - 1.0) * math.log(3.3))
    inside = _rectangles(
        images,
        height=tf.sqrt(area * aspect),
        width=tf.sqrt(area / aspect),
        seed=_fold(seed, 2),
        part=part,
    )
    chosen = own_rows(_uniform(seed, 3, batch) < probability, part)
    inside &= chosen[:, None, None, None]
    noise = 256.0 * _noise(images, _fold(seed, 4), part)
    return tf.where(inside, tf.cast(tf.floor(noise), images.dtype), images)


def mixup(
    images: tf.Tensor,
    targets: tf.Tensor,
    seed: tf.Tensor,
    alpha: float,
    part: Part | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Convex combination of each example with another: eq. 1 of arXiv:1710.09412."""
    images = tf.cast(images, tf.float32)
    share = own_rows(_beta(seed, _rows(images, part), alpha), part)
    share_image = share[:, None, None, None]
    # The batch is a random draw already: its neighbour is as good as a random partner.
    images = share_image * images + (1.0 - share_image) * tf.roll(images, 1, axis=0)
    targets = share[:, None] * targets + (1.0 - share[:, None]) * tf.roll(targets, 1, axis=0)
    return images, targets


def cutmix(
    images: tf.Tensor,
    targets: tf.Tensor,
    seed: tf.Tensor,
    alpha: float,
    part: Part | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A rectangle of another picture; targets mixed by the pixels really replaced."""
    images = tf.cast(images, tf.float32)
    side = tf.sqrt(1.0 - _beta(seed, _rows(images, part), alpha))
    inside = _rectangles(images, height=side, width=side, seed=_fold(seed, 2), part=part)
    mixed = tf.where(inside, tf.roll(images, 1, axis=0), images)
    share = 1.0 - tf.reduce_mean(tf.cast(inside, tf.float32), axis=[1, 2, 3])[:, None]
    return mixed, share * targets + (1.0 - share) * tf.roll(targets, 1, axis=0)


def _rectangles(
    images: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
    seed: tf.Tensor,
    part: Part | None,
) -> tf.Tensor:
    """Boolean masks [b, H, W, 1]: rectangles of given relative size around random centres."""
    batch, shape = _rows(images, part), images.shape

    def interval(size, length, index):
        center = _uniform(seed, index, batch) * length
        half = tf.minimum(size, 1.0) * length / 2.0
        pixels = tf.range(length, dtype=tf.float32) + 0.5
        return own_rows(tf.abs(pixels[None] - center[:, None]) < half[:, None], part)

    rows = interval(height, float(shape[1]), 0)[:, :, None, None]
    columns = interval(width, float(shape[2]), 1)[:, None, :, None]
    return rows & columns


def _rows(images: tf.Tensor, part: Part | None) -> tf.Tensor | int:
    """How many rows the batch has. All is computed of all of them, and sliced last.

    Computed of a slice, sines and roots would differ in their last bits: processors do several at
    a time, and the rest in another way.
    """
    return tf.shape(images)[0] if part is None else part.whole


def _beta(seed: tf.Tensor, count: tf.Tensor | int, alpha: float) -> tf.Tensor:
    """Draws from Beta(alpha, alpha), shape [count], as a ratio of Gamma draws."""
    first = tf.random.stateless_gamma([count], _fold(seed, 5), alpha=alpha)
    second = tf.random.stateless_gamma([count], _fold(seed, 6), alpha=alpha)
    # A tiny alpha can underflow both draws; the limit is one picture or the other.
    return tf.math.divide_no_nan(first, first + second)


def _uniform(seed: tf.Tensor, index: int, count: tf.Tensor | int) -> tf.Tensor:
    return tf.random.stateless_uniform([count], _fold(seed, index))


def _noise(images: tf.Tensor, seed: tf.Tensor, part: Part | None) -> tf.Tensor:
    """Uniform draws 0..1 for every value of the images, [b, H, W, C]."""
    if part is None or part.rows is None:
        return tf.random.stateless_uniform(tf.shape(images), seed)
    # Too many to be drawn for all rows. Philox makes four numbers from each count of its counter,
    # so those of a row begin at a known count.
    size = math.prod(images.shape[1:])
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    philox = tf.random.Algorithm.PHILOX.value

    def of_row(row):
        begin = row * size
        start = counter + tf.stack([tf.cast(begin // 4, tf.uint64), tf.constant(0, tf.uint64)])
        drawn = tf.raw_ops.StatelessRandomUniformV2(
            shape=[size + 3], key=key, counter=start, alg=philox
        )
        return tf.slice(drawn, [begin % 4], [size])

    drawn = tf.map_fn(of_row, part.rows, fn_output_signature=tf.TensorSpec([size], tf.float32))
    return tf.reshape(drawn, [-1, *images.shape[1:]])


def _fold(seed: tf.Tensor, index: int) -> tf.Tensor:
    return tf.random.fold_in(seed, index)
