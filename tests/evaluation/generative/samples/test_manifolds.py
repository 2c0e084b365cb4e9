"""Precision, recall, density and coverage on points that can be drawn on paper."""

import numpy as np
import pytest

from kapps import evaluation
from kapps.errors import UserError

# On a line, k = 1. Real points 0, 1, 4, 20: radii 1, 1, 3, 16.
REAL = np.array([[0.0], [1.0], [4.0], [20.0]])
# Balls: [-1, 1], [0, 2], [1, 7], [4, 36]. Samples 2, 5, 6, 50 have radii 3, 1, 1, 44 and the balls
# [-1, 5], [4, 6], [5, 7], [6, 94].
SAMPLES = np.array([[2.0], [5.0], [6.0], [50.0]])


def test_by_hand():
    # Samples in real balls: 2 is in two (on the edge of one), 5 and 6 are in two, 50 in none.
    # Real points in sample balls: 0, 1, 4 (twice), 20: all four.
    found = evaluation.precision_recall(REAL, SAMPLES, k=1)
    assert found == (0.75, 1.0)
    # Density: (2 + 2 + 2 + 0) / (1 * 4). Coverage: the balls of 1, 4, 20 hold a sample, 0's none.
    assert evaluation.density_coverage(REAL, SAMPLES, k=1) == (1.5, 0.75)


def test_by_hand_with_the_second_neighbour():
    # Real radii for k = 2: 4, 3, 4, 19; balls [-4, 4], [-2, 4], [0, 8], [1, 39]. Sample 2 is in
    # four, 5 and 6 in two each, 50 in none: density 8 / (2 * 4); every ball holds a sample.
    assert evaluation.density_coverage(REAL, SAMPLES, k=2) == (1.0, 1.0)
    # Samples' radii: 4, 3, 4, 45; balls [-2, 6], [2, 8], [2, 10], [5, 95]: all real points inside.
    assert evaluation.precision_recall(REAL, SAMPLES, k=2) == (0.75, 1.0)
    # The roles are not symmetric: 50's ball is large, and real 20 is in it.
    assert evaluation.precision_recall(SAMPLES, REAL, k=2) == (1.0, 0.75)


def test_an_outlier_swallows_precision_and_not_density():
    # Twelve real points in a cluster, one far away; samples between them look like nothing real.
    cluster = np.random.default_rng(0).normal(scale=0.1, size=(30, 2))
    real = np.concatenate([cluster, [[100.0, 0.0]]])
    samples = np.random.default_rng(1).normal(scale=0.1, size=(30, 2)) + [50.0, 0.0]
    assert evaluation.precision_recall(real, samples, k=3).precision == 1.0
    density, coverage = evaluation.density_coverage(real, samples, k=3)
    assert density == pytest.approx(1 / 3) and coverage == pytest.approx(1 / 31)


def by_definition(real, samples, k):
    """Distances by differences, radii by sorting: no blocks and no matrix products."""

    def distances(a, b):
        return np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=-1))

    def radii(a):
        return np.sort(distances(a, a), axis=1)[:, k]  # the first is the point itself

    in_real = distances(samples, real) <= radii(real)
    in_samples = distances(real, samples) <= radii(samples)
    return (
        (in_real.any(axis=1).mean(), in_samples.any(axis=1).mean()),
        (in_real.sum() / k / len(samples), in_real.any(axis=0).mean()),
    )


@pytest.mark.parametrize("k", [1, 3, 5])
def test_any_points_in_any_blocks(k, monkeypatch):
    generator = np.random.default_rng(k)
    real, samples = generator.normal(size=(230, 6)), 0.8 * generator.normal(size=(170, 6)) + 0.3
    precision_recall, density_coverage = by_definition(real, samples, k)
    for megabytes in (128, 0.05):
        monkeypatch.setattr(
            "kapps.evaluation.generative.samples.manifolds._BLOCK_MEGABYTES", megabytes
        )
        # Far from the origin, where squares of 10^12 would hide distances of 1.
        for shift in (0.0, 1e6):
            found = evaluation.precision_recall(real + shift, samples + shift, k)
            assert found == pytest.approx(precision_recall)
            found = evaluation.density_coverage(real + shift, samples + shift, k)
            assert found == pytest.approx(density_coverage)
    assert 0.1 < precision_recall[1] < precision_recall[0] < 1


def test_equal_distributions_reach_the_expected_floor():
    generator = np.random.default_rng(3)
    real, samples = generator.normal(size=(2, 3000, 8))
    density, coverage = evaluation.density_coverage(real, samples)
    assert density == pytest.approx(1, abs=0.05)
    assert coverage == pytest.approx(1 - 2**-5, abs=0.01)  # Naeem et al., equation 9


def test_collapse_and_noise():
    generator = np.random.default_rng(4)
    real = generator.normal(size=(500, 4))
    one = real[:1] + 1e-6 * generator.normal(size=(500, 4))
    precision, recall = evaluation.precision_recall(real, one)
    assert precision == 1 and recall < 0.01
    assert evaluation.density_coverage(real, one).coverage < 0.05
    noise = generator.normal(size=(500, 4)) + 20
    assert evaluation.precision_recall(real, noise) == (0, 0)
    assert evaluation.density_coverage(real, noise) == (0, 0)


@pytest.mark.parametrize("measure", [evaluation.precision_recall, evaluation.density_coverage])
def test_too_few_points(measure):
    points = np.random.default_rng(0).normal(size=(6, 2))
    measure(points, points + 0.1, 5)
    for pair in ((points[:5], points), (points, points[:5])):
        with pytest.raises(UserError, match="more than 5 examples; there are 5"):
            measure(*pair, 5)
    with pytest.raises(UserError):
        measure(points, points, 0)
    with pytest.raises(UserError, match="not finite"):
        measure(points, np.full((6, 2), np.nan))
