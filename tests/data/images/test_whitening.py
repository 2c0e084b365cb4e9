import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from kapps import models
from kapps.data import pixel_statistics, whitening_kernel
from kapps.data.images.dataset import Split
from kapps.data.images.whitening import EPSILON
from kapps.data.sources.arrays import gather
from kapps.errors import UserError
from kapps.layers import Whitening


def split_of(pixels):
    return Split(np.zeros(len(pixels), np.int32), gather(pixels))


def pictures(channels):
    """Digits, whose neighbouring pixels are alike; channels that are alike, too."""
    pixels = load_digits().images[:700] * 15
    noise = np.random.default_rng(0).normal(0, 30, (*pixels.shape, channels))
    return np.clip(pixels[..., None] + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("side", "channels"), [(2, 1), (3, 1), (2, 3)])
def test_features_of_the_layer_are_uncorrelated_with_variance_one(side, channels):
    """Of the interior, through Keras' own convolution and what the network makes of raw pixels."""
    pixels = pictures(channels)
    mean, std = pixel_statistics(split_of(pixels))
    kernel = whitening_kernel(split_of(pixels), side, mean, std)
    size = side * side * channels
    assert kernel.shape == (side, side, channels, 2 * size) and kernel.dtype == np.float32
    normalized = (pixels / 255 - mean) / std
    found = keras.ops.conv(normalized.astype("f4"), kernel, padding="valid")
    features = np.asarray(found).reshape(-1, 2 * size)
    np.testing.assert_allclose(features[:, size:], -features[:, :size], rtol=1e-4, atol=1e-4)
    covariance = np.cov(features[:, :size].T)
    np.testing.assert_allclose(covariance, np.eye(size), atol=0.02)
    assert np.abs(np.cov(normalized[:, 3, 3:5, 0].T)[0, 1]) > 0.3  # as they were


def test_the_largest_variance_comes_first_and_noise_is_not_blown_up():
    """Two channels that are equal: their difference has no variance, and stays small."""
    one = pictures(1)
    pixels = np.concatenate([one, one], axis=-1)
    kernel = whitening_kernel(split_of(pixels), 1, np.zeros(2), np.ones(2))[0, 0]
    variance = np.var(one / 255.0) * 2
    np.testing.assert_allclose(np.abs(kernel[:, 0]), 0.5**0.5 / (variance + EPSILON) ** 0.5, 1e-4)
    np.testing.assert_allclose(np.abs(kernel[:, 1]), 0.5**0.5 / EPSILON**0.5, rtol=1e-4)
    assert kernel[0, 1] * kernel[1, 1] < 0 < kernel[0, 0] * kernel[1, 0]


@pytest.mark.slow
def test_in_a_network_the_kernel_is_frozen_and_saved(tmp_path):
    pixels = pictures(1)
    mean, std = pixel_statistics(split_of(pixels))
    kernel = whitening_kernel(split_of(pixels), 2, mean, std)
    model = models.cnn((8, 8, 1), 3, filters=4, whitening=kernel)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = model.get_layer("whitening").bias.numpy()
    model.train_on_batch(pixels[:8].astype("f4"), np.ones((8, 3)))
    layer = model.get_layer("whitening")
    np.testing.assert_array_equal(layer.kernel, kernel)
    assert (layer.bias.numpy() != before).any()
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.get_layer("whitening").kernel, kernel)
    assert layer.kernel.path not in [w.path for w in again.trainable_weights]
    served = models.for_inference(model)
    x = pixels[:5].astype("f4")
    np.testing.assert_allclose(served.predict(x, verbose=0), model.predict(x, verbose=0), 1e-5)


def test_strides_are_those_of_the_patches(tmp_path):
    """Every second position of the layer without strides, of an even and of an odd side."""
    kernel = np.random.default_rng(0).normal(size=(2, 2, 1, 8)).astype("f4")
    x = pictures(1)[:3].astype("f4")
    for image in (x, x[:, :7, :7]):
        one, two = Whitening(8, 2), Whitening(8, 2, strides=2)
        for layer in (one, two):
            layer.build(image.shape)
            layer.kernel.assign(kernel)
        answer = two(image).numpy()
        assert two.compute_output_shape(image.shape) == answer.shape == (3, 4, 4, 8)
        np.testing.assert_array_less(np.abs(answer - one(image)[:, ::2, ::2]), 1e-3)
    model = models.vgg("vgg7", (8, 8, 1), 3, whitening=kernel, whitening_strides=2)
    assert model.get_layer("whitening").output.shape == (None, 4, 4, 8)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_layer("whitening").strides == 2


def test_a_window_that_no_longer_fits_after_strides_is_named():
    kernel, valid = np.zeros((2, 2, 1, 8)), {"filters": 4, "kernel_size": 3, "padding": "valid"}
    models.cnn((8, 8, 1), 3, whitening=kernel, **valid)
    with pytest.raises(UserError, match="4x4 map|2x2 map"):
        models.cnn((8, 8, 1), 3, whitening=kernel, whitening_strides=2, **valid)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="9 x 9 pixels.*8 x 8"):
        whitening_kernel(split_of(pictures(1)), 9, np.zeros(1), np.ones(1))
    with pytest.raises(UserError, match="empty"):
        whitening_kernel(split_of(pictures(1)[:0]), 2, np.zeros(1), np.ones(1))
    with pytest.raises(UserError, match=r"\[side, side, 3, filters\].*\(2, 2, 1, 8\)"):
        models.resnet("resnet20", (8, 8, 3), 3, whitening=np.zeros((2, 2, 1, 8)))
    with pytest.raises(UserError, match="whitening_strides must be"):
        models.cnn((8, 8, 1), 3, whitening=np.zeros((2, 2, 1, 8)), whitening_strides=0)
