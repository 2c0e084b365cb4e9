"""Counts against a dictionary by hand, sums of probabilities, and xz itself."""

import collections
import itertools
import lzma

import numpy as np
import pytest

from kapps.errors import UserError
from kapps.evaluation.text.ngram import NGram, xz_bits_per_character


def text(length=600, count=5, seed=0):
    """Symbols that depend on those before them."""
    rng = np.random.default_rng(seed)
    found = [0, 1]
    for _ in range(length - 2):
        likely = (2 * found[-1] + found[-2]) % count
        found.append(likely if rng.random() < 0.7 else int(rng.integers(count)))
    return np.array(found, np.int32)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_of_all_symbols_sum_to_one(order):
    model = NGram(text(), 7, order)  # two symbols never occur
    contexts = [text()[:30], np.array([6, 5, 6, 5]), np.array([0, 6, 1, 2]), np.array([], int)]
    for before in contexts:
        found = [model.probabilities(np.array([c]), before)[0] for c in range(7)]
        assert sum(found) == pytest.approx(1.0, abs=1e-12)
        assert min(found) > 0


def by_hand(symbols, count, order, history, symbol):
    """Interpolated Kneser-Ney from its definition, with dictionaries."""

    def counts(n):
        grams = list(zip(*(symbols[i:].tolist() for i in range(n)), strict=False))
        if n == order:
            return collections.Counter(grams)
        longer = {g for g in zip(*(symbols[i:].tolist() for i in range(n + 1)), strict=False)}
        return collections.Counter(g[1:] for g in longer)

    probability = 1.0 / count
    for n in range(1, order + 1):
        found = counts(n)
        ones, twos, threes, fours = (sum(v == i for v in found.values()) for i in (1, 2, 3, 4))
        discount = collections.defaultdict(lambda: 0.5)
        if ones and twos and threes:
            y = ones / (ones + 2 * twos)
            many = 3 - 4 * y * fours / threes
            discount = collections.defaultdict(
                lambda many=many: many,
                {1: 1 - 2 * y * twos / ones, 2: 2 - 3 * y * threes / twos},
            )
        context = tuple(history[len(history) - n + 1 :]) if n > 1 else ()
        after = {g: v for g, v in found.items() if g[:-1] == context}
        total = sum(after.values())
        if not total:
            return probability
        value = after.get((*context, symbol), 0)
        kept = value - discount[value] if value else 0.0
        rest = sum(discount[v] for v in after.values())
        probability = kept / total + rest / total * probability
    return probability


@pytest.mark.parametrize("order", [2, 3])
def test_probabilities_are_those_of_the_definition(order):
    rng = np.random.default_rng(0)
    symbols = np.minimum(rng.geometric(0.15, 900) - 1, 24).astype(np.int32)
    model = NGram(symbols, 25, order)
    for history in itertools.product((0, 1, 5, 13, 24), repeat=order - 1):
        for symbol in (0, 2, 7, 20):
            found = model.probabilities(np.array([symbol]), np.array(history))[0]
            assert found == pytest.approx(by_hand(symbols, 25, order, history, symbol), rel=1e-9)


def test_what_stands_before_counts_and_nothing_else():
    symbols, new = text(), text(50, seed=3)
    model = NGram(symbols, 5, 3)
    whole = model.probabilities(new)
    np.testing.assert_array_equal(model.probabilities(new[7:], new[:7]), whole[7:])
    np.testing.assert_array_equal(model.probabilities(new[7:], new[5:7]), whole[7:])
    assert model.bits_per_character(new) == pytest.approx(-np.log2(whole).mean())


def test_longer_contexts_help_where_there_is_something_to_know():
    symbols, new = text(4000), text(1000, seed=9)
    bits = [NGram(symbols, 5, order).bits_per_character(new) for order in (1, 2, 3)]
    # Entropy: 0.7 + 0.3 / 5 for the likely symbol, 0.3 / 5 for each other.
    entropy = -(0.76 * np.log2(0.76) + 4 * 0.06 * np.log2(0.06))
    assert min(bits[:2]) > bits[2] + 0.5  # one symbol alone tells nothing here
    assert bits[2] == pytest.approx(entropy, abs=0.08)


def test_a_unigram_is_how_frequent_symbols_are():
    symbols = np.repeat([0, 1, 2], [600, 300, 100]).astype(np.int32)
    found = NGram(symbols, 3, 1).probabilities(np.array([0, 1, 2]))
    np.testing.assert_allclose(found, [0.6, 0.3, 0.1], atol=1e-3)


def test_mistakes():
    with pytest.raises(UserError, match="0-gram"):
        NGram(text(), 5, 0)
    with pytest.raises(UserError, match="nothing in it"):
        NGram(np.array([1]), 5, 3)


def test_xz_is_what_the_compressed_text_grows_by():
    rng = np.random.default_rng(0)
    train, test = ("".join(rng.choice(list("abcdefgh"), n)) for n in (20_000, 4_000))
    found = xz_bits_per_character(train, test)
    assert 3.0 < found < 3.6  # nothing to find in it: 3 bits each, and what xz wastes
    # A test that stands in the training part costs next to nothing, however far back.
    assert xz_bits_per_character(test + train, test) < 0.1
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    usual = [
        len(lzma.compress(t.encode(), lzma.FORMAT_RAW, filters=filters))
        for t in (train, train + test)
    ]
    assert found == pytest.approx(8 * (usual[1] - usual[0]) / len(test), rel=0.02)


def test_xz_counts_characters_and_not_bytes():
    train = "äöü" * 500
    assert xz_bits_per_character(train, "äöü" * 100) < 0.5
