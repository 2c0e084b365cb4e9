"""Batches of series: how often each is seen, its targets, and what takes its place."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from kapps import data, training


@pytest.fixture
def series():
    """Ten series to train on, of one step: its value is its number; class 1 from the fifth on."""

    def split(numbers):
        values = np.array(numbers, np.float32).reshape(-1, 1, 1)
        return data.SequenceSplit(values, np.array([n >= 5 for n in numbers], np.int32))

    splits = {"train": split(range(10)), "validation": split([20, 3])}
    return data.SequenceData("npz:x", ("a", "b"), splits, "fingerprint")


@pytest.mark.slow
def test_a_short_epoch_is_repeated_until_it_has_twenty_steps(series):
    """Of ten series, two batches of four: ten passes, 100 // 4 steps."""
    train, validation, clean = training.series_batches(series, 4, seed=0, label_smoothing=0.2)
    assert train.steps == 25
    seen = collections.Counter()
    for x, y in train.dataset(0, 1):
        assert x.shape == (4, 1, 1)
        for value, target in zip(x[:, 0, 0].numpy(), y.numpy(), strict=True):
            seen[value] += 1
            np.testing.assert_allclose(target, [0.1, 0.9] if value >= 5 else [0.9, 0.1], rtol=1e-6)
    assert seen == {number: 10 for number in range(10)}
    ((x, y),) = validation
    assert x.numpy().ravel().tolist() == [20, 3] and y.numpy().tolist() == [[0, 1], [1, 0]]
    ((x, _),) = clean
    assert x.numpy().ravel().tolist() == list(range(10))


def test_passes_as_said_of_batches_no_larger_than_the_data(series):
    train = training.series_batches(series, 64, seed=0, repeats=3)[0]
    assert train.steps == 3 and train.batch_size == 10


def test_fresh_series_take_the_place_of_those_that_are_there_and_are_changed_too(series):
    def fresh(count, seed):
        return tf.fill([count, 1, 1], 40.0), tf.ones([count], tf.int32)

    batches = training.series_batches(
        series, 5, seed=0, fresh=fresh, augmentation=lambda x, seed: x + 2
    )
    for x, y in batches[0].dataset(0, 1):
        assert set(x.numpy().ravel()) == {42.0} and (y.numpy() == [0, 1]).all()
    ((x, _),) = batches[1]
    assert x.numpy().ravel().tolist() == [20, 3]
