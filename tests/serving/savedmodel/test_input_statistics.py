"""Features of examples in training, and of those that are served, by numbers worked out by hand."""

import json
import math

import numpy as np
import pytest

from kapps.serving.savedmodel import input_statistics
from kapps.serving.savedmodel.input_statistics import Watch, statistics_of, values_of

NAN = math.nan


def test_an_example_has_one_value_for_each_feature():
    # Two pictures of 1 x 2 pixels with 2 channels.
    pictures = np.array([[[[0, 10], [4, 30]]], [[[1, 1], [1, 1]]]], np.uint8)
    np.testing.assert_array_equal(values_of(pictures), [[2, 20], [1, 1]])
    series = np.float32([[[1, 2], [3, NAN], [NAN, NAN]]])  # padded, and one value is missing
    np.testing.assert_array_equal(values_of(series), [[2, 2]])
    np.testing.assert_array_equal(values_of(np.float32([5, NAN])), [[5], [NAN]])
    assert values_of(np.zeros((0, 4, 4, 3))).shape == (0, 3)


def test_statistics_are_of_those_values():
    points = np.float32([[1, 7], [3, 7], [NAN, 7]])
    assert statistics_of(points) == {"mean": [2.0, 7.0], "std": [1.0, 0.0]}


def test_what_is_further_than_four_deviations_is_far():
    watch = Watch({"x": {"mean": [10.0, 7.0], "std": [2.0, 0.0]}})
    watch.see({"x": np.float32([[18, 7], [18.1, 7.1], [NAN, 7], [np.inf, 7]]), "other": None})
    watch.see({"x": np.float32([[1.9, 7]])})
    # Of the first: 18 is 4 deviations off and no more; infinity is far off and in no sum.
    [examples, far, total] = watch.take()["x"]
    assert (examples, far) == ([4, 5], [3, 1])
    np.testing.assert_allclose(total, [18 + 18.1 + 1.9, 35.1], rtol=1e-6)
    assert watch.take() == {}


@pytest.mark.parametrize(
    "inputs",
    [{}, {"x": np.float32([[1, 2]])}, {"x": np.array([b"a"], object)}, {"x": np.float32(1)}],
)
def test_inputs_of_another_kind_are_passed_by(inputs):
    watch = Watch({"x": {"mean": [10.0], "std": [2.0]}})
    watch.see(inputs)
    assert watch.take() == {}


def test_a_file_that_is_broken_is_none(tmp_path):
    whole = {"x": {"mean": [1.5], "std": [0.5]}}
    input_statistics.write(tmp_path, whole)
    assert input_statistics.read(tmp_path) == whole
    for broken in (
        "[",
        "[]",
        '{"x": 1}',
        '{"x": {"mean": [1]}}',
        '{"x": {"mean": "a", "std": "b"}}',
    ):
        (tmp_path / input_statistics.FILE).write_text(broken)
        assert input_statistics.read(tmp_path) == {}
    many = {"x": {"mean": [0.0] * 65, "std": [1.0] * 65}}  # a counter for each would be too many
    (tmp_path / input_statistics.FILE).write_text(json.dumps(many))
    assert input_statistics.read(tmp_path) == {}
    input_statistics.write(tmp_path / "none", None)
    assert not (tmp_path / "none").exists()
