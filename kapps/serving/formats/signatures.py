"""Every signature of a model that another runtime can have, as a file of its own.

`convert_signatures` writes encode.onnx, decode.onnx, ... or the same as .tflite, asks each file and
compares; and says of the other signatures why not. What is known of that:

    sample        draws random numbers from a seed, for which ONNX and LiteRT have no operation:
                  draw `z` outside and use `decode` or `generate`
    from_bytes    decodes files; send pixels to `reconstruct`
    series, text  in LiteRT one at a time, [1, T, F]: its loops want to know the size of a batch.
                  ONNX: the converter takes a bidirectional LSTM for one that does not mask, so its
                  answers are wrong where series are padded, and it is refused for that; a GRU and a
                  simple cell are right
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kapps import files, models
from kapps.errors import UserError
from kapps.serving.formats.conversion import OPSET, interpreter, quietly
from kapps.serving.formats.numeric import (
    numeric_endpoints,
    vocabularies,
    without_strings,
    words_of,
)
from kapps.serving.formats.requirements import check_format
from kapps.serving.savedmodel import graph
from kapps.serving.savedmodel.examples import example_input

_SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
_TOLERANCE = 1e-4  # other kernels, other order of summation
_STEPS = 5  # of the series that are asked about

Ask = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def convert_signatures(
    model: keras.Model,
    directory: str | os.PathLike,
    format: str,
    class_names: Sequence[str] = (),
    *,
    temperature: float = 1.0,
    target_kind: str = "classes",
    thresholds: Sequence[float] = (),
) -> tuple[dict[str, Path], dict[str, str]]:
    """Writes a file for each signature of a model, of any family, that the format can have.

    Inputs and outputs have the names of the SavedModel, see
    `kapps.serving.formats.numeric` for those that were strings; where an output has the name of an
    input, that of the ONNX file is `NAME_output`.

    Args:
        model: of any family.
        directory: where the files go; made when missing, older ones are replaced.
        format: "onnx" or "litert".
        class_names: one label per logit; none of what predicts numbers.
        temperature: the logits are divided by it before the softmax.
        target_kind: of images, as `numeric_endpoints` has it.
        thresholds: likewise.

    Returns:
        The files by signature, and of the other signatures the reason why not.

    Raises:
        UserError: the format is unknown or its packages are missing, or no signature converts.
    """
    check_format(format)
    directory, made, left = Path(directory), {}, {}
    model = (
        models.for_inference(model)
        if isinstance(model, keras.Sequential) or _is_functional(model)
        else model
    )
    endpoints = numeric_endpoints(
        model, class_names, temperature, target_kind=target_kind, thresholds=thresholds
    )
    for name, endpoint in _distinct(endpoints).items():
        numeric = without_strings(endpoint)
        if isinstance(numeric, str):
            left[name] = numeric
            continue
        try:
            contents = _converted(format, *numeric)
        except Exception as error:  # whatever a converter raises is its reason
            left[name] = f"{type(error).__name__}: {_first_line(error)}"
            continue
        directory.mkdir(parents=True, exist_ok=True)
        stem = "model" if name == "serving_default" else name
        made[name] = directory / f"{stem}{_SUFFIXES[format]}"
        files.write_atomically(made[name], lambda file, contents=contents: file.write(contents))
    if not made:
        reasons = "; ".join(f"{name} {reason}" for name, reason in left.items())
        raise UserError(f"no signature of this model can be had as {format}: {reasons}")
    if class_names:
        lines = "".join(f"{name}\n" for name in class_names)
        files.write_text(directory / "labels.txt", lines)
    if vocabularies(model):
        files.write_json(directory / "columns.json", vocabularies(model))
    if words_of(model):
        files.write_json(directory / "words.json", words_of(model))
    return made, left


def _converted(format: str, function: Callable, specs: Sequence[tf.TensorSpec]) -> bytes:
    """The file, which has been asked and agrees.

    Raises:
        RuntimeError: it does not.
    """
    batch = 3
    if format == "litert" and any(None in spec.shape[1:] for spec in specs):
        specs = [tf.TensorSpec((1, *spec.shape[1:]), spec.dtype, spec.name) for spec in specs]
        batch = 1
    given = {spec.name for spec in specs}

    def renamed(*arguments: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = function(*arguments)
        if format == "litert":
            return answer
        # The converter takes an output for the input of the same name.
        return {f"{name}_output" if name in given else name: x for name, x in answer.items()}

    traced = tf.function(renamed, autograph=False, input_signature=list(specs))
    contents, ask = (_onnx if format == "onnx" else _litert)(traced)
    for inputs in _examples(specs, batch):
        answer = ask(inputs)
        expected = renamed(*(tf.constant(inputs[spec.name]) for spec in specs))
        for name, wanted in expected.items():
            said, wanted = (np.asarray(x, np.float64) for x in (answer[name], wanted))
            difference = np.max(np.abs(said - wanted), initial=0.0)
            allowed = _TOLERANCE * max(1.0, np.max(np.abs(wanted), initial=0.0))
            allowed += expected[name].dtype.is_integer  # a rounding
            if said.shape != wanted.shape or not difference <= allowed:
                padded = (
                    " where series are padded" if np.isnan(inputs.get("sequence", 0)).any() else ""
                )
                raise RuntimeError(f"the file differs from the model by {difference:.1e}{padded}")
    return contents


def _examples(specs: Sequence[tf.TensorSpec], batch: int) -> list[dict[str, np.ndarray]]:
    shapes = [s.shape for s in specs if s.name == "image"]
    images = (
        np.random.default_rng(0).integers(0, 256, (batch, *shapes[0][1:]), np.uint8)
        if shapes
        else None
    )
    examples = []
    for steps in (_STEPS, 1):
        inputs = {}
        for seed, spec in enumerate(specs):
            known = [n or (steps if i else batch) for i, n in enumerate(spec.shape)]
            fixed = tf.TensorSpec(known, spec.dtype, spec.name)
            inputs[spec.name] = example_input(fixed, batch, seed, images, classes=1)
            if spec.dtype.is_integer and spec.shape[1:] == [1]:
                inputs[spec.name][-1] = -1  # a category that is not known
        examples.append(inputs)
    padded = dict(examples[0])
    if "sequence" in padded:
        padded["sequence"] = padded["sequence"].copy()
        padded["sequence"][0, -2:] = np.nan
        examples.append(padded)
    return examples


def _onnx(function: Callable) -> tuple[bytes, Ask]:
    import onnxruntime
    import tf2onnx

    with quietly():
        proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
    contents = proto.SerializeToString()
    session = onnxruntime.InferenceSession(contents, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return contents, lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _litert(function: Callable) -> tuple[bytes, Ask]:
    with tempfile.TemporaryDirectory() as scratch:
        concrete = function.get_concrete_function()
        tf.saved_model.save(graph.trackable([concrete]), scratch, signatures=concrete)
        with quietly():
            contents = tf.lite.TFLiteConverter.from_saved_model(scratch).convert()
    return contents, lambda inputs: interpreter(contents)(**inputs)


def _distinct(endpoints: Mapping) -> dict:
    """Without `serving_default` where it is another name of the same function."""
    default = endpoints["serving_default"][0]
    others = {name: e for name, e in endpoints.items() if name != "serving_default"}
    twice = any(function is default for function, _ in others.values())
    return others if twice else dict(endpoints)


def _is_functional(model: keras.Model) -> bool:
    return type(model) is keras.Model or type(model).__name__ == "Functional"


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else "no reason given"
