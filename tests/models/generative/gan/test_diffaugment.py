import numpy as np
import pytest
import tensorflow as tf

from kapps.errors import UserError
from kapps.models.generative.gan import diffaugment

SEED = tf.constant([3, 4])
EVERYTHING = ("color", "translation", "cutout")


def pictures(count=64, shape=(16, 8, 3)):
    return tf.random.stateless_uniform((count, *shape), (1, 2), -1.0, 1.0)


def augmented(x, *policy, seed=SEED):
    return diffaugment.differentiable_augmentation(x, seed, policy).numpy()


def test_a_seed_says_everything_and_no_policy_is_nothing():
    x = pictures()
    for part in EVERYTHING:
        np.testing.assert_array_equal(augmented(x, part), augmented(x, part))
        assert not np.array_equal(augmented(x, part), augmented(x, part, seed=SEED + 1))
    np.testing.assert_array_equal(augmented(x), x)


def test_examples_draw_numbers_of_their_own():
    same = tf.repeat(pictures(1), 16, axis=0)
    for part in EVERYTHING:
        out = augmented(same, part).reshape(16, -1)
        assert len(np.unique(out, axis=0)) > 8, part


def test_brightness_adds_one_number_of_a_half_at_most():
    x = pictures()
    change = diffaugment.brightness(x, SEED).numpy() - x.numpy()
    np.testing.assert_allclose(change, change[:, :1, :1, :1] * np.ones_like(change), atol=1e-6)
    assert -0.5 <= change.min() < -0.4 and 0.4 < change.max() <= 0.5


def test_saturation_scales_the_distance_to_grey():
    x = pictures().numpy()
    out = diffaugment.saturation(tf.constant(x), SEED).numpy()
    mean = x.mean(-1, keepdims=True)
    np.testing.assert_allclose(out.mean(-1, keepdims=True), mean, atol=1e-6)
    scale = np.sum((out - mean) * (x - mean), (1, 2, 3)) / np.sum((x - mean) ** 2, (1, 2, 3))
    assert 0.0 <= scale.min() < 0.2 and 1.8 < scale.max() <= 2.0
    np.testing.assert_allclose(out - mean, scale[:, None, None, None] * (x - mean), atol=1e-5)


def test_saturation_leaves_grey_pictures_alone():
    x = pictures(shape=(6, 6, 1))
    np.testing.assert_allclose(diffaugment.saturation(x, SEED), x, atol=1e-6)


def test_contrast_scales_the_distance_to_the_mean_of_the_picture():
    x = pictures().numpy()
    out = diffaugment.contrast(tf.constant(x), SEED).numpy()
    np.testing.assert_allclose(out.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-6)
    scale = out.std((1, 2, 3)) / x.std((1, 2, 3))
    assert 0.5 <= scale.min() < 0.6 and 1.4 < scale.max() <= 1.5


def test_translation_moves_by_an_eighth_of_each_side_and_brings_zeros():
    """A picture whose pixels say where they are: 16 x 8 pixels move by up to 2 and 1."""
    rows, columns = np.mgrid[1:17, 1:9]
    x = np.repeat(np.stack([rows, columns], -1)[None].astype("float32"), 300, axis=0)
    seen = set()
    for out in augmented(tf.constant(x), "translation"):
        inside = out[..., 0] > 0
        moved = np.argwhere(inside)[0] + 1 - out[inside][0]
        down, right = moved.astype(int)
        expected = np.zeros_like(x[0])
        h, w = 16 - abs(down), 8 - abs(right)
        a, b = max(down, 0), max(right, 0)
        expected[a : a + h, b : b + w] = x[0][a - down : a - down + h, b - right : b - right + w]
        np.testing.assert_array_equal(out, expected)
        seen.add((down, right))
    assert seen == {(i, j) for i in range(-2, 3) for j in range(-1, 2)}


@pytest.mark.parametrize(("side", "most"), [(4, 1), (12, 2), (20, 3), (28, 4)])
def test_translation_rounds_halves_up(side, most):
    """0.5, 1.5, 2.5 and 3.5 pixels: int(side / 8 + 0.5) in the reference implementation."""
    x = tf.ones((400, side, side, 1))
    out = augmented(x, "translation")
    lost = side - (out[..., 0] > 0).any(axis=2).sum(axis=1)
    assert set(lost) == set(range(most + 1))


@pytest.mark.parametrize(("side", "hole"), [(5, 3), (7, 4), (9, 5), (13, 7)])
def test_cutout_rounds_halves_up(side, hole):
    out = augmented(tf.ones((400, side, side, 1)), "cutout")
    assert (out == 0).any((2, 3)).sum(axis=1).max() == hole


def test_cutout_is_half_of_each_side():
    x = tf.ones((400, 16, 8, 1))
    out = augmented(x, "cutout")
    assert set(np.unique(out)) == {0.0, 1.0}
    rows, columns = (out == 0).any((2, 3)), (out == 0).any((1, 3))
    np.testing.assert_array_equal(  # rectangles
        out[..., 0] == 0, rows[:, :, None] & columns[:, None, :]
    )
    # Centers 0..16 and 0..8, the hole from center - 4 and center - 2 on, cut by the border.
    assert set(rows.sum(1)) == {4, 5, 6, 7, 8} and set(columns.sum(1)) == {2, 3, 4}


@pytest.mark.parametrize("shape", [(28, 28, 1), (5, 9, 2)])
def test_gradients_of_both_orders(shape):
    x = pictures(2, shape)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = diffaugment.differentiable_augmentation(x, SEED, EVERYTHING)
            energy = tf.reduce_sum(y**3)
        slope = inner.gradient(energy, x)
        total = tf.reduce_sum(slope**2)
    assert y.shape == x.shape
    second = outer.gradient(total, x)
    for gradient in (slope, second):
        assert np.isfinite(gradient).all() and np.any(gradient != 0)
    # The whole is affine in the picture: f(x + d) - f(x) = f(d) - f(0).
    zero = tf.zeros_like(x)
    f = [augmented(p, *EVERYTHING) for p in (x + 0.5, x, zero + 0.5, zero)]
    np.testing.assert_allclose(f[0] - f[1], f[2] - f[3], atol=1e-5)


def test_mistakes_are_named():
    with pytest.raises(UserError, match="'flip'.*color, translation, cutout"):
        diffaugment.check_policy(("color", "flip"))
