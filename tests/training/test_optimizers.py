import keras
import numpy as np
import pytest

from kapps.errors import UserError
from kapps.training import momentum_cycle, optimizer
from kapps.training.optimizers import OPTIMIZERS

GRADIENTS = [np.array([1.0, -2.0]), np.array([0.5, 0.25]), np.array([-3.0, 1.0])]


def run(built, gradients=GRADIENTS, name="kernel"):
    variable = keras.Variable(np.array([1.0, 1.0], "float32"), name=name)
    for gradient in gradients:
        built.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
    return variable.numpy()


def momentum_by_hand(momenta, rate=0.1, nesterov=False):
    w, v = np.ones(2), np.zeros(2)
    for g, m in zip(GRADIENTS, momenta, strict=True):
        v = m * v - rate * g
        w = w + (m * v - rate * g if nesterov else v)
    return w


def adam_by_hand(betas, rate=0.1, decay=0.0):
    w, m, v = np.ones(2), np.zeros(2), np.zeros(2)
    for t, (g, beta) in enumerate(zip(GRADIENTS, betas, strict=True), start=1):
        w = w - decay * rate * w
        m = beta * m + (1 - beta) * g
        v = 0.999 * v + 0.001 * g * g
        w = w - rate * (m / (1 - beta**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    return w


def adadelta_by_hand(rho=0.95, epsilon=1e-6):
    """Algorithm 1 of arXiv:1212.5701."""
    w, square, step_square = np.ones(2), np.zeros(2), np.zeros(2)
    for g in GRADIENTS:
        square = rho * square + (1 - rho) * g * g
        step = -np.sqrt(step_square + epsilon) / np.sqrt(square + epsilon) * g
        step_square = rho * step_square + (1 - rho) * step * step
        w = w + step
    return w


def rmsprop_by_hand(rate=0.1, rho=0.9):
    w, square = np.ones(2), np.zeros(2)
    for g in GRADIENTS:
        square = rho * square + (1 - rho) * g * g
        w = w - rate * g / np.sqrt(square + 1e-7)
    return w


@pytest.mark.parametrize(
    ("name", "rate", "expected"),
    [
        ("sgd", 0.1, 1.0 - 0.1 * sum(GRADIENTS)),
        ("momentum", 0.1, momentum_by_hand([0.9] * 3)),
        ("nesterov", 0.1, momentum_by_hand([0.9] * 3, nesterov=True)),
        ("adadelta", None, adadelta_by_hand()),
        ("rmsprop", 0.1, rmsprop_by_hand()),
        ("adam", 0.1, adam_by_hand([0.9] * 3)),
        ("adamw", 0.1, adam_by_hand([0.9] * 3)),
    ],
)
def test_three_steps_by_hand(name, rate, expected):
    np.testing.assert_allclose(run(optimizer(name, rate)), expected, rtol=2e-5)


@pytest.mark.parametrize("name", [name for name, row in OPTIMIZERS.items() if row[2]])
def test_momentum_follows_its_schedule(name):
    cycle = momentum_cycle(3, high=0.95, low=0.5, warmup=0.34)
    momenta = [float(cycle(step)) for step in range(3)]
    assert len({round(m, 3) for m in momenta}) > 1
    by_hand = {
        "momentum": lambda: momentum_by_hand(momenta),
        "nesterov": lambda: momentum_by_hand(momenta, nesterov=True),
        "adam": lambda: adam_by_hand(momenta),
        "adamw": lambda: adam_by_hand(momenta),
    }[name]()
    built = optimizer(name, 0.1, momentum_schedule=cycle)
    np.testing.assert_allclose(run(built), by_hand, rtol=2e-5)


def test_weight_decay_by_hand():
    built = optimizer("adamw", 0.1, weight_decay=0.5)
    np.testing.assert_allclose(run(built), adam_by_hand([0.9] * 3, decay=0.5), rtol=2e-5)


@pytest.mark.parametrize("name", list(OPTIMIZERS))
@pytest.mark.parametrize(
    ("variable", "spared"), [("kernel", False), ("bias", True), ("gamma", True), ("beta", True)]
)
def test_decay_spares_biases_and_norms(name, variable, spared):
    still = [np.zeros(2)]
    moved = run(optimizer(name, 0.1, weight_decay=0.5), still, name=variable)
    np.testing.assert_allclose(moved, 1.0 if spared else 1.0 - 0.5 * 0.1, rtol=1e-6)


def test_decay_is_off_unless_asked_for():
    for name in OPTIMIZERS:
        np.testing.assert_array_equal(run(optimizer(name, 0.1), [np.zeros(2)]), 1.0)


def test_clipping_is_by_the_common_norm():
    built = optimizer("sgd", 1.0, global_clipnorm=1.0)
    variables = [keras.Variable(np.zeros(1, "float32")) for _ in range(2)]
    built.apply([keras.ops.ones(1) * 3.0, keras.ops.ones(1) * 4.0], variables)
    np.testing.assert_allclose([v.numpy()[0] for v in variables], [-0.6, -0.8], rtol=1e-6)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="adadelta"):
        optimizer("lion")
    with pytest.raises(UserError, match="weight decay"):
        optimizer("sgd", weight_decay=-1.0)
