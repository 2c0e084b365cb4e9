import numpy as np
import pytest
import tensorflow as tf

from kapps.errors import UserError
from kapps.models.generative.autoencoders.corruption import corrupt

X = np.random.default_rng(0).uniform(0.2, 0.8, (20, 50, 50, 1)).astype(np.float32)  # 50,000


def corrupted(kind, amount, seed=(1, 2)):
    return corrupt(tf.constant(X), kind, amount, tf.constant(seed)).numpy()


def test_gaussian_noise_is_added():
    noise = corrupted("gaussian", 0.25) - X
    assert abs(noise.mean()) < 4 * 0.25 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.25, rel=0.02)
    assert np.abs(noise).max() > 0.5  # nothing is clipped


def test_masking_sets_a_part_to_zero_and_leaves_the_rest():
    y = corrupted("masking", 0.3)
    changed = y != X
    assert np.all(y[changed] == 0)
    assert changed.mean() == pytest.approx(0.3, abs=0.01)


def test_salt_and_pepper_in_equal_parts():
    y = corrupted("salt_and_pepper", 0.4)
    assert (y == 0).mean() == pytest.approx(0.2, abs=0.01)
    assert (y == 1).mean() == pytest.approx(0.2, abs=0.01)
    assert (y == X).mean() == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("kind", ["gaussian", "masking", "salt_and_pepper"])
def test_noise_is_a_function_of_the_seed(kind):
    np.testing.assert_array_equal(corrupted(kind, 0.5), corrupted(kind, 0.5))
    assert np.any(corrupted(kind, 0.5) != corrupted(kind, 0.5, seed=(1, 3)))
    np.testing.assert_array_equal(corrupted(kind, 0.0), X)


def test_unknown_noise_names_the_known():
    with pytest.raises(UserError, match="gaussian, masking, salt_and_pepper"):
        corrupted("speckle", 0.1)
