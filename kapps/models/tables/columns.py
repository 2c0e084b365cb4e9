"""Layers from the raw column of a table to numbers."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable("kapps")
class NumberColumn(keras.layers.Layer):
    """Numbers float32 [batch, 1] -> `(x - mean) / std`, float32 [batch, 1 or 2].

    NaN stands for a missing number and becomes the median.

    Args:
        mean: of the training part.
        std: of the training part.
        median: of the training part.
        indicator: a second output says whether the number was missing. One that never was while
            training would have weights that nobody trained.
        wide: the numbers come as float64, and only what is left of them without the mean is
            float32.
        reading: how cells of a file become these numbers, for those who read files.
    """

    def __init__(
        self,
        mean: float,
        std: float,
        median: float,
        indicator: bool = False,
        *,
        wide: bool = False,
        reading: Mapping[str, Any] | None = None,
        **kwargs,
    ):
        # Keras would cast wide numbers before they are asked for.
        super().__init__(**{"dtype": "float32", "autocast": not wide} | kwargs)
        self.mean, self.std, self.median, self.indicator = mean, std, median, indicator
        self.wide, self.reading = wide, dict(reading or {})

    def call(self, x):
        """The numbers, standardized."""
        missing = tf.math.is_nan(x)
        # The mean goes first: dividing large numbers before would cost what makes them differ.
        known = tf.where(missing, tf.constant(self.median, x.dtype), x)
        standardized = (known - tf.constant(self.mean, x.dtype)) / tf.constant(self.std, x.dtype)
        standardized = tf.cast(standardized, self.compute_dtype)
        if not self.indicator:
            return standardized
        return tf.concat([standardized, tf.cast(missing, standardized.dtype)], axis=-1)

    def compute_output_shape(self, input_shape):
        """[batch, 1 or 2]."""
        return (*input_shape[:-1], 1 + self.indicator)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("mean", "std", "median", "indicator", "wide", "reading")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("kapps")
class CategoryColumn(keras.layers.Layer):
    """Texts or whole numbers [batch, 1] -> one-hot float32 [batch, categories (+ 1)].

    A category that is not in the vocabulary has no one and nothing that is not trained is added to
    what follows, as with scikit-learn's `OneHotEncoder(handle_unknown="ignore")`. There is no
    lookup table, so nothing but constants goes into a SavedModel.

    Args:
        vocabulary: the categories.
        missing: what stands for a missing value, texts in small letters; together they are one more
            category, the last. Empty if nothing was missing in training.
        reading: how cells of a file become these categories, for those who read files.
    """

    def __init__(
        self,
        vocabulary: Sequence,
        missing: Sequence = (),
        *,
        reading: Mapping[str, Any] | None = None,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.vocabulary, self.missing = list(vocabulary), list(missing)
        self.reading = dict(reading or {})
        self.supports_jit = False  # XLA knows no strings

    def call(self, x):
        """Which category each row has."""
        words = x.dtype == tf.string
        known = tf.constant(self.vocabulary, x.dtype, shape=(1, len(self.vocabulary)))
        x = tf.strings.strip(x) if words else x
        one_hot = tf.equal(x, known)
        if self.missing:
            x = tf.strings.lower(x) if words else x
            gone = tf.equal(x, tf.constant([self.missing], x.dtype))
            one_hot = tf.concat([one_hot, tf.reduce_any(gone, axis=-1, keepdims=True)], axis=-1)
        return tf.cast(one_hot, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """[batch, categories (+ 1)]."""
        return (*input_shape[:-1], len(self.vocabulary) + bool(self.missing))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {
            **super().get_config(),
            "vocabulary": self.vocabulary,
            "missing": self.missing,
            "reading": self.reading,
        }


@keras.saving.register_keras_serializable("kapps")
class ManyCategoriesColumn(CategoryColumn):
    """Texts or whole numbers [batch, 1] -> the number of the category, float32 [batch, 1].

    0 is none of the vocabulary, 1 the first category, and the last stands for a missing value, if
    there was any in training. It is found by bisection in a constant that holds the hashes of the
    vocabulary: there is no table to be initialized in a SavedModel.

    Args:
        vocabulary: the categories.
        missing: as `CategoryColumn` takes it.
        embedding: how many numbers are to stand for a category; the network learns them.
        reading: as `CategoryColumn` takes it.
    """

    def __init__(self, vocabulary: Sequence, missing: Sequence = (), *, embedding: int, **kwargs):
        super().__init__(vocabulary, missing, **kwargs)
        self.embedding = embedding
        with tf.init_scope(), tf.device("CPU:0"):
            keys = _keys(tf.constant(self.vocabulary)).numpy()
        self._places = np.argsort(keys, kind="stable").astype(np.int32)
        self._hashes = keys[self._places]

    @property
    def categories(self) -> int:
        """How many different numbers there are."""
        return 1 + len(self.vocabulary) + bool(self.missing)

    def call(self, x):
        """The number of each row's category."""
        words = x.dtype == tf.string
        x = tf.strings.strip(x) if words else x
        flat = tf.reshape(x, [-1])
        place = tf.searchsorted(tf.constant(self._hashes), _keys(flat))
        number = tf.gather(tf.constant(self._places), tf.minimum(place, len(self._hashes) - 1))
        # Two texts may have one hash: what counts is the text.
        known = tf.equal(tf.gather(tf.constant(self.vocabulary, x.dtype), number), flat)
        number = tf.where(known, number + 1, 0)
        if self.missing:
            lower = tf.strings.lower(flat) if words else flat
            gone = tf.equal(lower[:, None], tf.constant([self.missing], x.dtype))
            last = len(self.vocabulary) + 1
            number = tf.where(tf.reduce_any(gone, axis=-1), last, number)
        return tf.cast(tf.reshape(number, tf.shape(x)), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """[batch, 1]."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "embedding": self.embedding}


@keras.saving.register_keras_serializable("kapps")
class Embeddings(keras.layers.Layer):
    """Encoded rows float32 [batch, features] -> the same with embeddings for numbers of categories.

    A category of number 0 is none that was trained and adds nothing.

    Args:
        columns: (feature, categories, embedding) of each column of numbers of categories.
        features: how many there are.
    """

    def __init__(self, columns: Sequence[Sequence[int]], features: int, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.columns = [tuple(column) for column in columns]
        self.features = features
        replaced = {feature for feature, _, _ in self.columns}
        self._others = [i for i in range(features) if i not in replaced]

    def build(self, input_shape):
        """The numbers that stand for each category."""
        self.tables = [
            self.add_weight(
                shape=(categories, size),
                initializer=keras.initializers.RandomNormal(stddev=size**-0.5),
                name=f"embedding{feature}",
            )
            for feature, categories, size in self.columns
        ]

    def call(self, x):
        """The features that stay, and the embeddings."""
        parts = [tf.gather(x, tf.constant(self._others, tf.int32), axis=-1)]
        for table, (feature, _, _) in zip(self.tables, self.columns, strict=True):
            number = tf.cast(x[..., feature], tf.int32)
            known = tf.cast(number > 0, self.compute_dtype)[..., None]
            parts.append(keras.ops.take(table, number, axis=0) * known)
        return tf.concat(parts, axis=-1)

    def compute_output_shape(self, input_shape):
        """[batch, features]."""
        size = len(self._others) + sum(size for _, _, size in self.columns)
        return (*input_shape[:-1], size)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "columns": self.columns, "features": self.features}


@keras.saving.register_keras_serializable("kapps")
class Columns(keras.layers.Layer):
    """Raw columns by name, each [batch, 1] -> float32 [batch, features], in the order of the names.

    The columns of numbers are standardised together, as one matrix: a thousand layers, one for
    each, would take seconds to build.

    Args:
        columns: by name the `kind` of each column, number, string or integer, and the arguments of
            its layer: `NumberColumn`, `ManyCategoriesColumn` where there is an `embedding`,
            `CategoryColumn`.
    """

    def __init__(self, columns: Mapping[str, Mapping[str, Any]], **kwargs):
        # Keras would cast wide numbers before they are asked for.
        super().__init__(**{"dtype": "float32"} | kwargs | {"autocast": False})
        # Nothing in here is a variable; in a dictionary Keras would look for some.
        self.columns = types.MappingProxyType({name: columns[name] for name in sorted(columns)})
        self.supports_jit = all(facts["kind"] != "string" for facts in self.columns.values())

    @functools.cached_property
    def by_name(self) -> dict[str, keras.layers.Layer]:
        """The layer that encodes each column, by name; it may be called by itself."""
        return {name: self._by_itself.get(name) or self._layer(name) for name in self.columns}

    @functools.cached_property
    def _by_itself(self) -> dict[str, keras.layers.Layer]:
        """The layers of the columns that are no part of the matrix."""
        return {
            name: self._layer(name)
            for name, facts in self.columns.items()
            if facts["kind"] != "number" or facts.get("wide")
        }

    def _layer(self, name: str) -> keras.layers.Layer:
        arguments = {key: value for key, value in self.columns[name].items() if key != "kind"}
        layer = NumberColumn if self.columns[name]["kind"] == "number" else CategoryColumn
        if "embedding" in arguments:
            layer = ManyCategoriesColumn
        return layer(**arguments)

    def size(self, name: str) -> int:
        """How many features a column has."""
        if name in self._by_itself:
            return self._by_itself[name].compute_output_shape((None, 1))[-1]
        return 1 + bool(self.columns[name].get("indicator"))

    def call(self, inputs):
        """All columns, encoded, side by side."""
        together = [name for name in self.columns if name not in self._by_itself]
        parts, features = [], []  # the latter: (column, feature of it) of each feature in parts
        if together:
            x = tf.concat([inputs[name] for name in together], axis=-1)
            mean, std, median = (
                tf.constant([self.columns[name][fact] for name in together], x.dtype)
                for fact in ("mean", "std", "median")
            )
            missing = tf.math.is_nan(x)
            parts.append((tf.where(missing, median, x) - mean) / std)
            features += [(name, 0) for name in together]
            marked = [i for i, name in enumerate(together) if self.columns[name].get("indicator")]
            if marked:
                parts.append(tf.cast(tf.gather(missing, marked, axis=-1), x.dtype))
                features += [(together[i], 1) for i in marked]
        for name, layer in self._by_itself.items():
            parts.append(layer(inputs[name]))
            features += [(name, i) for i in range(self.size(name))]
        order = sorted(range(len(features)), key=features.__getitem__)
        return tf.gather(tf.concat(parts, axis=-1), order, axis=-1)

    def compute_output_shape(self, input_shape):
        """[batch, features]."""
        batch = next(iter(input_shape.values()))[0]
        return (batch, sum(map(self.size, self.columns)))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        columns = {name: dict(facts) for name, facts in self.columns.items()}
        return {**super().get_config(), "columns": columns}


def embedded(encoded: Any, encoder: Columns) -> Any:
    """Encoded rows [batch, features], with embeddings where a column has many categories.

    Args:
        encoded: what the encoder says.
        encoder: the layer.
    """
    columns, feature = [], 0
    for name, facts in encoder.columns.items():
        if "embedding" in facts:
            layer = encoder._by_itself[name]
            columns.append((feature, layer.categories, layer.embedding))
        feature += encoder.size(name)
    return Embeddings(columns, feature, name="embeddings")(encoded) if columns else encoded


def _keys(x: tf.Tensor) -> tf.Tensor:
    """What is searched for, int64 [n]."""
    if x.dtype == tf.string:
        return tf.strings.to_hash_bucket_fast(x, 2**62)
    return tf.cast(x, tf.int64)
