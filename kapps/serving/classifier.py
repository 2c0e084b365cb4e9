"""A trained image classifier becomes a SavedModel that needs neither kapps nor Keras.

What is in the graph: the decoder, the model with `training=False`, the temperature of the
calibration, the softmax and the labels. `export` reloads what it wrote and compares before it
publishes, see `kapps.serving.selfcheck`.
"""

import math
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kapps.data import decode
from kapps.errors import UserError
from kapps.serving.card import model_card
from kapps.serving.publishing import publish
from kapps.serving.selfcheck import check_saved_model
from kapps.serving.warmup import write_warmup

_ENCODABLE_CHANNELS = (1, 3, 4)  # what PNG holds
_WARMUP_BATCHES = (1, 8)


def export(
    model: keras.Model,
    export_dir: str | os.PathLike,
    class_names: Sequence[str],
    *,
    temperature: float = 1.0,
    card: str | None = None,
    sample_images: np.ndarray | None = None,
) -> Path:
    """Publishes a classifier as the next version under `export_dir`.

    Signatures, both returning `probabilities` float32 [N, classes] and `label` string [N]:
    `serving_default` takes `image` uint8 [N, H, W, C]; `from_bytes` takes `image_bytes`, encoded
    PNG or JPEG strings [N], and exists where images have 1, 3 or 4 channels.

    The graph computes in the precision of the model's dtype policy, the one the model was
    evaluated with; softmax and outputs are float32 always. The version directory also holds
    `assets/labels.txt`, warm-up requests and `model_card.md`.

    Args:
        model: Images [N, H, W, C] of 0..255 -> logits [N, classes]; H, W and C are known.
        export_dir: The directory that a server watches; made when missing.
        class_names: One label per logit.
        temperature: The logits are divided by it before the softmax.
        card: Markdown on what was trained on what, with which result; how to call the model is
            appended to it.
        sample_images: uint8 [n, H, W, C] for the check and the warm-up, noise when None.

    Returns:
        The directory of the published version.

    Raises:
        UserError: the model cannot be served as it is: shapes that do not fit the labels, or a
            graph that draws random numbers or changes its own weights. Nothing is published.
        RuntimeError: the reloaded SavedModel disagrees with the model. Nothing is published.
    """
    class_names = _checked_names(class_names)
    image_shape = _image_shape(model, len(class_names))
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"temperature is {temperature}; a positive number is needed")
    images = _checked_images(sample_images, image_shape)
    export_dir = Path(export_dir)

    def write(directory: Path) -> None:
        endpoints = _endpoints(model, image_shape, class_names, temperature)
        _save(model, directory, endpoints, class_names)
        (directory / "model_card.md").write_text(
            model_card(
                export_dir.name, image_shape, class_names, temperature, tuple(endpoints), card
            ),
            encoding="utf-8",
        )
        write_warmup(directory, export_dir.name, _warmup_requests(images, tuple(endpoints)))
        check_saved_model(directory, model, images, class_names, temperature)

    return publish(export_dir, write)


def _endpoints(
    model: keras.Model,
    image_shape: tuple[int, int, int],
    class_names: tuple[str, ...],
    temperature: float,
) -> dict[str, Callable]:
    def classify(image: tf.Tensor) -> dict[str, tf.Tensor]:
        # training=False reaches Keras' random augmentation layers too, whose own default is True.
        logits = model(tf.cast(image, tf.float32), training=False)
        probabilities = tf.nn.softmax(tf.cast(logits, tf.float32) / temperature)
        label = tf.gather(tf.constant(class_names), tf.argmax(probabilities, axis=-1))
        return {"probabilities": probabilities, "label": label}

    def classify_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        image = tf.map_fn(
            lambda contents: decode.decode_image(contents, image_shape),
            image_bytes,
            fn_output_signature=tf.TensorSpec(image_shape, tf.uint8),
        )
        return classify(image)

    image = tf.TensorSpec((None, *image_shape), tf.uint8, name="image")
    # TF Serving's REST interface takes base64 for tensors whose name ends in _bytes.
    image_bytes = tf.TensorSpec((None,), tf.string, name="image_bytes")
    endpoints = {"serving_default": tf.function(classify, autograph=False, input_signature=[image])}
    if image_shape[-1] in _ENCODABLE_CHANNELS:
        endpoints["from_bytes"] = tf.function(
            classify_bytes, autograph=False, input_signature=[image_bytes]
        )
    return endpoints


def _save(
    model: keras.Model,
    directory: Path,
    endpoints: dict[str, Callable],
    class_names: tuple[str, ...],
) -> None:
    # A plain module instead of keras.export.ExportArchive: that keeps variables and lookup
    # tables and has no place for a file.
    served = tf.Module()
    served.model_variables = model.variables
    with tempfile.TemporaryDirectory() as scratch:
        labels = Path(scratch, "labels.txt")
        labels.write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
        served.labels = tf.saved_model.Asset(str(labels))
        tf.saved_model.save(served, str(directory), signatures=endpoints)


def _warmup_requests(images: np.ndarray, endpoints: tuple[str, ...]) -> list:
    requests = []
    for size in _WARMUP_BATCHES:
        batch = np.resize(images, (size, *images.shape[1:]))
        requests.append(("serving_default", {"image": batch}))
        if "from_bytes" in endpoints:
            encoded = np.array([tf.io.encode_png(image).numpy() for image in batch], object)
            requests.append(("from_bytes", {"image_bytes": encoded}))
    return requests


def _checked_names(class_names: Sequence[str]) -> tuple[str, ...]:
    names = tuple(str(name) for name in class_names)
    for name in names:
        if not name or name.splitlines() != [name]:
            raise UserError(f"class name {name!r} does not fit on one line of labels.txt")
    if len(set(names)) < len(names):
        raise UserError("two classes have the same name; a label must say which class is meant")
    return names


def _image_shape(model: keras.Model, classes: int) -> tuple[int, int, int]:
    shape = model.input_shape
    if not (isinstance(shape, tuple) and len(shape) == 4 and None not in shape[1:]):
        raise UserError(f"the model's input is {shape}; (None, height, width, channels) is needed")
    if model.output_shape != (None, classes):
        raise UserError(
            f"the model's output is {model.output_shape}, but there are {classes} class names"
        )
    return shape[1:]


def _checked_images(images: np.ndarray | None, image_shape: tuple[int, int, int]) -> np.ndarray:
    if images is None:
        noise = np.random.default_rng(0)
        return noise.integers(0, 256, (8, *image_shape), np.uint8)
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != image_shape or len(images) == 0:
        raise ValueError(
            f"sample_images is {images.dtype} {images.shape}; uint8 (n, *{image_shape}) is needed"
        )
    return images[:8]
