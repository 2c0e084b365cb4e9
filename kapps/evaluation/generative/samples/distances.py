"""Distances between two sets of feature vectors: how far samples are from real pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from kapps.errors import UserError

SUBSETS = 20  # at least: of fewer, a standard error says too little


class KernelDistance(NamedTuple):
    """A kernel distance, its standard error, and its 95 % interval `low` to `high`."""

    value: float
    error: float
    low: float
    high: float


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance between Gaussians fitted to two sets of features.

    `|mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2))`: on Inception's features this
    is the FID of Heusel et al. 2017 (arXiv:1706.08500, equation 6). It has the square of the
    features' unit, and it is too large, by about `(d (d + 1) / 4 + d) (1 / n + 1 / m)` for features
    of unit covariance: compare figures of the same counts only, beside what real pictures get.

    The trace of the root is the sum of the singular values of `cov_a^(1/2) cov_b^(1/2)`, with
    roots by symmetric eigen-decomposition in float64. A general matrix root loses half of the
    digits, or ends with complex numbers, where covariances are nearly singular.

    Args:
        a: features [n, d].
        b: features [m, d].

    Raises:
        UserError: n or m is not above d (the covariance would be singular), the widths differ, or
            there are numbers that are not finite.
    """
    a, b = checked_features(a, b)
    for features in (a, b):
        count, width = features.shape
        if count <= width:
            raise UserError(
                f"The Fréchet distance of {count} examples with {width} features means nothing: "
                f"take more than {width} examples (10,000 is the custom), or fewer features."
            )
    cov_a, cov_b = (np.atleast_2d(np.cov(features, rowvar=False)) for features in (a, b))
    shift = a.mean(axis=0) - b.mean(axis=0)
    overlap = np.linalg.svd(_root(cov_a) @ _root(cov_b), compute_uv=False).sum()
    distance = shift @ shift + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap
    return max(float(distance), 0.0)  # rounding may end below zero for equal sets


def kernel_distance(
    a: np.ndarray, b: np.ndarray, *, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Squared maximum mean discrepancy under the kernel `(x.y / d + 1)^3`, without bias.

    On Inception's features this is the KID of Bińkowski et al. 2018 (arXiv:1801.01401, section
    4). Its expectation is zero for equal distributions whatever the counts, so it may be negative.
    The sets are shuffled and divided into disjoint subsets; the value is the mean of the subsets'
    unbiased estimates, the error their standard deviation over the root of their number, and the
    interval Student's. Disjoint ones are independent; the errors of overlapping subsets are too
    small. There are twenty at least: the interval of two subsets held the truth in 68 % of cases.

    Args:
        a: features [n, d].
        b: features [m, d].
        subset_size: examples of each set in a subset at most; so few that there are 20 subsets, or
            as many as two examples each allow.
        seed: seed of the shuffling.

    Raises:
        UserError: fewer than four examples, widths that differ, numbers that are not finite.
    """
    a, b = checked_features(a, b)
    fewest = min(len(a), len(b))
    if fewest < 4 or subset_size < 2:
        raise UserError(
            "The kernel distance needs two subsets of two examples of each set at least; got "
            f"{fewest} examples and subset_size {subset_size}."
        )
    size = min(subset_size, max(2, fewest // SUBSETS))
    subsets = fewest // size
    generator = np.random.default_rng(seed)
    a, b = (
        features[generator.permutation(len(features))[: subsets * size]].reshape(subsets, size, -1)
        for features in (a, b)
    )
    estimates = [_squared_discrepancy(x, y) for x, y in zip(a, b, strict=True)]
    value, error = float(np.mean(estimates)), float(np.std(estimates, ddof=1) / np.sqrt(subsets))
    width = float(stats.t.ppf(0.975, subsets - 1)) * error
    return KernelDistance(value, error, value - width, value + width)


def checked_features(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features, float64 [n, d] and [m, d], finite and not empty.

    Raises:
        UserError: they are not.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.size or not b.size:
        raise UserError(
            f"Features [n, d] and [m, d] of one width are wanted, not {a.shape} and {b.shape}."
        )
    for features in (a, b):
        broken = int(np.sum(~np.isfinite(features).all(axis=-1)))
        if broken:
            raise UserError(
                f"The features of {broken} of {len(features)} examples are not finite numbers: "
                "look at the samples, and at the model that drew them."
            )
    return a, b


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric root of a covariance; rounding's negative eigenvalues count as zero."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _squared_discrepancy(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate of equation 4 in the KID paper: no example meets itself."""

    def kernel(u, v):
        return (u @ v.T / u.shape[1] + 1.0) ** 3

    within = 0.0
    for u in (x, y):
        values, count = kernel(u, u), len(u)
        within += (values.sum() - np.trace(values)) / (count * (count - 1))
    return within - 2.0 * kernel(x, y).mean()
