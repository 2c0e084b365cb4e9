"""JSON is read and written the same, with orjson and without."""

import json

import numpy as np
import pytest

from kapps.serving.server import json_text
from kapps.serving.server.protocols import tensors
from kapps.serving.server.protocols.tensors import Spec
from kapps.serving.server.refusals import Refused


@pytest.fixture(params=["orjson", "json"])
def library(request, monkeypatch):
    if request.param == "json":
        monkeypatch.setattr(json_text, "orjson", None)
    else:
        pytest.importorskip("orjson")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[1, -0, -0.0, 1e-7, 18446744073709551615]", [1, 0, -0.0, 1e-7, 2**64 - 1]),
        (b"[Infinity, -Infinity, 1e999]", [np.inf, -np.inf, np.inf]),
        (b'"\\ud800"', "\ud800"),
        (b"\xef\xbb\xbf[true, null]", [True, None]),
        ('"é"'.encode(), "é"),
        ('"é"'.encode("utf-16"), "é"),
    ],
)
def test_what_is_read(library, text, value):
    assert repr(json_text.loads(text)) == repr(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[1,]", "Expecting value: line 1 column 4"),
        (b"{", "Expecting property name"),
        (b'"\x01"', "Invalid control character"),
        (b"\xff", "codec can't decode byte 0xff"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said_in_the_same_words(library, text, words):
    with pytest.raises(Refused, match=words) as caught:
        tensors.parse_json(text)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, "x"]}, b'{"a":[1,2.5,"x"]}'),
        ([float("nan"), float("-inf")], b"[NaN,-Infinity]"),
        ([2**64], b"[18446744073709551616]"),
        ("\ud800", b'"\\ud800"'),
    ],
)
def test_what_is_written(library, value, text):
    assert json_text.dumps(value) == text


def test_texts_come_back(library):
    for value in (["é", "null", None], {"": '"\\\n'}):
        assert json.loads(json_text.dumps(value)) == value


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3,), (2, 3, 2)])
def test_floats_are_the_shortest_decimals(library, shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = values.astype("U32").astype(np.float64).reshape(shape).tolist()
    assert json_text.decimals(values) == expected
    turned = values.copy(order="F")
    assert json_text.decimals(turned) == expected


def test_floats_that_are_none_stay(library):
    said = json_text.decimals(np.float32([0.2, np.nan, np.inf]))
    assert said[0] == 0.2 and np.isnan(said[1]) and said[2] == np.inf
    assert json_text.decimals(np.float16([0.1])) == [float(str(np.float32(np.float16(0.1))))]


def test_numbers_beyond_64_bits(library):
    """As TensorFlow Serving has it, they are floats; of a whole number they are out of range."""
    value = tensors.parse_json(b'{"x": [[18446744073709551616, 1], [2, 3]]}')["x"]
    array = tensors.from_json(value, "x", Spec("float32", (None, 2)))
    assert array.tolist() == [[2.0**64, 1], [2, 3]]
    with pytest.raises(Refused, match="not of expected type: int64"):
        tensors.from_json(value, "x", Spec("int64", (None, 2)))
