"""Augmentation of series: padding stays, time goes forwards, each series is changed apart."""

import numpy as np
import pytest
import tensorflow as tf

from kapps.data import SeriesAugmentation

SEED = tf.constant([1, 2], tf.int64)


def ramps(count=64, steps=30):
    """A straight line in time, and twice it; the second half has padding."""
    x = np.stack([np.arange(steps), 2 * np.arange(steps)], axis=-1).astype("float32")
    x = np.tile(x, (count, 1, 1))
    x[count // 2 :, 20:] = np.nan
    return x


@pytest.mark.parametrize(
    "strengths", [{"window": 0.3}, {"warp": 0.9}, {"window": 0.3, "warp": 0.9}]
)
def test_time_runs_forwards_inside_the_series(strengths):
    x = ramps()
    y = SeriesAugmentation(**strengths)(x, SEED).numpy()
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))
    time = y[..., 0]
    lasts = np.where(np.arange(64) < 32, 29, 19)[:, None]
    assert np.nanmin(np.diff(time, axis=1)) >= -1e-4
    assert (np.nan_to_num(time) >= 0).all() and (np.nan_to_num(time) <= lasts + 1e-4).all()
    np.testing.assert_allclose(y[..., 1], 2 * time, rtol=1e-5)  # all features move together
    assert np.nanstd(time[:32, 15]) > 0.3  # each series differently


def test_a_window_is_stretched_to_the_whole_length():
    y = SeriesAugmentation(window=0.4)(ramps(), SEED).numpy()[:32, :, 0]
    slopes = np.diff(y, axis=1)
    np.testing.assert_allclose(slopes, np.tile(slopes[:, :1], (1, 29)), atol=1e-4)
    assert 0.6 - 1e-4 <= slopes.min() < 0.7 and 0.9 < slopes.max() <= 1.0 + 1e-4


def test_a_warp_keeps_the_ends():
    y = SeriesAugmentation(warp=0.9)(ramps(), SEED).numpy()[:, :, 0]
    np.testing.assert_allclose(y[:, 0], 0, atol=1e-4)
    np.testing.assert_allclose(y[:32, 29], 29, atol=1e-3)
    np.testing.assert_allclose(y[32:, 19], 19, atol=1e-3)


def test_scale_and_noise_have_the_size_they_say():
    x = np.full((400, 10, 2), 5.0, "float32")
    y = SeriesAugmentation(scale=0.1)(x, SEED).numpy() / 5.0
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))  # one factor a series
    assert y[:, 0].std() == pytest.approx(0.1, rel=0.2)
    noise = SeriesAugmentation(jitter=0.2, std=(1.0, 10.0))(x, SEED).numpy() - 5.0
    assert noise[..., 0].std() == pytest.approx(0.2, rel=0.1)
    assert noise[..., 1].std() == pytest.approx(2.0, rel=0.1)


def test_a_series_of_one_step_stays_itself():
    x = np.full((3, 4, 1), np.nan, "float32")
    x[:, 0] = 7.0
    y = SeriesAugmentation(window=0.5, warp=0.5)(x, SEED).numpy()
    np.testing.assert_array_equal(y, x)


def test_a_function_of_the_seed_and_nothing_without_strengths():
    x = ramps()
    change = SeriesAugmentation(window=0.3, warp=0.3, scale=0.1, jitter=0.1, std=(1.0, 1.0))
    np.testing.assert_array_equal(change(x, SEED), change(x, SEED))
    assert not np.array_equal(change(x, SEED), change(x, SEED + 1))
    np.testing.assert_array_equal(SeriesAugmentation()(x, SEED), x)
