import numpy as np
import pytest

from kapps.data import class_weights, mean_image, pixel_statistics
from kapps.data.images.dataset import Split
from kapps.data.sources.arrays import gather
from kapps.errors import UserError


def split_of(pixels):
    return Split(np.zeros(len(pixels), np.int32), gather(pixels))


def test_class_weights_by_hand():
    """Six examples, three classes: 6 / (3 * 3), 6 / (3 * 2), 6 / (3 * 1)."""
    weights = class_weights(np.array([0, 0, 0, 1, 1, 2]), 3)
    np.testing.assert_allclose(weights, [2 / 3, 1, 2], rtol=1e-6)
    assert weights.dtype == np.float32


def test_an_absent_class_weighs_nothing_and_the_mean_stays_one():
    labels = np.array([0, 2, 2, 2])
    weights = class_weights(labels, 4)
    assert weights[1] == weights[3] == 0
    np.testing.assert_allclose(weights[labels].mean(), 1, rtol=1e-6)


def test_labels_that_do_not_fit():
    with pytest.raises(UserError, match="from 0 to 3, 3 classes allow 0 to 2"):
        class_weights(np.array([0, 3]), 3)
    with pytest.raises(UserError, match="no labels"):
        class_weights(np.array([], int), 3)


def test_pixel_statistics_are_numpys():
    pixels = np.random.RandomState(0).randint(0, 256, (600, 5, 4, 3)).astype(np.uint8)
    mean, deviation = pixel_statistics(split_of(pixels))
    np.testing.assert_allclose(mean, (pixels / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(deviation, (pixels / 255).std((0, 1, 2)), rtol=1e-9)


def test_a_large_split_is_sampled_alike_each_time():
    """10,000 of 10,500 are read: close to the whole, not equal to it, and always the same."""
    pixels = np.random.RandomState(0).randint(0, 256, (10_500, 1, 1, 1)).astype(np.uint8)
    first, second = (pixel_statistics(split_of(pixels))[0] for _ in range(2))
    assert first == second != (pixels / 255).mean()
    np.testing.assert_allclose(first, (pixels / 255).mean(), atol=0.005)


def test_constant_pictures_can_be_divided_by_their_deviation():
    mean, deviation = pixel_statistics(split_of(np.full((3, 2, 2, 1), 51, np.uint8)))
    np.testing.assert_allclose([mean[0], deviation[0]], [0.2, 1 / 255])


def test_an_empty_split():
    with pytest.raises(UserError, match="empty split"):
        pixel_statistics(split_of(np.zeros((0, 2, 2, 1), np.uint8)))


def test_the_mean_image_is_numpys_and_needs_images():
    pixels = np.random.RandomState(0).randint(0, 256, (600, 5, 4, 3)).astype(np.uint8)
    np.testing.assert_allclose(mean_image(split_of(pixels)), pixels.mean(0), rtol=1e-12)
    with pytest.raises(UserError, match="empty"):
        mean_image(split_of(pixels[:0]))
