"""Multilayer perceptron on the columns of a table, which takes them raw and by name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from kapps.errors import UserError
from kapps.models import arguments, heads

KINDS = {"number": "float32", "string": "string", "integer": "int32"}


@keras.saving.register_keras_serializable("kapps")
class NumberColumn(keras.layers.Layer):
    """Numbers float32 [batch, 1] -> `(x - mean) / std`, float32 [batch, 1 or 2].

    NaN stands for a missing number and becomes the median.

    Args:
        mean: of the training part.
        std: of the training part.
        median: of the training part.
        indicator: a second output says whether the number was missing. For a column without gaps in
            training, its weights would never be trained.
    """

    def __init__(self, mean: float, std: float, median: float, indicator: bool = False, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.mean, self.std, self.median, self.indicator = mean, std, median, indicator

    def call(self, x):
        """The numbers, standardised."""
        missing = tf.math.is_nan(x)
        # The mean goes first: dividing large numbers before would cost what makes them differ.
        standardised = (tf.where(missing, self.median, x) - self.mean) / self.std
        if not self.indicator:
            return standardised
        return tf.concat([standardised, tf.cast(missing, standardised.dtype)], axis=-1)

    def compute_output_shape(self, input_shape):
        """[batch, 1 or 2]."""
        return (*input_shape[:-1], 1 + self.indicator)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("mean", "std", "median", "indicator")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("kapps")
class CategoryColumn(keras.layers.Layer):
    """Texts or whole numbers [batch, 1] -> one-hot float32 [batch, categories (+ 1)].

    A category that is not in the vocabulary becomes zeros, so that no weight acts on it that was
    never trained, as with scikit-learn's `OneHotEncoder(handle_unknown="ignore")`. There is no
    lookup table: a SavedModel holds nothing but constants.

    Args:
        vocabulary: the categories.
        missing: what stands for a missing value, texts in small letters; together they are one more
            category, the last. Empty if nothing was missing in training.
    """

    def __init__(self, vocabulary: Sequence, missing: Sequence = (), **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.vocabulary, self.missing = list(vocabulary), list(missing)
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
        }


def tabular_mlp(
    columns: Mapping[str, Mapping[str, Any]],
    classes: int = 0,
    *,
    units: int | Sequence[int] = (64, 32),
    activation: str = "relu",
    normalization: str | None = None,
    dropout: float = 0.0,
    target_mean: float = 0.0,
    target_std: float = 1.0,
    name: str = "tabular_mlp",
) -> keras.Model:
    """A multilayer perceptron on the columns of a table.

    Two models in one: "encoder", a `keras.utils.FeatureSpace` whose features are the layers above,
    turns raw columns into numbers; "network" turns those into the answer, and can be trained alone
    on rows that were encoded once.

    Args:
        columns: by name what is known of each column: its `kind` and that kind's arguments.
            number: mean, std, median, indicator (see `NumberColumn`); string or integer:
            vocabulary, missing (see `CategoryColumn`). Their order has no meaning.
        classes: number of classes, or 0 for a regression.
        units: one entry per hidden layer; none: a linear model.
        activation: of the hidden layers.
        normalization: "batch" puts a batch normalization before each activation.
        dropout: follows each hidden layer.
        target_mean: of the training targets of a regression, in whose units the model answers.
        target_std: of the training targets of a regression.
        name: of the model.

    Returns:
        A functional model: a dictionary of raw columns, each [batch, 1] (numbers float32, NaN where
        missing; texts; whole numbers int32) -> "logits" [batch, classes] or "prediction"
        [batch, 1].

    Raises:
        UserError: an argument is out of its range.
    """
    units = arguments.integers("units", units)
    arguments.activation(activation)
    arguments.one_of("normalization", normalization, ("batch", None))
    arguments.rate("dropout", dropout)
    if not (math.isfinite(target_mean) and 0 < target_std < math.inf):
        raise UserError(
            f"target_mean {target_mean} must be finite, target_std {target_std} positive"
        )
    encoder = _encoder(columns)
    encoded = keras.Input(encoder.output_shape[1:], name="encoded", dtype="float32")
    x = heads.hidden_layers(
        encoded, units, activation=activation, normalization=normalization, dropout=dropout
    )
    if classes:
        y = heads.logits(x, classes, dropout)
    else:
        if dropout > 0:
            x = keras.layers.Dropout(dropout, name="dropout")(x)
        y = keras.layers.Dense(1, dtype="float32", name="standardised")(x)
        y = keras.layers.Rescaling(target_std, target_mean, dtype="float32", name="prediction")(y)
    network = keras.Model(encoded, y, name="network")
    inputs = {
        column: keras.Input((1,), dtype=tensor.dtype, name=column)
        for column, tensor in encoder.input.items()
    }
    return keras.Model(inputs, network(encoder(inputs)), name=name)


def column_layers(model: keras.Model) -> dict[str, keras.Layer]:
    """The layer that encodes each column of a `tabular_mlp`, by the column's name."""
    encoder = model.get_layer("encoder")
    return {name: encoder.get_layer(f"column{i}") for i, name in enumerate(sorted(encoder.input))}


def _encoder(columns: Mapping[str, Mapping[str, Any]]) -> keras.Model:
    """Raw columns by name -> float32 [batch, features], the columns in the order of their names."""
    if not columns:
        raise UserError("there is no column to learn from")
    space = keras.utils.FeatureSpace(
        {
            column: _feature(i, column, dict(columns[column]))
            for i, column in enumerate(sorted(columns))
        }
    )
    # A plain dictionary: Keras compares the kind of what it is given later.
    return keras.Model(dict(space.get_inputs()), space.get_encoded_features(), name="encoder")


def _feature(i: int, column: str, facts: dict[str, Any]) -> Any:
    if not re.fullmatch(r"[A-Za-z]\w*", column, re.ASCII):
        raise UserError(f"column {column!r}: letters, digits and underscores make a name")
    kind = arguments.one_of(f"kind of column {column}", facts.pop("kind", None), tuple(KINDS))
    if kind == "number" and not facts["std"] > 0:
        raise UserError(f"column {column}: std {facts['std']} must be positive")
    layer = NumberColumn if kind == "number" else CategoryColumn
    # Numbered, as the name of a column may be that of an input, too.
    return keras.utils.FeatureSpace.feature(KINDS[kind], layer(**facts, name=f"column{i}"), "float")
