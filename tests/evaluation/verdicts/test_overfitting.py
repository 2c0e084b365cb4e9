"""The verdict on planted learning curves whose story is known."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from evaluation.verdicts.further_histories import FURTHER
from evaluation.verdicts.histories import (
    AUGMENTED,
    FASHION,
    FLAT,
    HISTORIES,
    ISSUE,
    NO_AUGMENTATION,
    SMALL,
    rows,
)
from kapps import evaluation
from kapps.evaluation.report.page import TONES
from kapps.evaluation.verdicts import curves
from kapps.evaluation.verdicts.curves import RULES
from kapps.evaluation.verdicts.overfitting import gap_interval

PLATEAUS = next(case for case in HISTORIES if case.what.startswith("large gap")).rows
CONTRADICTIONS = (
    (("more epochs", "longer"), ("More epochs will not help", "Fewer epochs", "stop near")),
    (("larger network",), ("smaller network",)),
    (("more augmentation", "more dropout", "data augmentation"), ("less dropout",)),
    (("higher learning rate",), ("a tenth of the learning rate", "a third of the learning rate")),
)


EVERY = [*HISTORIES, *FURTHER]


@pytest.mark.parametrize("case", EVERY, ids=lambda case: case.what)
def test_what_a_sane_person_would_say(case):
    verdict = case.judge(case.rows, **case.known)
    assert verdict.label in case.labels.split("|"), f"{case.why} {verdict.sentence}"
    for words in case.says:
        assert words in verdict.sentence
    for words in case.never:
        assert words not in verdict.sentence
    assert "nan" not in (verdict.reasons + verdict.path).lower() and "  " not in verdict.sentence
    assert verdict.sentence.endswith(verdict.advice) and verdict.advice
    assert verdict.sentence.startswith(verdict.reasons) and verdict.path in verdict.sentence
    json.dumps(dataclasses.asdict(verdict), allow_nan=False)
    for this, that in CONTRADICTIONS:
        found = [any(words in verdict.sentence for words in side) for side in (this, that)]
        assert not all(found), verdict.sentence


def test_the_table_is_large_and_every_rule_is_in_it():
    assert len(EVERY) >= 100 and len(ISSUE) >= 12
    found = {label for case in EVERY for label in case.labels.split("|")}
    assert found == {rule.label for rule in RULES}
    assert found <= set(TONES)
    listed = " ".join(curves.__doc__.split())
    assert all(label in listed for label in found)


def test_the_words_and_numbers_of_an_over_fitted_run():
    history = rows(20, **NO_AUGMENTATION)
    verdict = evaluation.overfitting_verdict(history, **FASHION | {"train_examples": 10_000})
    for part in (
        "99.9 % of 10,000 training", "92.4 % of 6,000 validation", "7.5 points",
        "from 0.230 to 0.385", "augmentation", "dropout",
    ):  # fmt: skip
        assert part in verdict.sentence
    assert (verdict.epochs, verdict.kept_epoch, verdict.best_epoch) == (20, 20, 7)
    assert verdict.gap == verdict.last_gap == pytest.approx(0.075)
    # Newcombe's method 10 with Wilson intervals (0.9989 .. ) worked out with z = 1.959964:
    # train 9990/10000 -> (0.998159, 0.999457), validation 5544/6000 -> (0.917021, 0.930446)
    assert verdict.gap_interval == pytest.approx((0.068499, 0.081994), abs=2e-5)
    assert verdict.val_loss_rise == pytest.approx(0.385 / 0.23 - 1, rel=1e-6)
    assert verdict.val_loss_slope == pytest.approx(0.0131, abs=1e-3)  # (0.40 - 0.23) / 13
    assert verdict.loss_ratio == pytest.approx(80)


def test_the_kept_epoch_is_judged_and_not_the_last():
    history = rows(20, **NO_AUGMENTATION | {"val_accuracy": {1: 0.85, 7: 0.93, 20: 0.80}})
    verdict = evaluation.overfitting_verdict(history, **FASHION)
    assert verdict.kept_epoch == 7
    assert verdict.gap == pytest.approx(0.957 - 0.93)
    assert verdict.last_gap == pytest.approx(0.999 - 0.80)
    assert verdict.gap_interval[1] < 0.05
    given = evaluation.overfitting_verdict(history, **FASHION, kept=20)
    assert given.gap == given.last_gap == pytest.approx(0.199) and given.label == "over-fitted"
    with pytest.raises(ValueError, match="epoch 21 is kept, of 20"):
        evaluation.overfitting_verdict(history, **FASHION, kept=21)


def test_the_sign_of_a_gap():
    """Validation better than training is no over-fitting, however far apart they are."""
    history = rows(
        15, **FLAT | {"train_accuracy": {1: 0.6, 5: 0.7}, "val_accuracy": {1: 0.7, 5: 0.9}}
    )
    verdict = evaluation.overfitting_verdict(history, **FASHION)
    assert verdict.gap == pytest.approx(-0.2) and verdict.gap_interval[1] < -0.18
    assert verdict.label == "well fitted"


def test_both_counts_widen_the_interval():
    def width(**known):
        low, high = evaluation.overfitting_verdict(PLATEAUS, **FASHION | known).gap_interval
        return high - low

    both = width()
    assert width(train_examples=144) > 1.5 * both < width(validation_examples=144)
    assert width(train_examples=None) < both


def test_test_figures_need_their_counts():
    history = rows(20, **AUGMENTED)
    with pytest.raises(ValueError, match="number of its examples"):
        evaluation.overfitting_verdict(history, **FASHION, test_accuracy=0.9)
    with pytest.raises(ValueError, match="number of classes"):
        evaluation.overfitting_verdict(history, **FASHION, balanced_accuracy=0.9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "n", "val", "m"), [(0.98, 1294, 0.96, 144), (1.0, 300, 0.93, 60), (0.7, 60, 0.6, 90)]
)
def test_the_interval_of_a_gap_holds_the_truth(train, n, val, m):
    """Simulation: of two binomials; 93 to 97 % for each that is not at its end."""
    rng = np.random.default_rng(0)
    draws = np.stack([rng.binomial(n, train, 2000), rng.binomial(m, val, 2000)], 1)
    distinct, counts = np.unique(draws, axis=0, return_counts=True)
    held = [
        low <= train - val <= high
        for a, b in distinct
        for low, high in [gap_interval(a / n, n, b / m, m)]
    ]
    assert 0.93 <= np.average(held, weights=counts) <= 0.975


def test_the_same_curves_prove_less_on_fewer_examples():
    many = evaluation.overfitting_verdict(PLATEAUS, validation_examples=6000)
    few = evaluation.overfitting_verdict(PLATEAUS, validation_examples=40)
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


@pytest.mark.slow
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
