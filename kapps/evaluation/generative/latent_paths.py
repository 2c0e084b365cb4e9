"""Paths and grids in a latent space. NumPy alone; a decoder makes pictures of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TINY = 1e-12


def lerp(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """Straight line from `a` to `b`: `steps` points, both ends among them.

    Args:
        a: [..., latent_dim].
        b: the same shape.
        steps: 2 at least.

    Returns:
        float64 [steps, ..., latent_dim].

    Raises:
        ValueError: shapes differ, or fewer than two steps.
    """
    a, b, t = _ends(a, b, steps)
    return (1 - t) * a + t * b


def slerp(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """Spherical interpolation: the direction turns at a constant rate, the norm grows linearly.

    Samples of a normal distribution in d dimensions lie near a sphere of radius sqrt(d); the middle
    of a straight line between two of them does not, and a decoder has seen little there. For ends
    of equal norm this is the formula of arXiv:1609.04468. Opposite ends have many shortest ways:
    one of them is taken, always the same. Where an end is zero, or there is no way around (opposite
    ends on a line), it is `lerp`.

    Args:
        a: [..., latent_dim].
        b: the same shape.
        steps: 2 at least.

    Returns:
        float64 [steps, ..., latent_dim].

    Raises:
        ValueError: shapes differ, or fewer than two steps.
    """
    a, b, t = _ends(a, b, steps)
    norm_a, norm_b = (np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    u, v = a / np.maximum(norm_a, TINY), b / np.maximum(norm_b, TINY)
    cosine = np.sum(u * v, axis=-1, keepdims=True)
    across = v - cosine * u
    sine = np.linalg.norm(across, axis=-1, keepdims=True)
    # Of (nearly) opposite or equal directions the difference is noise: any way round will do.
    across = np.where(sine < 1e-7, _perpendicular(u), across)
    length = np.linalg.norm(across, axis=-1, keepdims=True)
    across = across / np.maximum(length, TINY)
    angle = t * np.arctan2(sine, cosine)
    turned = np.cos(angle) * u + np.sin(angle) * across
    path = ((1 - t) * norm_a + t * norm_b) * turned
    path[0], path[-1] = a, b
    straight = (norm_a < TINY) | (norm_b < TINY) | (length < TINY)
    return np.where(straight, (1 - t) * a + t * b, path)


def traversal(
    z: np.ndarray,
    dimensions: Sequence[int] | np.ndarray,
    values: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """Copies of `z` with one coordinate replaced: float64 [dimensions, values, latent_dim].

    Args:
        z: [latent_dim], where the walk begins, such as the mean of a picture.
        dimensions: which coordinates.
        values: what each is set to; under a standard normal prior -3 to 3 covers 99.7 %.
    """
    z = np.asarray(z, np.float64)
    points = np.tile(z, (len(dimensions), len(values), 1))
    for row, dimension in zip(points, dimensions, strict=True):
        row[:, dimension] = values
    return points


def normal_grid(side: int) -> np.ndarray:
    """A square grid of equal probability under the standard normal of two dimensions.

    The middles of `side` strips of equal mass on each axis, through the inverse of the normal's
    distribution function (arXiv:1312.6114, figure 4). The first row is at the top: the second
    coordinate falls from row to row, the first rises from left to right.

    Returns:
        float64 [side * side, 2], row by row.
    """
    from scipy.special import ndtri

    middles = ndtri((np.arange(side) + 0.5) / side)
    x, y = np.meshgrid(middles, middles[::-1])
    return np.stack([x.ravel(), y.ravel()], axis=-1)


def _ends(a, b, steps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim == 0:
        raise ValueError(f"the ends have shapes {a.shape} and {b.shape}; equal ones are needed")
    if steps < 2:
        raise ValueError(f"{steps} steps; a path has two ends at least")
    return a, b, np.linspace(0, 1, steps).reshape(-1, *[1] * a.ndim)


def _perpendicular(u: np.ndarray) -> np.ndarray:
    """A vector at right angles to each unit vector; zero in one dimension, which has none."""
    axis = np.eye(u.shape[-1])[np.argmin(np.abs(u), axis=-1)]
    return axis - np.sum(axis * u, axis=-1, keepdims=True) * u
