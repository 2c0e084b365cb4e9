"""V2, the Open Inference protocol: tensors in JSON, or as bytes after it.

As in https://github.com/kserve/open-inference-protocol, with its extension for binary tensors. A
signature other than `serving_default` is named by the parameter `signature_name`.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from kapps.serving.server.json_text import dumps
from kapps.serving.server.protocols import tensors
from kapps.serving.server.protocols.calls import Arrays, Call, call
from kapps.serving.server.protocols.tensors import STRING, Signature, Spec
from kapps.serving.server.protocols.v2_metadata import DATATYPES
from kapps.serving.server.refusals import invalid

_DTYPES = {datatype: dtype for dtype, datatype in DATATYPES.items()}


def read(head: Mapping[str, Any], body: bytes, signatures: Mapping[str, Signature]) -> Call:
    """Reads the body of `infer`.

    Args:
        head: "model" and "version", for the answer; "json_bytes", how long the JSON is where
            tensors come after it, or None.
        body: of the request.
        signatures: of the model, by name.

    Raises:
        Refused: it is not as the protocol or the signature has it.
    """
    size = head.get("json_bytes")
    size = len(body) if size is None else size
    if size > len(body):
        raise invalid("Inference-Header-Content-Length is more than the request has")
    request, rest = tensors.parse_json(body[:size]), memoryview(body)[size:]
    parameters = _object(request, "parameters")
    signature = tensors.signature_of(signatures, parameters.get("signature_name", ""))
    given = request.get("inputs")
    if not isinstance(given, list) or not given:
        raise invalid("'inputs' must be a list of tensors")
    inputs = {}
    for tensor in given:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise invalid("a tensor of 'inputs' is no object with a name")
        name = tensor["name"]
        if name not in signature.inputs or name in inputs:
            raise invalid(f"unexpected input {name}; {', '.join(sorted(signature.inputs))} wanted")
        inputs[name], rest = _tensor(tensor, name, signature.inputs[name], rest)
    if len(rest):
        raise invalid(f"{len(rest)} bytes belong to no tensor")
    wanted, binary = _wanted(request, parameters, signature)
    about = {"model_name": head["model"], "model_version": str(head["version"])}
    if isinstance(request.get("id"), str):
        about["id"] = request["id"]

    def encode(outputs: Arrays) -> tuple[dict[str, Any], bytes]:
        described, blobs = [], []
        for name in wanted:
            array = outputs[name]
            dtype = STRING if array.dtype.kind in "OS" else array.dtype.name
            if dtype not in DATATYPES:
                array, dtype = array.astype(np.float32), "float32"
            tensor = {"name": name, "datatype": DATATYPES[dtype], "shape": list(array.shape)}
            if name in binary:
                blobs.append(_blob(array, dtype))
                tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                tensor["data"] = tensors.jsonable(array.reshape(-1), name)
            described.append(tensor)
        text = dumps({**about, "outputs": described})
        if not blobs:
            return {"type": "application/json"}, text
        return (
            {"type": "application/octet-stream", "json_bytes": len(text)},
            b"".join([text, *blobs]),
        )

    return call(signature, inputs, encode)


def request(signature: str, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Head and body of a request with tensors as bytes, as `read` takes them.

    Args:
        signature: its name.
        inputs: its arrays by name.
    """
    tensors_of, blobs = [], []
    for name, value in inputs.items():
        array = np.asarray(value)
        dtype = STRING if array.dtype.kind in "OS" else array.dtype.name
        blobs.append(_blob(array, dtype))
        tensor = {"name": name, "datatype": DATATYPES[dtype], "shape": list(array.shape)}
        tensors_of.append({**tensor, "parameters": {"binary_data_size": len(blobs[-1])}})
    said = {"inputs": tensors_of, "parameters": {"signature_name": signature}}
    text = json.dumps(said).encode()
    head = {"protocol": "v2", "model": "", "version": 0, "json_bytes": len(text)}
    return head, b"".join([text, *blobs])


def _wanted(request, parameters, signature) -> tuple[list[str], set[str]]:
    """Names of the outputs that are asked for, and of those in bytes."""
    asked = request.get("outputs")
    everything = parameters.get("binary_data_output") is True
    if asked is None:
        names = list(signature.outputs)
        return names, set(names) if everything else set()
    if not isinstance(asked, list) or not asked:
        raise invalid("'outputs' must be a list of tensors")
    names, binary = [], set()
    for tensor in asked:
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if not isinstance(name, str) or name not in signature.outputs or name in names:
            raise invalid(f"'outputs' may name {', '.join(sorted(signature.outputs))}, each once")
        names.append(name)
        if _object(tensor, "parameters").get("binary_data", everything) is True:
            binary.add(name)
    return names, binary


def _object(holder: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = holder.get(key, {})
    if not isinstance(value, dict):
        raise invalid(f"'{key}' must be an object")
    return value


def _tensor(tensor, name: str, spec: Spec, rest: memoryview) -> tuple[np.ndarray, memoryview]:
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    lengths = isinstance(shape, list) and len(shape) <= 16
    if not lengths or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise invalid(f"input {name}: 'shape' must be a list of lengths")
    if not isinstance(datatype, str) or datatype not in _DTYPES:
        raise invalid(f"input {name}: 'datatype' must be one of {', '.join(_DTYPES)}")
    if datatype != DATATYPES.get(spec.dtype):
        raise invalid(
            f"input {name}: datatype {datatype}, but {DATATYPES.get(spec.dtype, spec.dtype)} is "
            "expected"
        )
    size = _object(tensor, "parameters").get("binary_data_size")
    if size is None:
        if "data" not in tensor:
            raise invalid(f"input {name}: there is no 'data'")
        array = tensors.from_json(tensor["data"], name, spec)
    else:
        if type(size) is not int or not 0 <= size <= len(rest):
            raise invalid(f"input {name}: binary_data_size is more than the request has")
        array, rest = _from_bytes(rest[:size], name, spec), rest[size:]
    if array.size != math.prod(shape):
        raise invalid(f"input {name}: {array.size} values for shape {shape}")
    try:
        return array.reshape(shape), rest
    except ValueError as error:  # a length of 0 and others whose product NumPy cannot hold
        raise invalid(f"input {name}: shape {shape} is too large") from error


def _from_bytes(blob: memoryview, name: str, spec: Spec) -> np.ndarray:
    if spec.dtype == STRING:
        values, at = [], 0
        while at < len(blob):
            length = int.from_bytes(blob[at : at + 4], "little")
            at += 4 + length
            if at > len(blob):
                raise invalid(f"input {name}: a string is longer than its tensor")
            values.append(bytes(blob[at - length : at]))
        flat = np.empty(len(values), object)
        flat[:] = values
        return flat
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    if len(blob) % dtype.itemsize:
        raise invalid(f"input {name}: {len(blob)} bytes are no whole number of {spec.dtype}")
    if spec.dtype == "bool" and np.frombuffer(blob, np.uint8).max(initial=0) > 1:
        raise invalid(f"input {name}: a truth value is neither 0 nor 1")
    return np.frombuffer(blob, dtype).astype(spec.dtype)


def _blob(array: np.ndarray, dtype: str) -> bytes:
    if dtype == STRING:
        values = [bytes(value) for value in array.ravel()]
        return b"".join(struct.pack("<I", len(value)) + value for value in values)
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
