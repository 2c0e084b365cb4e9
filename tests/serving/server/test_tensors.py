"""JSON and arrays: what may be changed is a rounding, and nothing else."""

import json

import numpy as np
import pytest

from kapps.serving.server.protocols import tensors
from kapps.serving.server.protocols.tensors import Spec
from kapps.serving.server.refusals import Refused


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        ([1, 2], "float32", np.float32([1, 2])),
        ([], "float32", np.zeros(0, np.float32)),
        ([[], []], "int64", np.zeros((2, 0), np.int64)),
        (3, "uint8", np.uint8(3)),
        ([255, 0], "uint8", np.uint8([255, 0])),
        ([2**63], "uint64", np.uint64([2**63])),
        ([-(2**63)], "int64", np.int64([-(2**63)])),
        ([True], "bool", np.array([True])),
        ([1e-60], "float32", np.float32([0])),
        ([float("inf")], "float32", np.float32([np.inf])),
    ],
)
def test_values_that_fit(value, dtype, expected):
    array = tensors.from_json(value, "x", Spec(dtype, None))
    assert array.dtype == expected.dtype and np.array_equal(array, expected)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([256], "uint8"), ([-1], "uint8"), ([1.0], "int32"), ([2**31], "int32"), ([2**64], "int64"),
        ([10**400], "float32"), ([1e39], "float32"), (["1"], "float32"), ([None], "float32"),
        ([2**64, None], "float32"), ([2**64, "1"], "float32"), ([2**70, True], "float32"),
        ([[1], [2, 3]], "float32"), ([1, [2]], "float32"), ([{}], "int32"), ([1], "bool"),
        ([True], "float32"), ([0.5], "bool"), (["a", 1], "string"), ([1], "string"),
        (["a", ["b"]], "string"), ([{"b64": 3}], "string"), (["\ud800"], "string"),
        ([{"b64": "AAAA", "x": 1}], "string"), ([1.0], "float16"), ([1.0], "bfloat16"),
    ],
)  # fmt: skip
def test_values_that_do_not(value, dtype):
    with pytest.raises(Refused):
        tensors.from_json(value, "x", Spec(dtype, None))


def test_texts_of_any_depth():
    array = tensors.from_json([["é", {"b64": "/wA="}], ["", "b"]], "x", Spec("string", None))
    assert array.tolist() == [["é".encode(), b"\xff\x00"], [b"", b"b"]]


def test_every_float32_comes_back_as_it_was():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 20_000, np.uint64).astype(np.uint32)
    values = bits.view(np.float32)
    values = values[np.isfinite(values)]
    said = json.loads(json.dumps(tensors.jsonable(values, "y")))
    np.testing.assert_array_equal(np.float32(said), values)
    assert json.dumps(tensors.jsonable(np.float32([0.1, 3e-5]), "y")) == "[0.1, 3e-05]"
