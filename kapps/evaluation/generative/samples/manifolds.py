"""Fidelity and variety apart: how samples and real pictures lie in each other's neighbourhoods.

All of it is exact, on balls whose radius is the distance to the k-th nearest neighbour of one's
own kind. Distances are those of 64-bit matrix products, a block of rows at a time: memory does not
grow with the square of the counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kapps.errors import UserError
from kapps.evaluation.generative.samples.distances import checked_features

NEIGHBOURS = 5
_BLOCK_MEGABYTES = 128


class PrecisionRecall(NamedTuple):
    """Shares of samples that look real, and of real pictures that the samples surround."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Mean number of real neighbourhoods a sample is in, over k; share of them with a sample."""

    density: float
    coverage: float


def precision_recall(real: np.ndarray, samples: np.ndarray, k: int = NEIGHBOURS) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991, equation 1).

    Precision is the share of samples that are within the k-th neighbour's distance of some real
    example; recall swaps the roles. A single outlier among the real pictures has a large ball, and
    swallows many samples: read it beside density and coverage.

    Args:
        real: features [n, d].
        samples: features [m, d].
        k: which neighbour gives the radius.

    Raises:
        UserError: not more than k examples, widths that differ, numbers that are not finite.
    """
    real, samples = _centered(real, samples, k)
    found = [
        np.concatenate([inside.any(axis=1) for inside in _membership(points, centres, k)])
        for points, centres in ((samples, real), (real, samples))
    ]
    return PrecisionRecall(*(float(hits.mean()) for hits in found))


def density_coverage(real: np.ndarray, samples: np.ndarray, k: int = NEIGHBOURS) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020, arXiv:2002.09797, equations 4 and 5).

    Density is the number of real balls a sample lies in, divided by k and averaged over samples
    (about 1 for real pictures, and it may exceed 1); coverage is the share of real balls in which
    at least one sample lies. Its expectation for equal distributions is `1 - 2^-k` with as many
    samples as real examples: 0.969 for k = 5.

    Args:
        real: features [n, d].
        samples: features [m, d].
        k: which neighbour gives the radius.

    Raises:
        UserError: not more than k examples, widths that differ, numbers that are not finite.
    """
    real, samples = _centered(real, samples, k)
    total, covered = 0, np.zeros(len(real), bool)
    for inside in _membership(samples, real, k):
        total += int(inside.sum())
        covered |= inside.any(axis=0)
    return DensityCoverage(total / (k * len(samples)), float(covered.mean()))


def _centered(real: np.ndarray, samples: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    real, samples = checked_features(real, samples)
    fewest = min(len(real), len(samples))
    if k < 1 or fewest <= k:
        raise UserError(f"The {k}-th neighbour needs more than {k} examples; there are {fewest}.")
    # Matrix products cancel: the nearer the origin, the more digits remain.
    centre = real.mean(axis=0)
    return real - centre, samples - centre


def _membership(points: np.ndarray, centres: np.ndarray, k: int) -> Iterator[np.ndarray]:
    """Blocks of bool [some points, centres]: is the point in the centre's ball?"""
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    # Without arguments the neighbours of the fitted points are asked for, themselves excluded.
    distances, _ = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(centres).kneighbors()
    radii = distances[:, -1]
    return pairwise_distances_chunked(
        points,
        centres,
        reduce_func=lambda block, start: block <= radii,
        working_memory=_BLOCK_MEGABYTES,
    )
