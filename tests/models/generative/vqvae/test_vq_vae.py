import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, models
from kapps.errors import UserError
from kapps.models.generative.vqvae.codebook import Codebook
from kapps.models.generative.vqvae.vq_vae import VQVAE

IMAGE = np.array([[[[51], [204]]]], np.uint8)  # 0.2 and 0.8


def by_hand(**settings):
    """z = 2 x; vectors 0, 1 and 5; pixels are half of the vector."""
    x = keras.Input((1, 2, 1))
    encoder = keras.Model(x, keras.layers.Conv2D(1, 1, use_bias=False)(x))
    e = keras.Input((1, 2, 1))
    decoder = keras.Model(e, keras.layers.Conv2D(1, 1, use_bias=False)(e))
    model = VQVAE(encoder, Codebook(3, 1, decay=0.5), decoder, **settings)
    encoder.set_weights([np.full((1, 1, 1, 1), 2.0)])
    decoder.set_weights([np.full((1, 1, 1, 1), 0.5)])
    model.codebook.vectors.assign([[0.0], [1.0], [5.0]])
    model.codebook.sums.assign([[0.0], [1.0], [5.0]])
    model.codebook.updates.assign(1.0)
    return model


@pytest.mark.slow
def test_the_terms_by_hand():
    # z = 0.4, 1.6 -> e = 0, 1 -> y = 0, 0.5.
    model = by_hand(beta=3.0, pixel_variance=0.5)
    model.compile("sgd")
    found = model.evaluate(IMAGE, verbose=0, return_dict=True)
    mse, commitment = (0.2**2 + 0.3**2) / 2, (0.4**2 + 0.6**2) / 2
    assert found["mse"] == pytest.approx(mse, rel=1e-5)
    assert found["commitment"] == pytest.approx(commitment, rel=1e-5)
    assert found["loss"] == pytest.approx(mse / 0.5 + 3 * commitment, rel=1e-5)
    assert found["perplexity"] == pytest.approx(2) and found["code_usage"] == pytest.approx(2 / 3)
    np.testing.assert_array_equal(model.encode(IMAGE), [[[0, 1]]])
    np.testing.assert_allclose(np.ravel(model(IMAGE)), [0, 0.5], atol=1e-6)
    np.testing.assert_allclose(model.reconstruct(IMAGE), model(IMAGE), atol=1e-6)


def test_gradients_of_both_terms_by_hand():
    model = by_hand(beta=3.0, pixel_variance=0.5)
    x = tf.constant(IMAGE / 255.0, tf.float32)
    (kernel,), (half,) = model.encoder.trainable_variables, model.decoder.trainable_variables
    with tf.GradientTape() as tape:
        loss, _ = model._terms(x, model.encoder(x), training=True)
    to_encoder, to_decoder = tape.gradient(loss, [kernel.value, half.value])
    # Reconstruction, straight through: mean of 2 (y - x) / variance, times dy/de = 0.5 and
    # dz/dkernel = x. Commitment: beta times the mean of 2 (z - e), times x.
    straight = (2 * -0.2 * 0.5 * 0.2 + 2 * -0.3 * 0.5 * 0.8) / 2 / 0.5
    commitment = 3 * (2 * 0.4 * 0.2 + 2 * 0.6 * 0.8) / 2
    assert np.ravel(to_encoder)[0] == pytest.approx(straight + commitment, rel=1e-5)
    # The decoder sees e = 0 and 1, and nothing of the commitment.
    assert np.ravel(to_decoder)[0] == pytest.approx((2 * -0.3 * 1) / 2 / 0.5, rel=1e-5)


@pytest.mark.slow
def test_a_step_moves_the_codebook_by_its_averages_and_not_by_the_optimizer():
    model = by_hand()
    model.compile(keras.optimizers.SGD(0.0))
    model.train_on_batch(IMAGE)
    # n = 1, 1, 0; N = 1, 1, 0.5; m = 0.5 * (0 + 0.4), 0.5 * (1 + 1.6), 0.5 * 5.
    np.testing.assert_allclose(np.ravel(model.codebook.vectors), [0.2, 1.3, 5], rtol=1e-4)
    assert len(model.trainable_variables) == 2
    before = [np.array(v) for v in model.variables]
    model.evaluate(IMAGE, verbose=0)
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    digits = data.load("digits", seed=0).splits["train"].take(range(600))
    model = models.vq_vae((8, 8, 1), codes=16, code_dim=4, filters=(16,), restart_after=10)
    model.compile(keras.optimizers.Adam(0.005))
    history = model.fit(digits, batch_size=50, epochs=10, verbose=0).history
    prior = models.code_prior(model.code_shape, 16, filters=8, depth=1)
    prior.compile(keras.optimizers.Adam(0.02))
    prior.fit(model.encode(digits), epochs=4, batch_size=50, verbose=0)
    return digits, model, history, model.with_prior(prior)


@pytest.mark.slow
def test_it_learns_and_uses_its_codes(trained):
    digits, model, history, _ = trained
    assert history["mse"][-1] < 0.5 * history["mse"][0]
    mean = digits.mean(axis=0) / 255
    assert history["mse"][-1] < 0.5 * np.mean((digits / 255 - mean) ** 2)
    assert history["perplexity"][-1] > 6 and history["code_usage"][-1] == 1
    codes = model.encode(digits)
    assert codes.shape == (600, 4, 4) and codes.dtype == tf.int32
    np.testing.assert_allclose(model.decode(codes), model.predict(digits, verbose=0), atol=1e-5)


@pytest.mark.slow
def test_samples_are_a_function_of_the_seed(trained, tmp_path):
    _, model, _, whole = trained
    pictures = whole.sample(5, seed=1)
    assert pictures.shape == (5, 8, 8, 1) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures, whole.sample(5, seed=1))
    assert np.any(pictures != whole.sample(5, seed=2)) and np.any(pictures[0] != pictures[1])
    decoded = np.round(255 * whole.decode(whole.prior.sample(5, seed=1)).numpy())
    np.testing.assert_allclose(pictures, decoded, atol=1)
    with pytest.raises(UserError, match="code_prior"):
        model.sample(1)
    whole.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, VQVAE) and loaded.seed == whole.seed
    np.testing.assert_array_equal(loaded.sample(5, seed=1), pictures)


@pytest.mark.slow
def test_the_first_step_puts_the_vectors_onto_the_batch():
    model = models.vq_vae((4, 4, 1), codes=6, code_dim=2, filters=(4,))
    model.compile(keras.optimizers.SGD(0.0))
    image = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), np.uint8)
    first = float(model.train_on_batch(image, return_dict=True)["commitment"])
    spread = np.var(np.reshape(model.encoder(image / np.float32(255)), (-1, 2)), axis=0).mean()
    assert first < spread  # nearest of six, instead of vectors near zero


@pytest.mark.parametrize("shape", [(5, 7, 1), (8, 8, 3), (1, 3, 2)])
def test_pictures_of_any_shape(shape):
    model = models.vq_vae(shape, codes=4, code_dim=2, filters=(3, 3))
    image = np.zeros((2, *shape), np.uint8)
    assert model(image).shape == (2, *shape)
    height, width = ((side + 3) // 4 for side in shape[:2])
    assert model.encode(image).shape == (2, height, width) == (2, *model.code_shape)


@pytest.mark.slow
def test_mistakes_are_named():
    model = models.vq_vae((4, 4, 1), codes=4, filters=(2,))
    with pytest.raises(UserError, match="the prior is of 5 codes"):
        model.with_prior(models.code_prior((2, 2), 5))
    with pytest.raises(UserError, match="beta"):
        models.vq_vae((4, 4, 1), filters=(2,), beta=-1)
    with pytest.raises(UserError, match="filters"):
        models.vq_vae((4, 4, 1), filters=())
