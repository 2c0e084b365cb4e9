"""The verdict on planted learning curves whose story is known."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from kapps import evaluation


def curve(points, epochs):
    """Straight lines through {epoch: value}."""
    return np.interp(np.arange(1, epochs + 1), list(points), list(points.values()))


def rows(epochs, *, noise=0.0, seed=0, learning_rate=None, **curves):
    """metrics.csv rows from {epoch: value} curves; `noise` is that of the validation loss."""
    rng = np.random.default_rng(seed)
    columns = {name: curve(points, epochs) for name, points in curves.items()}
    columns["val_loss"] = columns["val_loss"] + noise * rng.normal(size=epochs)
    columns["loss"] = 1.2 * columns["train_loss"]
    columns["accuracy"] = columns["train_accuracy"] - 0.01
    columns["learning_rate"] = curve(learning_rate or {1: 1e-3}, epochs)
    columns["epoch"] = np.arange(1, epochs + 1)
    return [{name: float(values[i]) for name, values in columns.items()} for i in range(epochs)]


FASHION = dict(validation_examples=6000, train_examples=10_000, baseline_accuracy=0.1)
DIGITS = dict(validation_examples=290, train_examples=1150, baseline_accuracy=0.11)
SMALL = dict(validation_examples=60, train_examples=240, baseline_accuracy=0.5)

NO_AUGMENTATION = dict(
    train_loss={1: 0.38, 3: 0.22, 7: 0.12, 14: 0.03, 20: 0.005},
    val_loss={1: 0.42, 3: 0.29, 7: 0.23, 14: 0.31, 20: 0.40},
    train_accuracy={1: 0.86, 7: 0.957, 14: 0.99, 20: 0.999},
    val_accuracy={1: 0.85, 7: 0.918, 20: 0.924},
)
AUGMENTED = dict(
    train_loss={1: 0.45, 5: 0.24, 12: 0.14, 20: 0.085},
    val_loss={1: 0.46, 5: 0.27, 12: 0.185, 17: 0.166, 20: 0.165},
    train_accuracy={1: 0.83, 5: 0.91, 20: 0.970},
    val_accuracy={1: 0.83, 5: 0.90, 20: 0.943},
)
DIGITS_CNN = dict(
    train_loss={1: 1.2, 5: 0.15, 15: 0.012, 30: 0.003},
    val_loss={1: 1.25, 5: 0.2, 15: 0.062, 30: 0.051},
    train_accuracy={1: 0.7, 5: 0.97, 12: 1.0, 30: 1.0},
    val_accuracy={1: 0.68, 5: 0.95, 12: 0.983, 30: 0.986},
)
CONSTANT = dict(
    train_loss={1: 2.303}, val_loss={1: 2.303}, train_accuracy={1: 0.1}, val_accuracy={1: 0.1}
)
FLAT = dict(
    train_loss={1: 0.5, 5: 0.25}, val_loss={1: 0.5, 5: 0.3},
    train_accuracy={1: 0.8, 5: 0.92}, val_accuracy={1: 0.8, 5: 0.9},
)  # fmt: skip

PLANTED = {
    "fashion mnist without augmentation": ("over-fitted", rows(20, **NO_AUGMENTATION), FASHION),
    "the same, noisy": ("over-fitted", rows(20, noise=0.02, **NO_AUGMENTATION), FASHION),
    "fashion mnist augmented": ("well fitted", rows(20, **AUGMENTED), FASHION),
    "the same, noisy ": ("well fitted", rows(20, noise=0.008, **AUGMENTED), FASHION),
    "digits, both losses falling": ("well fitted", rows(30, **DIGITS_CNN), DIGITS),
    "digits, noisy": ("well fitted", rows(30, noise=0.005, **DIGITS_CNN), DIGITS),
    "constant classifier": ("under-fitted", rows(10, **CONSTANT), FASHION),
    "constant classifier, noisy": ("under-fitted", rows(10, noise=0.02, **CONSTANT), FASHION),
    "flat noise for 100 epochs": ("well fitted", rows(100, noise=0.03, **FLAT), FASHION),
    "slow rise under noise": (
        "over-fitted",
        rows(60, noise=0.03, **FLAT | {
            "val_loss": {1: 0.5, 8: 0.3, 60: 0.42}, "train_loss": {1: 0.5, 60: 0.1},
            "train_accuracy": {1: 0.8, 60: 0.96}}),
        FASHION,
    ),
    "slight rise": (
        "slightly over-fitted",
        rows(20, **AUGMENTED | {"val_loss": {1: 0.46, 12: 0.18, 20: 0.20}}),
        FASHION,
    ),
    "large gap, flat validation loss": (
        "over-fitted",
        rows(15, **FLAT | {"train_accuracy": {1: 0.7, 15: 0.99}, "val_accuracy": {1: 0.7, 5: 0.8},
                           "train_loss": {1: 0.8, 15: 0.05}, "val_loss": {1: 0.9, 8: 0.6}}),
        FASHION,
    ),
    "seven points, flat validation loss": (
        "slightly over-fitted",
        rows(15, **FLAT | {"train_accuracy": {1: 0.8, 15: 0.97}, "train_loss": {1: 0.5, 15: 0.1}}),
        FASHION,
    ),
    "random labels learned by heart": (
        "over-fitted",
        rows(40, train_loss={1: 2.3, 40: 1.2}, val_loss={1: 2.31, 40: 3.9},
             train_accuracy={1: 0.1, 40: 0.6}, val_accuracy={1: 0.1}),
        FASHION,
    ),
    "ten points on a hundred examples": (
        "slightly over-fitted",
        rows(15, train_loss={1: 0.6, 15: 0.35}, val_loss={1: 0.6, 10: 0.5},
             train_accuracy={1: 0.7, 15: 0.956}, val_accuracy={1: 0.7, 10: 0.85}),
        DIGITS | {"validation_examples": 100},
    ),
    "two mistakes of 60 are no proof": (
        "well fitted",
        rows(15, train_loss={1: 0.6, 15: 0.05}, val_loss={1: 0.6, 10: 0.12},
             train_accuracy={1: 0.7, 15: 1.0}, val_accuracy={1: 0.7, 10: 0.967}),
        SMALL,
    ),
    "a strong rise on too few examples": (
        "slightly over-fitted",
        rows(15, train_loss={1: 0.6, 15: 0.02}, val_loss={1: 0.6, 6: 0.15, 15: 0.3},
             train_accuracy={1: 0.7, 15: 1.0}, val_accuracy={1: 0.7, 10: 0.983}),
        SMALL,
    ),
    "few examples, a high baseline": (
        "well fitted",
        rows(15, train_loss={1: 0.2, 15: 0.02}, val_loss={1: 0.2, 6: 0.05},
             train_accuracy={1: 0.9, 5: 1.0}, val_accuracy={1: 0.9, 10: 0.967}),
        SMALL | {"baseline_accuracy": 0.9},
    ),
    "stopped while falling": (
        "still improving",
        rows(5, train_loss={1: 0.8, 5: 0.4}, val_loss={1: 0.8, 5: 0.42},
             train_accuracy={1: 0.7, 5: 0.86}, val_accuracy={1: 0.7, 5: 0.85}),
        FASHION,
    ),
    "falling, but the schedule has ended": (
        "well fitted",
        rows(5, learning_rate={1: 1e-3, 5: 1e-6},
             train_loss={1: 0.8, 5: 0.4}, val_loss={1: 0.8, 5: 0.42},
             train_accuracy={1: 0.7, 5: 0.86}, val_accuracy={1: 0.7, 5: 0.85}),
        FASHION,
    ),
    "a large gap still closing": (
        "still improving",
        rows(8, train_loss={1: 1.5, 8: 0.25}, val_loss={1: 1.8, 8: 0.6},
             train_accuracy={1: 0.5, 8: 0.95}, val_accuracy={1: 0.4, 8: 0.82}),
        FASHION,
    ),
    "a spike in the last epoch": (
        "well fitted",
        rows(20, **AUGMENTED | {"val_loss": {1: 0.46, 12: 0.185, 19: 0.165, 20: 0.9}}),
        FASHION,
    ),
    "low plateau": (
        "under-fitted",
        rows(20, train_loss={1: 2.2, 6: 1.7}, val_loss={1: 2.2, 6: 1.7},
             train_accuracy={1: 0.2, 6: 0.38}, val_accuracy={1: 0.2, 6: 0.38}),
        FASHION,
    ),
    "imbalanced, no better than the majority": (
        "under-fitted",
        rows(10, train_loss={1: 0.3, 4: 0.2}, val_loss={1: 0.3, 4: 0.2},
             train_accuracy={1: 0.95}, val_accuracy={1: 0.95}),
        FASHION | {"baseline_accuracy": 0.95},
    ),
    "both losses climb": (
        "unstable",
        rows(12, train_loss={1: 1.5, 5: 0.4, 12: 0.9}, val_loss={1: 1.5, 5: 0.45, 12: 1.0},
             train_accuracy={1: 0.5, 5: 0.87, 12: 0.7}, val_accuracy={1: 0.5, 5: 0.85, 12: 0.68}),
        FASHION,
    ),
    "loss explodes": (
        "diverged",
        rows(8, train_loss={1: 2.0, 3: 1.0, 8: 900.0}, val_loss={1: 2.0, 3: 1.1, 8: 950.0},
             train_accuracy={1: 0.3, 3: 0.6, 8: 0.1}, val_accuracy={1: 0.3, 3: 0.6, 8: 0.1}),
        FASHION,
    ),
    "two epochs": ("too short to say", rows(2, **NO_AUGMENTATION), FASHION),
    "one epoch": ("too short to say", rows(1, **NO_AUGMENTATION), FASHION),
}  # fmt: skip


@pytest.mark.parametrize("case", PLANTED)
def test_planted_history(case):
    label, history, counts = PLANTED[case]
    verdict = evaluation.overfitting_verdict(history, **counts)
    assert verdict.label == label, verdict.sentence
    assert "Try" in verdict.sentence or "Train for" in verdict.sentence or "try" in verdict.sentence
    assert "nan" not in verdict.sentence.lower()
    json.dumps(dataclasses.asdict(verdict), allow_nan=False)


def test_the_words_and_numbers_of_an_over_fitted_run():
    history = rows(20, **NO_AUGMENTATION)
    verdict = evaluation.overfitting_verdict(history, **FASHION)
    for part in (
        "99.9 %", "92.4 %", "7.5 points", "lowest at epoch 7 (0.230)",
        "too sure of its answers", "augmentation", "dropout", "stop near epoch 7",
    ):  # fmt: skip
        assert part in verdict.sentence
    assert (verdict.epochs, verdict.best_epoch) == (20, 7)
    assert verdict.gap == pytest.approx(0.075)
    assert verdict.best_gap == pytest.approx(0.957 - 0.918)
    # Newcombe's method 10 with Wilson intervals (0.9989 .. ) worked out with z = 1.959964:
    # train 9990/10000 -> (0.998159, 0.999457), validation 5544/6000 -> (0.917021, 0.930446)
    assert verdict.gap_interval == pytest.approx((0.068499, 0.081994), abs=2e-5)
    assert verdict.val_loss_rise == pytest.approx(0.385 / 0.23 - 1, rel=1e-6)
    assert verdict.val_loss_slope == pytest.approx(0.0131, abs=1e-3)  # (0.40 - 0.23) / 13
    assert verdict.loss_ratio == pytest.approx(80)


def test_an_over_fitted_run_whose_accuracy_fell_too_is_not_called_too_sure():
    history = rows(20, **NO_AUGMENTATION | {"val_accuracy": {1: 0.85, 7: 0.93, 20: 0.91}})
    verdict = evaluation.overfitting_verdict(history, **FASHION)
    assert verdict.label == "over-fitted"
    assert "too sure" not in verdict.sentence


def test_a_small_gap_with_equal_loss_is_not_held_against_the_run():
    """Seven points apart, but hardly in loss: the loss ratio keeps the verdict back."""
    history = rows(
        15, **FLAT | {"train_accuracy": {1: 0.8, 15: 0.97}, "train_loss": {1: 0.5, 15: 0.2}}
    )
    assert evaluation.overfitting_verdict(history, **FASHION).label == "well fitted"


def test_the_same_curves_prove_less_on_fewer_examples():
    history = PLANTED["large gap, flat validation loss"][1]
    many = evaluation.overfitting_verdict(history, validation_examples=6000)
    few = evaluation.overfitting_verdict(history, validation_examples=40)
    assert (many.label, few.label) == ("over-fitted", "slightly over-fitted")
    assert few.gap_interval[0] < many.gap_interval[0] < many.gap < many.gap_interval[1]
    assert many.gap_interval[1] < few.gap_interval[1]


@pytest.mark.parametrize("broken", [math.nan, math.inf, "nan", ""])
def test_a_loss_that_is_no_number_at_the_end(broken):
    history = rows(6, **NO_AUGMENTATION)
    for row in history[3:]:
        row["val_loss"] = row["train_loss"] = row["loss"] = broken
    verdict = evaluation.overfitting_verdict(history, **FASHION)
    assert verdict.label == "diverged"
    assert "from epoch 4 on" in verdict.sentence and "learning rate" in verdict.sentence
    assert verdict.best_epoch == 3
    everywhere = [row | {"val_loss": math.nan, "loss": math.nan} for row in history]
    verdict = evaluation.overfitting_verdict(everywhere, **FASHION)
    assert verdict.label == "diverged" and "from epoch 1 on" in verdict.sentence
    assert verdict.best_epoch is None


def test_one_broken_epoch_in_the_middle_is_left_out():
    history = rows(20, **NO_AUGMENTATION)
    history[9]["val_loss"] = math.inf
    verdict = evaluation.overfitting_verdict(history, **FASHION)
    assert (verdict.label, verdict.best_epoch) == ("over-fitted", 7)


def test_text_from_a_csv_file_reads_the_same():
    history = rows(20, **NO_AUGMENTATION)
    text = [{name: repr(value) for name, value in row.items()} for row in history]
    assert evaluation.overfitting_verdict(text, **FASHION) == evaluation.overfitting_verdict(
        history, **FASHION
    )


def test_empty_and_incomplete_histories():
    assert evaluation.overfitting_verdict([], **FASHION).label == "too short to say"
    with pytest.raises(ValueError, match="lacks train_loss, train_accuracy"):
        evaluation.overfitting_verdict(
            [{"loss": 1, "val_loss": 1, "accuracy": 0.5, "val_accuracy": 0.5}], **FASHION
        )


@pytest.mark.parametrize("epochs", [10, 30, 100])
def test_flat_noise_is_rarely_called_over_fitted(epochs):
    """Noise alone, 20 % of the level. Without the allowance for luck more than half alarm."""
    alarms = sum(
        "over" in evaluation.overfitting_verdict(
            rows(epochs, noise=0.05, seed=seed, train_loss={1: 0.24}, val_loss={1: 0.25},
                 train_accuracy={1: 0.93}, val_accuracy={1: 0.92}),
            **FASHION,
        ).label
        for seed in range(60)
    )  # fmt: skip
    assert alarms <= 6


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_a_real_rise_is_found_under_noise(noise):
    found = sum(
        evaluation.overfitting_verdict(
            rows(20, noise=noise, seed=seed, **NO_AUGMENTATION), **FASHION
        ).label
        == "over-fitted"
        for seed in range(40)
    )
    assert found >= 36


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(*[st.one_of(st.floats(0, 1e6), st.just(math.nan))] * 2, *[st.floats(0, 1)] * 2),
        min_size=1,
        max_size=12,
    )
)
def test_no_history_is_too_odd_for_a_verdict(values):
    history = [
        {"loss": a, "train_loss": a, "val_loss": b, "train_accuracy": c, "val_accuracy": d}
        for a, b, c, d in values
    ]
    verdict = evaluation.overfitting_verdict(history, **SMALL)
    assert verdict.label and verdict.sentence
    json.dumps(dataclasses.asdict(verdict), allow_nan=False)
