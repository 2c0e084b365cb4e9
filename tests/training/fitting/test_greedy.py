"""Autoencoders trained layer by layer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import models, training
from kapps.errors import UserError
from kapps.training.fitting.greedy import _dense_stages, _Layer

IMAGES = np.random.default_rng(1).integers(0, 256, (64, 4, 4, 1), np.uint8)
BATCHES = tf.data.Dataset.from_tensor_slices(IMAGES).batch(16)


def kernels(model):
    return {
        layer.name: np.array(layer.kernel)
        for part in (model.encoder, model.decoder)
        for layer in part.layers
        if isinstance(layer, keras.layers.Dense)
    }


def stack(**settings):
    keras.utils.set_random_seed(0)
    return models.dense_autoencoder((4, 4, 1), 2, units=(8, 5), **settings)


@pytest.mark.slow
def test_a_layer_moves_by_itself():
    model = stack(normalization="batch")
    before = kernels(model)
    up, down = _dense_stages(model.encoder), _dense_stages(model.decoder)
    layer = _Layer(model, up[:1], up[1], down[1])
    layer.compile(keras.optimizers.SGD(0.1))
    layer.fit(BATCHES, shuffle=False, verbose=0)
    after = kernels(model)
    moved = {name for name in before if np.any(before[name] != after[name])}
    assert moved == {"encode2", "decode2"}


def test_a_layer_learns_the_codes_of_the_one_below():
    model = stack()
    up, down = _dense_stages(model.encoder), _dense_stages(model.decoder)
    layer = _Layer(model, up[:1], up[1], down[1])
    layer.compile(keras.optimizers.SGD(0.0))
    said = layer.fit(BATCHES, shuffle=False, verbose=0).history["mse"][0]
    w = {k: v.astype(float) for k, v in kernels(model).items()}  # offsets are zero at first
    h1 = np.maximum(IMAGES.reshape(64, 16) / 255.0 @ w["encode1"], 0)
    y = np.maximum(np.maximum(h1 @ w["encode2"], 0) @ w["decode2"], 0)
    assert said == pytest.approx(np.mean((y - h1) ** 2), rel=1e-4)


@pytest.mark.slow
def test_all_layers_are_trained_and_with_noise_too():
    model = stack(corruption="gaussian", corruption_amount=0.1)
    before = kernels(model)
    errors = training.greedy_pretrain(model, BATCHES, epochs=20, learning_rate=0.01)
    untrained = training.greedy_pretrain(stack(), BATCHES, epochs=1, learning_rate=1e-9)
    assert len(errors) == 3 and all(a < b for a, b in zip(errors, untrained, strict=True))
    after = kernels(model)
    assert all(np.any(before[name] != after[name]) for name in before)


@pytest.mark.slow
def test_epochs_of_one_dataset_that_holds_them_all():
    one, other = stack(), stack()
    errors = training.greedy_pretrain(one, BATCHES, epochs=2)
    again = training.greedy_pretrain(other, BATCHES.repeat(2), epochs=2, steps_per_epoch=4)
    np.testing.assert_allclose(errors, again, rtol=1e-5)


@pytest.mark.slow
def test_layer_by_layer_ends_with_the_same_bits():
    """A recipe that is killed before the whole is trained does it once more."""
    one, other = (stack(corruption="masking", normalization="batch") for _ in range(2))
    assert training.greedy_pretrain(one, BATCHES) == training.greedy_pretrain(other, BATCHES)
    for a, b in zip(one.variables, other.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_has_no_dense_layers_is_refused():
    with pytest.raises(UserError, match="only dense layers"):
        training.greedy_pretrain(models.conv_autoencoder((8, 8, 1), 2), BATCHES)
