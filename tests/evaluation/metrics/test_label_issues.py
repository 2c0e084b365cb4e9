"""Likely label errors: by hand, and planted ones among many."""

import numpy as np
from scipy import special

from kapps.evaluation.metrics.label_issues import label_issues


def test_by_hand():
    labels = [0, 0, 1, 1, 1]
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.4, 0.6], [0.55, 0.45]])
    # Thresholds: (0.9 + 0.3) / 2 = 0.6 of class 0, (0.8 + 0.6 + 0.45) / 3 = 0.617 of class 1.
    # Row 1 says 0.7 of class 1, row 4 says 0.55 of class 0, which is not enough.
    assert [issue[:3] for issue in label_issues(labels, probabilities)] == [(1, 0, 1)]
    assert label_issues(labels[:0], probabilities[:0]) == []
    assert label_issues([0, 0], probabilities[:2]) == []  # nobody is labelled 1: no threshold


def test_planted_errors_are_found_first():
    random = np.random.default_rng(0)
    true = random.integers(0, 5, 2000)
    logits = random.normal(0, 1, (2000, 5)) + 6 * np.eye(5)[true]
    labels, wrong = true.copy(), random.choice(2000, 60, replace=False)
    labels[wrong] = (true[wrong] + random.integers(1, 5, 60)) % 5
    found = label_issues(labels, special.softmax(logits, axis=-1))
    rows = [issue.row for issue in found]
    assert set(rows) <= set(wrong) and len(rows) >= 54
    right = [issue.suggested == true[issue.row] for issue in found[:50]]
    assert np.mean(right) > 0.9
    margins = [issue.given - issue.other for issue in found]
    assert margins == sorted(margins)


def test_a_class_that_is_never_sure_needs_less():
    """Thresholds by hand: (49 * 0.9 + 0.55) / 50 = 0.893 of class 0, 0.42 of the timid class 1."""
    labels = np.array([0] * 50 + [1] * 50)
    timid = np.r_[np.full(49, 0.1), 0.45, np.full(50, 0.42)]
    found = label_issues(labels, np.stack([1 - timid, timid], axis=1))
    assert [issue[:3] for issue in found] == [(49, 0, 1)]


def test_a_network_that_has_learned_nothing_judges_no_labels():
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 2000)
    noise = random.normal(0, 1, (2000, 5))
    assert label_issues(labels, special.softmax(noise, axis=-1)) == []
    # One that has half of them right, of labels of which 40 % are wrong, does.
    true = np.where(random.random(2000) < 0.4, random.integers(0, 5, 2000), labels)
    found = label_issues(labels, special.softmax(noise + 3 * np.eye(5)[true], axis=-1))
    assert np.mean([true[issue.row] != labels[issue.row] for issue in found]) > 0.8
