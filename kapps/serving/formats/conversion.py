"""A classifier in the formats of other runtimes: ONNX and LiteRT.

Both take `image` uint8 [N, H, W, C] and return `probabilities` float32 [N, classes], from float32
graphs: few of their runtimes know bfloat16. The labels are in labels.txt beside the file.

A LiteRT file may be quantized: weights in float16 (half the size), or weights and activations in
int8 (a quarter, and integer arithmetic; ranges are those of images that are shown while it is
made). Inputs and outputs stay what they are, and the softmax is computed in float: in steps of
1/256 it could not tell a thousand classes apart. How much accuracy that costs is measured, see
`compare`, and a file that loses too much of it is not written.
"""

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kapps import files, models
from kapps.errors import UserError
from kapps.serving.formats.requirements import check_quantize
from kapps.serving.savedmodel import graph

_NAMES = {"onnx": "model.onnx", "litert": "model.tflite"}
OPSET = 18
ACCURACY_LOSS = 0.02  # of a quantized file
_TOLERANCE = 1e-4  # other kernels, other order of summation


def load_model(path: str | os.PathLike) -> keras.Model:
    """Loads a `.keras` file, with the layers and models of kapps that may be in it.

    Raises:
        UserError: the file is broken.
    """
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
    quantize: str = "none",
    representative: np.ndarray | None = None,
    checked: tuple[np.ndarray, np.ndarray] | None = None,
    accuracy_loss: float = ACCURACY_LOSS,
) -> Path:
    """Writes a classifier as `model.onnx` or `model.tflite` and asks it once.

    A quantized one is `model_float16.tflite` or `model_int8.tflite`.

    Args:
        model: Images [N, H, W, C] of 0..255 -> logits [N, classes].
        directory: Where the file goes; made when missing, an older file is replaced.
        format: "onnx" or "litert".
        class_names: One label per logit.
        temperature: The logits are divided by it before the softmax.
        quantize: "none", or for LiteRT "float16" or "int8".
        representative: For int8: training images, uint8 [n, H, W, C], a hundred or more.
        checked: For a quantized file: validation images, uint8 [n, H, W, C], and their labels,
            int [n], on which it may not lose more than `accuracy_loss`.
        accuracy_loss: Largest part of the accuracy that quantizing may cost; a loss of one image
            is always allowed.

    Returns:
        The path of the file.

    Raises:
        UserError: the model or the format cannot be used, a package is missing, or quantizing
            costs too much accuracy. Nothing is written.
        RuntimeError: the written model disagrees with the model in float32 by more than 1e-4 in a
            probability, or is quantized and gives no probabilities. Nothing is written.
    """
    check_quantize(format, quantize)
    if quantize == "int8" and (representative is None or not len(representative)):
        raise UserError("int8 needs representative images: some of those it was trained on")
    names, image_shape = graph.check(model, class_names, temperature)
    model = models.for_inference(model)
    classify = graph.classifier(model, names, temperature)
    probabilities = tf.function(
        lambda image: {"probabilities": classify(image)["probabilities"]},
        autograph=False,
        input_signature=[tf.TensorSpec((None, *image_shape), tf.uint8, name="image")],
    )
    if format == "onnx":
        contents, ask = _onnx(probabilities)
    else:
        contents, ask = _litert(probabilities, quantize, representative)
    images = np.random.default_rng(0).integers(0, 256, (3, *image_shape), np.uint8)
    answer = ask(images)
    if quantize == "none":
        expected = probabilities(tf.constant(images))["probabilities"].numpy()
        difference = np.max(np.abs(answer - expected))
        if not difference <= _TOLERANCE:
            raise RuntimeError(f"the {format} model differs by {difference:.1e} in a probability")
    elif not np.allclose(answer.sum(axis=-1), 1.0, atol=1e-3):
        raise RuntimeError(f"the {quantize} model does not answer with probabilities")
    elif checked is not None:
        _refuse_loss(_compare(model, ask, *checked), quantize, accuracy_loss)
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    files.write_text(directory / "labels.txt", "".join(f"{name}\n" for name in names))
    path = directory / _NAMES[format]
    if quantize != "none":
        path = path.with_stem(f"{path.stem}_{quantize}")
    files.write_atomically(path, lambda file: file.write(contents))
    return path


def compare(
    model: keras.Model,
    path: str | os.PathLike,
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int = 32,
) -> dict[str, float | int]:
    """What a LiteRT file is worth beside the model that it was made of.

    Args:
        model: Images [N, H, W, C] of 0..255 -> logits [N, classes].
        path: The file.
        images: uint8 [n, H, W, C].
        labels: int [n].
        batch_size: Images at a time.

    Returns:
        `accuracy` of the file, `model_accuracy`, the `accuracy_drop` from one to the other,
        `agreement` (part of the images that get the same label), `examples` and `bytes`.
    """
    contents = Path(path).read_bytes()
    found = _compare(model, _interpreter(contents), images, labels, batch_size)
    return {**found, "bytes": len(contents)}


def _compare(model, ask, images, labels, batch_size=32) -> dict[str, float | int]:
    parts = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
    said = np.concatenate([ask(part).argmax(axis=-1) for part in parts])
    logits = [model(part.astype(np.float32), training=False) for part in parts]
    expected = np.concatenate([np.argmax(part, axis=-1) for part in logits])
    accuracy, before = float(np.mean(said == labels)), float(np.mean(expected == labels))
    return {
        "accuracy": accuracy,
        "model_accuracy": before,
        "accuracy_drop": before - accuracy,
        "agreement": float(np.mean(said == expected)),
        "examples": len(labels),
    }


def _refuse_loss(found: dict[str, float | int], quantize: str, accuracy_loss: float) -> None:
    if found["accuracy_drop"] > max(accuracy_loss, 1.0 / found["examples"]) + 1e-9:
        raise UserError(
            f"the {quantize} model is right for {found['accuracy']:.1%} of {found['examples']} "
            f"validation images, the model itself for {found['model_accuracy']:.1%}; a loss of "
            f"{accuracy_loss:.1%} is allowed. Nothing was written. Use --quantize float16, or none."
        )


def _onnx(function: Callable) -> tuple[bytes, Callable[[np.ndarray], np.ndarray]]:
    import onnxruntime
    import tf2onnx

    proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
    contents = proto.SerializeToString()
    session = onnxruntime.InferenceSession(contents, providers=["CPUExecutionProvider"])
    return contents, lambda images: session.run(["probabilities"], {"image": images})[0]


def _litert(
    function: Callable, quantize: str = "none", representative: np.ndarray | None = None
) -> tuple[bytes, Callable[[np.ndarray], np.ndarray]]:
    with tempfile.TemporaryDirectory() as scratch:
        concrete = function.get_concrete_function()
        tf.saved_model.save(graph.trackable([concrete]), scratch, signatures=concrete)
        converter = tf.lite.TFLiteConverter.from_saved_model(scratch)
        if quantize != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantize == "int8":
            if representative is None:
                raise ValueError("int8 needs representative images")
            # One at a time: what one layer sees of one image does not depend on the others.
            converter.representative_dataset = lambda: (
                {"image": image[None]} for image in representative
            )
        with quietly():  # calibrating asks an interpreter, too
            contents = _but_for_softmax(converter) if quantize == "int8" else converter.convert()
    return contents, _interpreter(contents)


def _but_for_softmax(converter: tf.lite.TFLiteConverter) -> bytes:
    """Quantizes what comes before the softmax: its answers would be multiples of 1/256."""
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=["SOFTMAX"]),
    )
    return debugger.get_nondebug_quantized_model()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the warning that the interpreter moves, and what tf2onnx logs before it gives up."""
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    # The interpreter moves to a package of its own; TensorFlow 2.21 still brings it.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        try:
            yield
        finally:
            logger.setLevel(level)


def interpreter(contents: bytes) -> Callable[..., dict[str, np.ndarray]]:
    """The signature of a LiteRT file, as a function of arrays by name."""
    with quietly():
        loaded = tf.lite.Interpreter(model_content=contents)
    return loaded.get_signature_runner("serving_default")


def _interpreter(contents: bytes) -> Callable[[np.ndarray], np.ndarray]:
    signature = interpreter(contents)
    return lambda images: signature(image=images)["probabilities"]
