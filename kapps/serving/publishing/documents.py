"""A classifier of texts becomes a SavedModel that needs neither kapps nor Keras."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from kapps.errors import UserError
from kapps.serving.savedmodel.endpoints import Endpoint, export_generative

TEXT = tf.TensorSpec((None,), tf.string, "text")


def export_documents(
    model: keras.Model,
    export_dir: str | os.PathLike,
    class_names: Sequence[str],
    *,
    temperature: float = 1.0,
    card: str | None = None,
) -> Path:
    """Publishes a classifier of texts as the next version under `export_dir`.

    `serving_default` takes `text` string [N], UTF-8, and returns `probabilities` float32
    [N, classes] and `label` string [N].

    Args:
        model: Texts [N] -> logits.
        export_dir: The directory that a server watches; made when missing.
        class_names: One label per logit.
        temperature: The logits are divided by it before the softmax.
        card: Markdown on what was trained on what, with which result.

    Returns:
        The directory of the published version.

    Raises:
        UserError: labels or temperature do not fit, or answers are not finite. Nothing is
            published.
        RuntimeError: the reloaded SavedModel disagrees with the model. Nothing is published.
    """
    names = tuple(class_names)
    if model.output_shape[-1] != len(names):
        raise UserError(f"the model has {model.output_shape[-1]} logits for {len(names)} classes")
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"temperature is {temperature}; a positive number is needed")
    endpoints = document_endpoints(model, names, temperature)
    kind = "text classifier"
    return export_generative(endpoints, export_dir, kind=kind, class_names=names, card=card)


def document_endpoints(
    model: keras.Model, class_names: Sequence[str], temperature: float = 1.0
) -> dict[str, Endpoint]:
    """The signature of a classifier of texts; see `export_documents`."""
    names = tuple(class_names)

    @tf.function(autograph=False, input_signature=[TEXT])
    def classify(text):
        logits = tf.cast(model(text, training=False), tf.float32)
        probabilities = tf.nn.softmax(logits / temperature)
        label = tf.gather(tf.constant(names), tf.argmax(probabilities, axis=-1))
        return {"probabilities": probabilities, "label": label}

    return {"serving_default": (classify, [TEXT])}


def is_document(model: keras.Model) -> bool:
    """Whether a model classifies texts, as `models.text_classifier` builds it."""
    inputs = getattr(model, "inputs", None) or []
    return [(tensor.name, tensor.dtype) for tensor in inputs] == [("text", "string")]
