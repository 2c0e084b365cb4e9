"""Paths through a latent space, by hand."""

import math

import numpy as np
import pytest

from kapps.evaluation import lerp, normal_grid, slerp, traversal

SPHERE = np.random.default_rng(0).normal(size=(2, 20, 7))
SPHERE /= np.linalg.norm(SPHERE, axis=-1, keepdims=True)


def test_a_quarter_of_a_circle():
    half = math.sqrt(0.5)
    np.testing.assert_allclose(slerp([1, 0], [0, 1], 3), [[1, 0], [half, half], [0, 1]], atol=1e-15)
    third = slerp([2, 0], [0, 2], 4)[1]  # 30 degrees on a circle of radius 2
    np.testing.assert_allclose(third, [2 * math.cos(math.pi / 6), 1.0], atol=1e-15)
    np.testing.assert_allclose(lerp([1, 0], [0, 1], 3), [[1, 0], [0.5, 0.5], [0, 1]])


def test_unit_norms_are_kept_and_angles_are_equal():
    path = slerp(*SPHERE, 9)
    assert path.shape == (9, 20, 7)
    np.testing.assert_allclose(np.linalg.norm(path, axis=-1), 1, atol=1e-14)
    steps = np.arccos(np.clip(np.sum(path[1:] * path[:-1], axis=-1), -1, 1))
    whole = np.arccos(np.sum(SPHERE[0] * SPHERE[1], axis=-1))
    np.testing.assert_allclose(steps, np.broadcast_to(whole / 8, (8, 20)), atol=1e-7)
    assert (np.linalg.norm(lerp(*SPHERE, 3)[1], axis=-1) < 0.99).all()


def test_the_formula_of_the_paper():
    a, b = SPHERE[0] * 3, SPHERE[1] * 3
    angle = np.arccos(np.sum(SPHERE[0] * SPHERE[1], -1, keepdims=True))
    expected = (np.sin(0.75 * angle) * a + np.sin(0.25 * angle) * b) / np.sin(angle)
    np.testing.assert_allclose(slerp(a, b, 5)[1], expected, atol=1e-12)


@pytest.mark.parametrize("nudge", [0.0, 1e-16, 1e-9, 1e-6])
def test_opposite_ends_go_round(nudge):
    a = np.array([3.0, 4.0, 0.0, 0.0])
    path = slerp(a, -a + nudge, 5)
    np.testing.assert_allclose(np.linalg.norm(path, axis=-1), 5, rtol=1e-5)
    np.testing.assert_allclose(path[[0, -1]], [a, -a + nudge])
    np.testing.assert_allclose(path[2] @ a, 0, atol=1e-4)
    np.testing.assert_array_equal(path, slerp(a, -a + nudge, 5))


def test_norms_grow_linearly_and_the_rest_is_straight():
    np.testing.assert_allclose(slerp([1, 0], [0, 3], 3)[1], [math.sqrt(2)] * 2)
    np.testing.assert_allclose(slerp([1, 1], [3, 3], 3), lerp([1, 1], [3, 3], 3))
    np.testing.assert_allclose(slerp([0, 0], [0, 4], 3), [[0, 0], [0, 2], [0, 4]])
    np.testing.assert_allclose(slerp([2.0], [-2.0], 3), [[2], [0], [-2]])
    np.testing.assert_allclose(slerp([1, 2], [1, 2], 3), [[1, 2]] * 3, atol=1e-15)


@pytest.mark.parametrize("path", [slerp, lerp])
def test_what_is_no_path(path):
    with pytest.raises(ValueError, match="shapes"):
        path([1, 2], [1, 2, 3], 3)
    with pytest.raises(ValueError, match="two ends"):
        path([1, 2], [3, 4], 1)


def test_a_traversal_changes_one_coordinate():
    points = traversal([5, 6, 7], [2, 0], [-1, 0, 1])
    assert points.shape == (2, 3, 3)
    np.testing.assert_array_equal(points[0], [[5, 6, -1], [5, 6, 0], [5, 6, 1]])
    np.testing.assert_array_equal(points[1, 0], [-1, 6, 7])


def test_the_grid_has_cells_of_equal_probability():
    grid = normal_grid(2)
    quartile = 0.6744897501960817  # of the standard normal, from a table
    q = quartile
    np.testing.assert_allclose(grid, [[-q, q], [q, q], [-q, -q], [q, -q]], rtol=1e-12)
    assert normal_grid(21)[21 * 10 + 10].tolist() == [0, 0]
