"""Nearest training pictures: the same as a plain search, and exact."""

import numpy as np
import pytest

from kapps.evaluation import nearest_neighbours


def test_the_same_as_a_plain_search_whatever_the_chunk():
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (50, 4, 3, 2), np.uint8)
    samples = rng.integers(0, 256, (6, 4, 3, 2), np.uint8)
    difference = (samples[:, None].astype(float) - train[None]) / 255
    plain = np.sqrt((difference**2).mean((2, 3, 4)))
    order = plain.argsort(axis=1)[:, :4]
    for chunk in (7, 49, 1000, 2):
        indices, distances = nearest_neighbours(samples, train, 4, chunk=chunk)
        np.testing.assert_array_equal(indices, order)
        np.testing.assert_allclose(distances, np.take_along_axis(plain, order, 1), rtol=1e-6)


def test_a_copy_is_at_zero_and_black_is_one_from_white():
    train = np.stack([np.full((28, 28, 1), 255, np.uint8), np.full((28, 28, 1), 200, np.uint8)])
    indices, distances = nearest_neighbours(train[1:], train, 2)
    assert indices.tolist() == [[1, 0]] and distances[0, 0] == 0
    np.testing.assert_allclose(distances[0, 1], 55 / 255, rtol=1e-6)
    black = np.zeros((1, 28, 28, 1))  # floats from 0 to 1 are the same pictures
    assert nearest_neighbours(black, train / 255, 2)[1][0, 1] == 1


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="neighbours of"):
        nearest_neighbours(np.zeros((1, 4, 4, 1)), np.zeros((3, 4, 5, 1)), 1)
    with pytest.raises(ValueError, match="4 neighbours"):
        nearest_neighbours(np.zeros((1, 4, 4, 1)), np.zeros((3, 4, 4, 1)), 4)
