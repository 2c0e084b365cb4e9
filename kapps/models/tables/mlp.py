"""Multilayer perceptron on the columns of a table, which takes them raw and by name."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from kapps.errors import UserError
from kapps.models import arguments, heads
from kapps.models.tables.bins import binned
from kapps.models.tables.columns import Columns, NumberColumn, embedded
from kapps.models.tables.members import Agree, Deal, MembersDense

KINDS = {"number": "float32", "string": "string", "integer": "int32"}


def tabular_mlp(
    columns: Mapping[str, Mapping[str, Any]],
    classes: int = 0,
    *,
    units: int | Sequence[int] = (64, 32),
    activation: str = "relu",
    normalization: str | None = None,
    dropout: float = 0.0,
    bins: Mapping[str, Sequence[float]] | None = None,
    members: int = 1,
    target_mean: float = 0.0,
    target_std: float = 1.0,
    name: str = "tabular_mlp",
) -> keras.Model:
    """A multilayer perceptron on the columns of a table.

    Two parts: "encoder", a layer (`Columns`), turns raw columns into numbers; "network", a model,
    turns those into the answer, and can be trained alone on rows that were encoded once.

    Args:
        columns: by name what is known of each column: its `kind` and that kind's arguments.
            number: mean, std, median, indicator, wide (see `NumberColumn`); string or integer:
            vocabulary, missing (see `CategoryColumn`), embedding (see `ManyCategoriesColumn`).
            And `reading`, which the model only keeps. Their order has no meaning.
        classes: number of classes, or 0 for a regression.
        units: one entry per hidden layer; none: a linear model.
        activation: of the hidden layers.
        normalization: "batch" puts a batch normalization before each activation.
        dropout: follows each hidden layer.
        bins: by name of a column of numbers the edges of its bins, ascending: the network also
            reads where among them a number lies (`PiecewiseLinear`).
        members: so many networks that agree on an answer. A batch to train on is dealt to them
            (`kapps.models.tables.members`).
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
    arguments.integer("members", members)
    if classes:
        arguments.integer("classes", classes, minimum=2)
    if not (math.isfinite(target_mean) and 0 < target_std < math.inf):
        raise UserError(
            f"target_mean {target_mean} must be finite, target_std {target_std} positive"
        )
    encoder = Columns(_checked(columns), name="encoder")
    inputs = {
        column: keras.Input((1,), dtype=_dtype(facts), name=column)
        for column, facts in encoder.columns.items()
    }
    rows = encoder(inputs)
    encoded = keras.Input(rows.shape[1:], name="encoded", dtype="float32")
    x = binned(embedded(encoded, encoder), encoder, bins or {})
    dense: Callable[..., keras.Layer] = keras.layers.Dense
    if members > 1:
        x = Deal(members, name="deal")(x)
        dense = functools.partial(MembersDense, members=members)
    x = heads.hidden_layers(
        x,
        units,
        activation=activation,
        normalization=normalization,
        dropout=dropout,
        dense=dense,
    )
    if dropout > 0:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    answer = "logits" if classes else "standardized"
    if members > 1:
        y = MembersDense(classes or 1, members, dtype="float32", name="answers")(x)
        y = Agree(members, bool(classes), name=answer)(y, encoded)
    else:
        y = keras.layers.Dense(classes or 1, dtype="float32", name=answer)(x)
    if not classes:
        y = keras.layers.Rescaling(target_std, target_mean, dtype="float32", name="prediction")(y)
    network = keras.Model(encoded, y, name="network")
    return keras.Model(inputs, network(rows), name=name)


def described_columns(model: keras.Model) -> dict[str, dict[str, Any]]:
    """What a `tabular_mlp` was told of each column, by the column's name."""
    described = {}
    for name, layer in column_layers(model).items():
        config = layer.get_config()
        if isinstance(layer, NumberColumn):
            kind = "number"
        else:
            kind = "string" if model.input[name].dtype == "string" else "integer"
        keys = ("mean", "std", "median", "indicator", "wide", "vocabulary", "missing", "reading")
        described[name] = {"kind": kind} | {key: config[key] for key in keys if key in config}
    return described


def column_layers(model: keras.Model) -> dict[str, keras.Layer]:
    """The layer that encodes each column of a `tabular_mlp`, by the column's name."""
    return model.get_layer("encoder").by_name


def _checked(columns: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    if not columns:
        raise UserError("there is no column to learn from")
    for column, facts in columns.items():
        if not re.fullmatch(r"[A-Za-z]\w*", column, re.ASCII):
            raise UserError(f"column {column!r}: letters, digits and underscores make a name")
        kind = arguments.one_of(f"kind of column {column}", facts.get("kind"), tuple(KINDS))
        if kind == "number" and not facts["std"] > 0:
            raise UserError(f"column {column}: std {facts['std']} must be positive")
    return columns


def _dtype(facts: Mapping[str, Any]) -> str:
    return "float64" if facts.get("wide") else KINDS[facts["kind"]]
