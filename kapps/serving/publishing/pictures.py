"""Networks that give pictures any number of labels, or a number, become SavedModels.

several labels   image or image_bytes -> probabilities float32 [N, labels], and labels string
                 [N]: those above their thresholds, with "|" between them as in the tables that
                 they were learned from; "" where there is none
a number         image or image_bytes -> value float32 [N]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kapps.data.images.files.decode import PLAIN, Reading
from kapps.errors import UserError
from kapps.serving.publishing.generative import export_generative
from kapps.serving.savedmodel import graph, image_files

BETWEEN = "|"  # the labels of a picture

Answer = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def export_labels(
    model: keras.Model,
    export_dir: str | os.PathLike,
    class_names: Sequence[str],
    *,
    thresholds: Sequence[float],
    card: str | None = None,
    sample_images: np.ndarray | None = None,
    reading: Reading = PLAIN,
) -> Path:
    """Publishes a network of several labels as the next version under `export_dir`.

    Args:
        model: Images [N, H, W, C] of 0..255 -> logits [N, labels].
        export_dir: The directory that a server watches; made when missing.
        class_names: Of the labels.
        thresholds: A label is given where its probability is above.
        card: Markdown on what was trained on what, with which result.
        sample_images: uint8 [n, H, W, C] for the check, noise when None.
        reading: How files are decoded, see `ImageData.reading`.

    Raises:
        UserError: the model cannot be served as it is. Nothing is published.
        RuntimeError: the reloaded SavedModel disagrees with the model. Nothing is published.
    """
    names, _ = graph.check(model, class_names, 1.0)
    if len(thresholds) != len(names):
        raise UserError(f"{len(thresholds)} thresholds for {len(names)} labels")

    chances_in = chances_of(model)

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        chances = chances_in(image)
        given = chances > tf.constant(thresholds, tf.float32)
        marked = tf.where(given, tf.constant([f"{name}{BETWEEN}" for name in names]), "")
        joined = tf.strings.reduce_join(marked, axis=1)
        return {
            "probabilities": chances,
            "labels": tf.strings.regex_replace(joined, r"\|$", ""),
        }

    rows = [f"| {name} | {t:.4g} |" for name, t in zip(names, thresholds, strict=True)]
    told = "\n".join(["## Thresholds", "", "| label | given above |", "|---|---|", *rows])
    return _export(
        model,
        answer,
        export_dir,
        kind="network of several labels for each picture",
        class_names=names,
        card=f"{card or ''}\n\n{told}\n",
        sample_images=sample_images,
        reading=reading,
    )


def export_numbers(
    model: keras.Model,
    export_dir: str | os.PathLike,
    class_names: Sequence[str] = (),
    *,
    card: str | None = None,
    sample_images: np.ndarray | None = None,
    reading: Reading = PLAIN,
) -> Path:
    """Publishes a network that says a number as the next version; arguments as `export_labels`.

    Args:
        model: Images [N, H, W, C] of 0..255 -> numbers [N, 1], in their units.
        export_dir: The directory that a server watches; made when missing.
        class_names: None; for the same arguments as other exporters.
        card: Markdown on what was trained on what, with which result.
        sample_images: uint8 [n, H, W, C] for the check, noise when None.
        reading: How files are decoded, see `ImageData.reading`.

    Raises:
        UserError: the model cannot be served as it is. Nothing is published.
        RuntimeError: the reloaded SavedModel disagrees with the model. Nothing is published.
    """
    if model.output_shape != (None, 1):
        raise UserError(f"the model's output is {model.output_shape}; one number is needed")

    return _export(
        model,
        number_of(model),
        export_dir,
        kind="network that says a number of each picture",
        card=card,
        sample_images=sample_images,
        reading=reading,
    )


def chances_of(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """From images [N, H, W, C] of 0..255 to probabilities float32 [N, labels]."""
    return lambda image: tf.sigmoid(
        tf.cast(model(tf.cast(image, tf.float32), training=False), tf.float32)
    )


def number_of(model: keras.Model) -> Answer:
    """From images [N, H, W, C] of 0..255 to `value` float32 [N]."""

    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        value = model(tf.cast(image, tf.float32), training=False)
        return {"value": tf.cast(value, tf.float32)[:, 0]}

    return answer


def _export(model, answer: Answer, export_dir, *, reading: Reading, **settings) -> Path:
    image_shape = model.input_shape[1:]

    def of_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        images = image_files.decode_files(image_bytes, image_shape, reading)
        return graph.never_empty(answer)(images)

    image = tf.TensorSpec((None, *image_shape), tf.uint8, name="image")
    endpoints = {"serving_default": (answer, [image])}
    if image_shape[-1] in image_files.DECODABLE_CHANNELS:
        endpoints["from_bytes"] = (of_bytes, [image_files.IMAGE_BYTES])
    return export_generative(endpoints, export_dir, **settings)
