"""What a text costs without a network: bits per character of counts, and of xz.

The n-gram is interpolated with modified Kneser-Ney discounts (Chen and Goodman 1999, section 3;
the discounts are their equation 26): with a the count of the n-gram hc, of shorter ones the number
of different characters seen before them, and N_i(h) the number of characters that follow h i times
(i = 3: three times or more),

    p(c | h) = max(a(hc) - D(a(hc)), 0) / a(h) + (D_1 N_1(h) + D_2 N_2(h) + D_3 N_3(h)) / a(h)
               * p(c | h without its first character)

and 1 / symbols below the shortest one. The probabilities of all characters sum to 1.
"""

from __future__ import annotations

import lzma
from collections.abc import Sequence

import numpy as np

from kapps.errors import UserError


class NGram:
    """Counts of a text, as a model of what comes next.

    Args:
        symbols: int32 [characters], from 0.
        count: how many symbols there are.
        order: the longest n-grams; 1 is how frequent each symbol is.

    Raises:
        UserError: an order under 1, or a text that is shorter.
    """

    def __init__(self, symbols: np.ndarray, count: int, order: int = 5):
        if order < 1 or len(symbols) < max(2, order):
            raise UserError(f"an {order}-gram of {len(symbols)} characters: there is nothing in it")
        self.count, self.order = count, order
        symbols = np.asarray(symbols, np.int64)
        # Of each order: sorted codes of its n-grams (the number of the n-gram without its last
        # character, and that character); a n-gram's number is its place there.
        self._codes, occurrences = [], []
        numbers = np.zeros(len(symbols) + 1, np.int64)  # the empty one stands before everything
        for n in range(1, order + 1):
            codes = numbers[:-1] * count + symbols[n - 1 :]
            known, places = np.unique(codes, return_inverse=True)
            self._codes.append(known)
            occurrences.append(places)
            numbers = places
        self._levels = [
            _Level(
                counts=self._counts(occurrences, n),
                context=self._codes[n] // count,
                contexts=1 if n == 0 else len(self._codes[n - 1]),
            )
            for n in range(order)
        ]

    def _counts(self, occurrences: list[np.ndarray], n: int) -> np.ndarray:
        """How often each n-gram occurs; if there are longer ones, after how many symbols."""
        places = occurrences[n]
        if n + 1 < self.order:
            # The longer n-gram that ends at the same place: each kind of it counts once.
            longer = occurrences[n + 1]
            _, one_each = np.unique(longer, return_index=True)
            places = places[1:][one_each]
        return np.bincount(places, minlength=len(self._codes[n])).astype(np.float64)

    def probabilities(
        self, symbols: np.ndarray, before: Sequence[int] | np.ndarray = ()
    ) -> np.ndarray:
        """The probability of each symbol after all that precede it, float64 [characters].

        Args:
            symbols: int32 [characters].
            before: what stands before them.
        """
        before = np.asarray(before, np.int64)
        before = before[-(self.order - 1) :] if self.order > 1 else before[:0]
        text = np.concatenate([before, symbols]).astype(np.int64)
        numbers = np.zeros(len(text), np.int64)  # of the context before each place; -1 is unknown
        probability = np.full(len(text), 1.0 / self.count)
        for codes, level in zip(self._codes, self._levels, strict=True):
            found = _find(codes, np.where(numbers >= 0, numbers * self.count + text, -1))
            probability = level.refine(numbers, found, probability)
            numbers = np.concatenate([[-1], found[:-1]])  # one character longer, one place later
        return probability[len(before) :]

    def bits_per_character(
        self, symbols: np.ndarray, before: Sequence[int] | np.ndarray = ()
    ) -> float:
        """Mean of -log2 of `probabilities`."""
        return float(-np.log2(self.probabilities(symbols, before)).mean())


class _Level:
    """Counts of one order, discounted."""

    def __init__(self, counts: np.ndarray, context: np.ndarray, contexts: int):
        self.counts = counts
        self.total = np.bincount(context, counts, contexts)
        discounts = _discounts(counts)
        kinds = np.minimum(counts, 3).astype(np.int64)
        self.kept = np.maximum(counts - discounts[kinds], 0.0)
        # What the discounts take away is for the shorter context.
        self.rest = self.total - np.bincount(context, self.kept, contexts)

    def refine(self, context, found, shorter):
        """Probabilities, given those of the shorter context; the same where nothing is known."""
        total = np.where(context >= 0, self.total[context], 0.0)
        kept = np.where(found >= 0, self.kept[found], 0.0)
        safe = np.maximum(total, 1.0)
        return np.where(total > 0, kept / safe + self.rest[context] / safe * shorter, shorter)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """D of counts 0, 1, 2, and 3 or more, from how many n-grams occur once, twice ...

    Where a number that is needed is 0, as in a text of few different n-grams, the discount is 1/2.
    """
    n = [float((counts == i).sum()) for i in range(5)]
    if min(n[1:4]) == 0:
        return np.array([0.0, 0.5, 0.5, 0.5])
    y = n[1] / (n[1] + 2 * n[2])
    found = [0.0, *(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))]
    return np.array(
        [np.clip(d, 0.05 if i else 0.0, max(i - 0.05, 0.0)) for i, d in enumerate(found)]
    )


def _find(codes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places of `wanted` in the sorted `codes`, -1 of what is not there."""
    places = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    return np.where(codes[places] == wanted, places, -1)


def xz_bits_per_character(train: str, test: str) -> float:
    """What xz adds for `test` once it knows `train`: 8 (C(train + test) - C(train)) / characters.

    C is the size after LZMA2 at its best (preset 9, extreme), with a dictionary that holds all of
    the text.
    """
    known, added = (text.encode("utf-8", "surrogatepass") for text in (train, test))
    # No larger than needed: xz takes eleven times the dictionary in memory.
    size = max(1 << 16, 1 << (len(known) + len(added) - 1).bit_length())
    chain = [
        {
            "id": lzma.FILTER_LZMA2,
            "preset": 9 | lzma.PRESET_EXTREME,
            "dict_size": min(size, 1 << 30),
        }
    ]

    def compressed(content):
        return len(lzma.compress(content, format=lzma.FORMAT_RAW, filters=chain))

    return 8.0 * (compressed(known + added) - compressed(known)) / len(test)
