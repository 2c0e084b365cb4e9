import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, stats

from kapps import losses


def float32(*values):
    return [tf.constant(value, tf.float32) for value in values]


def test_density_is_the_product_of_normal_densities():
    rng = np.random.default_rng(0)
    z, mean, log_var = rng.normal(size=(3, 4, 5))
    expected = stats.norm.logpdf(z, mean, np.exp(0.5 * log_var)).sum(-1)
    value = losses.gaussian_log_density(*float32(z, mean, log_var))
    assert value.shape == (4,)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("dims", [1, 7])
def test_kl_of_a_shift_by_one_is_half_a_nat_per_dimension(dims):
    value = losses.gaussian_kl(tf.ones((3, dims)), tf.zeros((3, dims)))
    np.testing.assert_allclose(value, [dims / 2] * 3, rtol=1e-6)


def test_kl_by_hand():
    """Means 1 and -2, variances 1 and 4: (1 + 1 - 1 - 0) / 2 + (4 + 4 - 1 - ln 4) / 2."""
    mean, log_var = float32([[1.0, -2.0]], [[0.0, np.log(4.0)]])
    np.testing.assert_allclose(losses.gaussian_kl(mean, log_var), [3.306853], rtol=1e-6)
    each = losses.gaussian_kl_per_dimension(mean, log_var, 0.0, 0.0)
    np.testing.assert_allclose(each, [[0.5, 2.806853]], rtol=1e-6)
    assert losses.gaussian_kl(tf.zeros((1, 2)), tf.zeros((1, 2))) == 0


def test_kl_between_two_gaussians_is_its_integral():
    q, p = stats.norm(0.7, np.exp(-0.4)), stats.norm(-0.3, np.exp(0.15))
    expected, _ = integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -12, 12)
    value = losses.gaussian_kl_per_dimension(*float32([0.7], [-0.8], [-0.3], [0.3]))
    np.testing.assert_allclose(value, [expected], rtol=1e-5)
