"""Words of a text as numbers: in the graph, so that a served model takes texts as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError

PADDING, UNKNOWN, FIRST = 0, 1, 2  # places: nothing, a word that is not known, the first that is
_HASHES = 2**62
_TOGETHER = 1024


def words_of(texts: tf.Tensor) -> tf.RaggedTensor:
    """The words of texts [n], in small letters; a mark of punctuation is a word, too."""
    small = tf.strings.lower(texts, encoding="utf-8")
    apart = tf.strings.regex_replace(small, r"([^\p{L}\p{N}\p{M}_\s])", r" \1 ")
    return tf.strings.split(apart)


def word_vocabulary(texts: Sequence[str], size: int = 20_000, minimum: int = 2) -> list[str]:
    """The most frequent words of training texts, the most frequent first.

    Args:
        texts: str [n].
        size: at most so many words.
        minimum: words that occur less often count as unknown, so that this has something to be
            trained on.

    Raises:
        UserError: no word occurs so often.
    """
    counts: dict[bytes, int] = {}
    with tf.device("CPU:0"):
        for start in range(0, len(texts), _TOGETHER):
            some = tf.constant(list(texts[start : start + _TOGETHER]), tf.string)
            found, number = np.unique(words_of(some).flat_values.numpy(), return_counts=True)
            for word, count in zip(found.tolist(), number.tolist(), strict=True):
                counts[word] = counts.get(word, 0) + count
    kept = sorted((-count, word) for word, count in counts.items() if count >= minimum)[:size]
    if not kept:
        raise UserError(f"no word occurs {minimum} times in {len(texts)} training texts")
    return [word.decode("utf-8", "replace") for _, word in kept]


def word_idf(texts: Sequence[str], vocabulary: Sequence[str]) -> np.ndarray:
    """Inverse document frequencies, ln((1 + n) / (1 + df)) + 1 of the df of n texts with the word.

    That is scikit-learn's smooth form.

    Args:
        texts: str [n], of training.
        vocabulary: the words, see `word_vocabulary`.

    Returns:
        float32 [words].
    """
    found = np.zeros(len(vocabulary) + FIRST)
    with tf.device("CPU:0"):
        places = WordPlaces(vocabulary, most=2**31 - 1)
        for start in range(0, len(texts), _TOGETHER):
            for row in places(tf.constant(list(texts[start : start + _TOGETHER]), tf.string)):
                found[np.unique(row)] += 1
    return (np.log((1 + len(texts)) / (1 + found[FIRST:])) + 1).astype(np.float32)


@keras.saving.register_keras_serializable("kapps")
class WordPlaces(keras.layers.Layer):
    """Texts [batch] -> places of their words in a vocabulary, int32 [batch, steps].

    0 is padding at the end, 1 a word that is not known. There is no lookup table, so nothing but
    constants goes into a SavedModel: a word is known by its hash of 62 bits.

    Args:
        vocabulary: the words; that of place 2 is the first.
        most: words of a text; what follows them is cut off.
    """

    def __init__(self, vocabulary: Sequence[str], most: int, **kwargs):
        super().__init__(**{"dtype": "int32", "autocast": False} | kwargs)
        self.vocabulary, self.most = list(vocabulary), most
        with tf.device("CPU:0"):
            hashes = tf.strings.to_hash_bucket_fast(self.vocabulary, _HASHES).numpy()
        order = np.argsort(hashes)
        self._hashes, self._places = hashes[order], (order + FIRST).astype(np.int32)

    def call(self, texts):
        """The places."""
        with tf.device("CPU:0"):  # strings are nowhere else
            words = words_of(tf.reshape(texts, [-1]))[:, : self.most]
            hashes = tf.strings.to_hash_bucket_fast(words.flat_values, _HASHES)
            at = tf.searchsorted(tf.constant(self._hashes), hashes)
            at = tf.minimum(at, len(self._hashes) - 1)
            known = tf.equal(tf.gather(tf.constant(self._hashes), at), hashes)
            places = tf.where(known, tf.gather(tf.constant(self._places), at), UNKNOWN)
            padded = words.with_flat_values(places).to_tensor(PADDING)
            # A text without words is one of padding: what follows wants a step to look at.
            empty = tf.cast(tf.equal(tf.shape(padded)[1], 0), tf.int32)
            return tf.pad(padded, [[0, 0], [0, empty]])

    def compute_output_spec(self, texts):
        """Places, as many as the longest text has words."""
        return keras.KerasTensor((texts.shape[0], None), "int32")

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "vocabulary": self.vocabulary, "most": self.most}
