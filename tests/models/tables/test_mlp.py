import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, strategies as st
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from kapps import models
from kapps.errors import UserError
from kapps.models.tables.mlp import column_layers, described_columns

NUMBER = {"kind": "number", "mean": 4.0, "std": 2.0, "median": 3.0, "indicator": True}
CITY = {"kind": "string", "vocabulary": ["Köln", "Oslo"], "missing": ["", "?", "na"]}
ROOMS = {"kind": "integer", "vocabulary": [1, 3], "missing": [-9]}


def encode(columns, **cells):
    encoder = models.tabular_mlp(columns, 2, units=()).get_layer("encoder")
    return encoder({k: tf.constant(np.asarray(v)[:, None]) for k, v in cells.items()}).numpy()


def test_encoding_by_hand():
    """Columns in the order of their names: B, a, c."""
    encoded = encode(
        {"c": ROOMS, "B": NUMBER, "a": CITY},
        B=np.array([8, np.nan, 0], np.float32),
        a=np.array([" Oslo ", "NA", "Rome"], object),
        c=np.array([3, -9, 7], np.int32),
    )
    np.testing.assert_array_equal(
        encoded,
        [
            [2.0, 0.0, 0, 1, 0, 0, 1, 0],
            [-0.5, 1.0, 0, 0, 1, 0, 0, 1],
            [-2.0, 0.0, 0, 0, 0, 0, 0, 0],
        ],
    )


def test_numbers_as_scikit_learn_scales_them():
    rng = np.random.default_rng(0)
    x = rng.lognormal(8, 2, (300, 1)).astype(np.float32)
    facts = {"mean": float(x.mean(dtype=float)), "std": float(x.std(dtype=float))}
    column = {"kind": "number", "median": 0.0, "indicator": False} | facts
    scaled = StandardScaler().fit(x.astype(float)).transform(x.astype(float))
    np.testing.assert_allclose(encode({"x": column}, x=x[:, 0]), scaled, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@given(st.lists(st.sampled_from(["a", "b", "ç", "unseen"]), min_size=1, max_size=8))
def test_categories_as_scikit_learn_encodes_them(words):
    words = np.array(words, object)
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    expected = encoder.fit(np.array([["a"], ["b"], ["ç"]], object)).transform(words[:, None])
    column = {"kind": "string", "vocabulary": ["a", "b", "ç"], "missing": []}
    np.testing.assert_array_equal(encode({"x": column}, x=words), expected)


def test_without_missing_values_in_training_a_gap_is_the_median():
    column = NUMBER | {"indicator": False}
    encoded = encode({"x": column}, x=np.array([np.nan, 3.0], np.float32))
    assert encoded.shape == (2, 1) and encoded[0] == encoded[1]
    assert not encode({"x": CITY | {"missing": []}}, x=np.array(["", "?"], object)).any()


def test_large_numbers_that_differ_little_stay_apart():
    """Of 2**24 float32 has whole numbers only; they must not be lost in a division."""
    column = NUMBER | {"mean": 2.0**24 - 8, "std": 2.0, "indicator": False}
    x = np.float32(2.0**24) - np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(encode({"x": column}, x=x)[:, 0], [4.0, 3.5, 3.0, 2.5])


def test_order_of_columns_does_not_matter():
    columns = {"n": NUMBER, "city": CITY, "rooms": ROOMS}
    rows = {
        "n": np.array([1, 2], np.float32),
        "city": np.array(["Oslo", ""], object),
        "rooms": np.array([1, 3], np.int32),
    }
    outputs = []
    for turned in (False, True):
        keras.utils.set_random_seed(0)
        order = sorted(columns, reverse=turned)
        model = models.tabular_mlp({name: columns[name] for name in order}, 3)
        outputs.append(model({name: tf.constant(rows[name][:, None]) for name in order}))
    np.testing.assert_array_equal(*outputs)


def test_a_regression_answers_in_the_units_of_its_target():
    model = models.tabular_mlp({"x": NUMBER}, units=(4,), target_mean=100.0, target_std=10.0)
    standardized = keras.Model(
        model.get_layer("network").input,
        model.get_layer("network").get_layer("standardized").output,
    )
    x = {"x": tf.constant([[1.0], [5.0]])}
    y = standardized(model.get_layer("encoder")(x))
    np.testing.assert_allclose(model(x), 100.0 + 10.0 * y, rtol=1e-6)


def test_the_parts_share_their_weights():
    """Training the network trains the whole model."""
    model = models.tabular_mlp({"x": NUMBER}, 2, units=())
    network = model.get_layer("network")
    assert [id(w) for w in model.weights] == [id(w) for w in network.weights]
    assert list(column_layers(models.tabular_mlp({"x": NUMBER, "B": CITY}))) == ["B", "x"]


def test_columns_are_json():
    columns = {"n": NUMBER, "city": CITY, "rooms": ROOMS}
    again = json.loads(json.dumps(columns))
    assert (
        models.tabular_mlp(again, 2).count_params()
        == models.tabular_mlp(columns).count_params() + 33
    )
    assert columns["n"]["kind"] == "number"  # what was given is left as it was


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        ({}, {}, "no column"),
        ({"x": {"kind": "date"}}, {}, "kind of column x"),
        ({"living area": NUMBER}, {}, "living area"),
        ({"x": NUMBER | {"std": 0.0}}, {}, "positive"),
        ({"x": NUMBER}, {"units": (0,)}, "units"),
        ({"x": NUMBER}, {"classes": 1}, "classes"),
        ({"x": NUMBER}, {"dropout": 1.0}, "dropout"),
        ({"x": NUMBER}, {"target_std": 0.0}, "target_std"),
    ],
)
def test_mistakes(columns, options, words):
    with pytest.raises(UserError, match=words):
        models.tabular_mlp(columns, **options)


def test_wide_numbers_lose_their_mean_first():
    """Milliseconds since 1970: float32 has a value every 131 seconds there."""
    column = NUMBER | {"mean": 1.7e12, "std": 10.0, "indicator": False, "wide": True}
    x = 1.7e12 + np.arange(4) * 10.0
    np.testing.assert_array_equal(encode({"x": column}, x=x)[:, 0], [0.0, 1.0, 2.0, 3.0])


MANY = {"kind": "string", "vocabulary": [f"ç{i}" for i in range(300)], "missing": ["", "na"]}


def test_many_categories_are_numbers_of_categories():
    cells = np.array(["ç7", " ç299 ", "NA", "", "ç300", "ç0"], object)
    encoded = encode({"x": MANY | {"embedding": 4}}, x=cells)
    np.testing.assert_array_equal(encoded[:, 0], [8, 300, 301, 301, 0, 1])
    whole = {"kind": "integer", "vocabulary": list(range(0, 600, 2)), "missing": [-9]}
    encoded = encode({"x": whole | {"embedding": 4}}, x=np.array([598, 3, -9, 0], np.int32))
    np.testing.assert_array_equal(encoded[:, 0], [300, 0, 301, 1])


def test_embeddings_are_rows_of_a_table():
    model = models.tabular_mlp({"x": MANY | {"embedding": 4}, "n": NUMBER}, 2, units=())
    layer = model.get_layer("network").get_layer("embeddings")
    table = keras.ops.convert_to_numpy(layer.tables[0])
    assert table.shape == (302, 4)
    rows = {
        "x": tf.constant([["ç7"], ["never seen"], ["na"]]),
        "n": tf.constant([[8.0], [8.0], [8.0]]),
    }
    found = layer(model.get_layer("encoder")(rows)).numpy()
    # Two features of the number stay; a category that is not known adds nothing.
    np.testing.assert_allclose(found[:, :2], [[2.0, 0.0]] * 3)
    np.testing.assert_array_equal(found[:, 2:], [table[8], np.zeros(4), table[301]])


def test_columns_with_their_reading_come_back(tmp_path):
    reading = {"title": "living area", "format": {"decimal": ",", "unit": ""}}
    columns = {
        "n": NUMBER | {"reading": reading, "wide": True},
        "x": MANY | {"embedding": 4, "reading": {"title": "x"}},
        "c": CITY,
    }
    model = models.tabular_mlp(columns, 2, units=(3,))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    described = described_columns(again)
    assert described["n"]["reading"] == reading and described["n"]["kind"] == "number"
    assert described["x"]["vocabulary"] == MANY["vocabulary"]
    rows = {
        "n": tf.constant([[1.0], [np.nan]], tf.float64),
        "x": tf.constant([["ç7"], [""]]),
        "c": tf.constant([["Oslo"], ["?"]]),
    }
    np.testing.assert_array_equal(model(rows), again(rows))


@pytest.mark.slow
def test_a_thousand_columns_are_one_matrix_and_each_is_what_its_layer_says():
    random = np.random.RandomState(0)
    columns = {
        f"x{i}": {
            "kind": "number",
            "mean": float(random.normal(0, 100)),
            "std": float(random.gamma(2.0)),
            "median": float(random.normal()),
            "indicator": bool(i % 3 == 0),
        }
        for i in range(1000)
    } | {"Wide": NUMBER | {"wide": True}, "city": CITY, "rooms": ROOMS}
    model = models.tabular_mlp(columns, 2, units=())
    assert len(model.layers) == 1003 + 2  # inputs, the encoder, the network
    rows = {
        name: np.where(random.random((5, 1)) < 0.3, np.nan, random.normal(0, 100, (5, 1)))
        for name in columns
    }
    rows = {
        name: tf.constant(x, "float64" if name == "Wide" else "float32") for name, x in rows.items()
    }
    rows["city"] = tf.constant([["Oslo"], ["Köln"], ["na"], ["Rome"], [""]])
    rows["rooms"] = tf.constant([[1], [3], [-9], [4], [1]])
    found = model.get_layer("encoder")(rows).numpy()
    each = [layer(rows[name]) for name, layer in column_layers(model).items()]
    np.testing.assert_array_equal(found, tf.concat(each, axis=-1))
