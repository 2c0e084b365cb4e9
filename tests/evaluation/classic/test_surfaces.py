"""Surfaces against their known minima and finite differences; paths against closed forms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import training
from kapps.evaluation.classic.surfaces import SURFACES, best_path, descend

POINTS = np.array([[0.3, -0.7], [1.7, 0.4], [-1.1, 0.9]])


def value(surface, point):
    return float(surface.function(tf.constant(point, tf.float64)))


def gradient(surface, point):
    point = tf.constant(point, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(point)
        height = surface.function(point)
    return tape.gradient(height, point).numpy()


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
def test_minima_are_minima(surface):
    for minimum in surface.minima:
        assert value(surface, minimum) == pytest.approx(surface.lowest, abs=1e-12)
        np.testing.assert_allclose(gradient(surface, minimum), 0.0, atol=1e-12)
        for angle in np.linspace(0, 2 * np.pi, 12):
            step = 1e-3 * np.array([np.cos(angle), np.sin(angle)])
            assert value(surface, np.add(minimum, step)) > surface.lowest


@pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
def test_gradients_against_finite_differences(surface):
    for point in POINTS:
        differences = [
            (value(surface, point + step) - value(surface, point - step)) / 2e-5
            for step in 1e-5 * np.eye(2)
        ]
        np.testing.assert_allclose(gradient(surface, point), differences, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "point", "expected"),
    [  # by hand
        ("quadratic", (2.0, 0.5), (4 + 25) / 2),
        ("rotated quadratic", (2.0, 0.5), (2.5**2 + 100 * 1.5**2) / 4),
        ("rosenbrock", (-1.2, 1.0), 24.2),  # the usual start, in every book
        ("beale", (1.0, 1.0), 14.203125),  # the usual start of More, Garbow and Hillstrom
        ("saddle", (0.0, 0.0), 0.0),
        ("saddle", (1.0, 2.0), 0.5 + 4 - 2),
    ],
)
def test_values_by_hand(name, point, expected):
    assert value(SURFACES[name], point) == pytest.approx(expected, rel=1e-12)
    grid = tf.constant([[point, point]], tf.float64)
    assert SURFACES[name].function(grid).shape == (1, 2)


def test_both_quadratics_have_the_same_curvatures():
    for name in ("quadratic", "rotated quadratic"):
        point = tf.zeros(2, tf.float64)
        with tf.GradientTape() as outer:
            outer.watch(point)
            with tf.GradientTape() as inner:
                inner.watch(point)
                height = SURFACES[name].function(point)
            slope = inner.gradient(height, point)
        hessian = outer.jacobian(slope, point).numpy()
        np.testing.assert_allclose(np.linalg.eigvalsh(hessian), [1.0, 100.0], rtol=1e-9)


def test_the_saddle_is_none_of_the_minima():
    hessian = np.diag([1.0, -1.0])
    assert np.linalg.det(hessian) < 0
    np.testing.assert_allclose(gradient(SURFACES["saddle"], (0.0, 0.0)), 0.0)
    assert SURFACES["saddle"].distance([0.0, 0.4]) == pytest.approx(0.6)
    assert SURFACES["saddle"].distance([0.0, -0.4]) == pytest.approx(0.6)


def test_gradient_descent_in_closed_form():
    """On a quadratic every coordinate shrinks by 1 - rate * curvature in every step."""
    rates = (0.004, 0.019, 0.021)
    paths = descend(training.optimizer("sgd", 1.0), rates, 40)["quadratic"]
    assert paths.shape == (3, 41, 2)
    start = np.array(SURFACES["quadratic"].start)
    steps = np.arange(41)[:, None]
    for rate, path in zip(rates, paths, strict=True):
        expected = start * (1 - rate * np.array([1.0, 100.0])) ** steps
        np.testing.assert_allclose(path, expected, rtol=2e-4, atol=1e-6)
    heights = np.abs(paths[:, -1, 1])  # 2 / 100 is where it begins to diverge
    assert heights[0] < 1e-6 and heights[1] < start[1] < heights[2]


@pytest.mark.slow
def test_turning_the_valley_changes_nothing_for_sgd_and_much_for_adam():
    """The start in the turned valley, turned back, and the path from there in the straight one."""
    along, across = np.array([1.0, 1.0]) / np.sqrt(2), np.array([-1.0, 1.0]) / np.sqrt(2)
    turned = SURFACES["rotated quadratic"]
    start = (float(along @ turned.start), float(across @ turned.start))
    import dataclasses

    straight = dataclasses.replace(SURFACES["quadratic"], start=start)
    pair = {"straight": straight, "turned": turned}
    for name, same in (("sgd", True), ("momentum", True), ("adam", False)):
        paths = descend(training.optimizer(name, 1.0), [0.01], 30, pair)
        back = paths["turned"][0] @ np.stack([along, across], 1)
        assert np.allclose(back, paths["straight"][0], atol=1e-4) == same


@pytest.mark.slow
def test_every_rate_begins_with_a_fresh_optimizer():
    twice = descend(training.optimizer("adam", 1.0), [0.1, 0.1], 20)
    for paths in twice.values():
        np.testing.assert_array_equal(paths[0], paths[1])


@pytest.mark.slow
def test_the_path_is_that_of_single_steps():
    optimizer = training.optimizer("adadelta", 1.0)
    point = keras.Variable(SURFACES["beale"].start)
    expected = [point.numpy()]
    for _ in range(5):
        slope = gradient(SURFACES["beale"], point.numpy())
        optimizer.apply([tf.constant(slope, tf.float32)], [point])
        expected.append(point.numpy())
    paths = descend(training.optimizer("adadelta", 1.0), [1.0], 5)["beale"][0]
    np.testing.assert_allclose(paths, expected, rtol=1e-5)


def test_the_best_path_stays_low():
    surface = SURFACES["quadratic"]
    settled = np.full((40, 2), 0.1, np.float32)
    passing = np.full((40, 2), 5.0, np.float32)
    passing[-1] = 0.0
    diverged = np.full((40, 2), np.nan, np.float32)
    assert best_path(surface, np.stack([diverged, passing, settled])) == 2
