import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, special, stats

from kapps import models
from kapps.models.generative.vae import priors


def pictures(count, shape=(4, 3, 1)):
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_density_is_that_of_a_mixture():
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, (3, 4, 2))
    means, log_vars = rng.normal(size=(5, 2)), rng.uniform(-4, 1, (5, 2))
    each = stats.norm.logpdf(z[..., None, :], means, np.exp(0.5 * log_vars)).sum(-1)
    expected = special.logsumexp(each, axis=-1) - np.log(5)
    z, means, log_vars = (tf.constant(array, tf.float32) for array in (z, means, log_vars))
    value = priors.Mixture(means, log_vars).log_prob(z)
    assert value.shape == (3, 4)
    np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_density_of_sharp_components_in_many_dimensions():
    """Forty latents of the smallest variance there is: squares of 400 that cancel."""
    rng = np.random.default_rng(1)
    means = rng.normal(0, 1.5, (20, 40)).astype("float32")
    log_vars = np.full((20, 40), -6.0, np.float32)
    z = means[None, :8] + 0.05 * rng.normal(size=(1, 8, 40)).astype("float32")
    each = stats.norm.logpdf(z[..., None, :].astype(float), means, np.exp(-3.0)).sum(-1)
    expected = special.logsumexp(each, axis=-1) - np.log(20)
    value = priors.Mixture(means, log_vars).log_prob(z)
    np.testing.assert_allclose(value, expected, atol=0.02)  # nats, of some seventy


@pytest.mark.slow
def test_density_far_from_the_origin():
    """Means of 3 and variances of e^-6: the squares are 1e5, and what is left of them is one."""
    rng = np.random.default_rng(2)
    means = np.full((50, 40), 3.0) + 0.05 * rng.normal(size=(50, 40))
    log_vars = np.full((50, 40), -6.0)
    z = 3.0 + 0.05 * rng.normal(size=(2, 8, 40))
    z, means, log_vars = (array.astype("float32") for array in (z, means, log_vars))
    each = stats.norm.logpdf(z[..., None, :].astype(float), means, np.exp(-3.0)).sum(-1)
    expected = special.logsumexp(each, axis=-1) - np.log(50)
    value = priors.Mixture(means, log_vars).log_prob(z)
    np.testing.assert_allclose(value, expected, atol=1e-4)


def test_a_gaussian_is_that_of_scipy():
    rng = np.random.default_rng(3)
    z, mean, log_var = (rng.normal(size=(2, 5, 3)).astype("float32") for _ in "123")
    gaussian = priors.Gaussian(mean, log_var)
    expected = stats.norm.logpdf(z, mean, np.exp(0.5 * log_var)).sum(-1)
    np.testing.assert_allclose(gaussian.log_prob(z), expected, rtol=1e-5)
    np.testing.assert_allclose(gaussian.sample(z), mean + np.exp(0.5 * log_var) * z, rtol=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_the_kl_is_the_mean_of_log_ratios(kind):
    """KL(N(0.5, e^-1) || p) by quadrature, for p = N(0, 1) and for a mixture of two."""
    q = priors.Gaussian(tf.constant([[[0.5]]]), tf.constant([[[-1.0]]]))
    if kind == "gaussian":
        p, density = priors.StandardNormal().distribution(None), stats.norm.pdf
    else:
        p = priors.Mixture(tf.constant([[-1.0], [2.0]]), tf.zeros((2, 1)))
        density = lambda z: 0.5 * stats.norm.pdf(z, -1) + 0.5 * stats.norm.pdf(z, 2)  # noqa: E731
    own = stats.norm(0.5, np.exp(-0.5))
    expected = integrate.quad(lambda z: own.pdf(z) * (own.logpdf(z) - np.log(density(z))), -6, 7)[0]
    z = q.sample(tf.random.stateless_normal((40_000, 1, 1), (0, 1)))
    estimates = np.asarray(p.kl(q, z))
    assert estimates.shape in ((1, 1, 1), (40_000, 1, 1))
    assert estimates.mean() == pytest.approx(expected, abs=1e-4 if kind == "gaussian" else 0.02)


@pytest.mark.slow
def test_the_prior_of_a_vae_is_never_nothing(tmp_path):
    for count, kind in ((0, priors.StandardNormal), (3, priors.VampPrior)):
        model = models.dense_vae((2, 2, 1), 2, units=(3,), pseudo_inputs=count)
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        assert type(model.prior) is type(loaded.prior) is kind


@pytest.mark.slow
def test_pseudo_inputs_are_pixels_and_learn():
    model = models.dense_vae((4, 3, 1), 2, units=(6,), pseudo_inputs=7, seed=3)
    before = np.array(model.prior.pseudo_inputs)
    assert before.shape == (7, 4, 3, 1) and before.std() > 0.01
    assert before.min() >= 0 and before.max() <= 1
    model.compile(keras.optimizers.Adam(0.2))
    for _ in range(10):
        model.train_on_batch(pictures(16))
    after = np.array(model.prior.pseudo_inputs)
    assert np.all(np.any(after != before, axis=(1, 2, 3)))
    # Steps of 0.2 would have left the interval.
    assert after.min() >= 0 and after.max() <= 1 and np.any((after == 0) | (after == 1))


def test_samples_come_from_the_mixture():
    """Pseudo-inputs far apart in the latent space, and a decoder that shows where z lies."""
    x = keras.Input((2, 1, 1))
    mean = keras.layers.Flatten()(x)
    log_var = keras.layers.Dense(2, "linear", kernel_initializer="zeros")(mean)
    encoder = keras.Model(x, [mean, keras.layers.Identity()(log_var)])
    z = keras.Input((2,))
    decoder = keras.Model(z, keras.layers.Reshape((2, 1, 1))(z))
    encoder.layers[2].bias.assign([-12.0, -12.0])
    prior = priors.VampPrior((2, 1, 1), 3)
    places = np.array([[0.1, 0.9], [0.5, 0.5], [0.9, 0.2]], np.float32)
    prior.pseudo_inputs.assign(places.reshape(3, 2, 1, 1))
    model = models.VAE(encoder, decoder, prior=prior, likelihood="gaussian", scale=0.1)
    drawn = model.generate(600, tf.constant([0, 1])).numpy().reshape(600, 2)
    nearest = np.linalg.norm(drawn[:, None] - places, axis=-1)
    assert nearest.min(axis=1).max() < 0.02
    counts = np.bincount(nearest.argmin(axis=1), minlength=3)
    assert np.all(abs(counts - 200) < 50)  # four standard deviations
