"""The cells of one column: its distinct texts, and which of them each row has.

What a cell means depends on its text alone, so all is asked once of each distinct text.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kapps.data.delimited import as_cells

if TYPE_CHECKING:
    import pyarrow

# Cells that say that there is no value, whatever the case of their letters.
MISSING = (
    "", "?", "-", "--", ".", "na", "n/a", "n.a.", "#n/a", "<na>",
    "nan", "nat", "null", "none", "nil",
)  # fmt: skip
_INFINITE = tuple(sign + word for sign in ("", "+", "-") for word in ("inf", "infinity"))


class Cells:
    """The cells of a column.

    Attributes:
        values: distinct texts, an Arrow array [d].
        codes: for each row the place of its text, int [n].
        missing: which of the texts say that there is no value, bool [d].
    """

    def __init__(self, values: pyarrow.Array, codes: np.ndarray, missing: np.ndarray):
        self.values, self.codes, self.missing = values, codes, missing

    @classmethod
    def of(
        cls, cells: Sequence[str] | pyarrow.Array | Cells, words: Iterable[str] = MISSING
    ) -> Cells:
        """The cells of a column as a file has them.

        Args:
            cells: texts, one a row.
            words: those that stand for a missing value, in small letters.
        """
        if isinstance(cells, cls):
            return cells
        from pyarrow import compute

        encoded = as_cells(cells).dictionary_encode()
        values = compute.utf8_trim_whitespace(encoded.dictionary)
        gone = compute.is_in(compute.utf8_lower(values), _words(tuple(words)))
        return cls(
            values,
            encoded.indices.to_numpy(zero_copy_only=False),
            gone.to_numpy(zero_copy_only=False),
        )

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: np.ndarray) -> Cells:
        """Some of the rows; all texts remain, if only with a count of zero."""
        return Cells(self.values, self.codes[rows], self.missing)

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """How many rows have each text, int [d]."""
        return np.bincount(self.codes, minlength=len(self.values))

    @functools.cached_property
    def present(self) -> np.ndarray:
        """How many rows have each text that is a value, int [d]."""
        return np.where(self.missing, 0, self.counts)

    def texts(self, places: Sequence[int] | np.ndarray) -> list[str]:
        """The texts at some places."""
        import pyarrow as pa

        return self.values.take(pa.array(np.asarray(places, np.int64))).to_pylist()

    def most_frequent(self, mask: np.ndarray, count: int | None = None) -> list[tuple[str, int]]:
        """The texts of a mask [d] that any row has, with their counts, the most frequent first."""
        places = np.flatnonzero(mask & (self.counts > 0))
        places = places[np.argsort(-self.counts[places], kind="stable")][:count]
        return list(zip(self.texts(places), self.counts[places].tolist(), strict=True))


@functools.cache
def _words(missing: tuple[str, ...]) -> pyarrow.Array:
    """What says that there is no value, in small letters; tables have thousands of columns."""
    import pyarrow as pa

    return pa.array([*(word.strip().lower() for word in missing), *_INFINITE], pa.string())


def is_missing(cell: str, words: Iterable[str] = MISSING) -> bool:
    """Whether a cell says that there is no value; infinite numbers are none."""
    word = cell.strip().lower()
    return word in words or word in _INFINITE


def shown(words: Iterable[tuple[str, int]], more: int = 0) -> str:
    """'a' (3 cells), 'b' (1 cell) and 7 more."""
    parts = [f"{word[:40]!r} ({count:,} cell{'s' * (count != 1)})" for word, count in words]
    return ", ".join(parts) + (f" and {more:,} more" if more > 0 else "")
