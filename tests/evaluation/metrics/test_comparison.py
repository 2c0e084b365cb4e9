"""Paired comparisons against SciPy, hand counts and simulations of their coverage."""

import numpy as np
import pytest
from scipy import stats

from kapps import evaluation


def pairs(rng, count, both=0.7, first=0.12, second=0.06):
    kinds = rng.choice(4, count, p=[both, first, second, 1 - both - first - second])
    return np.isin(kinds, (0, 1)), np.isin(kinds, (0, 2))


def test_by_hand():
    first = np.array([1] * 12 + [0] * 4 + [1] * 80 + [0] * 4, bool)
    second = np.array([0] * 12 + [1] * 4 + [1] * 80 + [0] * 4, bool)
    found = evaluation.mcnemar(first, second)
    assert found.difference == pytest.approx(0.08)
    assert found.p == pytest.approx(stats.binomtest(4, 16).pvalue)
    a, b = 13 / 102, 5 / 102
    width = 1.959964 * np.sqrt((a + b - (a - b) ** 2) / 102)
    assert (found.low, found.high) == pytest.approx((a - b - width, a - b + width))
    swapped = evaluation.mcnemar(second, first)
    assert swapped[:3] == pytest.approx((-found.difference, -found.high, -found.low))
    assert evaluation.mcnemar(first, first).p == 1
    with pytest.raises(ValueError, match="pairs"):
        evaluation.mcnemar(first, second[:5])


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, 300])
def test_the_interval_holds_the_truth(count):
    rng = np.random.default_rng(0)
    held = [
        found.low <= 0.06 <= found.high
        for found in (evaluation.mcnemar(*pairs(rng, count)) for _ in range(1000))
    ]
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(("count", "least"), [(20, 0.9), (60, 0.93)])
def test_the_paired_bootstrap_holds_the_truth(count, least):
    """Squared errors of two regressions that share most of their error: skewed, so few are hard."""
    rng, held = np.random.default_rng(0), []
    for seed in range(500):
        shared, a, b = rng.normal(size=(3, count))
        apart = (shared + 0.6 * b) ** 2 - (shared + 0.3 * a) ** 2
        found = evaluation.paired_bootstrap(
            lambda rows, apart=apart: float(apart[rows].mean()), count, seed=seed
        )
        held.append(found.low <= 0.36 - 0.09 <= found.high)
    assert least <= np.mean(held) <= 0.97


def test_the_paired_bootstrap_of_a_mean_is_students_interval():
    """Of the mean of differences; and where every sample is the same, there is nothing to say."""
    apart = np.random.default_rng(0).normal(1.0, 2.0, 12)
    found = evaluation.paired_bootstrap(lambda rows: float(apart[rows].mean()), 12, resamples=4000)
    expected = stats.t.interval(0.95, 11, apart.mean(), stats.sem(apart))
    assert found.difference == pytest.approx(apart.mean())
    assert (found.low, found.high) == pytest.approx(expected, abs=0.25)
    alone = evaluation.paired_bootstrap(lambda rows: 1.0, 1)
    assert alone.difference == 1 and np.isnan([alone.low, alone.high]).all()
