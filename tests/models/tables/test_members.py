"""Networks in one: each row has its member while training, and all of them afterwards."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import models
from kapps.errors import UserError
from kapps.models.tables.members import MembersDense

NUMBERS = {
    name: {"kind": "number", "mean": 0.0, "std": 1.0, "median": 0.0, "indicator": False}
    for name in "abc"
}


def network(classes=3, members=4, **options):
    keras.utils.set_random_seed(0)
    options = {"units": (5, 6), "activation": "tanh"} | options
    return models.tabular_mlp(NUMBERS, classes, members=members, **options).get_layer("network")


def of_member(model, x, member):
    """What one of them answers, from its weights alone."""
    for name in ("dense1", "dense2", "answers"):
        layer = model.get_layer(name)
        units = layer.units
        x = x @ layer.kernel.numpy()[member]
        x = x + layer.bias.numpy()[member * units : (member + 1) * units]
        x = x if name == "answers" else np.tanh(x)
    return x


@pytest.mark.parametrize("rows", [8, 5, 1])
def test_while_training_rows_are_dealt(rows):
    """Also where the last hand is incomplete."""
    model = network()
    x = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    expected = [of_member(model, x[i], i % 4) for i in range(rows)]
    np.testing.assert_allclose(model(x, training=True), expected, rtol=1e-4, atol=1e-6)


def test_afterwards_they_agree_on_the_mean_of_their_probabilities():
    model = network()
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    each = [tf.nn.softmax(of_member(model, x, i)).numpy() for i in range(4)]
    logs = model(x, training=False).numpy()
    np.testing.assert_allclose(np.exp(logs), np.mean(each, axis=0), rtol=1e-4)


def test_numbers_agree_on_their_mean_in_units_of_the_target():
    model = network(0, target_mean=100.0, target_std=10.0)
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    expected = 100 + 10 * np.mean([of_member(model, x, i) for i in range(4)], axis=0)
    np.testing.assert_allclose(model(x), expected, rtol=1e-5)


def test_each_member_begins_as_a_network_of_its_own():
    """He's variance of 2 / features, and no two kernels alike."""
    layer = MembersDense(200, 3, kernel_initializer="he_normal")
    layer.build((None, 3 * 300))
    kernels = layer.kernel.numpy()
    np.testing.assert_allclose(kernels.std(axis=(1, 2)), np.sqrt(2 / 300), rtol=0.03)
    assert abs(np.corrcoef(kernels[0].ravel(), kernels[1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("options", [{"normalization": "batch"}, {"dropout": 0.5}])
def test_they_learn_and_come_back_from_a_file(options, tmp_path):
    model = network(**options, activation="relu")
    x = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    y = np.eye(3, dtype=np.float32)[x.argmax(axis=1)]
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.CategoricalCrossentropy(from_logits=True)
    )
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, batch_size=16, epochs=20, verbose=0)
    assert model.evaluate(x, y, verbose=0) < 0.9 * before
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again(x), model(x), rtol=1e-6)


def test_mistakes():
    with pytest.raises(UserError, match="members"):
        models.tabular_mlp(NUMBERS, 2, members=0)
