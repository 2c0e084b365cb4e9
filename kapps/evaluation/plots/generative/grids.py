"""Pictures that generative models make, and what they were made of.

All functions take pictures as `image_grid` does: uint8, or floats from 0 to 1, `[n, H, W]` or
`[n, H, W, C]`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation.plots.grids import class_samples, image_grid, picture_rows

MOST_SAMPLES = 100
MOST_EPOCHS = 10
BRIGHTEST = 0.5  # difference of a pixel that is drawn in full colour


def sample_grid(
    pictures: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Samples in a square, the first 100; with labels, a row for every class.

    Args:
        pictures: the samples.
        labels: int [n], the classes that were asked for.
        class_names: by class; needed with labels.
    """
    if labels is not None:
        return class_samples(pictures, labels, class_names or [])
    pictures = np.asarray(pictures)[:MOST_SAMPLES]
    return image_grid(pictures, columns=max(1, math.ceil(math.sqrt(len(pictures)))))


def epoch_grid(
    grids: Sequence[np.ndarray], epochs: Sequence[int] | None = None, *, columns: int = 8
) -> Figure:
    """The same samples, of fixed noise, as training went on: a row per epoch.

    Of many epochs ten are drawn, evenly spread, the first and the last among them.

    Args:
        grids: the samples of each epoch.
        epochs: their numbers; 1, 2, 3 ... when None.
        columns: how many of the samples.
    """
    epochs = list(epochs) if epochs is not None else list(range(1, len(grids) + 1))
    chosen = evenly(len(grids), MOST_EPOCHS)
    return picture_rows(
        [np.asarray(grids[i])[:columns] for i in chosen], [f"epoch {epochs[i]}" for i in chosen]
    )


def reconstruction_grid(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    others: Sequence[tuple[str, np.ndarray]] = (),
    *,
    columns: int = 8,
) -> Figure:
    """Pictures, what became of them, and where the two differ; the mean squared error above each.

    The darker a pixel of the last row, the larger the difference; half of the range of a pixel or
    more is darkest.

    Args:
        originals: what the model was shown, or meant to find.
        reconstructions: as many.
        others: further rows put above the reconstructions, name and pictures: the noisy input of a
            denoising autoencoder, another model.
        columns: how many of them.
    """
    shown = _unit(originals[:columns]), _unit(reconstructions[:columns])
    difference = np.abs(shown[0] - shown[1])
    errors = np.mean(np.square(difference), axis=tuple(range(1, difference.ndim)))
    if difference.ndim == 4:
        difference = difference.mean(axis=-1)
    names = ["original", *(name for name, _ in others), "reconstruction", "difference"]
    rows = [shown[0], *(pictures[:columns] for _, pictures in others), shown[1]]
    return picture_rows(
        [*rows, _heat(difference / BRIGHTEST)],
        names,
        [f"{error:.4f}" for error in errors],
    )


def traversal_grid(
    pictures: np.ndarray,
    dimensions: Sequence[int] | np.ndarray,
    values: Sequence[float] | np.ndarray,
) -> Figure:
    """What each latent dimension does: a row per dimension, a column per value.

    Args:
        pictures: [dimensions, values, H, W, C], decoded from `evaluation.traversal`.
        dimensions: which ones.
        values: what they were set to.
    """
    return picture_rows(
        list(pictures), [f"z{i}" for i in dimensions], [f"{value:+.1f}" for value in values]
    )


def interpolation_grid(paths: Sequence[np.ndarray], names: Sequence[str] | None = None) -> Figure:
    """Ways from one picture to another, a row each.

    Args:
        paths: [steps, H, W, C] each, decoded from `evaluation.slerp` or `lerp`.
        names: of the rows, such as "spherical" and "linear".
    """
    return picture_rows(list(paths), names)


def manifold_grid(pictures: np.ndarray) -> Figure:
    """The whole of a latent space of two dimensions.

    Args:
        pictures: [side * side, H, W, C], decoded from `evaluation.normal_grid(side)`.
    """
    return image_grid(pictures, columns=max(1, math.isqrt(len(pictures))))


def neighbour_grid(
    samples: np.ndarray, neighbours: np.ndarray, distances: np.ndarray | None = None
) -> Figure:
    """Each sample, and right of it the training pictures nearest to it.

    Args:
        samples: [n, H, W, C].
        neighbours: [n, k, H, W, C], nearest first.
        distances: [n, k], as `evaluation.nearest_neighbours` measures them; the nearest's is
            written at the left.
    """
    rows = [
        np.concatenate([_unit(sample[None]), _unit(near)])
        for sample, near in zip(samples, neighbours, strict=True)
    ]
    names = None if distances is None else [f"{row[0]:.3f}" for row in distances]
    columns = ["sample", *(str(i + 1) for i in range(len(rows[0]) - 1))] if rows else None
    return picture_rows(rows, names, columns)


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of 0 ... count - 1, evenly spread, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))}) if count else []


def _unit(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    scale = 255 if np.issubdtype(images.dtype, np.integer) else 1
    return images.astype(np.float32) / scale


def _heat(values: np.ndarray) -> np.ndarray:
    """0 to 1 as white to dark orange, [n, H, W, 3]."""
    from matplotlib import colormaps

    return colormaps["Oranges"](np.clip(np.nan_to_num(values, nan=1.0), 0, 1))[..., :3]
