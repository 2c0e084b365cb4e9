"""What is written can be read, also by programs that take JSON at its word."""

import json
import math

import numpy as np

from kapps import files


def test_numbers_that_are_not_finite_become_null(tmp_path):
    path = tmp_path / "x.json"
    value = {"a": math.inf, "b": [1.5, -math.inf, (math.nan,)], "c": np.float64("nan"), "d": "inf"}
    files.write_json(path, value)

    def refuse(name):
        raise AssertionError(name)

    found = json.loads(path.read_text(), parse_constant=refuse)
    assert found == {"a": None, "b": [1.5, None, [None]], "c": None, "d": "inf"}
