"""Truth values as people and spreadsheets write them: True, TRUE, t, yes, Y, ja, VRAI, 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from kapps.data.tables.cells import Cells

PAIRS = (
    ("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"), ("off", "on"),
    ("nein", "ja"), ("falsch", "wahr"),  # German, Excel's second
    ("nee", "ja"), ("onwaar", "waar"),
    ("non", "oui"), ("faux", "vrai"),
    ("no", "sí"), ("no", "si"), ("no", "sì"), ("falso", "verdadero"), ("falso", "vero"),
    ("não", "sim"), ("falso", "verdadeiro"),
)  # fmt: skip
_NUMBERS = ("0", "1")
_TRUTH = {pair[truth]: truth for pair in (*PAIRS, _NUMBERS) for truth in (0, 1)}


def are_booleans(words: Iterable[str]) -> bool:
    """Whether all words say true or false, and both are said with words of one pair."""
    lower = {word.lower() for word in words}
    pairs = [pair for pair in (*PAIRS, _NUMBERS) if set(pair) <= lower]
    return bool(pairs) and lower <= set(_TRUTH)


def spelling(words: Iterable[str] | Mapping[str, int]) -> dict[str, str]:
    """For each word for true or false, in small letters, the word that stands for it in a column.

    Args:
        words: those of the column, perhaps with their counts: the most frequent one is taken.

    Returns:
        Nothing where the words are not truth values.
    """
    counts = dict(words) if isinstance(words, Mapping) else dict.fromkeys(words, 1)
    if not are_booleans(counts):
        return {}
    said: dict[int, str] = {}
    for word in sorted(counts, key=lambda word: (-counts[word], word.isdigit(), word)):
        said.setdefault(_TRUTH[word.lower()], word)
    return {word: said[truth] for word, truth in _TRUTH.items()}


def as_numbers(cells: Cells, numbers: np.ndarray) -> np.ndarray:
    """0 and 1 where a column of these says it in words; all else [d] as it is."""
    said = np.array([_TRUTH.get(word.lower(), np.nan) for word in cells.values.to_pylist()])
    return np.where(np.isnan(numbers) & ~cells.missing, said.astype(np.float64), numbers)
