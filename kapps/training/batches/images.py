"""Batches of images: augmented ones to train on, and plain ones to measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from kapps import data
from kapps.errors import UserError
from kapps.training.picture_tasks import picture_targets
from kapps.training.setup import clean_examples

if TYPE_CHECKING:
    from kapps.data import Augmentation, ImageData, Split

Batches = tuple[data.TrainingBatches, tf.data.Dataset, tf.data.Dataset]


def image_batches(
    splits: Mapping[str, Split],
    batch_size: int,
    *,
    seed: int,
    prepare: Callable[..., Any],
    measured: Callable[..., Any] | None = None,
    together: int = 256,
    **settings: Any,
) -> Batches:
    """Training batches, validation batches, and a part of the training split in order.

    Args:
        splits: with `train` and `validation`; the third part is `clean_examples` of the first.
        batch_size: training examples per step, over all devices.
        seed: of the order, of what `prepare` draws, and of the choice of that part.
        prepare: `(images uint8 [b, H, W, C], labels int32 [b], seed int32 [2]) -> batch`.
        measured: the same without a seed, of images that are measured; None: `prepare`, whose seed
            then has a default.
        together: images measured at a time.
        **settings: further arguments of `TrainingBatches`.
    """
    train, validation, measured = splits["train"], splits["validation"], measured or prepare
    limit = clean_examples({name: len(split) for name, split in splits.items()})
    return (
        data.TrainingBatches(train, batch_size, seed=seed, prepare=prepare, **settings),
        data.evaluation_batches(validation, together, prepare=measured),
        data.evaluation_batches(train, together, prepare=measured, limit=limit, seed=seed),
    )


def classifier_batches(
    images: ImageData,
    batch_size: int,
    augmentation: Augmentation,
    *,
    seed: int,
    label_smoothing: float = 0.0,
    class_weights: bool = False,
    **settings: Any,
) -> Batches:
    """`image_batches` with targets of floats; images that are measured are left as they are.

    Args:
        images: the data.
        batch_size: training examples per step, over all devices.
        augmentation: of training images, and of their targets where it mixes images.
        seed: of order and augmentation.
        label_smoothing: as in `training_targets`.
        class_weights: as in `training_targets`.
        **settings: further arguments of `image_batches`.
    """
    one_hot = picture_targets(images)
    targets = training_targets(images, label_smoothing, class_weights)

    def augmented(pixels, labels, seed_of_step, part):
        pixels, mixed = augmentation(pixels, one_hot(labels), seed_of_step, part)
        return pixels, *targets(mixed)

    def as_they_are(pixels, labels):
        return pixels, one_hot(labels)

    return image_batches(
        images.splits,
        batch_size,
        seed=seed,
        prepare=augmented,
        measured=as_they_are,
        neighbours=augmentation.neighbours,
        **settings,
    )


def training_targets(
    images: ImageData, label_smoothing: float = 0.0, class_weights: bool = False
) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    """A function from targets [b, classes] to what follows the images in a training batch.

    Args:
        images: whose training labels say how frequent each class is.
        label_smoothing: part of a target that is spread over all classes.
        class_weights: whether the targets are followed by the weights of the examples [b, 1], by
            which every class has the same share of the loss.

    Raises:
        UserError: either is asked for of images that have several labels each, or a number.
    """
    for flag, asked in (("label-smoothing", label_smoothing), ("class-weights", class_weights)):
        if asked and images.kind != "classes":
            raise UserError(f"--{flag} is for pictures of one class each; these have others")
    weights = None
    if class_weights:
        weights = data.class_weights(images.splits["train"].labels, images.classes)

    def targets(one_hot):
        smoothed = data.smooth(one_hot, label_smoothing)
        # Of the classes that are there: mixed images have several.
        return (smoothed,) if weights is None else (smoothed, one_hot @ weights[:, None])

    return targets
