"""The description of the routes agrees with what they take and answer."""

import pytest

from kapps.serving.server import openapi

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def described(server):
    return server.get("/openapi.json")[1]


def schemas(described, path):
    said = described["paths"][path]["post"]
    return (
        said["requestBody"]["content"]["application/json"]["schema"],
        said["responses"]["200"]["content"]["application/json"]["schema"],
    )


def fits(value, schema):
    return jsonschema.Draft202012Validator(schema).is_valid(value)


IMAGE = [[1, 2, 3], [4, 5, 6]]
MIXED = {"text": "a", "image": IMAGE, "name_bytes": {"b64": "AA=="}}


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("half_plus_two", {"instances": [1.0, 2]}),
        ("half_plus_two", {"instances": [{"x": 1.0}]}),
        ("half_plus_two", {"inputs": [1.0]}),
        ("half_plus_two", {"inputs": {"x": [1.0]}}),
        ("counter", {"signature_name": "scaled", "inputs": {"x": [1, 2], "by": 3}}),
        ("mixed", {"instances": [MIXED, MIXED]}),
        ("mixed", {"inputs": {name: [value] for name, value in MIXED.items()}}),
    ],
)
def test_what_is_answered_is_described(server, described, model, body):
    path = f"/v1/models/{model}:predict"
    request, answer = schemas(described, path)
    assert fits(body, request)
    status, said = server.post(path, body)
    assert status == 200 and fits(said, answer)


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("half_plus_two", {"instances": ["a"]}),
        ("half_plus_two", {"instances": []}),
        ("half_plus_two", {"inputs": {"y": [1.0]}}),
        ("half_plus_two", {"signature_name": "nobody", "instances": [1.0]}),
        ("mixed", {"instances": [{**MIXED, "image": [[1, 2], [3, 4]]}]}),
        ("mixed", {"instances": [IMAGE]}),
    ],
)
def test_what_is_refused_is_not_described(server, described, model, body):
    path = f"/v1/models/{model}:predict"
    assert not fits(body, schemas(described, path)[0])
    assert server.post(path, body)[0] == 400


def test_v2(server, described):
    path = "/v2/models/counter/infer"
    request, answer = schemas(described, path)
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.5]}]}
    assert fits(body, request)
    assert not fits({"inputs": [{**body["inputs"][0], "datatype": "INT32"}]}, request)
    assert fits(server.post(path, body)[1], answer)


def test_every_path_that_needs_nothing_is_there(server, described):
    assert described["openapi"].startswith("3.1")
    for path, methods in described["paths"].items():
        if "get" in methods:
            assert server.raw(path)[0] == 200


def test_keys_and_names_that_are_quoted():
    tensor = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [], "unknown_rank": True}}
    signature = {"inputs": {"x": tensor}, "outputs": {"y": tensor}}
    models = {"a b/c": {"signatures": {"only": signature}}, "gone": {"error": "x", "versions": []}}
    said = openapi.description(models, "1", key=True)
    assert "/v1/models/a%20b%2Fc:predict" in said["paths"]
    assert not [path for path in said["paths"] if "gone" in path or path.startswith("/v2")]
    assert said["security"] == [{"key": []}]
    assert "security" not in openapi.description({}, "1", key=False)
