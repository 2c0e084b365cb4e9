"""Distances between sets of features against SciPy, closed forms and sums by hand."""

import numpy as np
import pytest
from scipy import linalg, stats

from kapps import evaluation
from kapps.errors import UserError


def gaussian(count, width, seed):
    return np.random.default_rng(seed).normal(size=(count, width))


def with_moments(mean, covariance, seed=0):
    """Points whose sample mean and covariance are exactly these."""
    mean, covariance = np.atleast_1d(mean), np.atleast_2d(covariance)
    points = gaussian(4 * len(mean) + 5, len(mean), seed)
    points -= points.mean(axis=0)
    whiten = linalg.inv(linalg.sqrtm(np.atleast_2d(np.cov(points, rowvar=False))).real)
    return points @ whiten @ linalg.sqrtm(covariance).real + mean


def by_sqrtm(a, b):
    """The formula as it stands in the paper."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = linalg.sqrtm(cov_a @ cov_b).real
    shift = a.mean(axis=0) - b.mean(axis=0)
    return shift @ shift + np.trace(cov_a + cov_b - 2 * root)


@pytest.mark.parametrize("width", [2, 7, 30])
def test_frechet_is_the_formula_with_a_matrix_root(width):
    a = gaussian(200, width, 1) @ gaussian(width, width, 2)
    b = gaussian(150, width, 3) @ gaussian(width, width, 4) + 0.5
    found = evaluation.frechet_distance(a, b)
    assert found == pytest.approx(by_sqrtm(a, b), rel=1e-8)
    assert found == pytest.approx(evaluation.frechet_distance(b, a), rel=1e-10)


def test_frechet_between_gaussians_by_hand():
    # One dimension: (m1 - m2)^2 + (s1 - s2)^2, standard deviations 3 and 1, means 2 and -1.
    a, b = with_moments(2.0, 9.0), with_moments(-1.0, 1.0, seed=1)
    assert evaluation.frechet_distance(a, b) == pytest.approx(9 + 4)
    # Covariances that commute: the squared distance of the roots of the eigenvalues.
    a = with_moments([0, 0], [[4, 0], [0, 1]])
    b = with_moments([3, 4], [[1, 0], [0, 9]], seed=1)
    assert evaluation.frechet_distance(a, b) == pytest.approx(25 + 1 + 4)
    # And such that do not: for diag(4, 1) and [[2, 1], [1, 2]] the product has trace 10 and
    # determinant 12, so its root has the trace sqrt(10 + 2 sqrt 12).
    a = with_moments([0, 0], [[4, 0], [0, 1]])
    b = with_moments([0, 0], [[2, 1], [1, 2]], seed=1)
    exact = 5 + 4 - 2 * np.sqrt(10 + 2 * np.sqrt(12))
    assert evaluation.frechet_distance(a, b) == pytest.approx(exact, rel=1e-9)


def test_frechet_of_nearly_singular_covariances():
    # Rank 3 of 8: by the general root of SciPy this is complex, or far off.
    mix = gaussian(3, 8, 5)
    a, b = gaussian(400, 3, 6) @ mix, 2 * gaussian(500, 3, 7) @ mix
    found = evaluation.frechet_distance(a, b)
    # The same in the three dimensions in which they vary (an isometry of that subspace).
    basis = linalg.orth(mix.T)
    assert found == pytest.approx(by_sqrtm(a @ basis, b @ basis), rel=1e-7)
    assert evaluation.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert evaluation.frechet_distance(a, a) >= 0


def test_frechet_in_float32_features_keeps_its_digits():
    # Features far from the origin: squares in float32 would drown the variance.
    a, b = gaussian(500, 4, 8), gaussian(500, 4, 9)
    far = [(x + 1000).astype(np.float32) for x in (a, b)]
    exact = by_sqrtm(*(x.astype(np.float64) for x in far))
    assert evaluation.frechet_distance(*far) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    "width, count, bias", [(64, 1000, 2.27), (64, 5000, 0.45), (64, 10_000, 0.22)]
)
def test_the_bias_of_equal_distributions(width, count, bias):
    # Measured elsewhere, for standard normal features.
    a, b = gaussian(count, width, 10), gaussian(count, width, 11)
    assert evaluation.frechet_distance(a, b) == pytest.approx(bias, rel=0.04)


def test_frechet_needs_more_examples_than_features():
    few, many = gaussian(8, 8, 0), gaussian(9, 8, 1)
    assert evaluation.frechet_distance(many, many + 1) == pytest.approx(8)
    for pair in ((few, many), (many, few)):
        with pytest.raises(UserError, match="8 examples with 8 features.*more than 8"):
            evaluation.frechet_distance(*pair)


def test_kernel_distance_by_hand():
    # Two subsets of two: with one feature k(x, y) = (x y + 1)^3. All points of a set are equal, so
    # no shuffling matters: a = 1, b = 2: 8 + 125 - 2 * 27 = 79, in both subsets.
    found = evaluation.kernel_distance(np.ones((4, 1)), np.full((4, 1), 2.0))
    assert found.value == pytest.approx(79) and found.error == pytest.approx(0)
    # Two features: x.y is divided by 2. a = (1, 1): (2/2 + 1)^3 = 8; b = (2, 0): 27; mixed 8.
    a, b = np.tile([1.0, 1.0], (4, 1)), np.tile([2.0, 0.0], (6, 1))
    assert evaluation.kernel_distance(a, b, subset_size=2).value == pytest.approx(8 + 27 - 2 * 8)


def test_kernel_distance_is_the_mean_of_unbiased_subsets():
    a, b = gaussian(60, 3, 1), gaussian(50, 3, 2) + 0.3
    found = evaluation.kernel_distance(a, b, subset_size=25, seed=4)

    def unbiased(x, y):
        def k(u, v):
            return (np.dot(u, v) / 3 + 1) ** 3

        n, m = len(x), len(y)
        within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j)
        within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j)
        between = sum(k(u, v) for u in x for v in y)
        return within_x / n / (n - 1) + within_y / m / (m - 1) - 2 * between / n / m

    generator = np.random.default_rng(4)
    one, two = generator.permutation(60), generator.permutation(50)
    # Twenty subsets at least: twenty-five of two.
    parts = [unbiased(a[one[i : i + 2]], b[two[i : i + 2]]) for i in range(0, 50, 2)]
    assert found.value == pytest.approx(np.mean(parts))
    assert found.error == pytest.approx(stats.sem(parts))
    interval = stats.t.interval(0.95, 24, found.value, found.error)
    assert (found.low, found.high) == pytest.approx(interval)


def test_kernel_distance_has_no_bias_and_an_honest_error():
    # 200 comparisons of equal distributions, at a count where the biased estimate is far off.
    pairs = [
        evaluation.kernel_distance(gaussian(80, 8, 2 * i), gaussian(80, 8, 2 * i + 1))
        for i in range(200)
    ]
    values, errors, _, _ = np.transpose(pairs)
    spread = values.std(ddof=1)
    assert abs(values.mean()) < 3 * spread / np.sqrt(200)
    # The root of the mean squared error is the spread of the values.
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(spread, rel=0.2)


def test_kernel_distance_is_seeded_and_grows():
    a, b = gaussian(300, 5, 1), gaussian(300, 5, 2)
    near, far = (evaluation.kernel_distance(a, b + by, subset_size=60) for by in (0.5, 1.0))
    assert far.value > near.value > 5 * near.error
    again = evaluation.kernel_distance(a, b + 0.5, subset_size=60)
    assert again == near
    assert evaluation.kernel_distance(a, b + 0.5, subset_size=60, seed=1) != near


@pytest.mark.parametrize("measure", [evaluation.frechet_distance, evaluation.kernel_distance])
def test_features_that_cannot_be_compared(measure):
    good = gaussian(20, 3, 0)
    broken = good.copy()
    broken[4, 1] = np.nan
    broken[7, 0] = np.inf
    with pytest.raises(UserError, match="2 of 20 examples are not finite"):
        measure(good, broken)
    for wrong in (gaussian(20, 4, 1), good[0], good[:0]):
        with pytest.raises(UserError, match="of one width"):
            measure(good, wrong)
    with pytest.raises(UserError):
        measure(good[:3], good[:3])


@pytest.mark.slow
@pytest.mark.parametrize(("count", "shift"), [(100, 0.0), (1000, 0.0), (300, 0.05), (1000, 0.3)])
def test_the_interval_of_the_kernel_distance_holds_the_truth(count, shift):
    """Simulation: features of a rectified random layer; the truth is the mean of many estimates."""
    rng = np.random.default_rng(0)
    layer = rng.normal(size=(32, 32)) / np.sqrt(32)

    def drawn(size, by):
        return np.maximum(rng.normal(size=(size, 32)) @ layer + by, 0)

    truth = 0.0
    if shift:
        many = [evaluation.kernel_distance(drawn(4000, 0), drawn(4000, shift)) for _ in range(20)]
        truth = np.mean([found.value for found in many])
    repeats = 300 if count < 1000 else 150
    found = [
        evaluation.kernel_distance(drawn(count, 0), drawn(count, shift)) for _ in range(repeats)
    ]
    held = np.mean([one.low <= truth <= one.high for one in found])
    # 300 simulations: two standard errors are 2.5 points, 150: 3.6.
    assert 0.90 <= held <= 0.985
