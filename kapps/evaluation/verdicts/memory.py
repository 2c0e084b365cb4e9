"""Was a memory task solved? Judged by its error relative to that without any memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from kapps.evaluation.metrics.history import column
from kapps.evaluation.verdicts.collapse import Judgement
from kapps.evaluation.verdicts.measured import line

SOLVED = 0.06  # of the baseline: 0.01 of the 1/6 of the adding problem
BETTER = 0.9  # of the baseline, below which something is remembered
WINDOW, FALLING = 4, 0.05  # as for learning curves: the last quarter, and how far it falls there


def memory_verdict(
    name: str,
    value: float,
    baseline: float,
    unit: str,
    *,
    error: float = 0.0,
    history: Sequence[Mapping] = (),
) -> Judgement:
    """Judge the test error relative to that without any memory.

    Args:
        name: of the task.
        value: error on the test split.
        baseline: that of the best answer without memory.
        unit: of both.
        error: standard error of `value`; what lies within two of a threshold is not told apart.
        history: rows of metrics.csv with `val_loss`, to see whether it still falls.
    """
    if not np.isfinite(value):
        return Judgement(
            "diverged",
            "The error is not a finite number. Try gradient clipping, or a tenth of the learning "
            "rate.",
            {},
        )
    share = value / baseline
    numbers = {"value": value, "baseline": baseline, "share": share}
    width = f" ± {2 * error:.2g}" if error else ""
    beside = (
        f"{value:.4g}{width} {unit}, {100 * share:.3g} % of the {baseline:.4g} without any memory"
    )
    falls = _falls(history)
    if share < SOLVED:
        return Judgement("solved", f"The {name} task is solved: {beside}.", numbers)
    if value + 2 * error < BETTER * baseline:
        after = (
            "The loss still falls: train for more epochs."
            if falls
            else "Try more units, gates, or a schedule that lowers the learning rate."
        )
        return Judgement("solved in part", f"Something is remembered: {beside}. {after}", numbers)
    if value - 2 * error < BETTER * baseline and share < 1:
        return Judgement(
            "cannot tell",
            f"It is unclear whether anything is remembered: {beside}. Measure on more series.",
            numbers,
        )
    after = (
        "The loss still falls: train for more epochs."
        if falls
        else "The gradient did not reach back far enough: try gates, gradient clipping, or "
        "recurrent weights initialized to the identity."
    )
    return Judgement("not solved", f"Nothing is remembered: {beside}. {after}", numbers)


def _falls(history: Sequence[Mapping]) -> bool:
    losses = column(history, "val_loss")
    window = max(WINDOW, len(losses) // 4)
    recent = losses[-window:]
    if len(losses) < window or not np.isfinite(recent).all():
        return False
    slope, deviation = line(np.arange(window, dtype=np.float64), recent, 0.0)
    fall = -slope * (window - 1) / max(abs(float(recent.mean())), 1e-12)
    return bool(slope < -2 * deviation and fall >= FALLING and not math.isnan(fall))
