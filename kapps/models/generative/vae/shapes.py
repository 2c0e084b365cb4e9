"""Networks of [rows, ...] on tensors of [samples, batch, ...]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf


def repeat(x: tf.Tensor, samples: int | tf.Tensor) -> tf.Tensor:
    """[batch, ...] -> [samples, batch, ...]."""
    return tf.broadcast_to(x[None], tf.concat([[samples], tf.shape(x)], axis=0))


def call(model: keras.Model, inputs: Sequence[tf.Tensor], training: bool = False) -> Any:
    """A functional model; one that has a single input does not take a list."""
    return model(inputs if len(inputs) > 1 else inputs[0], training=training)


def on_rows(model: keras.Model, inputs: Sequence[tf.Tensor], training: bool) -> Any:
    """A model, whose inputs and outputs are [rows, ...], on [samples, batch, ...]."""
    leading = tf.shape(inputs[0])[:2]
    rows = [tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], axis=0)) for x in inputs]
    for row, x in zip(rows, inputs, strict=True):
        row.set_shape([None, *x.shape[2:]])
    outputs = call(model, rows, training)

    def unroll(y):
        return tf.reshape(y, tf.concat([leading, tf.shape(y)[1:]], axis=0))

    return [unroll(y) for y in outputs] if isinstance(outputs, (list, tuple)) else unroll(outputs)
