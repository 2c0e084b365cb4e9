"""Are samples good enough to learn from? Train on them, test on real pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kapps.errors import UserError
from kapps.evaluation.generative.samples import small_classifiers
from kapps.evaluation.metrics.classification import wilson_interval

if TYPE_CHECKING:
    from kapps.data import ImageData


class SyntheticTraining(NamedTuple):
    """Accuracy on real test pictures of a classifier that was trained on samples.

    With its 95 % interval `low` to `high`; `real` is the accuracy of the same network trained on
    the real training split, None if that was not asked for; `examples` is the number of samples.
    """

    accuracy: float
    low: float
    high: float
    real: float | None
    examples: int


def train_on_synthetic(
    samples: np.ndarray,
    labels: np.ndarray,
    images: ImageData,
    *,
    real: bool = True,
    epochs: int | None = None,
    seed: int = 0,
    verbose: str | int = 0,
) -> SyntheticTraining:
    """Train the small CNN on labelled samples of a conditional model; its accuracy on real ones.

    Train on synthetic, test on real (Esteban et al. 2017, arXiv:1706.02633, section 4.2); the
    classification accuracy score of Ravuri and Vinyals 2019 (arXiv:1905.10887) with a small
    network. It falls when samples are of another class than their label, look unreal, or lack
    variety. The same network trained on real pictures says what could be reached.

    Args:
        samples: pictures uint8 [n, H, W, C].
        labels: the class numbers they were drawn for, int [n].
        images: the real data, whose test split is measured on.
        real: also train on the real training split.
        epochs: of training; by default what makes a few thousand steps, for both.
        seed: seed of the weights and the order.
        verbose: as in `keras.Model.fit`.

    Raises:
        UserError: samples that are not uint8 pictures of the data's shape, or labels that are not
            its classes.
    """
    samples, labels = np.asarray(samples), np.asarray(labels)
    shape = tuple(images.image_shape)
    if samples.dtype != np.uint8 or samples.shape[1:] != shape or not len(samples):
        raise UserError(
            f"Samples uint8 [n, {', '.join(map(str, shape))}] are wanted, not "
            f"{samples.dtype} {samples.shape}."
        )
    whole = np.issubdtype(labels.dtype, np.integer)
    if not whole or labels.shape != (len(samples),) or not _within(labels, images.classes):
        raise UserError(
            f"Labels int [{len(samples)}] of 0 to {images.classes - 1} are wanted, one for each "
            f"sample; got {labels.dtype} {labels.shape}."
        )
    test = images.splits["test"]
    settings: dict[str, Any] = dict(epochs=epochs, seed=seed, verbose=verbose)
    split = small_classifiers.array_split(samples, labels)
    model = small_classifiers.trained(split, images.classes, **settings)
    accuracy = small_classifiers.accuracy(model, test)
    low, high = wilson_interval(round(accuracy * len(test)), len(test))
    reference = None
    if real:
        model = small_classifiers.trained(images.splits["train"], images.classes, **settings)
        reference = small_classifiers.accuracy(model, test)
    return SyntheticTraining(accuracy, low, high, reference, len(samples))


def _within(labels: np.ndarray, classes: int) -> bool:
    return bool(labels.min() >= 0 and labels.max() < classes)
