"""Numbers that training takes from the training split."""

import numpy as np

from kapps.data.images.dataset import Split
from kapps.errors import UserError

_SAMPLE = 10_000
_CHUNK = 256


def class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights by which every class present has the same share of the loss, float32 [classes].

    A class of n_c examples among n of k classes weighs n / (k n_c): the mean over all examples is
    1. A class without examples weighs 0.
    """
    labels = np.asarray(labels)
    if not labels.size:
        raise UserError("there are no labels to weigh")
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(
            f"labels run from {labels.min()} to {labels.max()}, {classes} classes allow 0 to "
            f"{classes - 1}"
        )
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    weights = labels.size / (present * np.maximum(counts, 1)) * (counts > 0)
    return weights.astype(np.float32)


def pixel_statistics(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, float64 [C] each, for values scaled to 0..1.

    Taken over all pixels of the split, or of a seeded sample of 10,000 pictures of a larger one.
    The deviation is at least one grey level, so that constant pictures can be divided by it.
    """
    rows = np.arange(len(split))
    if len(rows) > _SAMPLE:
        rows = np.sort(np.random.RandomState(0).permutation(len(rows))[:_SAMPLE])
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, len(rows), _CHUNK):
        pixels = split.take(rows[start : start + _CHUNK]).astype(np.int64)
        count += pixels[..., 0].size
        total += pixels.sum((0, 1, 2))  # whole numbers: exact, whatever the number of pictures
        squares += np.square(pixels).sum((0, 1, 2))
    if not count:
        raise UserError("an empty split has no mean and no standard deviation")
    mean = np.asarray(total / count)
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return mean / 255, np.maximum(deviation, 1.0) / 255


def mean_image(split: Split) -> np.ndarray:
    """The mean image of a split, float64 [H, W, C] of 0..255.

    Raises:
        UserError: an empty split.
    """
    if not len(split):
        raise UserError("an empty split has no mean")
    parts = range(0, len(split), _CHUNK)
    # Whole numbers: exact, whatever the number of images.
    sums = (split.take(range(i, min(i + _CHUNK, len(split)))).sum(axis=0) for i in parts)
    return np.asarray(sum(sums) / len(split))
