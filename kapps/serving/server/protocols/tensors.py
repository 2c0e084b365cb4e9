"""What signatures take and return; numbers and strings of JSON as arrays, and back."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kapps.serving.server import json_text
from kapps.serving.server.refusals import Refused, invalid

PREDICT = "tensorflow/serving/predict"
STRING = "string"
_NUMBERS = {
    "float32", "float64", "bool",
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
}  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """A tensor of a signature.

    Attributes:
        dtype: NumPy's name, or "string".
        shape: None where a length is open; None for all of it where the rank is.
        tensor: its name in the graph.
    """

    dtype: str
    shape: tuple[int | None, ...] | None
    tensor: str = ""

    @property
    def batched(self) -> bool:
        """Whether the first axis counts examples."""
        return bool(self.shape) and self.shape[0] is None


@dataclass(frozen=True)
class Signature:
    """A function of a SavedModel: its tensors by name."""

    name: str
    inputs: Mapping[str, Spec]
    outputs: Mapping[str, Spec]
    method: str = PREDICT

    @property
    def batchable(self) -> bool:
        """Whether requests may be put together: each example has its own row everywhere."""
        tensors = (*self.inputs.values(), *self.outputs.values())
        return bool(self.inputs) and all(spec.batched for spec in tensors)


def signature_of(signatures: Mapping[str, Signature], name: Any) -> Signature:
    """The signature that a request names; `serving_default` when it names none.

    Raises:
        Refused: there is none.
    """
    if not isinstance(name, str):
        raise invalid("'signature_name' key must be a string value.")
    name = name or "serving_default"
    if name not in signatures:
        raise invalid(
            f'Serving signature name: "{name}" not found in signature def; there are '
            f"{', '.join(sorted(signatures))}"
        )
    return signatures[name]


def parse_json(body: bytes) -> dict[str, Any]:
    """A JSON object; NaN and Infinity are numbers, as TensorFlow Serving has it.

    Raises:
        Refused: it is none.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = json_text.loads(body)
    except RecursionError as error:
        raise invalid("JSON Parse error: nested too deeply") from error
    except ValueError as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(value, dict):
        raise invalid(f"JSON Value: {quoted(value)} Is not object")
    return value


def quoted(value: Any) -> str:
    """How an error quotes a value of a request."""
    try:
        text = json.dumps(value)
    except (RecursionError, ValueError):
        text = "(nested too deeply)"
    return text if len(text) <= 100 else text[:100] + " ..."


def is_base64(value: Any) -> bool:
    """Whether a value is `{"b64": "..."}`."""
    return isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str)


def to_bytes(value: Any) -> bytes:
    """One string of a request.

    Raises:
        Refused: it is neither text nor base64.
    """
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise invalid("a text holds half of a surrogate pair") from error
    if not is_base64(value):
        raise invalid(f"JSON Value: {quoted(value)} is not of expected type: string")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def from_json(value: Any, name: str, spec: Spec) -> np.ndarray:
    """A value of a request as the array of an input; its shape is not checked yet.

    Args:
        value: a number, text or `{"b64": ...}`, or lists of these to any depth.
        name: of the input, for messages.
        spec: of the input.

    Raises:
        Refused: it does not fit the type, or lists are of unequal lengths.
    """
    if spec.dtype == STRING:
        return _strings(value, name)
    if spec.dtype not in _NUMBERS:
        raise Refused("UNIMPLEMENTED", f"input {name} is {spec.dtype}, which JSON cannot carry")
    try:
        array = np.array(value)
    except (ValueError, OverflowError, RecursionError) as error:
        raise invalid(
            f"input {name}: lists of unequal lengths, or nested too deeply: {quoted(value)}"
        ) from error
    if array.dtype == object and np.dtype(spec.dtype).kind == "f":
        if {type(number) for number in array.flat} <= {int, float}:  # beyond 64 bits
            with contextlib.suppress(OverflowError):
                array = array.astype(np.float64)
    return cast(array, name, spec)


def cast(array: np.ndarray, name: str, spec: Spec) -> np.ndarray:
    """Numbers in the type of an input, where none of them changes by more than a rounding.

    Raises:
        Refused: one would.
    """
    wanted = np.dtype(spec.dtype)
    if array.dtype == wanted:
        return array
    if not array.size:
        return array.astype(wanted)
    accepted = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}[wanted.kind]
    if array.dtype.kind not in accepted:
        raise invalid(f"input {name}: a value is not of expected type: {spec.dtype}")
    if wanted.kind in "iu":
        bounds = np.iinfo(wanted)
        if int(array.min()) < bounds.min or int(array.max()) > bounds.max:
            raise invalid(
                f"input {name}: a value is not of expected type: {spec.dtype}, "
                f"{bounds.min} to {bounds.max}"
            )
    elif wanted.kind == "f":
        most = np.finfo(wanted).max
        if np.any(np.isfinite(array) & (np.abs(array.astype(np.float64)) > most)):
            raise invalid(
                f"input {name}: a value cannot be converted to {spec.dtype} without loss of "
                "precision."
            )
    return array.astype(wanted)


def check_shape(array: np.ndarray, name: str, spec: Spec) -> None:
    """Refuses what a signature does not take.

    Raises:
        Refused: another rank, or another length of an axis.
    """
    if spec.shape is None:
        return
    fits = array.ndim == len(spec.shape) and all(
        length in (None, there) for length, there in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ",".join("-1" if length is None else str(length) for length in spec.shape)
        there = ",".join(map(str, array.shape))
        raise invalid(f"input {name}: shape [{there}], but [{wanted}] is expected")


def jsonable(array: np.ndarray, name: str) -> Any:
    """An array as lists of what JSON has: numbers with as few digits as tell them apart.

    Texts become strings; all of a tensor whose name ends in `_bytes` becomes `{"b64": ...}`, and so
    does what is no UTF-8.
    """
    if array.dtype.kind in "OS":
        flat = np.empty(array.size, object)
        flat[:] = [_text(value, name.endswith("_bytes")) for value in array.ravel()]
        return flat.reshape(array.shape).tolist()
    if array.dtype.kind in "biu" or array.dtype == np.float64:
        return array.tolist()
    return json_text.decimals(array)


def _text(value: Any, as_bytes: bool) -> Any:
    value = bytes(value)
    if not as_bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(value).decode()}


def _strings(value: Any, name: str) -> np.ndarray:
    shape = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        if len(shape) > 16:
            raise invalid(f"input {name}: nested too deeply")
        inner = inner[0] if inner else None
    level = [value]
    for length in shape:
        for item in level:
            if not isinstance(item, list) or len(item) != length:
                raise invalid(f"input {name}: lists of unequal lengths: {quoted(value)}")
        level = [inner for item in level for inner in item]
    flat = np.empty(len(level), object)
    flat[:] = [to_bytes(item) for item in level]
    return flat.reshape(shape)
