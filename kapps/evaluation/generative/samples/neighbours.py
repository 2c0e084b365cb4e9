"""The training pictures that look most like a sample: has the model learned, or memorized?"""

from __future__ import annotations

import numpy as np


def nearest_neighbours(
    samples: np.ndarray, train: np.ndarray, k: int = 5, *, chunk: int = 10_000
) -> tuple[np.ndarray, np.ndarray]:
    """The `k` training pictures nearest to each sample, by pixel.

    The distance is the root mean square difference of the pixels, from 0 (a copy) to 1 (black
    against white). `train` is read in chunks, so it may be a memory map larger than the memory.

    Args:
        samples: uint8 or float 0..1, [n, H, W, C].
        train: the same kind of pictures, [m, H, W, C], m >= k.
        k: how many.
        chunk: training pictures at a time.

    Returns:
        Indices into `train`, int64 [n, k], nearest first, and the distances, float64 [n, k].

    Raises:
        ValueError: the pictures differ in shape, or there are fewer than `k`.
    """
    from sklearn.neighbors import NearestNeighbors

    if samples.shape[1:] != train.shape[1:] or not 1 <= k <= len(train):
        raise ValueError(f"{k} neighbours of {samples.shape} among {train.shape}")
    wanted = _flat(samples)
    indices = np.zeros((len(samples), 0), np.int64)
    distances = np.zeros((len(samples), 0))
    for start in range(0, len(train), chunk):
        part = _flat(train[start : start + chunk])
        search = NearestNeighbors(n_neighbors=min(k, len(part)), algorithm="brute").fit(part)
        found = search.kneighbors(wanted, return_distance=False)
        # The search subtracts large squares; the few that it finds are measured again, exactly.
        exact = np.stack(
            [
                np.sqrt(np.mean(np.square(part[row] - sample, dtype=np.float64), axis=-1))
                for row, sample in zip(found, wanted, strict=True)
            ]
        )
        indices = np.concatenate([indices, found + start], axis=1)
        distances = np.concatenate([distances, exact], axis=1)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
        indices = np.take_along_axis(indices, nearest, axis=1)
        distances = np.take_along_axis(distances, nearest, axis=1)
    return indices, distances


def _flat(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    scale = 255 if np.issubdtype(images.dtype, np.integer) else 1
    return images.reshape(len(images), -1).astype(np.float32) / scale
