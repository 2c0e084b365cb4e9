"""Series of very unequal lengths, one after the other: padded only where they stand together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

WASTE = 4  # times the room of the steps that are there, above which padding is not kept
_ALIKE = 2  # times as long, at most, as the shortest of a group


class Ragged:
    """Series that look like one array [n, longest, features], padded with NaN at the end.

    Rows that are taken out, `ragged[rows]`, are such an array, as long as the longest of them.

    Attributes:
        flat: the steps of all series, one after the other, float32 [steps, features].
        lengths: steps of each series, int64 [n].
    """

    def __init__(self, flat: np.ndarray, lengths: np.ndarray):
        self.flat, self.lengths = flat, np.asarray(lengths, np.int64)
        self._ends = np.cumsum(self.lengths)

    @classmethod
    def of(cls, series: Sequence[np.ndarray]) -> Ragged:
        """From the series, float32 [steps, features] each, without padding."""
        return cls(np.concatenate(series), np.array([len(one) for one in series]))

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.flat[end - n : end] for n, end in zip(self.lengths, self._ends, strict=True))

    def __getitem__(self, rows: slice | np.ndarray | Sequence[int]) -> np.ndarray:
        return self.take(rows).padded()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the array that this looks like."""
        return len(self), int(self.lengths.max(initial=0)), self.flat.shape[1]

    def take(self, rows: slice | np.ndarray | Sequence[int]) -> Ragged:
        """Some of the series, in this order."""
        rows = np.arange(len(self))[rows]
        parts = [self.flat[self._ends[i] - self.lengths[i] : self._ends[i]] for i in rows]
        return Ragged.of(parts) if parts else Ragged(self.flat[:0], self.lengths[:0])

    def padded(self) -> np.ndarray:
        """All of them as one array, float32 [n, longest, features]."""
        there = np.arange(self.shape[1]) < self.lengths[:, None]
        values = np.full(self.shape, np.nan, np.float32)
        values[there] = self.flat
        return values


def pack(series: Sequence[np.ndarray]) -> np.ndarray | Ragged:
    """Series, float32 [steps, features] each, as one padded array, or ragged where that is large.

    The one series of 20,000 steps among 2,000 of 20 would make 160 MB of 0.2.
    """
    ragged = Ragged.of(series)
    if len(ragged) * ragged.shape[1] > WASTE * len(ragged.flat):
        return ragged
    return ragged.padded()


def take(values: np.ndarray | Ragged, rows: np.ndarray) -> np.ndarray | Ragged:
    """Some series, kept as they are kept."""
    return values.take(rows) if isinstance(values, Ragged) else values[rows]


def alike(values: np.ndarray | Ragged, most: int | None = None) -> list[np.ndarray]:
    """Rows of series of about one length, the short ones first; all of them once.

    Args:
        values: of a padded array, whose rows are of one length, all rows.
        most: rows of a group.
    """
    most = most or max(1, len(values))
    if not isinstance(values, Ragged):
        return [np.arange(i, min(i + most, len(values))) for i in range(0, len(values), most)]
    groups, order = [], np.argsort(values.lengths, kind="stable")
    while len(order):
        lengths = values.lengths[order[:most]]
        count = int(np.searchsorted(lengths, _ALIKE * lengths[0], side="right"))
        groups.append(order[:count])
        order = order[count:]
    return groups


def by_length(answer, values: np.ndarray | Ragged) -> np.ndarray:
    """`answer(values)` [n, ...] for a function of each series alone, asked by length.

    Args:
        answer: of padded arrays [m, steps, features].
        values: all of the series.
    """
    if not isinstance(values, Ragged):
        return answer(values)
    groups = alike(values)
    answers = np.concatenate([answer(values[rows]) for rows in groups])
    return answers[np.argsort(np.concatenate(groups))]
