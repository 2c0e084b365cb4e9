"""The kernel of a first layer that whitens patches, from the training images."""

from __future__ import annotations

import numpy as np

from kapps.data.images.dataset import Split
from kapps.errors import UserError

_SAMPLE = 5_000  # images; each has hundreds of patches
_CHUNK = 256
# Added to the variances, those of normalized pixels being about 1: a direction in which patches
# hardly vary holds noise, and is not blown up to the size of the others.
EPSILON = 5e-4


def whitening_kernel(
    split: Split, side: int, pixel_mean: np.ndarray, pixel_std: np.ndarray
) -> np.ndarray:
    """The principal components of patches, each over its standard deviation, with both signs.

    A convolution with it turns neighbouring pixels, of natural images nearly equal, into
    uncorrelated features of variance 1, so that all that follows begins on an equal footing. The
    signs keep what a ReLU would cut off. arXiv:2404.00498, section 3.2; PCA whitening itself is
    older (Bell and Sejnowski 1997).

    Args:
        split: the training images; of more than 5,000 a seeded sample is taken.
        side: of the patches, in pixels.
        pixel_mean: of the split in units of 0..1, one number per channel.
        pixel_std: likewise.

    Returns:
        float32 `[side, side, channels, 2 * side * side * channels]`, of the largest variance first.

    Raises:
        UserError: an empty split, or images smaller than a patch.
    """
    rows = np.arange(len(split))
    if not len(rows):
        raise UserError("an empty split has no patches to whiten")
    if len(rows) > _SAMPLE:
        rows = np.sort(np.random.RandomState(0).permutation(len(rows))[:_SAMPLE])
    height, width, channels = split.take(rows[:1]).shape[1:]
    if side > min(height, width):
        raise UserError(
            f"patches of {side} x {side} pixels cannot be whitened: the images have "
            f"{height} x {width}"
        )
    size = side * side * channels
    count, total, products = 0, np.zeros(size), np.zeros((size, size))
    for start in range(0, len(rows), _CHUNK):
        images = split.take(rows[start : start + _CHUNK])
        images = (images / 255.0 - np.asarray(pixel_mean)) / np.asarray(pixel_std)
        windows = np.lib.stride_tricks.sliding_window_view(images, (side, side), axis=(1, 2))
        # [b, h, w, channels, side, side] -> the order of a kernel's entries
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size)
        count += len(patches)
        total += patches.sum(axis=0)
        products += patches.T @ patches
    mean = total / count
    variances, components = np.linalg.eigh(products / count - np.outer(mean, mean))
    order = np.argsort(variances)[::-1]
    scaled = components[:, order] / np.sqrt(np.maximum(variances[order], 0.0) + EPSILON)
    kernel = np.concatenate([scaled, -scaled], axis=1)
    return kernel.reshape(side, side, channels, 2 * size).astype(np.float32)
