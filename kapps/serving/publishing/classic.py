"""A model of points becomes a SavedModel that needs neither kapps nor Keras."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from kapps.errors import UserError
from kapps.serving.savedmodel.endpoints import Endpoint, export_generative
from kapps.serving.savedmodel.input_statistics import Statistics


def is_points(model: keras.Model) -> bool:
    """Whether a model takes points, [N, features], by that name."""
    shape = model.input_shape
    named = getattr(model.input, "name", "") == "points"
    return named and isinstance(shape, tuple) and len(shape) == 2


def export_points(
    model: keras.Model,
    export_dir: str | os.PathLike,
    class_names: Sequence[str] = (),
    *,
    kind: str = "network",
    temperature: float = 1.0,
    card: str | None = None,
    statistics: Statistics | None = None,
) -> Path:
    """Publishes a model of points as the next version under `export_dir`.

    `serving_default` takes raw `points` float32 [N, features]. It returns `probabilities` float32
    [N, classes] and `label` string [N], or, of a function, `prediction` float32 [N, outputs].

    Args:
        model: Points [N, features] -> logits [N, classes], or values [N, outputs].
        export_dir: The directory that a server watches; made when missing.
        class_names: One label per logit; none for a function.
        kind: What the card calls the model.
        temperature: The logits are divided by it before the softmax.
        card: Markdown on what was trained on what, with which result.
        statistics: what the inputs were like in training, by name, see
            `kapps.serving.savedmodel.input_statistics`; for the counters of `kapps serve`.

    Returns:
        The directory of the published version.

    Raises:
        UserError: labels, temperature or shapes do not fit, or answers are not finite.
        RuntimeError: the reloaded SavedModel disagrees with the model. Nothing is published.
    """
    names = tuple(class_names)
    if names and model.output_shape[-1] != len(names):
        raise UserError(f"the model has {model.output_shape[-1]} logits for {len(names)} classes")
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"temperature is {temperature}; a positive number is needed")

    return export_generative(
        point_endpoints(model, names, temperature),
        export_dir,
        kind=kind,
        class_names=names,
        card=card,
        statistics=statistics,
    )


def point_endpoints(
    model: keras.Model, class_names: Sequence[str] = (), temperature: float = 1.0
) -> dict[str, Endpoint]:
    """The signature of a model of points; see `export_points`."""
    names = tuple(class_names)

    def classify(points):
        logits = tf.cast(model(points, training=False), tf.float32)
        probabilities = tf.nn.softmax(logits / temperature)
        label = tf.gather(tf.constant(names), tf.argmax(probabilities, axis=-1))
        return {"probabilities": probabilities, "label": label}

    def predict(points):
        return {"prediction": tf.cast(model(points, training=False), tf.float32)}

    points = tf.TensorSpec((None, model.input_shape[-1]), tf.float32, "points")
    return {"serving_default": (classify if names else predict, [points])}
