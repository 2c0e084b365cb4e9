"""Scores of class probabilities by hand and against SciPy."""

import numpy as np
import pytest
from scipy import stats

from kapps import evaluation
from kapps.errors import UserError


def test_the_ends_of_the_scale():
    sure = np.eye(5)[np.arange(100) % 5]
    assert evaluation.classifier_score(sure, splits=1) == pytest.approx((5, 0))
    unsure = np.full((100, 5), 0.2)
    assert evaluation.classifier_score(unsure).value == pytest.approx(1)
    one_class = np.eye(5)[np.zeros(100, int)]
    assert evaluation.classifier_score(one_class).value == pytest.approx(1)


def test_by_hand():
    # p(y) = (1/2, 1/2). KL of (0.9, 0.1) and of (0.1, 0.9) from it: log 2 - H(0.1).
    probabilities = np.array([[0.9, 0.1], [0.1, 0.9]])
    divergence = np.log(2) - stats.bernoulli(0.1).entropy()
    found = evaluation.classifier_score(probabilities, splits=1)
    assert found.value == pytest.approx(np.exp(divergence))
    # KL of p(y) from each instead would be log(0.5 / sqrt(0.09)): not this.
    assert divergence != pytest.approx(np.log(0.5 / 0.3), abs=0.05)


def test_splits_are_averaged_after_shuffling():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), size=60)
    order = np.random.default_rng(7).permutation(60)
    scores = []
    for part in probabilities[order].reshape(3, 20, 4):
        divergences = [stats.entropy(row, part.mean(axis=0)) for row in part]
        scores.append(np.exp(np.mean(divergences)))
    found = evaluation.classifier_score(probabilities, splits=3, seed=7)
    assert found.value == pytest.approx(np.mean(scores))
    assert found.deviation == pytest.approx(np.std(scores))


def test_samples_that_come_class_by_class():
    # Unshuffled, every split would hold one class and score 1.
    probabilities = np.eye(10)[np.repeat(np.arange(10), 100)]
    assert evaluation.classifier_score(probabilities, splits=10).value > 9


def test_class_balance():
    even = np.eye(4)[np.arange(40) % 4]
    assert evaluation.class_balance_kl(even, even) == 0
    collapsed = np.eye(4)[np.full(10, 2)]
    assert evaluation.class_balance_kl(collapsed, even) == pytest.approx(np.log(4))
    # Ten of class 2; the three others count as half an image: shares 10 and 1/2 of 11.5.
    finite = 0.75 * np.log(0.25 / (0.5 / 11.5)) + 0.25 * np.log(0.25 / (10 / 11.5))
    assert evaluation.class_balance_kl(even, collapsed) == pytest.approx(finite)
    # Real shares 3/4, 1/4; samples 1/2, 1/2: KL(samples || real), not the other way.
    real, samples = np.eye(2)[[0, 0, 0, 1]], np.eye(2)[[0, 1]]
    exact = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    assert evaluation.class_balance_kl(samples, real) == pytest.approx(exact)
    # Only the most probable class counts.
    assert evaluation.class_balance_kl(np.array([[0.6, 0.4], [0.4, 0.6]]), samples) == 0


@pytest.mark.parametrize(
    "wrong",
    [np.array([[2.0, -1.0]]), np.array([[0.5, 0.4]]), np.array([0.5, 0.5]), np.zeros((0, 3))],
)
def test_what_is_no_probability(wrong):
    with pytest.raises(UserError, match="Probabilities"):
        evaluation.classifier_score(wrong, splits=1)
    with pytest.raises(UserError, match="Probabilities"):
        evaluation.class_balance_kl(wrong, wrong)


def test_splits_and_widths_that_do_not_fit():
    with pytest.raises(UserError, match="2 samples cannot be divided into 3"):
        evaluation.classifier_score(np.eye(2), splits=3)
    with pytest.raises(UserError, match="classes"):
        evaluation.class_balance_kl(np.eye(2), np.eye(3))
