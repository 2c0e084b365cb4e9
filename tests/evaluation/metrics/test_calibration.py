"""Calibration against bins filled by hand and an independent minimizer."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import optimize, special

from kapps import evaluation
from kapps.errors import UserError
from kapps.evaluation.metrics.calibration import TEMPERATURE_RANGE


def two_class(confidence):
    """Probabilities with class 0 predicted at `confidence`."""
    confidence = np.asarray(confidence, float)
    return np.stack([confidence, 1 - confidence], axis=-1)


def test_error_by_hand():
    # Bins of 0.1. (0.8, 0.9]: 0.85 right, 0.9 wrong -> |0.5 - 0.875| = 0.375 on 2 of 4 examples;
    # (0.5, 0.6]: 0.6 and 0.6, both right -> |1 - 0.6| = 0.4 on 2 of 4.
    labels = np.array([0, 1, 0, 0])
    probabilities = two_class([0.85, 0.9, 0.6, 0.6])
    error = evaluation.expected_calibration_error(labels, probabilities, bins=10)
    assert error == pytest.approx(0.5 * 0.375 + 0.5 * 0.4)
    bins = evaluation.reliability_bins(labels, probabilities, bins=10)
    np.testing.assert_array_equal(bins.counts, [0, 0, 0, 0, 0, 2, 0, 0, 2, 0])
    np.testing.assert_allclose(bins.accuracy[[5, 8]], [1, 0.5])
    np.testing.assert_allclose(bins.confidence[[5, 8]], [0.6, 0.875])
    assert np.isnan(bins.accuracy[0])


def test_a_confidence_on_an_edge_belongs_to_the_lower_bin():
    # Guo 2017: B_m covers ((m - 1) / M, m / M].
    bins = evaluation.reliability_bins(np.array([0, 0, 0]), two_class([0.5, 0.75, 1.0]), bins=4)
    np.testing.assert_array_equal(bins.counts, [0, 1, 1, 1])


def test_certain_and_always_right_or_wrong():
    sure = two_class([1.0, 1.0])
    assert evaluation.expected_calibration_error(np.array([0, 0]), sure) == 0
    assert evaluation.expected_calibration_error(np.array([1, 1]), sure) == 1
    with pytest.raises(ValueError, match="no examples"):
        evaluation.expected_calibration_error(np.zeros(0, int), np.zeros((0, 2)))


def test_softmax_divides_by_the_temperature():
    np.testing.assert_allclose(
        evaluation.softmax(np.array([[np.log(9.0), 0.0], [2000.0, 0.0]]), 2.0),
        [[0.75, 0.25], [1.0, 0.0]],
    )


def planted(temperature, count=40_000, classes=5, seed=0):
    """Labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2 * temperature, size=(count, classes))
    return special.softmax(logits / temperature, axis=-1).cumsum(-1), logits, rng


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_a_planted_temperature_is_found_again(temperature):
    cumulative, logits, rng = planted(temperature)
    labels = (rng.random((len(logits), 1)) > cumulative).sum(-1)
    found = evaluation.fit_temperature(labels, logits)
    assert found == pytest.approx(temperature, rel=0.03)  # three standard errors of 40,000
    before = evaluation.expected_calibration_error(labels, evaluation.softmax(logits))
    after = evaluation.expected_calibration_error(labels, evaluation.softmax(logits, found))
    assert after < 0.01
    assert temperature == 1 or before > 5 * after


def drawn(temperature, count, seed, classes=10, scale=3.0):
    """Logits that are `temperature` times too large, and labels of what they should have been."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=scale, size=(count, classes))
    cumulative = special.softmax(logits, axis=-1).cumsum(-1)
    labels = (rng.random((count, 1)) > cumulative).sum(-1)
    return np.minimum(labels, classes - 1), temperature * logits


def nll(labels, logits, temperature=1.0):
    log_p = special.log_softmax(logits / temperature, axis=-1)
    return -log_p[np.arange(len(labels)), labels].mean()


def test_agrees_with_a_direct_search_for_the_highest_posterior():
    labels, logits = drawn(1.7, 5_000, 1)

    def cost(log_temperature):
        prior = 0.5 * (log_temperature / 0.35) ** 2
        return len(labels) * nll(labels, logits, np.exp(log_temperature)) + prior

    direct = np.exp(optimize.minimize_scalar(cost, bounds=(-3, 3), method="bounded").x)
    assert evaluation.fit_temperature(labels, logits) == pytest.approx(direct, rel=1e-3)


@pytest.mark.parametrize(("temperature", "count"), [(1.0, 144), (1.0, 360), (1.5, 144), (2.5, 144)])
def test_small_data_is_not_harmed(temperature, count):
    """Simulation: on new examples the loss hardly rises where nothing is wrong, and falls where
    the logits are too large. Reference values by a separate program: +0.1 %, -6.7 %, -30 %."""
    changes = []
    for seed in range(20):
        found = evaluation.fit_temperature(*drawn(temperature, count, seed))
        labels, logits = drawn(temperature, 4000, 1000 + seed)
        changes.append(nll(labels, logits, found) / nll(labels, logits) - 1)
    assert np.mean(changes) < {1.0: 0.005, 1.5: -0.04, 2.5: -0.25}[temperature]
    assert max(changes) < 0.05


def test_a_temperature_is_used_only_if_it_helps_examples_that_it_was_not_fitted_on():
    """Of a calibrated network there is nothing to gain: mostly 1, and never where it is needed."""
    found = [evaluation.fit_temperature(*drawn(1.0, 144, seed)) for seed in range(30)]
    assert 10 <= sum(temperature == 1 for temperature in found) < 30
    needed = [evaluation.fit_temperature(*drawn(2.0, 360, seed)) for seed in range(10)]
    assert min(needed) > 1.3


def test_perfect_separation_claims_no_certainty():
    # Every margin is 10, two classes: the unshrunk likelihood would have T -> 0.05.
    labels = np.array([0, 1] * 49)
    logits = np.where(np.eye(2)[labels] > 0, 4.0, 0.0)
    found = evaluation.fit_temperature(labels, logits)
    assert 0.5 < found < 1


def test_what_cannot_be_checked_by_cross_validation_is_not_used():
    assert evaluation.fit_temperature(np.array([0, 1, 0]), np.eye(2)[[0, 1, 1]]) == 1


def test_calibration_before_and_after_and_by_chance():
    labels, logits = drawn(2.0, 360, 0)
    found = evaluation.calibration(labels, logits, 2.0)
    assert found.loss_before == pytest.approx(nll(labels, logits))
    assert found.loss == pytest.approx(nll(labels, logits, 2.0))
    assert found.loss < found.loss_before
    after = evaluation.softmax(logits, 2.0)
    assert found.ece == evaluation.expected_calibration_error(labels, after)
    before = evaluation.softmax(logits)
    assert found.ece_before == evaluation.expected_calibration_error(labels, before)
    assert found.ece < found.ece_if_calibrated_high < found.ece_before
    # Chance is that of what is served: of the divided logits.
    divided = evaluation.calibration(labels, logits / 2.0)
    assert found.ece_if_calibrated == pytest.approx(divided.ece_if_calibrated, rel=1e-9)


def test_the_error_of_the_perfectly_calibrated_is_what_new_labels_have():
    """Not zero: with labels drawn from the very probabilities, 95 % stay below the upper figure."""
    rng = np.random.default_rng(1)
    _, logits = drawn(1.0, 360, 2)
    found = evaluation.calibration(np.zeros(360, int), logits)
    cumulative = evaluation.softmax(logits).cumsum(-1)
    errors = []
    for _ in range(200):
        labels = np.minimum((rng.random((360, 1)) > cumulative).sum(-1), 9)
        errors.append(evaluation.expected_calibration_error(labels, evaluation.softmax(logits)))
    assert found.ece_if_calibrated == pytest.approx(np.mean(errors), rel=0.08)
    assert np.mean(np.array(errors) < found.ece_if_calibrated_high) == pytest.approx(0.95, abs=0.05)
    assert found.ece_if_calibrated > 0.02


def test_logits_of_a_diverged_model_are_a_user_error():
    with pytest.raises(UserError, match="diverged"):
        evaluation.fit_temperature(np.array([0, 1]), np.array([[0.0, np.nan], [1.0, 2.0]]))


def test_the_ends_and_logits_that_say_nothing():
    labels = np.array([0, 1] * 200)
    right = np.eye(2)[labels]
    coldest, hottest = TEMPERATURE_RANGE
    # So small that no temperature gains as much as the prior costs.
    assert coldest < evaluation.fit_temperature(labels, 1e-3 * right) < 1
    assert 5 < evaluation.fit_temperature(labels, 10 * (1 - right)) <= hottest  # always wrong
    assert evaluation.fit_temperature(labels, np.zeros((400, 2))) == 1
    assert evaluation.fit_temperature(labels, np.full((400, 2), 7.0)) == 1
    with pytest.raises(ValueError, match="no examples"):
        evaluation.fit_temperature(np.zeros(0, int), np.zeros((0, 2)))


@pytest.mark.slow
@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.1, 1e3), shift=st.floats(-1e4, 1e4))
def test_any_logits_give_a_temperature_in_range_that_shifts_leave_alone(seed, scale, shift):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 12)
    logits = scale * rng.normal(size=(12, 4))
    found = evaluation.fit_temperature(labels, logits)
    assert TEMPERATURE_RANGE[0] <= found <= TEMPERATURE_RANGE[1]
    assert evaluation.fit_temperature(labels, logits + shift) == pytest.approx(found, rel=1e-4)
