"""Errors against scikit-learn, intervals by coverage, the verdict on planted curves."""

import numpy as np
import pytest
from sklearn import metrics as reference

from kapps import evaluation
from kapps.errors import UserError


def test_errors_are_scikit_learns():
    rng = np.random.default_rng(0)
    targets = rng.normal(50, 10, 300)
    predictions = targets + rng.standard_t(3, 300) + 0.5
    found = evaluation.regression_metrics(targets, predictions)
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(targets, predictions))
    assert found["rmse"] == pytest.approx(reference.root_mean_squared_error(targets, predictions))
    assert found["r2"] == pytest.approx(reference.r2_score(targets, predictions))
    assert found["bias"] == pytest.approx(np.mean(predictions - targets))
    for name in ("mae", "rmse", "r2"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"]
    assert evaluation.regression_metrics(targets, predictions) == found  # seeded


def test_the_interval_of_a_mean_is_the_textbooks():
    """Of absolute errors with known spread: 1.96 standard errors either way, to a tenth."""
    rng = np.random.default_rng(1)
    targets = rng.normal(size=400)
    errors = rng.exponential(2.0, 400)
    found = evaluation.regression_metrics(targets, targets + errors)
    width = 1.96 * errors.std(ddof=1) / 20
    assert found["mae_high"] - found["mae"] == pytest.approx(width, rel=0.1)
    assert found["mae"] - found["mae_low"] == pytest.approx(width, rel=0.1)


def test_always_the_mean_explains_nothing():
    targets = np.array([1.0, 2.0, 6.0])
    assert evaluation.regression_metrics(targets, np.full(3, 3.0))["r2"] == pytest.approx(0.0)


def test_what_cannot_be_measured():
    for targets, predictions, words in (
        ([], [], "empty"),
        ([1.0, 1.0], [1.0, 2.0], "equal"),
        ([1.0, 2.0], [1.0, np.nan], "diverged"),
    ):
        with pytest.raises(UserError, match=words):
            evaluation.regression_metrics(np.array(targets), np.array(predictions))
    with pytest.raises(ValueError, match="wanted"):
        evaluation.regression_metrics(np.zeros(3), np.zeros((3, 1)))


def rows(train, validation, epochs=30, rate=(1e-3, 1e-5)):
    """metrics.csv of losses between these points {epoch: value}; annealed."""
    number = np.arange(1, epochs + 1)
    train, validation = (np.interp(number, list(p), list(p.values())) for p in (train, validation))
    rates = np.geomspace(*rate, epochs)
    return [
        {"epoch": i, "loss": 1.1 * t, "train_loss": t, "val_loss": v, "learning_rate": r}
        for i, t, v, r in zip(number, train, validation, rates, strict=True)
    ]


MANY = {"validation_examples": 2000, "train_examples": 8000}
FEW = {"validation_examples": 60, "train_examples": 240}
STORIES = {
    "well fitted": (rows({1: 0.9, 10: 0.3, 30: 0.28}, {1: 0.9, 10: 0.32, 30: 0.30}), MANY, {}),
    "over-fitted": (rows({1: 0.9, 10: 0.3, 30: 0.02}, {1: 0.9, 10: 0.4, 30: 0.60}), MANY, {}),
    "slightly over-fitted": (
        rows({1: 0.9, 10: 0.3, 30: 0.26}, {1: 0.9, 10: 0.30, 30: 0.34}), MANY, {}
    ),
    # Noise has its share: three quarters unexplained, and a linear model explains no more.
    "well fitted, by noise": (
        rows({1: 0.95, 9: 0.75, 30: 0.74}, {1: 0.95, 9: 0.77, 30: 0.76}), MANY, {"linear_r2": 0.25}
    ),
    "under-fitted": (
        rows({1: 0.95, 10: 0.75, 30: 0.74}, {1: 0.95, 10: 0.77, 30: 0.76}), MANY, {"linear_r2": 0.4}
    ),
    "not learned, however little": (
        rows({1: 1.0, 30: 0.97}, {1: 1.0, 30: 0.99}), MANY, {}
    ),
    "diverged": (rows({1: 0.9, 30: 4.0}, {1: 0.9, 30: 5.0}), MANY, {}),
    "too short to say": (rows({1: 0.9}, {1: 0.9}, epochs=2), MANY, {}),
    "still improving": (
        rows({1: 0.9, 30: 0.3}, {1: 0.9, 30: 0.32}, rate=(1e-3, 1e-3)), MANY, {}
    ),
    # The same losses as a real gap of 17 points, on too few examples to be sure of it.
    "cannot tell, few examples": (
        rows({1: 0.9, 10: 0.5, 30: 0.42}, {1: 0.9, 10: 0.55, 30: 0.55}), FEW, {}
    ),
}  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
def test_verdicts(story):
    history, examples, options = STORIES[story]
    verdict = evaluation.regression_verdict(history, **examples, **options)
    assert verdict.label == story.partition(",")[0], verdict.sentence
    assert verdict.sentence[-1] == "." and "accurac" not in verdict.sentence
    if verdict.label not in ("diverged",):
        assert "of the variance of" in verdict.sentence


def test_the_gaps_interval_holds_the_true_gap():
    """The losses of many draws of normal errors: the interval holds the difference in 95 %."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        train, validation = (rng.normal(size=n) ** 2 for n in (240, 60))
        history = [
            {"loss": 1, "train_loss": 0.4 * train.mean(), "val_loss": 0.5 * validation.mean()}
        ] * 3
        low, high = evaluation.regression_verdict(history, **FEW).gap_interval
        held += low <= 0.1 <= high
    # 380 are expected, with a deviation of 4.4; small samples of squares cost some.
    assert 362 <= held <= 395
    wide = evaluation.regression_verdict(history, **FEW, kurtosis=9.0).gap_interval
    assert wide[1] - wide[0] == pytest.approx(2 * (high - low))  # sqrt(8 / 2)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="train_loss"):
        evaluation.regression_verdict([{"loss": 1, "val_loss": 1}], **FEW)


@pytest.mark.slow
@pytest.mark.parametrize("count", [30, 200])
def test_the_intervals_hold_the_truth(count):
    """Simulation: targets of variance 4 + noise of variance 1, so R2 is 0.8."""
    random, held = np.random.default_rng(0), {"mae": 0, "rmse": 0, "r2": 0}
    truth = {"mae": np.sqrt(2 / np.pi), "rmse": 1.0, "r2": 0.8}
    for seed in range(400):
        said = 2 * random.normal(size=count)
        found = evaluation.regression_metrics(
            said + random.normal(size=count), said, seed=seed, resamples=400
        )
        for name, value in truth.items():
            held[name] += found[f"{name}_low"] <= value <= found[f"{name}_high"]
    # Two standard errors of a share of 400 are 2.2 points.
    assert all(0.915 <= times / 400 <= 0.98 for times in held.values()), held
