"""Is one model better than another on the same examples? Pairs tell far more than two intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from kapps.evaluation.metrics.bootstrap import bootstrap_interval

Z = float(stats.norm.ppf(0.975))


class PairedDifference(NamedTuple):
    """First minus second, its 95 % interval, and how likely so large a one is by chance."""

    difference: float
    low: float
    high: float
    p: float | None


def mcnemar(first: np.ndarray, second: np.ndarray) -> PairedDifference:
    """The difference of two accuracies on the same examples.

    Only examples on which one is right and the other is not count: `p` is the exact test of
    McNemar 1947 (binomial, two-sided). The interval is that of Bonett and Price 2012 (British
    Journal of Mathematical and Statistical Psychology 65), which adds one to both of these counts.

    Args:
        first: whether the first model is right, bool [n].
        second: whether the second is, bool [n].

    Raises:
        ValueError: shapes that differ, or no examples.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape or not first.size:
        raise ValueError(f"pairs of one length are wanted, not {first.shape}, {second.shape}")
    count, won, lost = len(first), int(np.sum(first & ~second)), int(np.sum(~first & second))
    a, b = (won + 1) / (count + 2), (lost + 1) / (count + 2)
    width = Z * math.sqrt((a + b - (a - b) ** 2) / (count + 2))
    p = float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0
    return PairedDifference((won - lost) / count, a - b - width, a - b + width, p)


def paired_bootstrap(
    measure: Callable[[np.ndarray], np.ndarray],
    examples: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """The difference of any two figures on the same examples, by drawing these with replacement.

    Its interval is that of `bootstrap_interval`.

    Args:
        measure: rows int [k] -> the figure of the first model on them minus that of the second.
        examples: how many rows there are.
        resamples: how often rows are drawn.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    drawn = np.array(
        [measure(random.integers(0, examples, examples)) for _ in range(resamples)], np.float64
    )
    difference = float(measure(np.arange(examples)))
    return PairedDifference(difference, *bootstrap_interval(difference, drawn, examples), None)
