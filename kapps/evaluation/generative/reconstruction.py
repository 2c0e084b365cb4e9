"""How well pictures are reconstructed, beside the best linear code of the same size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import overload

import numpy as np

from kapps.errors import UserError


def reconstruction_mse(pictures: np.ndarray, reconstructions: np.ndarray) -> float:
    """Mean squared error of a pixel, in units of 0..1 (grey levels divided by 255).

    Args:
        pictures: [n, ...], uint8 of 0..255 or floats of 0..1.
        reconstructions: as many and of that shape, uint8 or floats of about 0..1; nothing is cut
            off.

    Raises:
        UserError: shapes that differ, or floats that are not of 0..1.
    """
    if np.shape(pictures) != np.shape(reconstructions) or not np.size(pictures):
        raise UserError(
            f"Pictures {np.shape(pictures)} and reconstructions {np.shape(reconstructions)} must "
            "have one shape."
        )
    return float(np.mean((_unit(pictures) - _unit(reconstructions)) ** 2))


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error in units of 0..1.

    10 log10(1 / MSE). Of a mean over images this is not the mean of their ratios.
    """
    return 10.0 * math.log10(1.0 / max(mse, 1e-12))


@overload
def pca_mse(train: np.ndarray, test: np.ndarray, dims: int) -> float: ...


@overload
def pca_mse(train: np.ndarray, test: np.ndarray, dims: Sequence[int]) -> dict[int, float]: ...


def pca_mse(
    train: np.ndarray, test: np.ndarray, dims: int | Sequence[int]
) -> float | dict[int, float]:
    """Mean squared error of a pixel when pictures are reconstructed from principal components.

    What a linear autoencoder with so many units reaches at best (Baldi and Hornik 1989), and
    every other has to beat. The decomposition is exact, not randomized, in float64.

    Args:
        train: pictures [n, ...] that the components are taken from, uint8 or floats of 0..1.
        test: pictures [m, ...] that are reconstructed.
        dims: number of components, or several.

    Returns:
        The error, or a dictionary of errors when there are several `dims`.

    Raises:
        UserError: more components than the pictures have, shapes that differ, or floats that are
            not of 0..1.
    """
    from sklearn.decomposition import PCA

    one = isinstance(dims, int | np.integer)
    several = [dims] if one else list(dims)
    if np.shape(train)[1:] != np.shape(test)[1:] or not np.size(train) or not np.size(test):
        raise UserError(f"Pictures {np.shape(train)} and {np.shape(test)} must have one shape.")
    x, y = (_unit(pictures).reshape(len(pictures), -1) for pictures in (train, test))
    most = min(x.shape)
    if not several or not all(1 <= count <= most for count in several):
        raise UserError(f"1 to {most} components can be taken from these pictures, not {dims!r}.")
    # The small matrix of the two is decomposed.
    solver = "covariance_eigh" if x.shape[1] <= x.shape[0] else "full"
    pca = PCA(max(several), svd_solver=solver).fit(x)
    # Components are orthonormal: what is kept of a picture is the squares of its scores.
    kept = np.cumsum((pca.transform(y) ** 2).mean(axis=0))
    total = ((y - pca.mean_) ** 2).sum(axis=1).mean()
    errors = {int(n): max(float(total - kept[n - 1]), 0.0) / x.shape[1] for n in several}
    return errors[int(dims)] if one else errors


def _unit(pictures: np.ndarray) -> np.ndarray:
    pictures = np.asarray(pictures)
    if pictures.dtype == np.uint8:
        return pictures / 255.0
    pixels = pictures.astype(np.float64)
    if not (np.abs(pixels) <= 2.0).all():  # room for an autoencoder that overshoots
        raise UserError(
            "Pictures are uint8 of 0..255, or floats of 0..1; these floats reach "
            f"{np.abs(pixels).max():g}. Divide levels by 255."
        )
    return pixels
