"""Columns that say the target in other words: they are often known only afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from kapps.data.tables.loading import TableData

_FEWEST = 20  # rows, of which fewer may agree by chance
_OF_CLASS = 4  # rows of a class, on average
_LINEAR = 1 - 1e-9  # squared correlation of two columns of which one is computed from the other


def leaks(data: TableData) -> list[str]:
    """Notes on columns from which the target of every training row follows one to one.

    Of classes: each value goes with one class, and each class with one value. Of quantities: a
    straight line.
    """
    train = data.splits["train"]
    if len(train) < _FEWEST:
        return []
    found = [
        data.columns[served]["reading"]["title"]
        for served, values in train.inputs.items()
        if (_one_to_one if data.task == "classification" else _on_a_line)(values, train.targets)
    ]
    return [
        f"column '{title}' says the target '{data.target}' in other words, of every training row: "
        f"if it is known only afterwards, leave it out with --drop '{title}'"
        for title in dict.fromkeys(found)
    ]


def _one_to_one(values: np.ndarray, targets: np.ndarray) -> bool:
    first, at = np.unique(targets, return_index=True)
    if len(targets) < _OF_CLASS * len(first):  # where values come once, they say anything
        return False
    if values.dtype.kind not in "biuf":
        values = values.astype(str)
    some = values[: _OF_CLASS * len(first)]  # quick for nearly all columns
    if len(np.unique(values[at])) < len(first) or len(np.unique(some)) > len(first):
        return False
    words, number = np.unique(values, return_inverse=True)
    if len(words) != len(first):
        return False
    return len(np.unique(np.stack([number, targets.astype(np.int64)]), axis=1)[0]) == len(words)


def _on_a_line(values: np.ndarray, targets: np.ndarray) -> bool:
    if values.dtype.kind not in "fi" or len(np.unique(targets)) < 3:
        return False
    x, y = values.astype(np.float64), targets.astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    spread = (x @ x) * (y @ y)
    # float32 targets leave some 1e-7 of each value.
    return bool(spread > 0 and (x @ y) ** 2 > _LINEAR * spread)
