"""Two-sample tests on points drawn on paper, and on pictures that differ or do not."""

import numpy as np
import pytest

from kapps import data, evaluation
from kapps.errors import UserError
from kapps.evaluation.metrics.classification import wilson_interval


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


@pytest.fixture(scope="module")
def digits():
    split = data.load("digits").splits["train"]
    return split.take(range(len(split)))


def test_a_network_finds_a_checkerboard(digits):
    half = len(digits) // 2
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 40).astype(np.uint8)[..., None]
    marked = np.where(digits[half:] > 215, digits[half:], digits[half:] + board).astype(np.uint8)
    found = evaluation.classifier_two_sample_test(digits[:half], marked, epochs=5)
    assert found.accuracy > 0.8
    assert found.examples == 2 * (half - round(half * 0.5))
    hits = round(found.accuracy * found.examples)
    assert (found.low, found.high) == wilson_interval(hits, found.examples)


def test_a_network_cannot_tell_real_from_real(digits):
    mixed = digits[np.random.default_rng(0).permutation(len(digits))[:800]]
    found = evaluation.classifier_two_sample_test(mixed[:400], mixed[400:], epochs=4)
    # Five standard errors: what it learns by heart must not be what it is asked.
    assert abs(found.accuracy - 0.5) < 5 * 0.5 / np.sqrt(found.examples)


def test_pictures_that_a_network_cannot_compare(digits):
    for wrong in (digits / 255, digits[:, :7], digits[0]):
        with pytest.raises(UserError, match="uint8 pictures of one shape"):
            evaluation.classifier_two_sample_test(digits, wrong)
    for few, share in ((digits[:1], 0.5), (digits[:9], 0.01), (digits[:9], 1.0)):
        with pytest.raises(UserError, match="cannot be divided"):
            evaluation.classifier_two_sample_test(few, digits, held_out=share)
