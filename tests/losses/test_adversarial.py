"""Golden values by hand: softplus(v) = log(1 + e^v) of four pairs of logits."""

import numpy as np
import pytest
import tensorflow as tf

from kapps import losses
from kapps.errors import UserError

REAL = tf.constant([-5.0, 1.4, 12.5, 2.7])
FAKE = tf.constant([10.0, 4.4, -5.5, 3.6])
REAL_HALF, FAKE_HALF = 1.323045, 4.510821  # mean softplus(-real), mean softplus(fake)
GOLDEN = {  # means of the discriminator's and the generator's losses
    "minimax": (REAL_HALF + FAKE_HALF, -FAKE_HALF),
    "non_saturating": (5.833866, 1.385821),
    "bce": (5.833866 + 0.1 * 2.9, 1.385821),  # 0.1 times the mean of the real logits
    # (36 + 100, 0.16 + 19.36, 132.25 + 30.25, 2.89 + 12.96) / 2; (81, 11.56, 42.25, 6.76) / 2
    "least_squares": (41.73375, 17.69625),
    "hinge": ((17 + 5.4 + 0 + 4.6) / 4, -3.125),
    "wasserstein": ((15 + 3 - 18 + 0.9) / 4, -3.125),
    # softplus of 15, 3, -18 and 0.9, and of their opposites
    "relativistic": ((15 + 3.048587 + 0 + 1.241154) / 4, (0 + 0.048587 + 18 + 0.341154) / 4),
}


@pytest.mark.parametrize("name", losses.ADVERSARIAL)
def test_values(name):
    row = losses.adversarial_loss(name)
    values = row.discriminator(REAL, FAKE), row.generator(REAL, FAKE)
    for value, golden in zip(values, GOLDEN[name], strict=True):
        assert value.shape == (4,) and value.dtype == tf.float32
        assert np.mean(value) == pytest.approx(golden, rel=1e-6, abs=1e-6)


def test_every_row_has_a_golden_value():
    assert set(GOLDEN) == set(losses.ADVERSARIAL)


@pytest.mark.parametrize("name", losses.ADVERSARIAL)
def test_only_the_relativistic_generator_asks_for_real_pictures(name):
    row = losses.ADVERSARIAL[name]
    assert row.paired == (name == "relativistic")
    if not row.paired:
        np.testing.assert_array_equal(row.generator(None, FAKE), row.generator(REAL, FAKE))


def gradient(function, at):
    x = tf.constant(at)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x).numpy()


def test_minimax_saturates_and_the_other_does_not():
    """D = sigmoid(-20) = 2e-9: the slope of log(1 - D) is -D, that of -log D is D - 1."""
    minimax = gradient(lambda fake: losses.ADVERSARIAL["minimax"].generator(None, fake), [-20.0])
    assert minimax == pytest.approx(-2.0611537e-9, rel=1e-5)
    other = gradient(lambda f: losses.ADVERSARIAL["non_saturating"].generator(None, f), [-20.0])
    assert other == pytest.approx(-1.0, abs=1e-6)


@pytest.mark.parametrize("name", losses.ADVERSARIAL)
def test_far_logits_have_finite_values_and_slopes(name):
    row, far = losses.ADVERSARIAL[name], [-100.0, -20.0, 0.0, 20.0, 100.0]
    other = tf.reverse(tf.constant(far), [0])
    for function in (
        lambda x: row.discriminator(x, other),
        lambda x: row.discriminator(other, x),
        lambda x: row.generator(other, x),
    ):
        assert np.isfinite(function(tf.constant(far))).all()
        assert np.isfinite(gradient(function, far)).all()


@pytest.mark.parametrize("name", losses.ADVERSARIAL)
def test_real_up_and_fake_down_for_the_discriminator_fake_up_for_the_generator(name):
    row, zero = losses.ADVERSARIAL[name], tf.zeros(1)
    assert gradient(lambda x: row.discriminator(x, zero), [0.0]) < 0
    # A target of 0 is where least squares want a fake to be already.
    down = gradient(lambda x: row.discriminator(zero, x), [0.0])
    assert down > 0 or (name == "least_squares" and down == 0)
    assert gradient(lambda x: row.generator(zero, x), [0.0]) < 0


def test_smoothing_is_one_sided_and_bounded_below():
    """The best real logit is log(t / (1 - t)), with the entropy of t; fakes have a target of 0."""
    row, logits = losses.adversarial_loss("bce", 0.25), tf.linspace(-500.0, 500.0, 100_001)
    hopeless = tf.fill(tf.shape(logits), -500.0)
    real = row.discriminator(logits, hopeless).numpy()
    assert real.min() == pytest.approx(-0.75 * np.log(0.75) - 0.25 * np.log(0.25), abs=1e-4)
    assert float(logits[real.argmin()]) == pytest.approx(np.log(3.0), abs=0.02)
    fake = row.discriminator(tf.zeros_like(logits), logits) - np.log(2.0)
    np.testing.assert_allclose(fake, tf.nn.softplus(logits), atol=1e-4)


def test_no_smoothing_is_the_plain_cross_entropy():
    row, plain = losses.adversarial_loss("bce", 0.0), losses.ADVERSARIAL["non_saturating"]
    np.testing.assert_array_equal(row.discriminator(REAL, FAKE), plain.discriminator(REAL, FAKE))


def test_sixteen_bits_are_widened():
    row, half = losses.ADVERSARIAL["least_squares"], tf.constant([300.0], tf.float16)
    assert row.generator(None, half).numpy() == pytest.approx(
        0.5 * 299.0**2
    )  # float16 ends at 65504


def test_mistakes_are_named():
    with pytest.raises(UserError, match="unknown loss 'wgan'.*relativistic"):
        losses.adversarial_loss("wgan")
    with pytest.raises(UserError, match="only bce"):
        losses.adversarial_loss("hinge", 0.1)
    for smoothing in (-0.1, 1.0):
        with pytest.raises(UserError, match="from 0 to below 1"):
            losses.adversarial_loss("bce", smoothing)
