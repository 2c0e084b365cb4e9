"""The check every version passes before it is published: a classifier's, and its parts."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.serving.savedmodel.onnx_files import DERIVED_TOLERANCE
from kapps.serving.savedmodel.out_of_distribution import OUTPUT, Detector

# Names of ops that draw random numbers, with or without a seed of their own.
_RANDOM = re.compile(
    r"Random|Multinomial|TruncatedNormal|SampleDistorted|NonDeterministic|Rng[A-Z]"
    r"|Stateful(Uniform|StandardNormal)"
)
_WRITES = re.compile(r"^Assign|^ResourceScatter|^ResourceApply")

# Largest difference of a probability. In mixed precision the compiler may keep an intermediate
# result in float32 that another graph rounds, so two right answers differ by a rounding.
ENDPOINT_TOLERANCE = 1e-4  # of any number, in float32: other kernels, other order of summation
TOLERANCE = {"float32": 1e-5, "float16": 5e-3, "bfloat16": 2e-2}


def check_saved_model(
    directory: Path,
    model: keras.Model,
    images: np.ndarray,
    class_names: tuple[str, ...],
    temperature: float,
    detector: Detector | None = None,
    heat: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
) -> None:
    """Reloads a SavedModel and compares it with the model it was made of.

    Checked for one image and for all: softmax(logits / temperature) of the model, the labels, the
    same bits when asked twice, float32, and for the images as PNG the same bits as for the pixels.

    Args:
        directory: The SavedModel.
        model: What it was made of: images -> logits.
        images: uint8 [n, H, W, C].
        class_names: One per logit.
        temperature: What the logits were divided by.
        detector: What the score comes from, if there is one.
        heat: What the heat maps come from, likewise.

    Raises:
        UserError: the graph draws random numbers or writes to its variables, or its answers are
            not finite.
        RuntimeError: any other disagreement.
    """
    loaded = tf.saved_model.load(str(directory))
    for name, signature in loaded.signatures.items():
        refuse_state(name, signature)
    layers = model._flatten_layers(include_self=False)
    exact = all(layer.compute_dtype in (None, "float32") for layer in layers)
    # Not model.predict: that may be compiled already, with TF32 in it. One graph for all batches.
    logits = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec((None, *images.shape[1:]), tf.float32)],
        autograph=False,
        jit_compile=False,
    )
    tolerance = max(TOLERANCE[layer.compute_dtype] for layer in model.layers)
    with full_float32():
        for batch in (images[:1], np.concatenate([images, images[:1]])):
            expected = tf.cast(logits(tf.constant(batch, tf.float32)), tf.float64).numpy()
            expected = _softmax(expected / temperature)
            _check_batch(loaded.signatures, batch, expected, class_names, tolerance)
            if detector is not None and exact:
                _check_score(loaded.signatures, detector, batch)
        if heat is not None and exact and "explain" in loaded.signatures:
            _check_heat(loaded.signatures["explain"], heat, images, class_names)


def _check_batch(
    signatures: dict,
    images: np.ndarray,
    expected: np.ndarray,
    class_names: tuple[str, ...],
    tolerance: float,
) -> None:
    classify = signatures["serving_default"]
    first, second = (classify(image=tf.constant(images)) for _ in range(2))
    probabilities = first["probabilities"].numpy()
    if first["probabilities"].dtype != tf.float32:
        raise RuntimeError(f"probabilities are {probabilities.dtype}, not float32")
    if not np.array_equal(probabilities, second["probabilities"].numpy(), equal_nan=True):
        raise RuntimeError("the SavedModel answers differently when called twice")

    if not np.isfinite(probabilities).all():
        raise UserError("probabilities are not finite: the model diverged. Nothing was published")
    difference = np.max(np.abs(probabilities - expected))
    if not difference <= tolerance:
        raise RuntimeError(
            f"the SavedModel differs from the model by {difference:.1e} in a probability"
            f" (batch of {len(images)}, {tolerance:.0e} allowed)"
        )
    labels = [class_names[index] for index in np.argmax(probabilities, axis=-1)]
    if [label.decode() for label in first["label"].numpy()] != labels:
        raise RuntimeError("the labels of the SavedModel do not belong to its probabilities")
    if "from_bytes" in signatures:
        from_bytes = signatures["from_bytes"](image_bytes=_encoded(images))["probabilities"].numpy()
        if not np.array_equal(probabilities, from_bytes):
            raise RuntimeError("the SavedModel answers differently for the same image as PNG")


def _check_score(signatures: dict, detector: Detector, images: np.ndarray) -> None:
    expected = detector.score(detector.network(tf.constant(images, tf.float32))[0]).numpy()
    said_of = {"serving_default": signatures["serving_default"](image=tf.constant(images))}
    if "from_bytes" in signatures:
        said_of["from_bytes"] = signatures["from_bytes"](image_bytes=_encoded(images))
    for name, answer in said_of.items():
        said = answer[OUTPUT].numpy()
        difference = np.max(np.abs(said - expected)) / max(1.0, np.max(np.abs(expected)))
        if not difference <= DERIVED_TOLERANCE:
            raise RuntimeError(f"the score of {name} differs from the model by {difference:.1e}")


def _check_heat(signature, heat, images: np.ndarray, class_names: tuple[str, ...]) -> None:
    said = signature(image_bytes=_encoded(images))
    if not np.array_equal(said["image"], images):
        raise RuntimeError("explain does not return the images that it was sent")
    numbers = {name.encode(): number for number, name in enumerate(class_names)}
    wanted = tf.constant([numbers[label] for label in said["label"].numpy()], tf.int64)
    expected = heat(tf.constant(images, tf.float32), wanted).numpy()
    # Multiplied again: of a picture where nothing speaks for the class they may be roundings.
    served = said["heat_map"].numpy() * expected.max(axis=(1, 2), keepdims=True)
    difference = np.max(np.abs(served - expected))
    if not difference <= DERIVED_TOLERANCE * expected.max() + 1e-6:
        raise RuntimeError(f"the heat map of explain differs from the model's by {difference:.1e}")


def _encoded(images: np.ndarray) -> tf.Tensor:
    return tf.constant([tf.io.encode_png(image).numpy() for image in images])


def check_endpoint(
    name: str,
    function: Callable[..., dict[str, tf.Tensor]],
    served: Callable[..., dict[str, tf.Tensor]],
    inputs: Mapping[str, np.ndarray | np.generic],
    tolerance: float = ENDPOINT_TOLERANCE,
) -> None:
    """Compares a reloaded signature with the function it was made of.

    Args:
        name: Of the signature.
        function: What it was made of.
        served: The signature.
        inputs: Its arguments.
        tolerance: As `export_generative` has it; texts must be equal.

    Raises:
        UserError: an answer is not finite.
        RuntimeError: the two disagree, or the signature with itself when asked twice.
    """
    tensors = {key: tf.constant(value) for key, value in inputs.items()}
    first, second = served(**tensors), served(**tensors)
    expected = function(**tensors)
    if first.keys() != expected.keys():
        raise RuntimeError(f"{name} answers {sorted(first)}, not {sorted(expected)}")
    for key, tensor in expected.items():
        said, again, wanted = (t.numpy() for t in (first[key], second[key], tensor))
        if not np.array_equal(said, again, equal_nan=said.dtype.kind == "f"):
            raise RuntimeError(f"{name}: the SavedModel answers differently when called twice")
        if wanted.dtype.kind == "f" and not np.isfinite(wanted).all():
            raise UserError(
                f"{name}: {key} is not finite: the model diverged. Nothing was published"
            )
        if (said.dtype, said.shape) != (wanted.dtype, wanted.shape):
            raise RuntimeError(f"{name}: {key} is {said.dtype} {said.shape}, not {wanted.dtype}")
        if wanted.dtype.kind == "O":
            if not np.array_equal(said, wanted):
                raise RuntimeError(f"{name}: {key} of the SavedModel is not the model's")
            continue
        difference = np.max(np.abs(said.astype(float) - wanted.astype(float)), initial=0.0)
        allowed = tolerance * max(1.0, np.max(np.abs(wanted.astype(float)), initial=0.0))
        allowed += wanted.dtype.kind in "iu"  # a rounding
        if not difference <= allowed:
            raise RuntimeError(
                f"{name}: the SavedModel differs from the model by {difference:.1e} in {key}"
                f" ({allowed:.0e} allowed)"
            )


def refuse_state(
    name: str, signature: tf.types.experimental.ConcreteFunction, seeded: bool = False
) -> None:
    """Looks at every op a signature reaches: its own graph and the functions called from it.

    Args:
        name: Of the signature.
        signature: The function.
        seeded: It takes a seed, so it may draw by ops that have no state but their seed.

    Raises:
        UserError: it draws random numbers otherwise, or writes to its variables.
    """
    graph = signature.graph.as_graph_def()
    functions = {function.signature.name: function.node_def for function in graph.library.function}
    reached: set[str] = set()
    waiting = [list(graph.node)]
    while waiting:
        for node in waiting.pop():
            if _RANDOM.search(node.op) and not (seeded and node.op.startswith("Stateless")):
                raise UserError(
                    f"signature {name} draws random numbers: op {node.op} ({node.name}). Two calls"
                    " would differ. A layer ignores training=False; fix it, or leave it out of the"
                    " exported model. Nothing was published"
                )
            if _WRITES.search(node.op):
                raise UserError(
                    f"signature {name} changes the model's variables: op {node.op} ({node.name})."
                    " A layer ignores training=False; fix it, or leave it out of the exported"
                    " model. Nothing was published"
                )
            for called in _called_functions(node) & functions.keys() - reached:
                reached.add(called)
                waiting.append(list(functions[called]))


def _called_functions(node: tf.compat.v1.NodeDef) -> set[str]:
    names = {node.op}  # a function may be called by its own name
    for value in node.attr.values():
        names.add(value.func.name)
        names.update(function.name for function in value.list.func)
    return names


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Switches TensorFloat-32 off: a GPU would round to 10 bits, differently in each graph."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(enabled)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
