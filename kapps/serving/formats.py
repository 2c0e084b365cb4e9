"""A classifier in the formats of other runtimes: ONNX and LiteRT.

Both take `image` uint8 [N, H, W, C] and return `probabilities` float32 [N, classes], from float32
graphs: few of their runtimes know bfloat16. The labels are in labels.txt beside the file.
"""

import importlib
import os
import pkgutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kapps import files, models
from kapps.errors import UserError
from kapps.serving import graph
from kapps.serving.requirements import check_format

_OPSET = 18
_TOLERANCE = 1e-4  # other kernels, other order of summation


def load_model(path: str | os.PathLike) -> keras.Model:
    """Loads a `.keras` file, with the layers and models of kapps that may be in it.

    Raises:
        UserError: the file is broken.
    """
    # Classes register themselves with Keras when their module is imported.
    importlib.import_module("kapps.layers")
    for module in pkgutil.iter_modules(models.__path__, "kapps.models."):
        importlib.import_module(module.name)

    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: the model cannot be read: {error}") from error


def convert(
    model: keras.Model,
    directory: str | os.PathLike,
    format: str,
    class_names: Sequence[str],
    *,
    temperature: float = 1.0,
) -> Path:
    """Writes a classifier as `model.onnx` or `model.tflite` and asks it once.

    Args:
        model: Images [N, H, W, C] of 0..255 -> logits [N, classes].
        directory: Where the file goes; made when missing, an older file is replaced.
        format: "onnx" or "litert".
        class_names: One label per logit.
        temperature: The logits are divided by it before the softmax.

    Returns:
        The path of the file.

    Raises:
        UserError: the model or the format cannot be used, or a package is missing.
        RuntimeError: the written model disagrees with the model in float32 by more than 1e-4 in a
            probability. Nothing is written.
    """
    check_format(format)
    names, image_shape = graph.check(model, class_names, temperature)
    model = in_float32(model)
    classify = graph.endpoints(model, image_shape, names, temperature)["serving_default"]
    probabilities = tf.function(
        lambda image: {"probabilities": classify(image)["probabilities"]},
        autograph=False,
        input_signature=[tf.TensorSpec((None, *image_shape), tf.uint8, name="image")],
    )
    contents, ask = {"onnx": _onnx, "litert": _litert}[format](probabilities)
    images = np.random.default_rng(0).integers(0, 256, (3, *image_shape), np.uint8)
    expected = probabilities(tf.constant(images))["probabilities"].numpy()
    difference = np.max(np.abs(ask(images) - expected))
    if not difference <= _TOLERANCE:
        raise RuntimeError(f"the {format} model differs by {difference:.1e} in a probability")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    files.write_text(directory / "labels.txt", "".join(f"{name}\n" for name in names))
    path = directory / {"onnx": "model.onnx", "litert": "model.tflite"}[format]
    files.write_atomically(path, lambda file: file.write(contents))
    return path


def in_float32(model: keras.Model) -> keras.Model:
    """The same model under the float32 policy; the model itself when it is there already."""
    layers = model._flatten_layers()
    if all(layer.dtype_policy.name == "float32" for layer in layers):
        return model

    def rebuild(layer: keras.Layer) -> keras.Layer:
        return layer.__class__.from_config(layer.get_config() | {"dtype": "float32"})

    rebuilt = keras.models.clone_model(model, clone_function=rebuild, recursive=True)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _onnx(function: Callable) -> tuple[bytes, Callable[[np.ndarray], np.ndarray]]:
    import onnxruntime
    import tf2onnx

    proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=_OPSET)
    contents = proto.SerializeToString()
    session = onnxruntime.InferenceSession(contents, providers=["CPUExecutionProvider"])
    return contents, lambda images: session.run(["probabilities"], {"image": images})[0]


def _litert(function: Callable) -> tuple[bytes, Callable[[np.ndarray], np.ndarray]]:
    with tempfile.TemporaryDirectory() as scratch:
        tf.saved_model.save(graph.trackable([function]), scratch, signatures=function)
        contents = tf.lite.TFLiteConverter.from_saved_model(scratch).convert()
    with warnings.catch_warnings():
        # The interpreter moves to a package of its own; TensorFlow 2.21 still brings it.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        interpreter = tf.lite.Interpreter(model_content=contents)
    signature = interpreter.get_signature_runner("serving_default")
    return contents, lambda images: signature(image=images)["probabilities"]
