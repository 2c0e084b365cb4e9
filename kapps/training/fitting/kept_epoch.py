"""Which epoch's weights are kept: the best by the figure that the user wants."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

CALIBRATED = "val_calibrated_loss"  # what `CalibratedLoss` adds to a row
TIED = 1e-6  # relative; the accuracies of equal counts differ by the rounding of float32 at most


def best_epoch(
    rows: Sequence[Mapping[str, Any]],
    monitor: str = "val_loss",
    mode: Literal["min", "max"] = "min",
    *,
    ties: str | None = None,
) -> int | None:
    """Index, from 0, of the row with the best finite `monitor`; None where there is none.

    Among rows that are equally good the one with the lowest `ties` is taken, then the first: on a
    small validation split many epochs have the same accuracy, and the loss tells them apart.
    A classifier is kept by `best_epoch(rows, "val_accuracy", "max")`: a network that becomes surer
    than it is right has a rising loss, and may still get better at its task.

    Args:
        rows: of metrics.csv, numbers or their text.
        monitor: the column that is judged.
        mode: whether the lowest or the highest is best.
        ties: the column whose lowest value decides between equals; rows without it come last. By
            default the loss after a temperature, where it is measured, else the loss.

    Raises:
        ValueError: another mode.
    """
    if mode not in ("min", "max"):
        raise ValueError(f"mode {mode!r}: 'min' or 'max'")
    if ties is None:
        ties = ties_of(rows[0]) if rows else "val_loss"
    sign = 1.0 if mode == "min" else -1.0
    values = [sign * _number(row.get(monitor)) for row in rows]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    best = min(finite)
    limit = best + TIED * abs(best)
    equal = [i for i, value in enumerate(values) if math.isfinite(value) and value <= limit]
    return min(equal, key=lambda i: (_or_last(_number(rows[i].get(ties))), i))


def kept_by(config: Any) -> tuple[str, Literal["min", "max"]]:
    """The column of metrics.csv that says which epoch is kept, and where it is best.

    Args:
        config: a recipe's flags; `--best-by` says it, and without one it is the validation loss.
    """
    if getattr(config, "best_by", "loss") == "accuracy":
        return "val_accuracy", "max"
    return "val_loss", "min"


def ties_of(row: Mapping[str, Any]) -> str:
    """The column that decides between equals: the loss after a temperature, if it is measured.

    Args:
        row: of metrics.csv.
    """
    return CALIBRATED if CALIBRATED in row else "val_loss"


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _or_last(value: float) -> float:
    return value if math.isfinite(value) else math.inf
