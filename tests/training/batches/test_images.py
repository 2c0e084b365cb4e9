"""Batches of images: which examples, which targets and which weights, counted by hand."""

import numpy as np
import pytest
import tensorflow as tf

from kapps import data, training


@pytest.fixture
def images():
    """Grey images, each full of its number: to train on 1, 2, 4, 5, 7 (class a), 8, 10, 11 (b)."""

    def split(numbers):
        pixels = tf.constant(np.repeat(np.array(numbers, np.uint8), 4).reshape(-1, 2, 2, 1))
        labels = np.array([number >= 8 for number in numbers], np.int32)
        return data.Split(labels, lambda rows: tf.gather(pixels, rows))

    splits = {"train": split([1, 2, 4, 5, 7, 8, 10, 11]), "validation": split([0, 3, 6, 9])}
    return data.ImageData("npz:x", ("a", "b"), (2, 2, 1), splits, "fingerprint")


class Brighter:
    """An augmentation that is easy to count back."""

    neighbours = 0

    def __call__(self, pixels, targets, seed, part=None):
        return pixels + 100, targets


@pytest.mark.slow
def test_smoothed_and_weighted_targets_of_training_and_plain_ones_to_measure(images):
    train, validation, clean = training.classifier_batches(
        images, 4, Brighter(), seed=0, label_smoothing=0.2, class_weights=True, together=3
    )
    seen = {}
    for x, y, weights in train.dataset(0, 1):
        assert x.shape == (4, 2, 2, 1)
        for pixel, target, weight in zip(x[:, 0, 0, 0].numpy(), y, weights, strict=True):
            seen[pixel - 100] = (*target.numpy(), *weight.numpy())
    assert sorted(seen) == [1, 2, 4, 5, 7, 8, 10, 11]
    # n / (k n_c): 8 / (2 * 5) and 8 / (2 * 3).
    np.testing.assert_allclose(seen[7], [0.9, 0.1, 0.8], rtol=1e-6)
    np.testing.assert_allclose(seen[8], [0.1, 0.9, 4 / 3], rtol=1e-6)
    measured = [(x[:, 0, 0, 0].numpy().tolist(), y.numpy().tolist()) for x, y in validation]
    assert measured == [([0, 3, 6], [[1, 0]] * 3), ([9], [[0, 1]])]
    assert [x[:, 0, 0, 0].numpy().tolist() for x, _ in clean] == [[1, 2, 4], [5, 7, 8], [10, 11]]


def test_the_part_that_is_measured_is_no_larger_than_it_has_to_be(images, monkeypatch):
    monkeypatch.setattr("kapps.training.setup.FEWEST_CLEAN", 5)

    def prepare(pixels, labels, seed=None):
        return pixels[:, 0, 0, 0]

    def numbers(seed):
        batches = training.image_batches(images.splits, 4, seed=seed, prepare=prepare)
        return np.concatenate([batch.numpy() for batch in batches[2]]).tolist()

    drawn = {seed: numbers(seed) for seed in range(4)}
    assert all(len(set(part)) == 5 and part == sorted(part) for part in drawn.values())
    assert len({tuple(part) for part in drawn.values()}) > 1 and numbers(1) == drawn[1]


def test_mixed_images_have_the_weights_of_both_classes(images):
    """A third of class a, two thirds of b: 0.8 / 3 + 2 * (4 / 3) / 3."""
    targets = training.training_targets(images, class_weights=True)
    mixed = tf.constant([[1 / 3, 2 / 3]])
    told, weight = targets(mixed)
    np.testing.assert_array_equal(told, mixed)
    np.testing.assert_allclose(weight, [[0.8 / 3 + 8 / 9]], rtol=1e-6)
