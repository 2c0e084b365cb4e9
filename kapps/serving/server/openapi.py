"""What the server offers over HTTP, in OpenAPI 3.1: made of the signatures that are served now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from kapps.serving.server.protocols import v2_metadata
from kapps.serving.server.refusals import Refused

Json = dict[str, Any]
_B64 = {
    "type": "object",
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "required": ["b64"],
}
_FLOATS = ("DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16")


def description(models: Mapping[str, Json], version: str, key: bool) -> Json:
    """The document.

    Args:
        models: by name, what `http_app.described` says of them; those that are not served are
            passed over.
        version: of kapps.
        key: whether an API key is asked for.
    """
    paths: Json = {
        "/healthz": _get("Whether the server is alive"),
        "/readyz": _get("Whether models are served; 503 where they are not yet"),
        "/metrics": _get("Counters in Prometheus' text format", "text/plain"),
        "/models": _get("Models, their versions and signatures"),
    }
    for name, model in models.items():
        if "error" not in model:
            paths |= _paths(name, model["signatures"])
    said: Json = {
        "openapi": "3.1.0",
        "info": {
            "title": "kapps serve",
            "version": version,
            "description": "REST v1 of TensorFlow Serving and V2, the Open Inference protocol. "
            "NaN and Infinity are tokens of V1's JSON.",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "properties": {"error": {"type": "string"}},
                    "required": ["error"],
                }
            }
        },
    }
    if key:
        said["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        said["security"] = [{"key": []}]
    return said


def _paths(name: str, signatures: Mapping[str, Json]) -> Json:
    quoted = quote(name, safe="")
    one, two = f"/v1/models/{quoted}", f"/v2/models/{quoted}"
    requests = [_v1_request(title, each) for title, each in signatures.items()]
    answers = [_v1_answer(each) for each in signatures.values()]
    found = {
        one: _get(f"Versions of {name}, and their states"),
        f"{one}/metadata": _get(f"Signatures of {name}, as TensorFlow has them"),
        f"{one}:predict": _post(f"Ask {name}", {"oneOf": requests}, {"anyOf": answers}),
    }
    try:
        about = v2_metadata.metadata(name, [], signatures)
    except Refused:  # there is no serving_default
        return found
    inputs, outputs = (
        {"type": "array", "items": {"oneOf": [_v2_tensor(tensor) for tensor in about[side]]}}
        for side in ("inputs", "outputs")
    )
    found[two] = _get(f"Inputs and outputs of {name}")
    found[f"{two}/infer"] = _post(
        f"Ask {name}: tensors in JSON, or as bytes after it",
        _object({"inputs": inputs, "id": {"type": "string"}}, ["inputs"]),
        _object({"outputs": outputs, "model_version": {"type": "string"}}, ["outputs"]),
    )
    return found


def _v1_request(title: str, signature: Json) -> Json:
    tensors = {name: _tensor(info) for name, info in signature["inputs"].items()}
    rows: Json = {"type": "array", "minItems": 1}
    each = {name: _row(info) for name, info in signature["inputs"].items()}
    choices = [_object(each, list(each))]
    if len(each) == 1:
        choices.append(next(iter(each.values())))
    rows["items"] = {"anyOf": choices}
    named = {"signature_name": {"const": title}}
    needed = [] if title == "serving_default" else ["signature_name"]
    return {
        "title": title,
        "oneOf": [
            _object({**named, "instances": rows}, ["instances", *needed]),
            _object({**named, "inputs": _without_name(tensors)}, ["inputs", *needed]),
        ],
    }


def _v1_answer(signature: Json) -> Json:
    columns = {name: _tensor(info) for name, info in signature["outputs"].items()}
    rows = {name: _row(info) for name, info in signature["outputs"].items()}
    row = next(iter(rows.values())) if len(rows) == 1 else _object(rows, list(rows))
    return {
        "anyOf": [
            _object({"predictions": {"type": "array", "items": row}}, ["predictions"]),
            _object({"outputs": _without_name(columns)}, ["outputs"]),
        ]
    }


def _without_name(tensors: Mapping[str, Json]) -> Json:
    """All by name, or a single one alone."""
    whole = _object(dict(tensors), list(tensors))
    return whole if len(tensors) != 1 else {"anyOf": [whole, *tensors.values()]}


def _tensor(info: Json) -> Json:
    """Lists in lists to the depth of a tensor; of unknown rank anything."""
    shape = info["tensor_shape"]
    if shape.get("unknown_rank"):
        return {}
    schema = _value(info["dtype"])
    for length in reversed(v2_metadata.lengths(info)):
        schema = {"type": "array", "items": schema}
        if length >= 0:
            schema |= {"minItems": length, "maxItems": length}
    return schema


def _row(info: Json) -> Json:
    whole = _tensor(info)
    return whole.get("items", whole)


def _value(dtype: str) -> Json:
    if dtype == "DT_STRING":
        return {"oneOf": [{"type": "string"}, _B64]}
    if dtype == "DT_BOOL":
        return {"type": "boolean"}
    return {"type": "number" if dtype in _FLOATS else "integer"}


def _v2_tensor(tensor: Json) -> Json:
    return _object(
        {
            "name": {"const": tensor["name"]},
            "datatype": {"const": tensor["datatype"]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "data": {"type": "array"},
            "parameters": {"type": "object"},
        },
        ["name", "datatype", "shape"],
    )


def _object(properties: Json, required: list[str]) -> Json:
    return {"type": "object", "properties": properties, "required": required}


def _get(summary: str, kind: str = "application/json") -> Json:
    return {"get": {"summary": summary, "responses": _responses({}, kind)}}


def _post(summary: str, request: Json, answer: Json) -> Json:
    content = {"application/json": {"schema": request}}
    body = {"required": True, "content": content}
    return {"post": {"summary": summary, "requestBody": body, "responses": _responses(answer)}}


def _responses(schema: Json, kind: str = "application/json") -> Json:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "200": {"description": "The answer", "content": {kind: {"schema": schema}}},
        "default": {"description": "Why there is none", "content": error},
    }
