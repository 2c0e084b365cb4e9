"""A model of series becomes a SavedModel that needs neither kapps nor Keras."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.models.resting_cells import cells_at_rest
from kapps.serving.savedmodel.endpoints import Endpoint, export_generative
from kapps.serving.savedmodel.input_statistics import Statistics

# In assets.extra/: a list of names, in the order of the features, where they have names.
FEATURES_FILE = "features.json"
PADDING_TOLERANCE = 1e-4  # of an answer, when more padding is sent


def export_sequences(
    model: keras.Model,
    export_dir: str | os.PathLike,
    class_names: Sequence[str] = (),
    *,
    temperature: float = 1.0,
    kind: str = "recurrent network",
    card: str | None = None,
    sample_series: np.ndarray | None = None,
    statistics: Statistics | None = None,
    feature_names: Sequence[str] = (),
) -> Path:
    """Publishes a model of series as the next version under `export_dir`.

    `serving_default` takes raw `sequence` float32 [N, T, F], T as long as the longest series sent;
    shorter ones are padded at the end with NaN in all features. It returns `probabilities` float32
    [N, classes] and `label` string [N] (or [N, T, classes] and [N, T] of a model that answers at
    each step), or `prediction` float32 [N, outputs].

    Args:
        model: Series [N, T, F] -> logits, or numbers.
        export_dir: The directory that a server watches; made when missing.
        class_names: One label per logit; none where numbers are predicted.
        temperature: The logits are divided by it before the softmax.
        kind: What the card calls the model.
        card: Markdown on what was trained on what, with which result.
        sample_series: float32 [n, T, F], with which it is checked that padding changes nothing.
        statistics: what the inputs were like in training, by name, see
            `kapps.serving.savedmodel.input_statistics`; for the counters of `kapps serve`.
        feature_names: of the features, by which `kapps predict` finds them in a table; they are
            kept in `assets.extra/features.json`. None: the order of the columns counts.

    Returns:
        The directory of the published version.

    Raises:
        UserError: labels, names of features or temperature do not fit, padding changes an answer,
            or answers are not finite. Nothing is published.
        RuntimeError: the reloaded SavedModel disagrees with the model. Nothing is published.
    """
    names = tuple(class_names)
    if feature_names and len(feature_names) != model.input_shape[-1]:
        raise UserError(
            f"{len(feature_names)} names for the {model.input_shape[-1]} features of the model"
        )
    if names and model.output_shape[-1] != len(names):
        raise UserError(f"the model has {model.output_shape[-1]} logits for {len(names)} classes")
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"temperature is {temperature}; a positive number is needed")

    endpoints = sequence_endpoints(model, names, temperature)
    predict, _ = sequence_endpoints(model)["serving_default"]
    if sample_series is not None:
        _check_padding(predict, sample_series)
    return export_generative(
        endpoints,
        export_dir,
        kind=kind,
        class_names=names,
        card=card,
        statistics=statistics,
        extra={FEATURES_FILE: json.dumps(list(feature_names))} if feature_names else None,
    )


def feature_names_of(version: Path) -> list[str]:
    """The names of the features of a published model, in their order; none where it has none."""
    try:
        return json.loads((version / "assets.extra" / FEATURES_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []


def sequence_endpoints(
    model: keras.Model, class_names: Sequence[str] = (), temperature: float = 1.0
) -> dict[str, Endpoint]:
    """The signature of a model of series; see `export_sequences`."""
    names = tuple(class_names)

    def answer(sequence):
        # Of no steps there is nothing to loop over; a step of padding is nothing, too.
        missing = tf.cast(tf.equal(tf.shape(sequence)[1], 0), tf.int32)
        sequence = tf.pad(sequence, [[0, 0], [0, missing], [0, 0]], constant_values=math.nan)
        with cells_at_rest(model):
            return tf.cast(model(sequence, training=False), tf.float32)

    def classify(sequence):
        logits = answer(sequence)
        probabilities = tf.nn.softmax(logits / temperature)
        label = tf.gather(tf.constant(names), tf.argmax(probabilities, axis=-1))
        return {"probabilities": probabilities, "label": label}

    def predict(sequence):
        return {"prediction": answer(sequence)}

    sequence = tf.TensorSpec((None, None, model.input_shape[-1]), tf.float32, "sequence")
    return {"serving_default": (classify if names else predict, [sequence])}


def is_sequence(model: keras.Model) -> bool:
    """Whether a model takes series padded with NaN, as those of `kapps.models.recurrent` do."""
    return [tensor.name for tensor in model.inputs] == ["sequence"]


def _check_padding(predict, series: np.ndarray) -> None:
    series = np.asarray(series, np.float32)
    nothing = np.full((len(series), 3, series.shape[2]), np.nan, np.float32)
    answer = predict(tf.constant(series))["prediction"].numpy()
    padded = predict(tf.constant(np.concatenate([series, nothing], axis=1)))["prediction"].numpy()
    if answer.ndim == 3:  # a step has an answer of its own
        padded = padded[:, : answer.shape[1]]
    difference = np.max(np.abs(answer - padded), initial=0.0)
    allowed = PADDING_TOLERANCE * max(1.0, np.max(np.abs(answer), initial=0.0))
    if difference > allowed:
        raise UserError(
            f"padding changes an answer of the model by {difference:.1e} ({allowed:.0e} allowed): "
            "series of unequal lengths could not share a batch. Nothing was published"
        )
