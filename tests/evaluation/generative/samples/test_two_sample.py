"""Two-sample tests on points drawn on paper, and on pictures that differ or do not."""

import numpy as np
import pytest

from kapps import evaluation
from kapps.errors import UserError


def test_nearest_neighbours_by_hand():
    # On a line: real 0, 1, 10, 30; samples 2.5, 9, 9.4, 31. Nearest to 0 is real 1, to 1 real 0
    # (right, right), to 10 sample 9.4, to 30 sample 31 (wrong, wrong); nearest to 2.5 is real 1
    # (wrong), to 9 sample 9.4 and the other way round (right, right), to 31 real 30 (wrong).
    real = np.array([[0.0], [1.0], [10.0], [30.0]])
    samples = np.array([[2.5], [9.0], [9.4], [31.0]])
    found = evaluation.nearest_neighbour_test(real, samples)
    assert found == (0.5, 0.5, 0.5, 4)
    # One more pair of samples together, far away; two real points more that sit on samples.
    real = np.concatenate([real, [[9.1], [9.5]]])
    samples = np.concatenate([samples, [[50.0], [50.1]]])
    # Real 9.1 -> 9, 9.5 -> 9.4, 10 -> 9.5 (right now); samples 9 -> 9.1 and 9.4 -> 9.5 (wrong
    # now), 50 and 50.1 right.
    found = evaluation.nearest_neighbour_test(real, samples)
    assert found == (pytest.approx(5 / 12), 3 / 6, pytest.approx(2 / 6), 6)


def test_equal_apart_and_copied():
    generator = np.random.default_rng(0)
    real, other = generator.normal(size=(2, 1500, 6))
    assert evaluation.nearest_neighbour_test(real, other).accuracy == pytest.approx(0.5, abs=0.04)
    assert evaluation.nearest_neighbour_test(real, other + 9).accuracy == 1
    # Copies of the very pictures: everybody's nearest neighbour is of the other kind.
    assert evaluation.nearest_neighbour_test(real, real.copy()).accuracy == 0
    # Collapse: real pictures find each other, samples find each other.
    collapsed = evaluation.nearest_neighbour_test(real, 0.01 * other)
    assert collapsed.samples == 1 and collapsed.real > 0.9


def test_distances_far_from_the_origin():
    generator = np.random.default_rng(1)
    real, samples = generator.normal(size=(2, 300, 3))
    near = evaluation.nearest_neighbour_test(real, samples)
    assert evaluation.nearest_neighbour_test(real + 1e6, samples + 1e6) == near


def test_the_larger_set_is_cut():
    # Uncut, ten times as many real points would be nearest to nearly all: accuracy 0.9.
    generator = np.random.default_rng(2)
    real, samples = generator.normal(size=(3000, 4)), generator.normal(size=(300, 4))
    for pair in ((real, samples), (samples, real)):
        found = evaluation.nearest_neighbour_test(*pair)
        assert found.examples == 300 and found.accuracy == pytest.approx(0.5, abs=0.08)
    # At random: the first 300 could be all of one class.
    ordered = np.concatenate([samples - 50, real])
    assert evaluation.nearest_neighbour_test(ordered, samples).real < 0.9
    again = evaluation.nearest_neighbour_test(real, samples, seed=1)
    assert again != evaluation.nearest_neighbour_test(real, samples, seed=2)


def test_too_few_for_neighbours():
    with pytest.raises(UserError, match="Two real examples"):
        evaluation.nearest_neighbour_test(np.zeros((1, 2)), np.ones((5, 2)))
    with pytest.raises(UserError, match="not finite"):
        evaluation.nearest_neighbour_test(np.zeros((3, 2)), np.full((3, 2), np.nan))
