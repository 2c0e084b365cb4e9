"""What is written can be read, also by programs that take JSON at its word."""

import json
import math

import numpy as np
import pytest

from kapps import files


def test_numbers_that_are_not_finite_become_null(tmp_path):
    path = tmp_path / "x.json"
    value = {"a": math.inf, "b": [1.5, -math.inf, (math.nan,)], "c": np.float64("nan"), "d": "inf"}
    files.write_json(path, value)

    def refuse(name):
        raise AssertionError(name)

    found = json.loads(path.read_text(), parse_constant=refuse)
    assert found == {"a": None, "b": [1.5, None, [None]], "c": None, "d": "inf"}


def test_what_is_read_again_keeps_every_number_in_valid_json():
    value = {"a": [math.inf, -math.inf, 0.1], "b": np.float32(0.5), "c": {"float": 1}, "d": "nan"}

    def refuse(name):
        raise AssertionError(name)

    text = files.to_json(value | {"e": math.nan, "f": (np.float64("nan"), np.int64(3), None)})
    json.loads(text, parse_constant=refuse)
    found = files.from_json(text)
    assert math.isnan(found.pop("e")) and math.isnan(found["f"][0]) and found.pop("f")[1:] == [
        3, None
    ]  # fmt: skip
    assert found == value | {"b": 0.5}
    assert math.isnan(files.from_json('{"older": NaN}')["older"])
    with pytest.raises(TypeError):
        files.to_json({"x": object()})
