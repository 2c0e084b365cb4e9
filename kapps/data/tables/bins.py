"""The bins of columns of numbers: quantiles of the training part, and nothing else of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kapps.errors import UserError

if TYPE_CHECKING:
    from kapps.data.tables.loading import TableData

ROWS_PER_BIN = 8  # of the training part, at least, on average
MOST_FEATURES = 2048  # bins of all columns together, if two of each column are not more


def number_bins(table: TableData, most: int) -> dict[str, list[float]]:
    """Edges of the bins of each column of numbers, ascending, by served name.

    Args:
        table: whose training part is looked at.
        most: bins of a column, about: tables of few rows or of many columns have fewer of them.

    Raises:
        UserError: fewer than two bins.
    """
    if most < 2:
        raise UserError(f"bins {most}: at least two are needed")
    train = table.splits["train"]
    names = [name for name, column in table.columns.items() if column["kind"] == "number"]
    most = min(most, len(train) // ROWS_PER_BIN, MOST_FEATURES // max(1, len(names)))
    return {name: bin_edges(train.inputs[name], max(2, most)) for name in names}


def bin_edges(values: np.ndarray, most: int) -> list[float]:
    """The edges of about `most` bins with as many values each, all of them values that there are.

    A column of few values has an edge at each. A value that fills a bin by itself has an edge above
    it, too, at the next value: what is no rain at all is told from a little of it.

    Args:
        values: numbers [n], NaN where there is none.
        most: how many bins; of values that fill bins by themselves there may be further ones.
    """
    values = values[~np.isnan(values)].astype(np.float64)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= most + 1:
        return distinct.tolist()
    edges = np.quantile(values, np.linspace(0.0, 1.0, most + 1), method="lower")
    frequent = np.flatnonzero(counts > len(values) / most)
    beside = distinct[np.minimum([frequent, frequent + 1], len(distinct) - 1)]
    return np.unique(np.concatenate([edges, beside.ravel()])).tolist()
