"""Margins and step sizes against hand-derived values and brute force."""

import itertools

import numpy as np
import pytest

from kapps import evaluation

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def test_two_points_by_hand():
    """x~ = (1, 1) and (-1, 1): the plane w = (1, 0) has both at distance 1; R is sqrt(2)."""
    found = evaluation.separation(np.array([[1.0], [-1.0]]), [1, 0])
    assert found.separable and found.margin == pytest.approx(1.0, rel=1e-4)
    assert found.radius == pytest.approx(np.sqrt(2)) and found.bound == pytest.approx(2, rel=1e-3)


@pytest.mark.slow
def test_the_margin_is_the_widest_of_all_directions():
    """On a line x~ has two coordinates: every direction of w can be tried."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 200_001)
    directions = np.stack([np.cos(angles), np.sin(angles)])
    for _ in range(20):
        x = rng.normal(size=(8, 1)) * 3
        classes = (x[:, 0] > np.median(x)).astype(int)
        signed = np.where(classes, 1, -1)[:, None] * np.column_stack([x, np.ones(8)])
        widest = (signed @ directions).min(axis=0).max()
        margin = evaluation.separation(x, classes).margin
        assert margin == pytest.approx(widest, rel=2e-3)


def test_xor_is_not_separable_for_certain():
    found = evaluation.separation(XOR, [0, 1, 1, 0])
    assert not found.separable and found.certain and found.margin is None and found.bound is None


def test_one_point_on_the_wrong_side_is_found_out():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 3))
    classes = (x[:, 0] > 0).astype(int)
    assert evaluation.separation(x, classes).separable
    classes[np.argmax(x[:, 0])] = 0
    found = evaluation.separation(x, classes)
    assert not found.separable and found.certain


def test_three_classes_by_hand():
    """Corners of a triangle around 0, far out: every W and every pair of classes counts."""
    angles = np.array([0.0, 2 * np.pi / 3, 4 * np.pi / 3])
    x = np.column_stack([np.cos(angles), np.sin(angles)])
    found = evaluation.separation(x, [0, 1, 2])
    # Rows of W along the corners, |W|_F = 1: w_y . x - w_k . x = (1 + 1/2) / sqrt(3).
    assert found.margin == pytest.approx(1.5 / np.sqrt(3), rel=1e-3)
    assert found.radius == pytest.approx(np.sqrt(2) * np.sqrt(2)) and not found.certain
    middle = np.vstack([x, x.mean(axis=0, keepdims=True), x.mean(axis=0, keepdims=True)])
    assert not evaluation.separation(middle, [0, 1, 2, 0, 1]).separable


def test_the_step_size_by_hand():
    """X~ = ((2, 1), (-2, 1)): X~^T X~ / 2 = diag(4, 1); R^2 = 5."""
    x = np.array([[2.0], [-2.0]])
    assert evaluation.highest_learning_rate(x) == pytest.approx(2 / 4)
    assert evaluation.highest_learning_rate(x, 2) == pytest.approx(2 / 4)
    assert evaluation.highest_learning_rate(x, 1) == pytest.approx(2 / 5)
    four = np.tile(x, (2, 1))
    assert evaluation.highest_learning_rate(four, 2) == pytest.approx(2 / (4 / 2 + 5 / 2))


def test_lines_give_14_of_the_16_ways_to_label_four_corners():
    ways = list(itertools.product((0, 1), repeat=4))
    accuracies = {way: evaluation.best_linear_accuracy(XOR, np.array(way)) for way in ways}
    assert [way for way, a in accuracies.items() if a < 1] == [(0, 1, 1, 0), (1, 0, 0, 1)]
    assert accuracies[0, 1, 1, 0] == 0.75
    with pytest.raises(ValueError, match="12"):
        evaluation.best_linear_accuracy(np.zeros((13, 2)), np.zeros(13))
