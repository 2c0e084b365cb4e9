"""What a network of pictures learns: one class, any of several labels, or a number.

The kinds differ in the outputs, the loss, what is measured meanwhile, and which epoch is kept; the
networks and all the rest are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kapps import losses
from kapps.data import ImageData, classification_targets
from kapps.training.fitting.calibrated_loss import CalibratedLoss
from kapps.training.fitting.kept_epoch import kept_by


class PictureTask(NamedTuple):
    """How a network learns what there is to say of pictures.

    Attributes:
        kind: as `ImageData` has it.
        loss: of targets and outputs.
        metrics: () -> Keras metrics beside the loss, to be made in the scope of the strategy.
        monitor: the column of metrics.csv by which an epoch is kept.
        mode: "min" or "max": where that is best.
        mean, std: of the training targets of a number; the network learns them standardized.
    """

    kind: str
    loss: Any
    metrics: Callable[[], list[Any]]
    monitor: str
    mode: Literal["min", "max"]
    mean: float = 0.0
    std: float = 1.0


def picture_task(images: ImageData, config: Any) -> PictureTask:
    """The task that a dataset sets.

    A classifier is kept by `--best-by`, the others by their validation loss: the share of right
    labels rises where nothing but the absent ones are learned.

    Args:
        images: the data.
        config: a recipe's flags.
    """
    if images.kind == "classes":
        loss = losses.softmax_cross_entropy
        return PictureTask(
            "classes", loss, lambda: ["accuracy", CalibratedLoss()], *kept_by(config)
        )
    if images.kind == "labels":
        return PictureTask(
            "labels",
            losses.sigmoid_cross_entropy,
            lambda: [keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)],  # of logits
            "val_loss",
            "min",
        )
    # In units of the variance: always answering the mean has a loss of one.
    return PictureTask(
        "number", "mse", lambda: ["mae"], "val_loss", "min", *number_statistics(images)
    )


def picture_targets(images: ImageData) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from the labels of a batch to targets float32 [b, outputs].

    One-hot classes, labels as they are, or numbers, standardized by the training split.

    Args:
        images: the data.
    """
    if images.kind == "classes":
        return classification_targets(images.classes)
    if images.kind == "labels":
        return lambda labels: tf.cast(labels, tf.float32)
    mean, std = number_statistics(images)
    return lambda labels: ((tf.cast(labels, tf.float32) - mean) / std)[:, None]


def number_statistics(images: ImageData) -> tuple[float, float]:
    """Mean and deviation of the numbers of the training split.

    Args:
        images: of a number each.
    """
    known = images.splits["train"].labels.astype(np.float64)
    return float(known.mean()), float(known.std()) or 1.0
