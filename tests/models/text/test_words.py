"""Words of texts: by hand, and what padding and unknown words change."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.feature_extraction.text import TfidfVectorizer

from kapps import models
from kapps.errors import UserError
from kapps.models.text.classifier import TfidfScores
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


def test_idf_is_scikit_learns():
    texts = ["a b a", "b c", "c", "d d d", ""]
    known = TfidfVectorizer(token_pattern=r"\w").fit(texts)
    words = ["d", "a", "c", "b"]
    expected = [known.idf_[known.vocabulary_[word]] for word in words]
    np.testing.assert_allclose(models.word_idf(texts, words), expected, rtol=1e-6)


def test_scores_on_tfidf_by_hand():
    """a b a: weights 2, 1, 2 over the root of 9. Unknown words and padding weigh nothing."""
    layer = TfidfScores(4, 2)
    layer.build((None, None))
    layer.idf.assign([0.0, 0.0, 2.0, 1.0])
    layer.kernel.assign([[9.0, 9.0], [9.0, 9.0], [0.3, 0.0], [0.0, 0.6]])
    places = tf.constant([[2, 3, 2, 1, 0], [3, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    expected = 10 * np.array([[2 * 2 / 3 * 0.3, 1 / 3 * 0.6], [0.0, 0.6], [0.0, 0.0]])
    np.testing.assert_allclose(layer(places), expected, rtol=1e-6)


@pytest.mark.slow
def test_the_linear_part_learns_what_single_words_say():
    """Each class has a word of its own, which is all there is to learn."""
    texts = [f"{'x' if i % 2 else 'y'} noise" for i in range(64)]
    words = ["noise", "x", "y"]
    model = models.text_classifier(
        words, 2, kind="mean", embedding=2, dropout=0.0, idf=models.word_idf(texts, words)
    )
    scores = model.get_layer("network").get_layer("tfidf")
    np.testing.assert_array_equal(scores.kernel, 0)  # it begins as the deep part alone
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(tf.constant(texts), np.arange(64) % 2, epochs=10, batch_size=16, verbose=0)
    kernel = scores.kernel.numpy()
    assert kernel[3, 1] > 0.05 > -0.05 > kernel[3, 0]
    assert kernel[4, 0] > 0.05 > -0.05 > kernel[4, 1]
    np.testing.assert_array_equal(kernel[:2], 0)


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
        ({"idf": [1.0, 2.0]}, "2 idf for 1 words"),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(UserError, match=words):
        models.text_classifier(**{"vocabulary": ["a"], "classes": 2} | arguments)
