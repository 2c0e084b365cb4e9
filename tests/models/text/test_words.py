"""Words of texts: by hand, and what padding and unknown words change."""

import numpy as np
import pytest
import tensorflow as tf

from kapps import models
from kapps.errors import UserError
from kapps.models.text.words import WordPlaces, words_of


def test_words_by_hand():
    texts = tf.constant(["It's the CAT, Ünal!", "", "x_1 2.5\tdöner\n"])
    said = [[word.decode() for word in row] for row in words_of(texts).to_list()]
    assert said == [
        ["it", "'", "s", "the", "cat", ",", "ünal", "!"],
        [],
        ["x_1", "2", ".", "5", "döner"],
    ]


def test_the_vocabulary_is_the_most_frequent_words():
    texts = ["b a", "a b a", "c a", "b"]
    assert models.word_vocabulary(texts) == ["a", "b"]
    assert models.word_vocabulary(texts, minimum=1) == ["a", "b", "c"]
    assert models.word_vocabulary(texts, size=1) == ["a"]
    with pytest.raises(UserError, match="no word occurs 2 times"):
        models.word_vocabulary(["a", "b"])


def test_places():
    """0 is padding, 1 is not known, the first word is 2."""
    layer = WordPlaces(["the", "cat", "."], most=4)
    places = layer(tf.constant(["The cat sat.", "cat the cat the cat", ""])).numpy()
    assert places.tolist() == [[2, 3, 1, 4], [3, 2, 3, 2], [0, 0, 0, 0]]
    assert layer(tf.constant([""])).numpy().tolist() == [[0]]
    again = WordPlaces.from_config(layer.get_config())
    assert again(tf.constant(["cat ."])).numpy().tolist() == [[3, 4]]


@pytest.mark.parametrize("kind", ["mean", "attention", "gru"])
def test_what_others_say_changes_no_answer(kind):
    """A long text beside it pads a short one."""
    model = models.text_classifier(["a", "b"], 2, kind=kind, units=3, embedding=4)
    alone = model(tf.constant(["a b"]))
    beside = model(tf.constant(["a b", "b b b a a a b"]))[:1]
    np.testing.assert_allclose(alone, beside, atol=1e-6)
    assert np.isfinite(model(tf.constant(["", "x"]))).all()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"vocabulary": []}, "needs a word"),
        ({"vocabulary": ["a", "a"]}, "each of its words once"),
        ({"kind": "rnn"}, "kind 'rnn'"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(UserError, match=words):
        models.text_classifier(**{"vocabulary": ["a"], "classes": 2} | arguments)
