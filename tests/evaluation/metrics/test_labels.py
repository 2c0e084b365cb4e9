"""Figures of several labels, by hand and by another library."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as reference

from kapps.errors import UserError
from kapps.evaluation.metrics import labels


def logit(p):
    p = np.asarray(p, np.float64)
    return np.log(p / (1 - p))


def test_thresholds_have_the_highest_f1():
    """Tried by brute force over all that are between two probabilities."""
    rng = np.random.default_rng(0)
    targets = (rng.random((80, 4)) < (0.1, 0.3, 0.5, 0.9)).astype(float)
    chances = np.round(np.clip(targets * 0.3 + rng.random((80, 4)) * 0.7, 0.01, 0.99), 2)
    chosen = labels.choose_thresholds(targets, chances)

    def f1(truth, said, threshold):
        given = said > threshold
        return 2 * (given & (truth > 0)).sum() / max(given.sum() + truth.sum(), 1)

    for truth, said, threshold in zip(targets.T, chances.T, chosen, strict=True):
        best = max(f1(truth, said, t) for t in np.arange(-0.005, 1.0, 0.01))
        assert f1(truth, said, threshold) == pytest.approx(best)
        assert 0 < threshold < 1 and np.abs(said - threshold).min() > 1e-4


def test_rare_labels_have_one_half():
    targets = np.zeros((50, 2))
    targets[:4, 0], targets[:47, 1] = 1, 1  # four have the one, three lack the other
    chances = np.random.default_rng(0).random((50, 2))
    assert labels.choose_thresholds(targets, chances).tolist() == [0.5, 0.5]


def test_figures_by_hand():
    targets = np.array([[1, 0], [1, 1], [0, 0], [0, 1]])
    chances = np.array([[0.9, 0.2], [0.4, 0.8], [0.6, 0.1], [0.1, 0.3]])
    found = labels.label_metrics(targets, logit(chances), ("a", "b"), np.array([0.5, 0.25]))
    a, b = found["per_label"]
    # a: given to the first and third; b to the second and fourth.
    assert (a["precision"], a["recall"], a["f1"], a["support"]) == (0.5, 0.5, 0.5, 2)
    assert (b["precision"], b["recall"], b["f1"]) == (1.0, 1.0, 1.0)
    assert a["roc_auc"] == 0.75 and b["roc_auc"] == 1.0  # of four pairs one is in the wrong order
    assert a["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["exact"] == 0.5 and found["label_accuracy"] == 0.75
    # Wilson's ends of 2 of 4: (0.5 + z^2 / 8 -+ z sqrt(1 / 16 + z^2 / 64)) / (1 + z^2 / 4).
    assert (found["exact_low"], found["exact_high"]) == pytest.approx((0.150, 0.850), abs=5e-4)
    assert found["macro_f1"] == 0.75 and found["micro_f1"] == pytest.approx(0.75)
    right = np.where(targets, chances, 1 - chances)
    assert found["loss"] == pytest.approx(-np.log(right).mean())


def test_f1_is_scikit_learns():
    rng = np.random.default_rng(1)
    targets, said = rng.random((2, 200, 5)) < (0.02, 0.1, 0.3, 0.6, 0.0)
    found = labels.f1_scores(targets, said)
    for kind in ("macro", "micro"):
        expected = reference.f1_score(targets, said, average=kind, zero_division=0.0)
        assert found[f"{kind}_f1"] == pytest.approx(expected)
        assert 0 <= found[f"{kind}_f1_low"] < expected < found[f"{kind}_f1_high"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, 400])
def test_the_intervals_of_f1_hold_the_truth(count):
    """Simulation: labels of 20 to 50 % that go together, given with known hits and false alarms."""
    share, hit, alarm = np.array([0.2, 0.3, 0.5]), 0.8, 0.1
    # Twice the hits over what occurs and what is given, as shares of all pictures.
    above, below = 2 * share * hit, share + share * hit + (1 - share) * alarm
    truth = {"macro_f1": (above / below).mean(), "micro_f1": above.sum() / below.sum()}
    rng, held = np.random.default_rng(0), dict.fromkeys(truth, 0)
    for seed in range(1000):
        hard = rng.normal(size=(count, 1))  # of the picture: its labels go together
        uniform = stats.norm.cdf((hard + rng.normal(size=(count, 3))) / np.sqrt(2))
        targets = uniform < share
        said = rng.random((count, 3)) < np.where(targets, hit, alarm)
        found = labels.f1_scores(targets, said, resamples=300, seed=seed)
        for name, value in truth.items():
            held[name] += found[f"{name}_low"] <= value <= found[f"{name}_high"]
    assert all(0.93 <= times / 1000 <= 0.97 for times in held.values()), held


def test_a_label_that_all_or_none_have_has_no_curve():
    targets, logits = np.array([[1, 0], [1, 1]]), np.array([[2.0, -1.0], [1.0, 1.0]])
    found = labels.label_metrics(targets, logits, ("a", "b"), np.array([0.5, 0.5]))
    assert found["per_label"][0]["roc_auc"] is None and found["roc_auc"] == 1.0


def test_sigmoid_and_loss_at_the_ends():
    far = np.array([[800.0, -800.0]])
    assert labels.probabilities_of(far).tolist() == [[1.0, 0.0]]
    assert labels.losses_of(np.array([[1, 0]]), far).tolist() == [0.0]
    assert labels.losses_of(np.array([[0, 1]]), far).tolist() == [800.0]


def test_the_loss_of_who_knows_frequencies():
    """Of half, ln 2; of a quarter, by hand; the mean of both. Of none, nothing."""
    known = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]])
    quarter = -0.25 * np.log(0.25) - 0.75 * np.log(0.75)
    assert labels.ignorant_loss(known) == pytest.approx((np.log(2) + quarter) / 3, abs=1e-9)


def test_a_diverged_model_is_named():
    with pytest.raises(UserError, match="diverged"):
        labels.label_metrics(np.eye(2), np.full((2, 2), np.nan), "ab", np.array([0.5, 0.5]))
    with pytest.raises(UserError, match="empty"):
        labels.label_metrics(np.zeros((0, 2)), np.zeros((0, 2)), "ab", np.array([0.5, 0.5]))
