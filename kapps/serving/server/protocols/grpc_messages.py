"""Messages of TensorFlow Serving's gRPC services, read and written field by field.

Field numbers: tensorflow_serving/apis/{predict,classification,regression,input,model}.proto.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2

from kapps.serving.savedmodel.protobuf import field, integer, messages, several
from kapps.serving.server.protocols import rest_v1, tensors
from kapps.serving.server.protocols.calls import Arrays, Call, call
from kapps.serving.server.protocols.tensors import STRING, Signature, Spec
from kapps.serving.server.refusals import invalid

_METHODS = {"Classify": "classify", "Regress": "regress"}
# Of a tensor whose shape announces more values than it has: they are then equal to its last one.
_MOST_BYTES = 2**28
_MOST_STRINGS = 2**16  # each is an object, which takes as long as a hundred numbers


def read(
    head: Mapping[str, Any],
    body: bytes,
    signatures: Mapping[str, Signature],
    labels: Sequence[str],
) -> Call:
    """Reads a request of PredictionService.

    Args:
        head: "method", "signature", and "model" and "version" for the answer.
        body: the message.
        signatures: of the model, by name.
        labels: of its classes.

    Raises:
        Refused: it is not as the signature has it.
    """
    signature = tensors.signature_of(signatures, head["signature"])
    spec = model_spec(head["model"], head["version"], signature.name)
    try:
        if head["method"] == "Predict":
            return _predict(body, signature, spec)
        return _of_examples(_METHODS[head["method"]], body, signature, spec, labels)
    except (DecodeError, ValueError) as error:
        raise invalid(f"the message cannot be read: {error}") from error


def model_spec(name: str, version: int, signature: str) -> bytes:
    """A `ModelSpec`."""
    return field(1, name.encode()) + field(2, integer(1, version)) + field(3, signature.encode())


def _predict(body: bytes, signature: Signature, spec: bytes) -> Call:
    inputs, asked = {}, several(body, 2, 3)
    for entry in asked[2]:
        names, held = several(entry, 1, 2).values()
        name = names[-1].decode() if names else ""
        if name not in signature.inputs:
            raise invalid(f"unexpected input {name}; {', '.join(sorted(signature.inputs))} wanted")
        inputs[name] = _array(held[-1] if held else b"", name, signature.inputs[name])
    wanted = [name.decode() for name in asked[3]] or list(signature.outputs)
    for name in wanted:
        if name not in signature.outputs:
            raise invalid(f"output tensor alias not found in signature: {name}")

    def encode(outputs: Arrays) -> tuple[dict[str, Any], bytes]:
        answer = field(2, spec)
        for name in dict.fromkeys(wanted):
            answer += field(1, field(1, name.encode()) + field(2, _tensor(outputs[name])))
        return {}, answer

    return call(signature, inputs, encode)


def _array(message: bytes, name: str, spec: Spec) -> np.ndarray:
    proto = tensor_pb2.TensorProto.FromString(message)
    lengths = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(length < 0 for length in lengths):
        raise invalid(f"input {name}: the shape of a tensor must be known")
    try:
        dtype = _type(proto.dtype)
    except TypeError as error:
        raise invalid(f"input {name}: there is no type {proto.dtype}") from error
    if dtype.name != spec.dtype:
        raise invalid(f"input {name}: {dtype.name}, but {spec.dtype} is expected")
    values = math.prod(lengths)
    if dtype.name == STRING:
        too_large = values > max(_MOST_STRINGS, len(proto.string_val))
    else:
        too_large = values * dtype.size > _MOST_BYTES
    if too_large:
        raise invalid(f"input {name}: shape {lengths} is too large")
    if proto.tensor_content and dtype.name != STRING:
        if len(proto.tensor_content) != values * dtype.size:
            raise invalid(f"input {name}: values and shape do not fit")
        if dtype.name == "bool" and max(proto.tensor_content) > 1:
            raise invalid(f"input {name}: a truth value is neither 0 nor 1")
        return np.frombuffer(proto.tensor_content, dtype.as_numpy_dtype).reshape(lengths)
    try:
        array = tf.make_ndarray(proto)
    except OverflowError as error:
        raise invalid(f"input {name}: a value is beyond {spec.dtype}: {error}") from error
    except (TypeError, ValueError) as error:
        raise invalid(f"input {name}: values and shape do not fit: {error}") from error
    if array.shape != tuple(lengths):
        raise invalid(f"input {name}: values and shape do not fit")
    if spec.dtype == STRING:
        flat = np.empty(array.size, object)
        # Where values are left out, make_ndarray has "", which is no bytes.
        flat[:] = [value or b"" for value in array.ravel()]
        return flat.reshape(array.shape)
    return array


def _tensor(array: np.ndarray) -> bytes:
    """A `TensorProto`; numbers are written as they are in memory, which TensorFlow does slowly."""
    if array.dtype.kind in "OSU":
        return tf.make_tensor_proto(array).SerializeToString()
    return _described(array.dtype, array.shape) + field(4, array.tobytes())


# A model has few types and shapes, and TensorFlow is asked for one slowly.
@functools.lru_cache(256)
def _described(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    lengths = b"".join(field(2, integer(1, length)) for length in shape)
    return integer(1, _type(dtype).as_datatype_enum) + field(2, lengths)


@functools.cache
def _type(name: int | np.dtype) -> tf.DType:
    return tf.dtypes.as_dtype(name)


def _of_examples(verb, body, signature: Signature, spec: bytes, labels) -> Call:
    method, output = rest_v1.KINDS[verb]
    given = messages(body, 2)
    examples, context = [], b""
    for chosen in given[-1:]:
        for listed in messages(chosen, 1):
            examples += messages(listed, 1)
        for listed in messages(chosen, 2):
            examples += messages(listed, 1)
            context += b"".join(messages(listed, 2))
    if not examples:
        raise invalid("Input is empty")
    # Messages one after the other are merged; the features of the example overrule.
    serialized = [context + example for example in examples]
    read_examples = [tf.train.Example.FromString(example) for example in serialized]
    if signature.method == method:
        column = np.empty(len(serialized), object)
        column[:] = serialized
        inputs = dict.fromkeys(signature.inputs, column)
    elif output in signature.outputs:
        inputs = {
            name: _feature_column(read_examples, name, wanted)
            for name, wanted in signature.inputs.items()
        }
    else:
        raise invalid(
            f"Expected {verb} signature method_name to be {method}. Was: {signature.method}"
        )

    def encode(outputs: Arrays) -> tuple[dict[str, Any], bytes]:
        results = rest_v1.results(verb, outputs, labels)
        if verb == "classify":
            result = b"".join(
                field(1, b"".join(field(1, _class(*pair)) for pair in pairs)) for pairs in results
            )
        else:
            result = b"".join(field(1, _float(1, value)) for value in results)
        return {}, field(1, result) + field(2, spec)

    return call(signature, inputs, encode)


def _class(label: Any, score: float) -> bytes:
    return field(1, str(label).encode()) + _float(2, score)


def _float(number: int, value: float) -> bytes:
    return bytes([number << 3 | 5]) + struct.pack("<f", value)


def _feature_column(examples, name: str, spec: Spec) -> np.ndarray:
    rows = []
    for number, example in enumerate(examples):
        feature = example.features.feature.get(name)
        kind = feature.WhichOneof("kind") if feature is not None else None
        if feature is None or kind is None:
            raise invalid(f"example {number} has no feature {name}")
        rows.append(list(getattr(feature, kind).value))
    shape = (-1,) if spec.shape is None else tuple(spec.shape[1:])
    if len({len(row) for row in rows}) > 1 or (None in shape):
        raise invalid(f"feature {name}: examples of one length are needed")
    if spec.dtype == STRING:
        flat = np.empty(sum(map(len, rows)), object)
        flat[:] = [
            value if isinstance(value, bytes) else str(value).encode()
            for row in rows
            for value in row
        ]
        column = flat
    else:
        if any(isinstance(value, bytes) for row in rows for value in row):
            raise invalid(f"feature {name}: {spec.dtype} is expected")
        column = tensors.cast(np.array(rows), name, spec)
    return column.reshape((len(rows), *shape))
