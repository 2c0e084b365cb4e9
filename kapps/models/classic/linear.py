"""What networks of one layer share: features, targets, criteria, and logits for serving."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.models import arguments, heads


def linear_features(
    input_shape: tuple[int, ...], mean: float | Sequence[float], std: float | Sequence[float]
) -> keras.Model:
    """What a one-layer network sees: (x - mean) / std, flattened; float32 `[batch, features]`.

    Raises:
        UserError: a shape of another rank, statistics of another length, or a std of 0.
    """
    if len(input_shape) == 3:
        raw, x = heads.image_input(arguments.image_shape(tuple(input_shape)), mean, std)
    elif len(input_shape) != 1:
        raise UserError(
            f"input_shape must be (height, width, channels) or (features,); got {input_shape!r}."
        )
    else:
        (features,) = arguments.integers("input_shape", tuple(input_shape))
        mean = arguments.per_channel("mean", mean, features)
        std = arguments.per_channel("std", std, features)
        if min(std) <= 0:
            raise UserError(f"std must be positive; got {std!r}.")
        raw = keras.Input((features,), name="points", dtype="float32")
        offset = [-m / s for m, s in zip(mean, std, strict=True)]
        scale = [1 / s for s in std]
        x = keras.layers.Rescaling(scale, offset, dtype="float32", name="rescaling")(raw)
    return keras.Model(raw, keras.layers.Flatten(name="flatten")(x), name="features")


def classes_of(targets: Any, classes: int = 2) -> tf.Tensor:
    """Numbers of classes, int32 [n], of targets that are such numbers or one-hot.

    Args:
        targets: numbers [n] or [n, 1], or one-hot [n, classes].
        classes: how many there are.
    """
    targets = tf.convert_to_tensor(targets)
    if targets.shape.rank == 2 and targets.shape[-1] == classes:
        return tf.argmax(targets, axis=-1, output_type=tf.int32)
    return tf.cast(tf.round(tf.cast(tf.reshape(targets, [-1]), tf.float32)), tf.int32)


def criterion(scores: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """The perceptron criterion, by how much each example is on the wrong side: float32 [n].

    max(0, -w.x) of class 1 and max(0, w.x) of class 0; with more classes the distance of the right
    score to the largest other one. Duda and Hart 1973, section 5.5.

    Args:
        scores: [n, 1] or [n, classes].
        classes: int32 [n].
    """
    margin = margins(scores, classes)
    return tf.where(margin <= 0.0, -margin, 0.0)  # at 0 the slope is that of a mistake


def misclassified(scores: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """1 where the right class does not win, ties included, else 0: float32 [n].

    Args:
        scores: [n, 1] or [n, classes].
        classes: int32 [n].
    """
    return tf.cast(margins(scores, classes) <= 0.0, tf.float32)


def margins(scores: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """By how much the right class wins, negative where it does not: float32 [n]."""
    scores = tf.cast(scores, tf.float32)
    if scores.shape[-1] == 1:
        return tf.where(classes > 0, scores[:, 0], -scores[:, 0])
    return tf.gather(scores, classes, batch_dims=1) - _strongest_other(scores, classes)[0]


def squared_distance(scores: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Half the squared distance of the scores to targets of -1 and 1: float32 [n]."""
    scores = tf.cast(scores, tf.float32)
    units = scores.shape[-1]
    ones = tf.cast(classes[:, None], tf.float32) if units == 1 else tf.one_hot(classes, units)
    return 0.5 * tf.reduce_sum(tf.square(scores - (2.0 * ones - 1.0)), axis=-1)


def class_logits(model: Any) -> keras.Model:
    """The trained network with a logit per class, as classifiers are evaluated and served."""
    if model.classes == 2:
        return pair_of_logits(model)
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(model.output)
    return keras.Model(model.input, logits, name=f"{model.name}_logits")


def pair_of_logits(model: keras.Model) -> keras.Model:
    """A model with one score s, the logit of class 1, as one with the logits (0, s)."""
    pair = keras.layers.Dense(2, use_bias=False, dtype="float32", name="logits")
    logits = pair(model.output)
    pair.set_weights([np.array([[0.0, 1.0]], np.float32)])
    return keras.Model(model.input, logits, name=f"{model.name}_logits")


def track(trackers, values, weight=None):
    """Update metrics, by weight if there is one, and say what they are."""
    weight = None if weight is None else tf.reshape(weight, [-1])
    for tracker, value in zip(trackers, values, strict=True):
        tracker.update_state(value, sample_weight=weight)
    return {tracker.name: tracker.result() for tracker in trackers}


def _strongest_other(scores, classes):
    """The largest score of a wrong class and its number, [n] both."""
    others = scores - tf.one_hot(classes, scores.shape[-1], on_value=np.inf, off_value=0.0)
    return tf.reduce_max(others, axis=-1), tf.argmax(others, axis=-1, output_type=tf.int32)


def scores_layer(features, classes):
    """The one layer: from features to a score per class, or to one of two classes; zeros."""
    units = 1 if classes == 2 else classes
    layer = keras.layers.Dense(units, kernel_initializer="zeros", dtype="float32", name="scores")
    layer.build(features.output.shape)
    return layer


def config_of(model):
    """Constructor arguments that both kinds of model have."""
    features = keras.saving.serialize_keras_object(model.features)
    return {"name": model.name, "features": features, "classes": model.classes}


def arguments_of(config, custom_objects):
    """The reverse, with the features as a model."""
    features = keras.saving.deserialize_keras_object(config["features"], custom_objects)
    return {**config, "features": features}
