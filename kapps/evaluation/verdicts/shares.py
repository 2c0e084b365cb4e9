"""Scores that are the share of a loss that is gone: 1 - loss / that of who knows nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from kapps.evaluation.verdicts.measured import Measured, Terms, curves_of

HARDLY_ANY = 0.05  # below, nothing was learned
CONFIDENT = float(stats.norm.ppf(0.975))


def share_curves(history: Sequence[Mapping], ignorance: float) -> dict[str, np.ndarray]:
    """The losses of a history, and the shares that are gone, float64 [epochs] each.

    Args:
        history: rows of metrics.csv with `loss`, `train_loss` and `val_loss`.
        ignorance: the loss of who knows nothing.

    Raises:
        ValueError: a column is missing.
    """
    curves = curves_of(history, ("loss", "train_loss", "val_loss"))
    for split in ("", "train_", "val_"):
        curves[f"{split}score"] = 1.0 - curves[f"{split}loss"] / ignorance
    return curves


def share_terms(
    *,
    scores: Callable[[Measured], str],
    score: str,
    counts: tuple[int, int],
    spread: float,
    ignorance: float,
    test: tuple[float, float] | None = None,
    **more: Any,
) -> Terms:
    """Terms whose intervals are those of means of losses.

    Args:
        scores: how good the kept weights are: a clause.
        score: what it is called.
        counts: training and validation examples that the losses are means over.
        spread: standard deviation of the loss of an example, over its mean.
        ignorance: the loss of who knows nothing.
        test: the score on the test split, and its standard error.
        **more: further arguments of `Terms`.
    """

    def error(loss: float, examples: int) -> float:
        return spread * loss / ignorance / math.sqrt(max(examples, 1))

    def interval(train: float, val: float, train_loss: float, val_loss: float):
        return _apart(train - val, error(train_loss, counts[0]), error(val_loss, counts[1]))

    def below(kept: float, examples: int | None) -> tuple[float, float]:
        if test is None:
            return -math.inf, math.inf
        own = error((1 - kept) * ignorance, examples or counts[1])
        return _apart(kept - test[0], own, test[1])

    def chance(run: Measured) -> bool:
        return bool(max(run.train_score[run.kept], run.val_score[run.kept]) < HARDLY_ANY)

    return Terms(
        interval=interval,
        scores=scores,
        score=score,
        chance=chance,
        ignorance=ignorance,
        test_score=None if test is None else test[0],
        test_interval=below,
        counts=counts,
        **more,
    )


def _apart(difference: float, *errors: float) -> tuple[float, float]:
    width = CONFIDENT * math.hypot(*errors)
    return difference - width, difference + width
