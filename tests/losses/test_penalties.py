import numpy as np
import tensorflow as tf

from kapps import losses

# |g|^2 of 25 and 0.
GRADIENTS = tf.reshape(tf.constant([3.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0]), (2, 1, 2, 2))


def test_zero_centered_by_hand():
    np.testing.assert_allclose(losses.zero_centered_penalty(GRADIENTS, 3.0), [37.5, 0.0])


def test_one_centered_by_hand_and_finite_at_zero():
    with tf.GradientTape() as tape:
        tape.watch(GRADIENTS)
        value = losses.one_centered_penalty(GRADIENTS, 10.0)
    np.testing.assert_allclose(value, [160.0, 10.0 * 0.99**2], rtol=1e-5)
    assert np.isfinite(tape.gradient(value, GRADIENTS)).all()


def test_sixteen_bits_are_summed_in_thirty_two():
    steep = tf.fill((1, 10, 10, 1), tf.constant(300.0, tf.float16))  # 9e6 in all
    np.testing.assert_allclose(losses.zero_centered_penalty(steep, 2.0), [9e6], rtol=1e-6)
