"""Can samples be told from real pictures? An accuracy of one half says no."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kapps.errors import UserError
from kapps.evaluation.generative.samples.distances import checked_features


class NeighbourTest(NamedTuple):
    """Accuracies of the nearest-neighbour test.

    `accuracy` over both kinds, `real` among real pictures, `samples` among samples; `examples` of
    each kind. One half: equal. Towards 1: apart; real high and samples low: samples miss parts of
    the data; towards 0: samples are copies of the very pictures they are compared with.
    """

    accuracy: float
    real: float
    samples: float
    examples: int


def nearest_neighbour_test(
    real: np.ndarray, samples: np.ndarray, *, seed: int = 0
) -> NeighbourTest:
    """Leave-one-out accuracy of the nearest neighbour at telling real from sampled.

    Lopez-Paz and Oquab 2017 (arXiv:1610.06545, section 4) with a 1-NN classifier, read as in Xu
    et al. 2018 (arXiv:1806.07755, section 3). The larger set is cut, at random, to the size of the
    smaller, since accuracies of unequal ones are not near one half.

    Args:
        real: features [n, d].
        samples: features [m, d].
        seed: seed of the cut.

    Raises:
        UserError: fewer than two examples, widths that differ, numbers that are not finite.
    """
    from sklearn.neighbors import NearestNeighbors

    real, samples = checked_features(real, samples)
    real, samples = even_sets(real, samples, seed)
    count = len(real)
    if count < 2:
        raise UserError("Two real examples and two samples at least are needed; got one.")
    together = np.concatenate([real, samples])
    together -= together.mean(axis=0)  # matrix products cancel less near the origin
    # Without arguments kneighbors leaves each point itself out.
    neighbours = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(together)
    nearest = neighbours.kneighbors(return_distance=False)[:, 0]
    sampled = np.arange(2 * count) >= count
    right = sampled[nearest] == sampled
    return NeighbourTest(
        float(right.mean()), float(right[:count].mean()), float(right[count:].mean()), count
    )


def even_sets(a: np.ndarray, b: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets shuffled and cut to the size of the smaller."""
    count = min(len(a), len(b))
    generator = np.random.default_rng(seed)
    first, second = (x[generator.permutation(len(x))[:count]] for x in (a, b))
    return first, second
