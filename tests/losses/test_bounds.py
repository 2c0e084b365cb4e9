import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from kapps import losses

RNG = np.random.default_rng(0)
LOG_P, KL = RNG.normal(-90, 2, (4, 3)).astype("f4"), RNG.gamma(2, 2, (4, 3)).astype("f4")


def test_elbo_by_hand():
    # Two draws of one example: -(-10 - 14) / 2 + 0.5 (1 + 3) / 2.
    value = losses.negative_elbo(tf.constant([[-10.0], [-14.0]]), tf.constant([[1.0], [3.0]]), 0.5)
    np.testing.assert_allclose(value, [13.0])


def test_iwae_is_a_log_mean_exp_and_one_draw_is_the_elbo():
    expected = -(special.logsumexp(LOG_P - KL, axis=0) - np.log(4))
    np.testing.assert_allclose(losses.negative_iwae(LOG_P - KL), expected, rtol=1e-6)
    one = losses.negative_iwae(LOG_P[:1] - KL[:1])
    np.testing.assert_allclose(one, losses.negative_elbo(LOG_P[:1], KL[:1]), rtol=1e-6)
    # exp(-1000) is 0 in float32; its logarithm is not lost.
    np.testing.assert_allclose(losses.negative_iwae(tf.fill([5, 1], -1000.0)), [1000.0])


def test_free_bits_by_hand():
    """Means of 0.25 and 1 over the batch, 0.5 nats free: the first is free, the second costs."""
    kl = tf.constant([[[0.1, 0.4], [0.4, 1.6]]])
    value = losses.free_bits(kl, tf.reduce_mean(kl, axis=(0, 1)), 0.5)
    np.testing.assert_allclose(value, [[[0.5, 0.4], [0.5, 1.6]]])


def test_dreg_has_the_value_of_iwae_and_the_gradient_of_equation_8():
    """log w = -(z - a)^2, z = m + s e: d log w / dz = -2 (z - a), dz / dm = 1, dz / ds = e."""
    e, a = np.array([0.3, -1.2, 0.7]), 0.4
    mean, scale, place = tf.constant(0.2), tf.constant(1.5), tf.constant(a, tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch((mean, scale, place))
        z = tf.reshape(mean + scale * tf.constant(e, tf.float32), [3, 1, 1])
        loss, rest = losses.negative_dreg(lambda z: (-((z[..., 0] - place) ** 2), "rest"), z)
    assert rest == "rest"
    drawn = 0.2 + 1.5 * e
    log_w = -((drawn - a) ** 2)
    assert loss.numpy()[0] == pytest.approx(-(special.logsumexp(log_w) - np.log(3)), rel=1e-5)
    share = special.softmax(log_w)
    slope = -2 * (drawn - a)
    assert float(tape.gradient(loss, mean)) == pytest.approx(-np.sum(share**2 * slope), rel=1e-5)
    assert float(tape.gradient(loss, scale)) == pytest.approx(
        -np.sum(share**2 * slope * e), rel=1e-5
    )
    # What stands for the decoder has the gradient of the bound: shares, not squared ones.
    assert float(tape.gradient(loss, place)) == pytest.approx(np.sum(share * slope), rel=1e-5)
