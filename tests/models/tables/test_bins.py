"""Piecewise-linear encoding of numbers by bins, arXiv:2203.05556: by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import models
from kapps.models.tables.bins import PiecewiseLinear

NUMBER = {"kind": "number", "mean": 4.0, "std": 2.0, "median": 3.0, "indicator": True}
CITY = {"kind": "string", "vocabulary": ["Köln", "Oslo"], "missing": []}


def bins_of(columns, bins, **cells):
    """What the network reads of cells, by its layer of bins."""
    model = models.tabular_mlp(columns, 2, units=(), bins=bins)
    rows = {name: tf.constant(np.asarray(values)[:, None]) for name, values in cells.items()}
    return model.get_layer("network").get_layer("bins")(model.get_layer("encoder")(rows)).numpy()


def test_encoding_by_hand():
    """Edges 0, 2, 6 of x: 3 is a whole first bin and a quarter of the second; a gap is the median.

    The columns are, in their order, B, a and x; what fills the bins comes after all of them.
    """
    found = bins_of(
        {"x": NUMBER, "B": NUMBER | {"indicator": False}, "a": CITY},
        {"x": [0.0, 2.0, 6.0], "B": [4.0, 5.0]},
        x=np.array([3, np.nan, -1, 6, 100], np.float32),
        B=np.array([4, 4.5, 0, 5, 9], np.float32),
        a=np.array(["Oslo"] * 5, object),
    )
    np.testing.assert_allclose(
        found,
        [
            [0.0, 0, 1, -0.5, 0, 0.0, 1.0, 0.25],
            [0.25, 0, 1, -0.5, 1, 0.5, 1.0, 0.25],
            [-2.0, 0, 1, -2.5, 0, 0.0, 0.0, 0.0],
            [0.5, 0, 1, 1.0, 0, 1.0, 1.0, 1.0],
            [2.5, 0, 1, 48.0, 0, 1.0, 1.0, 1.0],
        ],
        atol=1e-6,
    )


def test_milliseconds_since_1970_have_bins():
    """Of float32 the edges would be one."""
    column = NUMBER | {"mean": 1.7e12, "std": 10.0, "indicator": False, "wide": True}
    found = bins_of({"t": column}, {"t": [1.7e12, 1.7e12 + 20]}, t=1.7e12 + np.array([5.0, 20, 30]))
    np.testing.assert_allclose(found, [[0.5, 0.25], [2.0, 1.0], [3.0, 1.0]])


def test_edges_that_float32_does_not_tell_apart_are_one():
    columns = {"x": NUMBER | {"indicator": False}}
    found = bins_of(columns, {"x": [0.0, 1e-6, 2.0]}, x=np.array([1.0], np.float32))
    np.testing.assert_allclose(found, [[-1.5, 0.5]])
    alone = models.tabular_mlp(columns, 2, units=(), bins={"x": [1.0]})
    assert "bins" not in [layer.name for layer in alone.get_layer("network").layers]


def test_a_step_is_learned_that_a_linear_model_cannot():
    """Any rain at all: the network has no hidden layer, and its slope can be as steep as it is."""
    rain = np.concatenate([np.zeros(100), 0.1 + np.arange(100.0)]).astype(np.float32)
    column = {"kind": "number", "mean": float(rain.mean()), "std": float(rain.std())}
    column |= {"median": 0.0, "indicator": False}
    model = models.tabular_mlp({"x": column}, 2, units=(), bins={"x": [0.0, 0.1, 50.0, 99.1]})
    network = model.get_layer("network")
    kernel = np.zeros((4, 2))
    kernel[1] = [-5, 5]
    network.get_layer("logits").set_weights([kernel, np.array([2.5, -2.5])])
    said = model({"x": tf.constant(rain[:, None])}).numpy().argmax(axis=1)
    np.testing.assert_array_equal(said, rain > 0)


def test_it_comes_back_from_a_file(tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, PiecewiseLinear([(1, [0.0, 1.0, 3.0])])(inputs))
    model.save(tmp_path / "m.keras")
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(model(x), again(x))
    assert again.output_shape == (None, 4)


@pytest.mark.slow
def test_a_thousand_columns_are_one_operation():
    columns = {f"x{i}": NUMBER | {"indicator": False} for i in range(1000)}
    model = models.tabular_mlp(columns, 2, bins={name: [0.0, 4.0, 5.0] for name in columns})
    assert model.get_layer("network").get_layer("bins").output.shape == (None, 3000)
    assert len(model.get_layer("network").layers) < 10
