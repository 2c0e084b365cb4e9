"""Words that look the same: Cat and cat, two ways to write an accent, blanks that nobody sees."""

from __future__ import annotations

import collections
import unicodedata
from collections.abc import Iterable

_SHOWN = 3


def one_spelling(word: str) -> str:
    """A word with its accents as one character each, and single plain blanks."""
    return " ".join(unicodedata.normalize("NFC", word).split())


def alike_words(words: Iterable[str]) -> list[list[str]]:
    """Words that differ in case or blanks alone, together."""
    together = collections.defaultdict(list)
    for word in sorted(words):
        together[one_spelling(word).casefold()].append(word)
    return [same for same in together.values() if len(same) > 1]


def alike_notes(words: Iterable[str], what: str) -> list[str]:
    """A note on words that differ in case or blanks alone, if there are any.

    Args:
        words: all different.
        what: they are, in the plural.
    """
    alike = alike_words(words)
    if not alike:
        return []
    more = f" and {len(alike) - _SHOWN:,} more" if len(alike) > _SHOWN else ""
    shown = "; ".join(", ".join(map(repr, same)) for same in alike[:_SHOWN])
    return [f"{what} that differ in case or blanks alone count as different: {shown}{more}"]
