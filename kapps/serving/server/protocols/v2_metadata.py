"""What the V2 protocol says of a model, and what it calls types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kapps.serving.server.refusals import Refused

DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "string": "BYTES",
}  # fmt: skip


def metadata(name: str, versions: list[int], signatures: Mapping[str, Any]) -> dict[str, Any]:
    """What V2 says of a model.

    Args:
        name: of the model.
        versions: those that are served.
        signatures: definitions as JSON has them, by name.

    Raises:
        Refused: it has no `serving_default`.
    """
    default = signatures.get("serving_default")
    if default is None:
        raise Refused("FAILED_PRECONDITION", f"{name} has no serving_default")

    def described(infos: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            {"name": key, "datatype": _datatype(info["dtype"]), "shape": lengths(info)}
            for key, info in sorted(infos.items())
        ]

    return {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": "tensorflow_savedmodel",
        "inputs": described(default["inputs"]),
        "outputs": described(default["outputs"]),
    }


def lengths(info: Mapping[str, Any]) -> list[int]:
    """The shape of a tensor in a signature, -1 where a length is open, or the rank is."""
    if info["tensor_shape"].get("unknown_rank"):
        return [-1]  # what kapps leaves open takes [n], too
    return [int(dim["size"]) for dim in info["tensor_shape"].get("dim", [])]


def _datatype(name: str) -> str:
    """DT_FLOAT -> FP32."""
    short = name.removeprefix("DT_").lower()
    known = {"float": "float32", "double": "float64", "half": "float16", "bfloat16": "float32"}
    return DATATYPES.get(known.get(short, short), short.upper())
