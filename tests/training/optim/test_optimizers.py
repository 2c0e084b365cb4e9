import keras
import numpy as np
import pytest

from kapps.errors import UserError
from kapps.training import momentum_cycle, optimizer, usual_learning_rate
from kapps.training.optim.optimizers import OPTIMIZERS

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
        corrected = rate * np.sqrt(1 - 0.999**t) / (1 - beta**t)
        w = w - corrected * m / (np.sqrt(v) + 1e-7)
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
        # Its kernels do (test_muon.py); of vectors beta_1 stays.
        "muon": lambda: adam_by_hand([0.9] * 3),
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


SLOPES = np.array([1.0, 20.0])  # of the quadratic sum(SLOPES * w^2) / 2


def descent(built, steps=12):
    """The points that an optimizer visits on the quadratic, [steps + 1, 2]."""
    variable = keras.Variable(np.array([1.0, -1.0], "float32"), name="kernel")
    path = [variable.numpy()]
    for _ in range(steps):
        built.apply([keras.ops.convert_to_tensor(SLOPES * path[-1], "float32")], [variable])
        path.append(variable.numpy())
    return np.array(path)


def test_nesterovs_two_forms():
    """Sutskever 2013, equations 3 and 4: the gradient is taken at the point looked ahead to.

    Keras keeps that point itself; both forms are the same walk, seen from two places.
    """
    rate, m = 0.03, 0.9
    theta, v = np.array([1.0, -1.0]), np.zeros(2)
    ahead = []
    for _ in range(13):
        ahead.append(theta + m * v)
        v = m * v - rate * SLOPES * ahead[-1]
        theta = theta + v
    np.testing.assert_allclose(descent(optimizer("nesterov", rate)), ahead, rtol=1e-3, atol=1e-5)
    heavy_ball = descent(optimizer("momentum", rate))
    assert np.abs(heavy_ball - ahead).max() > 0.05


def test_momentum_is_polyaks_recurrence():
    """w(t+1) = w(t) - r g(t) + m (w(t) - w(t-1)), Polyak 1964, without a velocity."""
    path = [np.array([1.0, -1.0])] * 2
    for _ in range(12):
        path.append(path[-1] - 0.02 * SLOPES * path[-1] + 0.9 * (path[-1] - path[-2]))
    found = descent(optimizer("momentum", 0.02))
    np.testing.assert_allclose(found, path[1:], rtol=1e-3, atol=1e-5)


def test_adadelta_as_the_paper_has_it():
    """Rate 1, and epsilon under both roots: the first step is sqrt(e / (0.05 g^2 + e)) g."""
    assert usual_learning_rate("adadelta") == 1.0
    moved = 1.0 - run(optimizer("adadelta"), [np.array([1.0, -2.0])])
    np.testing.assert_allclose(moved, [4.47209e-3, -4.47212e-3], rtol=1e-4)
    half = 1.0 - run(optimizer("adadelta", 0.5), [np.array([1.0, -2.0])])
    np.testing.assert_allclose(half, moved / 2, rtol=1e-4)


def test_rmsprop_of_a_constant_gradient_by_hand():
    """s = 0.1, 0.19, 0.271 times g^2; the steps are the rate over their roots."""
    moved = 1.0 - run(optimizer("rmsprop", 0.1), [np.array([3.0, -1e-2])] * 3)
    by_hand = 0.1 * (1 / 0.1**0.5 + 1 / 0.19**0.5 + 1 / 0.271**0.5)
    np.testing.assert_allclose(moved, [by_hand, -by_hand], rtol=5e-3)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_bias_correction_makes_first_steps_as_long_as_the_rate(name):
    """Of a constant gradient m' = g and s' = g^2 at every t, so that each step is rate sign(g)."""
    for steps in (1, 5):
        moved = 1.0 - run(optimizer(name, 0.01), [np.array([0.5, -300.0])] * steps)
        np.testing.assert_allclose(moved, [0.01 * steps, -0.01 * steps], rtol=1e-4)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_epsilon_of_adam_stands_by_the_uncorrected_root(name):
    """arXiv:1412.6980, end of section 2: the first step is r g / (g + e / sqrt(0.001))."""
    gradient = np.array([1e-5, -1e-6])
    moved = 1.0 - run(optimizer(name, 0.1), [gradient])
    by_hand = 0.1 * gradient / (np.abs(gradient) + 1e-7 / np.sqrt(0.001))
    np.testing.assert_allclose(moved, by_hand, rtol=1e-4)  # 0.076 and -0.024


def test_decay_is_decoupled_from_the_gradient():
    """With a gradient of 0, AdamW shrinks by 1 - r c; an L2 penalty inside Adam would step by r."""
    moved = run(optimizer("adamw", 0.1, weight_decay=0.5), [np.zeros(2)] * 4)
    np.testing.assert_allclose(moved, 0.95**4, rtol=1e-6)
    penalty = run(optimizer("adam", 0.1), [0.5 * np.ones(2)])
    np.testing.assert_allclose(penalty, 0.9, rtol=1e-4)


def test_sgd_in_closed_form():
    path = descent(optimizer("sgd", 0.09))
    expected = np.array([1.0, -1.0]) * (1 - 0.09 * SLOPES) ** np.arange(13)[:, None]
    np.testing.assert_allclose(path, expected, rtol=1e-4, atol=1e-6)
