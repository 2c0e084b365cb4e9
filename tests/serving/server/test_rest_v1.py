"""What TensorFlow Serving's documentation and its own tests say of REST v1.

https://www.tensorflow.org/tfx/serving/api_rest; half_plus_two and what it answers are from there.
"""

import math

import pytest

from serving.server.conftest import b64

HALF = "/v1/models/half_plus_two"


def test_rows_and_columns(server):
    for path in (HALF, f"{HALF}/versions/123"):
        assert server.post(f"{path}:predict", {"instances": [1.0, 2.0, 5.0]}) == (
            200, {"predictions": [2.5, 3.0, 4.5]},
        )  # fmt: skip
    assert server.post(f"{HALF}:predict", {"inputs": {"x": [1, 2, 5]}}) == (
        200, {"outputs": [2.5, 3.0, 4.5]},
    )  # fmt: skip
    assert server.post(f"{HALF}:predict", {"inputs": [1.0]}) == (200, {"outputs": [2.5]})
    assert server.post(f"{HALF}:predict", {"instances": [{"x": 1.0}, {"x": 2.0}]}) == (
        200, {"predictions": [2.5, 3.0]},
    )  # fmt: skip


def test_numbers_that_are_not_finite_are_tokens(server):
    status, said = server.post(f"{HALF}:predict", b'{"instances": [NaN, Infinity, -Infinity]}')
    assert status == 200
    values = said["predictions"]
    assert math.isnan(values[0]) and values[1:] == [math.inf, -math.inf]


def test_floats_have_no_noise(server):
    """0.2 in float32 is 0.200000003 in float64; the client is told 0.2."""
    status, said = server.post("/v1/models/counter:predict", b'{"inputs": [0.2, 1e-30, 16777216]}')
    assert status == 200 and said["outputs"]["x"] == [0.2, 1e-30, 16777216.0]


def test_regress_and_classify_of_examples(server):
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 1.0}, {"x": 2.0}]}
    assert server.post(f"{HALF}:regress", body) == (200, {"results": [2.5, 3.0]})
    body = {
        "signature_name": "classify_x_to_y",
        "context": {"x": 5.0},
        "examples": [{}, {"x": 2.0}],
    }
    assert server.post(f"{HALF}:classify", body) == (
        200, {"results": [[["0", 4.5]], [["0", 3.0]]]},
    )  # fmt: skip
    status, said = server.post(f"{HALF}:regress", {"examples": [{"x": 1.0}]})
    assert status == 400
    assert said["error"] == (
        "Expected regress signature method_name to be tensorflow/serving/regress. "
        "Was: tensorflow/serving/predict"
    )


def test_several_inputs_and_bytes(server):
    row = {"text": "é", "image": [[1, 2, 3], [4, 5, 255]], "name_bytes": b64(b"\xff\x00")}
    answer = {"said": "é=270", "name_bytes": b64(b"\xff\x00"), "total": 270}
    assert server.post("/v1/models/mixed:predict", {"instances": [row]}) == (
        200, {"predictions": [answer]},
    )  # fmt: skip
    columns = {key: [value] for key, value in row.items()}
    assert server.post("/v1/models/mixed:predict", {"inputs": columns}) == (
        200, {"outputs": {key: [value] for key, value in answer.items()}},
    )  # fmt: skip


def test_scalars_go_in_columns(server):
    body = {"signature_name": "scaled", "inputs": {"x": [1, 2], "by": 3}}
    assert server.post("/v1/models/counter:predict", body) == (200, {"outputs": [3.0, 6.0]})


def test_status_and_metadata(server):
    one = {"version": "123", "state": "AVAILABLE"}
    one["status"] = {"error_code": "OK", "error_message": ""}
    for path in (HALF, f"{HALF}/versions/123"):
        assert server.get(path) == (200, {"model_version_status": [one]})
    status, said = server.get(f"{HALF}/metadata")
    assert status == 200
    assert said["model_spec"] == {
        "name": "half_plus_two", "signature_name": "", "version": "123",
    }  # fmt: skip
    definition = said["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    x = definition["inputs"]["x"]
    assert x["dtype"] == "DT_FLOAT" and x["name"] == "serving_default_x:0"
    assert x["tensor_shape"] == {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/models/nobody:predict", {"instances": [1]}, 404, "nobody"),
        (f"{HALF}/versions/99:predict", {"instances": [1]}, 404,
         "Servable not found for request: Specific(half_plus_two, 99)"),
        (f"{HALF}/labels/stable:predict", {"instances": [1]}, 404, "label: stable"),
        (f"{HALF}/versions/{10**30}:predict", {"instances": [1]}, 400, "to numeric"),
        (f"{HALF}:explode", {"instances": [1]}, 400, "Malformed request: POST"),
        (HALF, {"instances": [1]}, 400, "Malformed request: POST"),
        (f"{HALF}:predict", b"", 400, "The document is empty"),
        (f"{HALF}:predict", b"[1]", 400, "Is not object"),
        (f"{HALF}:predict", b"{", 400, "JSON Parse error"),
        (f"{HALF}:predict", b'{"instances": ' + b"[" * 100_000, 400, "nested too deeply"),
        (f"{HALF}:predict", {}, 400, "Missing 'inputs' or 'instances' key"),
        (f"{HALF}:predict", {"instances": [1], "inputs": [1]}, 400, "only one of"),
        (f"{HALF}:predict", {"instances": []}, 400, "No values in 'instances' array"),
        (f"{HALF}:predict", {"instances": 1}, 400, "to be an list/array"),
        (f"{HALF}:predict", {"instances": [1, {"x": 1}]}, 400, "but got object at item 1"),
        (f"{HALF}:predict", {"instances": [{"x": 1}, 1]}, 400, "but got list at item 1"),
        (f"{HALF}:predict", {"instances": [{"x": 1, "z": 2}]}, 400, "keys must be equal to: x"),
        (f"{HALF}:predict", {"instances": ["1"]}, 400, "not of expected type: float32"),
        (f"{HALF}:predict", {"instances": [None]}, 400, "not of expected type: float32"),
        (f"{HALF}:predict", {"instances": [True]}, 400, "not of expected type: float32"),
        (f"{HALF}:predict", {"instances": [1e300]}, 400, "without loss of precision"),
        (f"{HALF}:predict", {"instances": [[1], [1, 2]]}, 400, "unequal lengths"),
        (f"{HALF}:predict", {"instances": [[1, 2]]}, 400, "shape [1,2], but [-1] is expected"),
        (f"{HALF}:predict", {"instances": [1], "signature_name": "no"}, 400, '"no" not found'),
        (f"{HALF}:predict", {"instances": [1], "signature_name": 1}, 400, "must be a string"),
        (f"{HALF}:regress", {}, 400, "key 'examples' is expected"),
        (f"{HALF}:regress", {"examples": [1]}, 400, "Example must be JSON object"),
        ("/v1/models/mixed:predict", {"instances": [1]}, 400, "instances is a plain list"),
        ("/v1/models/mixed:predict", {"inputs": {"text": ["a"]}}, 400, "Missing named input"),
        ("/v1/models/mixed:predict",
         {"inputs": {"text": ["a"], "image": [[[1, 2, 256]] * 2], "name_bytes": ["x"]}}, 400,
         "input image: a value is not of expected type: uint8, 0 to 255"),
        ("/v1/models/mixed:predict",
         {"inputs": {"text": ["a", "b"], "image": [[[1, 2, 3]] * 2], "name_bytes": ["x"]}}, 400,
         "as many of each are needed"),
        ("/v1/models/mixed:predict",
         {"inputs": {"text": [{"b64": "?"}], "image": [[[1, 2, 3]] * 2], "name_bytes": ["x"]}},
         400, "Unable to base64 decode"),
        ("/v1/models/counter:predict",
         {"signature_name": "scaled", "inputs": {"x": [1], "by": [3]}}, 400,
         "shape [1], but [] is expected"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(server, path, body, status, words):
    said, answer = server.post(path, body)
    assert (said, list(answer)) == (status, ["error"]), answer
    assert words in answer["error"]


def test_what_a_model_refuses_is_the_clients_mistake(server):
    body = {"signature_name": "regress_x_to_y", "examples": [{"y": 1.0}]}
    status, said = server.post(f"{HALF}:regress", body)
    assert status == 400 and "x" in said["error"] and "Graph" not in said["error"]
