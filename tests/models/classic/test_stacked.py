"""A model of many networks against each of them trained by Keras alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, models, training
from kapps.errors import UserError

XOR = data.load_xor()
X, Y = XOR.x["train"], XOR.y["train"].astype("f4").reshape(-1, 1, 1)


def logistic(y, out):
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(y, out), axis=-1)


def squared_error(y, out):
    return tf.reduce_sum(tf.square(y - out), axis=-1)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "rmsprop", "adam"])
@pytest.mark.parametrize("loss", [logistic, squared_error])
def test_each_copy_learns_as_if_it_were_alone(optimizer, loss):
    """For some steps: near a minimum rmsprop divides roundings by roundings."""
    stacked = models.stacked_mlp(5, 2, (4,), mean=0.5, std=0.5, seed=3)
    alone = models.stacked.copy_of(stacked, 2)
    stacked.compile(training.optimizer(optimizer, 0.02), models.stacked_loss(loss.__name__))
    stacked.fit(data.FullBatches(X, Y, 25).dataset(0, 1), verbose=0, shuffle=False)
    alone.compile(training.optimizer(optimizer, 0.02), loss)
    before = alone.get_weights()
    alone.fit(data.FullBatches(X, Y[:, 0], 25).dataset(0, 1), verbose=0, shuffle=False)
    for ours, theirs, first in zip(
        models.stacked.copy_of(stacked, 2).get_weights(), alone.get_weights(), before, strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        assert np.abs(theirs - first).max() > 0.001


def test_copies_differ_and_do_not_depend_on_their_number():
    many, few = (models.stacked_mlp(n, 3, (4, 2), 2, seed=1) for n in (6, 2))
    for a, b in zip(many.get_weights(), few.get_weights(), strict=True):
        np.testing.assert_array_equal(a[:2], b)
    kernels = many.get_layer("hidden1").get_weights()[0]
    assert len({kernel.tobytes() for kernel in kernels}) == 6
    # Glorot uniform: within sqrt(6 / (in + out)), and nearly reaching it.
    wide = models.stacked_mlp(50, 3, (4,)).get_layer("hidden1").get_weights()
    assert 0.97 * np.sqrt(6 / 7) < np.abs(wide[0]).max() <= np.sqrt(6 / 7)
    assert not wide[1].any()


def test_one_of_them_as_a_model_says_the_same():
    stacked = models.stacked_mlp(3, 2, (4, 3), 2, activation="relu", mean=(0.1, 0.2), std=0.7)
    x = np.random.default_rng(0).normal(size=(9, 2)).astype("f4")
    for copy in range(3):
        np.testing.assert_allclose(
            models.stacked.copy_of(stacked, copy)(x), stacked(x)[:, copy], rtol=1e-5, atol=1e-6
        )


def test_bends_are_spread_over_the_range():
    kernel, bias = models.stacked_mlp(40, 1, (8,), spread=1.5).get_layer("hidden1").get_weights()
    bends = -bias / kernel[:, 0]
    assert np.abs(bends).max() <= 1.5 and abs(np.median(bends)) < 0.2 and bends.std() > 0.7
    np.testing.assert_allclose(np.abs(kernel), 0.7 * 8 / 1.5, rtol=1e-5)


@pytest.mark.parametrize(
    "settings", [{"copies": 0}, {"units": (0,)}, {"spread": -1.0}, {"activation": "no"}, {"std": 0}]
)
def test_mistakes(settings):
    with pytest.raises(UserError):
        models.stacked_mlp(**{"copies": 2, "features": 2, **settings})
    with pytest.raises(UserError, match="squared_error"):
        models.stacked_loss("hinge")


@pytest.mark.slow
@pytest.mark.parametrize("units", [1, 4])
def test_four_hidden_units_solve_xor_and_one_does_not(units):
    keras.utils.set_random_seed(0)
    model = models.stacked_mlp(20, 2, (units,), mean=0.5, std=0.5)
    model.compile(
        training.optimizer("momentum", 0.3), models.stacked_loss("logistic"), steps_per_execution=50
    )
    model.fit(data.FullBatches(X, Y, 500).dataset(0, 1), verbose=0, shuffle=False)
    solved = ((np.asarray(model(X)) > 0) == (Y > 0)).all(axis=(0, 2))
    assert solved.mean() == (units == 4)
