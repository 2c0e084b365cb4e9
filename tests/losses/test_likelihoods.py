import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, special, stats

from kapps import losses
from kapps.errors import UserError

LEVELS = np.arange(256) / 255
NAMES = ["bernoulli", "continuous_bernoulli", "gaussian", "discretized_logistic"]


def negative_log(name, x, *parameters, scale=None):
    """Of many single pixels at once: x [n], parameters [n] or numbers -> nats [n]."""
    x = np.asarray(x, np.float32).reshape(-1, 1, 1, 1)
    shape = np.shape(x)
    columns = [np.broadcast_to(np.reshape(p, (-1, 1, 1, 1)), shape) for p in parameters]
    likelihood = losses.likelihood(name, scale)
    assert likelihood.parameters == len(parameters)
    values = likelihood.negative_log(x, tf.constant(np.concatenate(columns, -1), tf.float32))
    return np.asarray(values, np.float64)


def mean(name, *parameters):
    parameters = np.reshape(parameters, (1, 1, 1, len(parameters)))
    return float(np.squeeze(losses.likelihood(name).mean(tf.constant(parameters, tf.float32))))


def test_an_undecided_picture_costs_ln_2_per_pixel():
    """784 ln 2 nats, whatever the pixels are; a mean over pixels would give 0.69."""
    x = np.random.default_rng(0).integers(0, 2, (3, 28, 28, 1)).astype("float32")
    nats = losses.likelihood("bernoulli").negative_log(x, tf.zeros((3, 28, 28, 1)))
    np.testing.assert_allclose(nats, [543.43] * 3, atol=0.005)
    assert nats.dtype == "float32"


@pytest.mark.parametrize("name", NAMES)
def test_channels_are_summed_and_leading_axes_broadcast(name):
    """A colour picture is three pictures; averaging its channels would weigh it a third."""
    rng = np.random.default_rng(1)
    x = np.round(rng.uniform(size=(2, 4, 3, 3)) * 255).astype("float32") / 255
    likelihood = losses.likelihood(name)
    parameters = rng.normal(size=(5, 2, 4, 3, likelihood.parameters, 3)).astype("float32")
    whole = likelihood.negative_log(x, parameters.reshape(5, 2, 4, 3, -1))
    assert whole.shape == (5, 2)
    parts = [
        likelihood.negative_log(x[..., c : c + 1], parameters[..., c]).numpy() for c in range(3)
    ]
    np.testing.assert_allclose(whole, sum(parts), rtol=1e-5)
    assert likelihood.mean(parameters.reshape(5, 2, 4, 3, -1)).shape == (5, 2, 4, 3, 3)


def test_bernoulli_is_scipys():
    logits = np.linspace(-6, 6, 9)
    for x in (0, 1):
        expected = -stats.bernoulli.logpmf(x, special.expit(logits))
        value = negative_log("bernoulli", [x] * 9, logits)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    assert mean("bernoulli", math.log(3)) == pytest.approx(0.75)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("extreme", [-100.0, 100.0])
def test_extreme_parameters_stay_finite_with_finite_gradients(name, extreme):
    number = losses.likelihood(name).parameters
    for other in (-100.0, 0.0, 100.0):
        values = [extreme, other][:number]
        parameters = tf.reshape(tf.constant(values), (1, 1, 1, number))
        for x in (0.0, 100 / 255, 1.0):
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                pixels = tf.fill((1, 1, 1, 1), x)
                nats = losses.likelihood(name).negative_log(pixels, parameters)
            assert np.isfinite(nats).all()
            assert np.isfinite(tape.gradient(nats, parameters)).all()
        assert 0 <= mean(name, *values) <= 1


def test_wrong_logits_cost_what_they_say():
    """Clipped probabilities would stop at 16 nats."""
    np.testing.assert_allclose(negative_log("bernoulli", [0, 1], [100.0, -100.0]), [100, 100])


LOGITS = [-100.0, -8.0, -0.3, -0.099, -0.02, 0.0, 1e-4, 0.0501, 0.1, 2.0, 30.0]


@pytest.mark.slow
@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_is_a_density_with_the_mean_that_is_said(logit):
    """Without its constant the density integrates to something else."""

    def density(x):
        return np.exp(-negative_log("continuous_bernoulli", [x], logit))[0]

    points = None if abs(logit) < 10 else [float(logit > 0)]
    whole, _ = integrate.quad(density, 0, 1, points=points, limit=200)
    assert whole == pytest.approx(1, abs=2e-5)
    expected, _ = integrate.quad(lambda x: x * density(x), 0, 1, points=points, limit=200)
    assert mean("continuous_bernoulli", logit) == pytest.approx(expected, abs=2e-5)


def test_continuous_bernoulli_joins_its_series_smoothly():
    x, logits = np.full(2, 0.3), np.array([0.1 - 1e-6, 0.1 + 1e-6])
    low, high = negative_log("continuous_bernoulli", x, logits)
    assert low == pytest.approx(high, abs=1e-6)
    exact = -np.log(0.1 / np.tanh(0.05)) + np.log1p(np.exp(0.1)) - 0.03
    assert low == pytest.approx(exact, abs=1e-6)


def test_gaussian_has_its_constant():
    x = np.linspace(0, 1, 7)
    for log_var in (-4.0, 0.0, 1.0):
        expected = -stats.norm.logpdf(x, 0.4, np.exp(log_var / 2))
        value = negative_log("gaussian", x, 0.4, log_var)
        # The soft bounds change a log-variance of 1 by softplus(1 - 2) = 0.3.
        bounded = float(losses.softclip(tf.constant(log_var), -11.0, 2.0))
        exact = -stats.norm.logpdf(x, 0.4, np.exp(bounded / 2))
        np.testing.assert_allclose(value, exact, rtol=1e-4, atol=1e-5)
        if log_var == -4.0:
            np.testing.assert_allclose(value, expected, rtol=0.02)
    fixed = negative_log("gaussian", x, 0.4, scale=0.1)
    np.testing.assert_allclose(fixed, -stats.norm.logpdf(x, 0.4, 0.1), rtol=1e-5)


PLACES = [(0.5, -5.0), (0.0, -3.0), (0.999, -4.0), (-0.4, -1.0), (1.7, -20.0), (0.3, 0.5)]


@pytest.mark.parametrize(("place", "log_scale"), PLACES)
def test_discretized_logistic_sums_to_one_over_all_levels(place, log_scale):
    p = np.exp(-negative_log("discretized_logistic", LEVELS, place, log_scale))
    assert p.sum() == pytest.approx(1, abs=3e-4)
    bounded = float(losses.softclip(tf.constant(log_scale), -7.0, 2.0))
    logistic = stats.logistic(place, np.exp(bounded))
    edges = np.concatenate([[-np.inf], LEVELS[:-1] + 0.5 / 255, [np.inf]])
    np.testing.assert_allclose(p, np.diff(logistic.cdf(edges)), rtol=2e-3, atol=1e-6)
    # What is expected is the mean over the levels, not the place of the logistic.
    assert mean("discretized_logistic", place, log_scale) == pytest.approx(
        np.sum(p * LEVELS), abs=1e-3
    )


def test_a_bound_is_soft_and_kept():
    v = tf.constant([-1e30, -1e9, -6.0, -2.0, 0.0, 2.0, 30.0, 1e9, 1e30])
    with tf.GradientTape() as tape:
        tape.watch(v)
        bounded = losses.softclip(v, -6.0, 2.0)
    exact = np.logaddexp(0, v[2:6].numpy().astype(float) + 6) - 6
    exact -= np.logaddexp(0, v[2:6].numpy().astype(float) - 2)
    np.testing.assert_allclose(bounded, [-6, -6, *exact, 2, 2, 2], atol=1e-6)
    assert np.all(bounded >= -6) and np.all(bounded <= 2)
    slope = tape.gradient(bounded, v).numpy()
    np.testing.assert_allclose(slope[[2, 5]], 0.5, atol=1e-3)
    assert np.isfinite(slope).all() and (slope[2:7] > 0).all() and (slope >= 0).all()


@pytest.mark.parametrize(
    ("name", "scale", "words"),
    [
        ("bernouli", None, "continuous_bernoulli"),
        ("bernoulli", 0.1, "only gaussian"),
        ("gaussian", 0.0, "positive"),
    ],
)
def test_a_likelihood_that_is_none(name, scale, words):
    with pytest.raises(UserError, match=words):
        losses.likelihood(name, scale)
