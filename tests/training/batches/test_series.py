"""Batches of series: how often each is seen, its targets, and what takes its place."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, models, training
from kapps.data.series.ragged import Ragged, by_length
from kapps.evaluation.series.minirocket import fit_minirocket, minirocket_features
from kapps.evaluation.series.peers import nearest_labels


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


def test_ragged_series_are_padded_batch_by_batch():
    """The same series and targets as from one padded array, and the same answers of a network."""
    rng = np.random.default_rng(0)
    lengths = [3, 80, 2, 5, 3, 9, 4, 2, 6, 30] * 2
    series = [rng.normal(size=(n, 1)).astype(np.float32) for n in lengths]
    labels = np.arange(20) % 2
    ragged = Ragged.of(series)

    def batches(values):
        split = data.SequenceSplit(values, labels.astype(np.int32))
        splits = dict.fromkeys(("train", "validation", "test"), split)
        return training.series_batches(data.SequenceData("t", ("a", "b"), splits, ""), 4, seed=1)

    (train, validation, clean), (padded, _, _) = batches(ragged), batches(ragged.padded())
    assert train.steps == padded.steps
    ours = list(train.dataset(0, 1).take(5).as_numpy_iterator())
    theirs = list(padded.dataset(0, 1).take(5).as_numpy_iterator())
    for (x, y), (wide, same) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(x, wide[:, : x.shape[1]])
        assert np.isnan(wide[:, x.shape[1] :]).all() and not np.isnan(x).all(axis=(0, 2)).any()
        np.testing.assert_array_equal(y, same)
    assert sum(len(x) for x, _ in validation) == sum(len(x) for x, _ in clean) == 20
    keras.utils.set_random_seed(0)
    model = models.rnn(1, 2, cell="gru", units=(4,), feature_mean=[0.0], feature_std=[1.0])
    found = by_length(lambda x: model.predict_on_batch(x), ragged)
    np.testing.assert_allclose(found, model.predict_on_batch(ragged.padded()), atol=1e-6)


def test_peers_of_ragged_series():
    rng = np.random.default_rng(0)
    lengths = rng.integers(9, 20, 40)
    lengths[7] = 300
    series = [rng.normal(size=(n, 2)).astype(np.float32) for n in lengths]
    ragged, labels = Ragged.of(series), np.arange(40) % 2
    whole = ragged.padded()
    fitted = fit_minirocket(ragged, 84)
    features = by_length(lambda x: minirocket_features(fitted, x), ragged)
    same = fit_minirocket(whole, 84)
    assert fitted.dilations == same.dilations
    np.testing.assert_allclose(features, minirocket_features(same, whole), atol=1e-6)
    asked = Ragged.of(series[::-1])
    np.testing.assert_array_equal(
        nearest_labels(ragged, labels, asked), nearest_labels(whole, labels, asked.padded())
    )
    assert (nearest_labels(ragged, labels, asked) == labels[::-1]).all()
