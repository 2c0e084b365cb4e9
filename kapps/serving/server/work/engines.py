"""What computes: TensorFlow, or another runtime for the signatures whose files answer the same.

A version that was published with `--onnx` brings a file for each signature that can have one. A
file is used when it answers the warm-up requests as the SavedModel does, to 1e-5 (see
`kapps.serving.savedmodel.onnx_files`); a request that it
refuses is put to TensorFlow, which answers it or says why not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from kapps.serving.savedmodel.onnx_files import difference, onnx_file, open_onnx, stated_inputs
from kapps.serving.server.protocols.calls import Arrays
from kapps.serving.server.protocols.tensors import Signature

Function = Callable[[Arrays], dict[str, np.ndarray]]


def tensorflow(signature: Any) -> Function:
    """A signature of a loaded SavedModel as a function of arrays.

    Its graph is called as an operation: what TensorFlow does in Python for each call of a signature
    takes as long as a small network.
    """
    count = len(signature.inputs) - len(signature.captured_inputs)
    given = [tensor.op.name for tensor in signature.inputs[:count]]
    captured, types = list(signature.captured_inputs), [x.dtype for x in signature.outputs]
    names = sorted(signature.structured_outputs)  # as TensorFlow flattens a dictionary

    def ask(inputs: Arrays) -> dict[str, np.ndarray]:
        arguments = [tf.constant(inputs[name]) for name in given]
        said = tf.raw_ops.StatefulPartitionedCall(
            args=arguments + captured, Tout=types, f=signature
        )
        return {name: x.numpy() for name, x in zip(names, said, strict=True)}

    return ask


def chosen(
    engine: str,
    directory: Path,
    functions: Mapping[str, Function],
    signatures: Mapping[str, Signature],
    requests: Sequence[tuple[str, Mapping[str, Any]]],
    labels: Sequence[str],
) -> tuple[dict[str, Function], list[dict[str, Any]]]:
    """The functions that answer, by signature, and what the log has to say of that.

    Args:
        engine: "tensorflow"; "onnx" or "openvino", by which the files are asked, and whatever
            cannot be had of them is told; or "auto", ONNX Runtime and the files that are there.
        directory: of the version.
        functions: TensorFlow's.
        signatures: what they take and return.
        requests: the warm-up requests, on which both have to agree; padded ones, too.
        labels: of the classes.

    Returns:
        The functions; and a dictionary per signature: `signature`, `engine`, and `difference`, the
        largest one found, or the `reason` why TensorFlow answers.
    """
    answering, notes = dict(functions), []
    runtime = "openvino" if engine == "openvino" else "onnx"
    if engine == "tensorflow":
        return answering, notes
    for name, function in functions.items():
        path = onnx_file(directory, name)
        if not path.is_file():
            if engine == runtime:
                reason = "the version brings no ONNX file for it: kapps publish --onnx"
                notes.append({"signature": name, "engine": "tensorflow", "reason": reason})
            continue
        try:
            signature = signatures[name]
            ask = open_onnx(path, list(signature.inputs), list(signature.outputs), labels, runtime)
            asked = stated_inputs(requests, name)
            if not asked:
                raise ValueError("there is no warm-up request to check it with")
            found = max(difference(function(inputs), ask(inputs)) for inputs in asked)
        except Exception as error:  # of whatever kind: TensorFlow answers, and this is why
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
            notes.append({"signature": name, "engine": "tensorflow", "reason": reason})
            continue
        answering[name] = _or(ask, function)
        notes.append({"signature": name, "engine": runtime, "difference": found})
    return answering, notes


def _or(first: Function, second: Function) -> Function:
    """What the first refuses is put to the second."""

    def ask(inputs: Arrays) -> dict[str, np.ndarray]:
        try:
            return first(inputs)
        except Exception:  # the runtimes' errors have no class in common
            return second(inputs)

    return ask
