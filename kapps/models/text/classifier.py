"""Which class is a text of? Embedded words, perhaps read in both directions, and pooled.

Beside that deep part there may be a wide one, a linear model on TF-IDF (arXiv:1606.07792): from few
texts more is learned of words themselves than of what they have in common.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.models import arguments, heads
from kapps.models.text.words import FIRST, PADDING, WordPlaces

KINDS = ("attention", "mean", "gru", "lstm")
# Of scores on vectors of length 1, so that a rate that suits the other weights suits theirs, too.
SCALE = 10.0
_LAYERS = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


def text_classifier(
    vocabulary: Sequence[str],
    classes: int,
    *,
    kind: str = "attention",
    embedding: int = 64,
    units: int = 64,
    dropout: float = 0.3,
    most_words: int = 400,
    idf: Sequence[float] | np.ndarray | None = None,
    name: str = "text_classifier",
) -> keras.Model:
    """A classifier of texts.

    Two models in one: the layer "words" turns texts into places of words, "network" turns those
    into logits, and can be trained alone on texts that were looked up once.

    Args:
        vocabulary: the words that are known, see `word_vocabulary`.
        classes: how many.
        kind: what stands over the embedded words. "attention": a weighted mean and the mean, side
            by side, the weights by a layer of `units` (additive attention, arXiv:1409.0473, with
            one learned query); "mean": their mean alone (as in arXiv:1607.01759); "gru", "lstm": a
            layer in each direction, and that attention over what they make.
        embedding: length of the vector of a word.
        units: of the recurrent layers, each, and of the layer that weighs.
        dropout: part of the embedded words' features, whole features at a time, and of the pooled
            features that is dropped while training.
        most_words: words of a text that are read.
        idf: of each word, see `word_idf`: the scores of a linear model on TF-IDF are added to the
            logits. None: they are not.
        name: of the model.

    Returns:
        A functional model: "text" string [batch] -> "logits" [batch, classes].

    Raises:
        UserError: an argument is out of its range.
    """
    arguments.one_of("kind", kind, KINDS)
    for label, value in (("embedding", embedding), ("units", units), ("most_words", most_words)):
        arguments.integer(label, value)
    arguments.rate("dropout", dropout)
    if not vocabulary or len(set(vocabulary)) < len(vocabulary):
        raise UserError("the vocabulary needs a word, and each of its words once")
    if idf is not None and len(idf) != len(vocabulary):
        raise UserError(f"{len(idf)} idf for {len(vocabulary)} words: one for each is wanted")
    places = keras.Input((None,), dtype="int32", name="places")
    x = keras.layers.Embedding(len(vocabulary) + FIRST, embedding, name="embedding")(places)
    if dropout > 0:
        x = keras.layers.SpatialDropout1D(dropout, name="word_dropout")(x)
    here = WordMask(name="words_there")(places)
    if kind in _LAYERS:
        layer = _LAYERS[kind](units, return_sequences=True, name=kind)
        x = keras.layers.Bidirectional(layer, name="both_ways")(x, mask=here)
    x = PoolWords(0 if kind == "mean" else units, name="pool")(x, here)
    logits = heads.logits(x, classes, dropout)
    if idf is not None:
        layer = TfidfScores(len(vocabulary) + FIRST, classes, dtype="float32", name="tfidf")
        logits = keras.layers.Add(dtype="float32", name="wide_and_deep")([logits, layer(places)])
        layer.idf.assign(np.concatenate([np.zeros(FIRST), idf]))
    network = keras.Model(places, logits, name="network")
    text = keras.Input((), dtype="string", name="text")
    return keras.Model(
        text, network(WordPlaces(vocabulary, most_words, name="words")(text)), name=name
    )


@keras.saving.register_keras_serializable("kapps")
class WordMask(keras.layers.Layer):
    """Places of words int32 [batch, steps] -> where there is one, bool of the same shape."""

    def call(self, places):
        """Whether a place is no padding."""
        return tf.not_equal(places, PADDING)

    def compute_output_spec(self, places):
        """A truth value per step."""
        return keras.KerasTensor(places.shape, "bool")


@keras.saving.register_keras_serializable("kapps")
class PoolWords(keras.layers.Layer):
    """Vectors [batch, steps, features] -> their weighted mean and their mean, [batch, 2 features].

    Weights are a softmax of v . tanh(W x + b) over the steps that count. The mean of no steps is 0.

    Args:
        units: rows of W; 0: the mean alone, [batch, features].
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.supports_masking = True  # the mask ends here, and is told beside
        self.hidden = keras.layers.Dense(units, activation="tanh", name="hidden") if units else None
        self.score = keras.layers.Dense(1, use_bias=False, name="score") if units else None

    def build(self, x_shape, here_shape):
        """Makes W, b and v."""
        if self.hidden is not None and self.score is not None:
            self.hidden.build(x_shape)
            self.score.build((*x_shape[:-1], self.units))
        self.built = True

    def compute_mask(self, *args):
        """None: no step is left."""
        return None

    def call(self, x, here):
        """The pooled vectors."""
        there = tf.cast(here, tf.float32)[..., None]
        values = tf.cast(x, tf.float32) * there  # sums over hundreds of steps want the digits
        mean = tf.reduce_sum(values, axis=1) / tf.maximum(tf.reduce_sum(there, axis=1), 1.0)
        if self.hidden is None or self.score is None:
            return tf.cast(mean, x.dtype)
        score = tf.cast(self.score(self.hidden(x)), tf.float32)
        score = tf.where(here[..., None], score, -1e9)
        weighted = tf.reduce_sum(tf.nn.softmax(score, axis=1) * values, axis=1)
        return tf.cast(tf.concat([weighted, mean], axis=-1), x.dtype)

    def compute_output_spec(self, x, here):
        """One vector per text."""
        return keras.KerasTensor((x.shape[0], x.shape[-1] * (2 if self.units else 1)), x.dtype)

    def get_config(self):
        """Arguments of the constructor."""
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("kapps")
class TfidfScores(keras.layers.Layer):
    """Places of words int32 [batch, steps] -> scores of a linear model on TF-IDF, [batch, classes].

    Word i of a text weighs idf_i / sqrt(sum_j idf_j^2), j over the words of the text; its rows of
    the kernel are added up with these weights, and begin at 0.

    Args:
        words: rows of the kernel, those of padding and of unknown words included.
        classes: columns.
    """

    def __init__(self, words: int, classes: int, **kwargs):
        super().__init__(**kwargs)
        self.words, self.classes = words, classes

    def build(self, places_shape):
        """Makes the kernel, and the frozen idf; 0 of a word counts it not."""
        self.idf = self.add_weight(
            shape=(self.words,), initializer="zeros", trainable=False, name="idf"
        )
        self.kernel = self.add_weight(
            shape=(self.words, self.classes), initializer="zeros", name="kernel"
        )

    def call(self, places):
        """The scores."""
        idf = tf.gather(tf.convert_to_tensor(self.idf), places)
        length = tf.sqrt(tf.reduce_sum(idf**2, axis=1, keepdims=True))
        weights = tf.math.divide_no_nan(idf, length)[..., None]
        rows = tf.gather(tf.convert_to_tensor(self.kernel), places)
        return SCALE * tf.reduce_sum(weights * rows, axis=1)

    def compute_output_spec(self, places):
        """A score per class."""
        return keras.KerasTensor((places.shape[0], self.classes), self.compute_dtype)

    def get_config(self):
        """Arguments of the constructor."""
        return {**super().get_config(), "words": self.words, "classes": self.classes}
