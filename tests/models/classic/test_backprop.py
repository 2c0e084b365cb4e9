"""Gradients by hand against the tape, against differences, and against numbers on paper."""

import keras
import numpy as np
import pytest

from kapps import models
from kapps.errors import UserError

backprop = models.backprop
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(7, 3)), RNG.integers(0, 2, (7, 2)).astype(float)


def network(activation, hidden=5, outputs=2):
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(hidden, activation=activation), keras.layers.Dense(outputs)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    model.set_weights([w + 0.1 * RNG.normal(size=w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("kind", backprop.LOSSES)
@pytest.mark.parametrize("activation", backprop.ACTIVATIONS)
def test_by_hand_is_what_the_tape_says(activation, kind):
    model = network(activation)
    weights = backprop.two_layers(model)
    by_hand = backprop.backward(weights, X, Y, activation, kind)
    tape = backprop.tape_gradients(model, X, Y, kind)
    differences = backprop.finite_differences(weights, X, Y, activation, kind)
    for name in by_hand._fields:
        ours = getattr(by_hand, name)
        np.testing.assert_allclose(ours, getattr(tape, name), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(ours, getattr(differences, name), rtol=1e-6, atol=1e-9)
        assert np.abs(ours).max() > 1e-3
    o = backprop.forward(weights, X, activation).o
    np.testing.assert_allclose(o, model(X.astype("f4")), rtol=1e-5, atol=1e-5)


def test_on_paper():
    """One example x = 1, W1 = 0.5, b1 = 0, W2 = 2, b2 = 0, y = 0, squared error, linear.

    a = h = 0.5; o = 1; delta2 = 1; dW2 = 0.5, db2 = 1; delta1 = 2; dW1 = 2, db1 = 2. L = 1/2.
    With tanh: h = tanh 0.5 = 0.462117, o = delta2 = 0.924234, phi' = 1 - h^2 = 0.786448,
    delta1 = 0.924234 * 2 * 0.786448 = 1.453724.
    """
    weights = backprop.TwoLayers(*map(np.array, ([[0.5]], [0.0], [[2.0]], [0.0])))
    x, y = np.array([[1.0]]), np.array([[0.0]])
    found = backprop.backward(weights, x, y, "linear", "squared_error")
    assert [float(part.item()) for part in found] == [2.0, 2.0, 0.5, 1.0]
    o = backprop.forward(weights, x, "linear").o
    assert backprop.loss(o, y, "squared_error") == 0.5
    assert backprop.loss(np.zeros((3, 1)), np.ones((3, 1))) == pytest.approx(np.log(2))
    found = backprop.backward(weights, x, y, "tanh", "squared_error")
    assert found.W1.item() == pytest.approx(1.453724, abs=1e-6)
    assert found.W2.item() == pytest.approx(0.924234 * 0.462117, abs=1e-6)


def test_without_the_derivative_of_the_activation_it_is_wrong(monkeypatch):
    monkeypatch.setitem(backprop.ACTIVATIONS, "tanh", (np.tanh, np.ones_like))
    weights = backprop.two_layers(network("tanh"))
    by_hand = backprop.backward(weights, X, Y)
    assert np.abs(by_hand.W1 - backprop.finite_differences(weights, X, Y).W1).max() > 1e-2


@pytest.mark.parametrize(
    "wrong",
    [
        lambda w: backprop.forward(w, X, "gelu"),
        lambda w: backprop.backward(w, X, Y, kind="hinge"),
        lambda w: backprop.two_layers(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])),
    ],
)
def test_mistakes(wrong):
    with pytest.raises(UserError, match="by hand"):
        wrong(backprop.two_layers(network("tanh")))
