"""The rows of metrics.csv, as mappings from column names to numbers."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def read_history(run_dir: str | Path) -> list[dict[str, float]]:
    """The epochs in `run_dir`/metrics.csv, one dict of floats each; [] if there is no such file.

    A last line that a killed process left half written is dropped; what is not a number becomes
    NaN.
    """
    path = Path(run_dir) / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
    return [{name: number(value) for name, value in row.items()} for row in rows]


def column(history: Sequence[Mapping], name: str) -> np.ndarray:
    """One column as float64 `[epochs]`, NaN where a row lacks it."""
    return np.array([number(row.get(name)) for row in history], np.float64)


def epoch_numbers(history: Sequence[Mapping]) -> np.ndarray:
    """The column `epoch`, or 1, 2, 3 ... where there is none."""
    numbers = column(history, "epoch")
    return np.where(np.isfinite(numbers), numbers, np.arange(1, len(history) + 1))


def number(value) -> float:
    """A float, NaN for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
