"""The Open Inference protocol, with tensors in JSON and as bytes."""

import json
import struct

import numpy as np
import pytest

from kapps.serving.server.protocols import rest_v2, v2_metadata

MIXED = "/v2/models/mixed"


def image(**more):
    return {"name": "image", "shape": [1, 2, 3], "datatype": "UINT8", **more}


def tensors(**images):
    return [
        image(**(images or {"data": [1, 2, 3, 4, 5, 6]})),
        {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]},
        {"name": "name_bytes", "shape": [1], "datatype": "BYTES", "data": ["b"]},
    ]


def test_health_and_metadata(server):
    assert server.get("/v2/health/live") == (200, {"live": True})
    assert server.get("/v2/health/ready") == (200, {"ready": True})
    assert server.get("/v2")[1]["extensions"] == ["binary_tensor_data"]
    assert server.get(f"{MIXED}/versions/1/ready") == (200, {"name": "mixed", "ready": True})
    status, said = server.get(MIXED)
    assert status == 200 and said["platform"] == "tensorflow_savedmodel"
    assert said["versions"] == ["1"]
    assert {"name": "image", "datatype": "UINT8", "shape": [-1, 2, 3]} in said["inputs"]
    assert {"name": "said", "datatype": "BYTES", "shape": [-1]} in said["outputs"]


def test_an_empty_tensor_of_endless_sides(server):
    sides = image(data=[])
    sides["shape"] = [0, 2**40 - 1, 2**40 - 1]
    status, said = server.post(f"{MIXED}/infer", {"inputs": [sides, *tensors()[1:]]})
    assert status == 400 and "too large" in said["error"]


def test_tensors_in_json(server):
    body = {"id": "42", "inputs": tensors(), "outputs": [{"name": "total"}, {"name": "said"}]}
    assert server.post(f"{MIXED}/infer", body) == (200, {
        "model_name": "mixed", "model_version": "1", "id": "42",
        "outputs": [
            {"name": "total", "datatype": "INT32", "shape": [1], "data": [21]},
            {"name": "said", "datatype": "BYTES", "shape": [1], "data": ["a=21"]},
        ],
    })  # fmt: skip


def test_tensors_as_bytes(server):
    head = json.dumps({
        "inputs": [
            image(parameters={"binary_data_size": 6}),
            {"name": "text", "shape": [1], "datatype": "BYTES",
             "parameters": {"binary_data_size": 7}},
            {"name": "name_bytes", "shape": [1], "datatype": "BYTES", "data": ["b"]},
        ],
        "outputs": [{"name": "total", "parameters": {"binary_data": True}},
                    {"name": "said", "parameters": {"binary_data": True}}],
    }).encode()  # fmt: skip
    body = head + bytes([1, 2, 3, 4, 5, 250]) + struct.pack("<I", 3) + b"\xff\x00a"
    status, headers, said = server.raw(
        f"{MIXED}/infer", body, headers={"Inference-Header-Content-Length": str(len(head))}
    )
    assert status == 200
    size = int(headers["inference-header-content-length"])
    described = json.loads(said[:size])["outputs"]
    assert [tensor["parameters"]["binary_data_size"] for tensor in described] == [4, 11]
    assert np.frombuffer(said[size : size + 4], "<i4") == [265]
    assert said[size + 4 :] == struct.pack("<I", 7) + b"\xff\x00a=265"


def test_another_signature(server):
    body = {
        "parameters": {"signature_name": "scaled"},
        "inputs": [
            {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]},
            {"name": "by", "shape": [], "datatype": "FP32", "data": [3]},
        ],
    }
    status, said = server.post("/v2/models/counter/infer", body)
    assert status == 200 and said["outputs"][0]["data"] == [3.0, 6.0]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"inputs": 1}, "list of tensors"),
        ({"inputs": [1]}, "no object with a name"),
        ({"inputs": tensors(data=[1, 2, 3, 4, 5])}, "5 values for shape [1, 2, 3]"),
        ({"inputs": tensors(data=[1, 2, 3, 4, 5, 300])}, "0 to 255"),
        ({"inputs": tensors(data=[1] * 6, datatype="FP32")}, "UINT8 is expected"),
        ({"inputs": tensors(data=[1] * 6, datatype="UINT9")}, "must be one of"),
        ({"inputs": tensors(data=[1] * 6, shape=[-1, 2, 3])}, "list of lengths"),
        ({"inputs": tensors(data=[1] * 6, shape=[2**60, 2**60])}, "list of lengths"),
        ({"inputs": tensors(data=[1] * 6, shape=[1, 3, 2])}, "[-1,2,3] is expected"),
        ({"inputs": tensors(parameters={"binary_data_size": 6})}, "more than the request has"),
        ({"inputs": tensors()[:2]}, "takes image, name_bytes, text"),
        ({"inputs": tensors() * 2}, "unexpected input image"),
        ({"inputs": tensors(), "outputs": [{"name": "no"}]}, "may name"),
        ({"inputs": tensors(), "parameters": 1}, "must be an object"),
    ],
)
def test_what_is_wrong_is_said(server, body, words):
    status, said = server.post(f"{MIXED}/infer", body)
    assert status == 400 and words in said["error"]


def test_a_resource_that_there_is_not(server):
    assert server.get("/v2/models/mixed/config")[0] == 404
    assert server.post("/v2/models/nobody/infer", {})[0] == 404


def test_the_shape_of_a_tensor_of_open_rank():
    """A column of a table, for one: `[]` would be a single number."""
    assert v2_metadata.lengths({"tensor_shape": {"dim": [], "unknown_rank": True}}) == [-1]
    assert v2_metadata.lengths({"tensor_shape": {"dim": []}}) == []
    assert v2_metadata.lengths({"tensor_shape": {"dim": [{"size": "-1"}, {"size": "2"}]}}) == [
        -1,
        2,
    ]


def test_a_request_that_is_written_is_read(server):
    inputs = {
        "image": np.uint8([[[1, 2, 3], [4, 5, 6]]]),
        "text": np.array([b"a"], object),
        "name_bytes": np.array([b"\xff"], object),
    }
    head, body = rest_v2.request("serving_default", inputs)
    headers = {"Inference-Header-Content-Length": str(head["json_bytes"])}
    status, _, said = server.raw(f"{MIXED}/infer", body, headers=headers)
    outputs = {tensor["name"]: tensor["data"] for tensor in json.loads(said)["outputs"]}
    assert status == 200 and outputs["said"] == ["a=21"] and outputs["total"] == [21]
