"""MiniRocket against convolutions of NumPy, and on a task of few series."""

import numpy as np
import pytest

from kapps.evaluation.series.minirocket import (
    FEATURES,
    KERNELS,
    fit_minirocket,
    minirocket_features,
)
from kapps.evaluation.series.peers import minirocket_ridge, nearest_labels


def bursts(count, seed):
    """Noise with a short oscillation anywhere, fast or slow, of either sign."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    values = rng.normal(0, 0.3, (count, 60, 1))
    for x, label in zip(values, labels, strict=True):
        at = rng.integers(0, 45)
        x[at : at + 15, 0] += np.sin(np.arange(15) * (1.2 if label else 2.0) + rng.uniform(0, 6))
    return values.astype("f4"), labels


@pytest.mark.slow
def test_counts_are_those_of_the_paper():
    """Section 3.1: 84 kernels of length 9; 9,996 features by default."""
    assert len(KERNELS) == 84
    values, _ = bursts(30, 0)
    fitted = fit_minirocket(values)
    assert minirocket_features(fitted, values[:2]).shape == (2, FEATURES) == (2, 84 * 119)
    assert fitted.dilations[0] == 1 and fitted.dilations[-1] == 7  # (60 - 1) / 8


def test_a_feature_is_the_share_of_a_convolution_above_a_threshold():
    values, _ = bursts(10, 1)
    fitted = fit_minirocket(values, 84 * 3, seed=2)
    found = minirocket_features(fitted, values)
    column = 0
    for dilation, levels in zip(fitted.dilations, fitted.thresholds, strict=True):
        for kernel, places in enumerate(KERNELS):
            weights = np.full(9, -1.0)
            weights[list(places)] = 2
            spread = np.zeros(8 * dilation + 1)
            spread[::dilation] = weights
            mode = "valid" if (kernel + dilation) % 2 else "same"
            whole = np.stack([np.correlate(x[:, 0], spread, mode) for x in values])
            for level in levels[kernel]:
                share = (whole > level).mean(axis=1)
                np.testing.assert_allclose(found[:, column], share, atol=0.021)  # ties in float32
                column += 1
    assert column == found.shape[1]


def test_padding_changes_nothing():
    values, _ = bursts(10, 3)
    values = np.concatenate([values, values[:, ::-1]], axis=2)
    longer = np.pad(values, ((0, 0), (0, 25), (0, 0)), constant_values=np.nan)
    fitted = fit_minirocket(values, 840)
    np.testing.assert_array_equal(
        minirocket_features(fitted, values), minirocket_features(fitted, longer)
    )


@pytest.mark.slow
def test_it_learns_from_few_what_distances_do_not():
    known, labels = bursts(24, 4)
    asked, truth = bursts(120, 5)
    rocket = (minirocket_ridge(known, labels, asked) == truth).mean()
    nearest = (nearest_labels(known, labels, asked) == truth).mean()
    assert rocket > 0.9 and rocket > nearest


def test_the_nearest_by_hand():
    known = np.array([[0, 0, 0], [1, 1, np.nan]], "f4")[..., None]
    asked = np.array([[0.9, 0.9, 0.1], [0.2, 0.1, 0.4]], "f4")[..., None]
    assert nearest_labels(known, np.array([7, 9]), asked).tolist() == [9, 7]


@pytest.mark.parametrize("steps", [3, 9])
def test_series_shorter_than_a_kernel(steps):
    values = np.random.default_rng(0).normal(size=(6, steps, 2))
    found = minirocket_features(fit_minirocket(values, 168), values)
    assert np.isfinite(found).all() and found.max() <= 1
