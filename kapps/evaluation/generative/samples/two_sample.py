"""Can samples be told from real pictures? An accuracy of one half says no."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kapps.errors import UserError
from kapps.evaluation.generative.samples import small_classifiers
from kapps.evaluation.generative.samples.distances import checked_features
from kapps.evaluation.metrics.classification import wilson_interval


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


class ClassifierTest(NamedTuple):
    """Held-out accuracy with its 95 % interval, on `examples` pictures, half of them real."""

    accuracy: float
    low: float
    high: float
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


def classifier_two_sample_test(
    real: np.ndarray,
    samples: np.ndarray,
    *,
    held_out: float = 0.5,
    epochs: int | None = None,
    seed: int = 0,
    verbose: str | int = 0,
) -> ClassifierTest:
    """Train a small CNN to tell samples from real pictures; its accuracy on held-out ones.

    Lopez-Paz and Oquab 2017 (arXiv:1610.06545, section 3). An interval that holds one half: this
    network found no difference. It needs no features, and finds artefacts that a network trained
    on classes overlooks; even good GANs are far above one half.

    Args:
        real: pictures uint8 [n, H, W, C].
        samples: pictures uint8 [m, H, W, C]; the larger set is cut to the size of the smaller.
        held_out: share of both that is not trained on.
        epochs: None for a few thousand steps.
        seed: seed of the division, the weights and the order.
        verbose: as in `keras.Model.fit`.

    Raises:
        UserError: pictures that are not uint8 or of different shapes, or too few of them.
    """
    real, samples = np.asarray(real), np.asarray(samples)
    if real.dtype != np.uint8 or samples.dtype != np.uint8 or real.shape[1:] != samples.shape[1:]:
        raise UserError(
            "Two sets of uint8 pictures of one shape are wanted, not "
            f"{real.dtype} {real.shape} and {samples.dtype} {samples.shape}."
        )
    real, samples = even_sets(real, samples, seed)
    kept = round(len(real) * (1.0 - held_out))
    if not 1 <= kept < len(real):
        raise UserError(f"{len(real)} pictures of each kind cannot be divided by {held_out}.")
    pictures = np.concatenate([real[:kept], samples[:kept], real[kept:], samples[kept:]])
    labels = np.repeat([0, 1, 0, 1], [kept, kept, len(real) - kept, len(real) - kept])
    train = small_classifiers.array_split(pictures[: 2 * kept], labels[: 2 * kept])
    test = small_classifiers.array_split(pictures[2 * kept :], labels[2 * kept :])
    model = small_classifiers.trained(train, 2, epochs=epochs, seed=seed, verbose=verbose)
    accuracy = small_classifiers.accuracy(model, test)
    low, high = wilson_interval(round(accuracy * len(test)), len(test))
    return ClassifierTest(accuracy, low, high, len(test))


def even_sets(a: np.ndarray, b: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Both sets shuffled and cut to the size of the smaller."""
    count = min(len(a), len(b))
    generator = np.random.default_rng(seed)
    return tuple(x[generator.permutation(len(x))[:count]] for x in (a, b))
