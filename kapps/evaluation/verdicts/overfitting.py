"""Does a classifier over-fit? Its terms for the rules of `kapps.evaluation.verdicts.curves`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kapps.evaluation.metrics.classification import wilson_interval
from kapps.evaluation.verdicts.curves import Verdict, judge_curves
from kapps.evaluation.verdicts.measured import Measured, Terms, curves_of
from kapps.evaluation.verdicts.words import percent

COLUMNS = ("loss", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
CHANCE = 0.1  # of the skill; below, and with the base rate in the interval, nothing was learned


def overfitting_verdict(
    history: Sequence[Mapping],
    *,
    validation_examples: int,
    train_examples: int | None = None,
    baseline_accuracy: float = 0.0,
    kept: int | None = None,
    ceiling: float | None = None,
    weighted: bool = False,
    balanced_accuracy: float | None = None,
    classes: int | None = None,
    test_accuracy: float | None = None,
    test_examples: int | None = None,
) -> Verdict:
    """Judge the kept weights of a classifier, and its learning curves.

    `history` has a mapping per epoch, as the rows of metrics.csv (numbers or their text):
    `loss`, `train_loss`, `train_accuracy` (in inference mode and without augmentation; the running
    average of an epoch makes the gap fiction), `val_loss`, `val_accuracy`, and where there are
    any `accuracy` (that running average) and `learning_rate`.

    Args:
        history: the epochs.
        validation_examples: how many `val_accuracy` is a share of.
        train_examples: how many `train_accuracy` is; it is taken as exact when None.
        baseline_accuracy: that of always answering the most frequent class.
        kept: the epoch whose weights are kept, from 1 (`training.History.best_epoch`); by default
            that of the highest validation accuracy.
        ceiling: the highest accuracy that the labels allow, where that is known.
        weighted: whether classes were weighted in the loss: then the accuracy may be below that of
            the most frequent class, and says little.
        balanced_accuracy: of the kept weights on validation examples; judged in its place.
        classes: how many, with `balanced_accuracy`.
        test_accuracy: of the kept weights on the test split.
        test_examples: how many that is a share of.

    Raises:
        ValueError: a column is missing, `kept` is none of the epochs, or `balanced_accuracy` comes
            without `classes`, `test_accuracy` without `test_examples`.
    """
    curves = curves_of(history, COLUMNS, ("accuracy",))
    if kept is not None and not 1 <= kept <= len(history):
        raise ValueError(f"epoch {kept} is kept, of {len(history)}")
    if balanced_accuracy is not None and not (classes and classes > 1):
        raise ValueError("a balanced accuracy needs the number of classes")
    if test_accuracy is not None and not test_examples:
        raise ValueError("a test accuracy needs the number of its examples")
    for split, name in (("", "score"), ("train_", "train_score"), ("val_", "val_score")):
        curves[name] = curves.pop(f"{split}accuracy")

    def chance(run: Measured) -> bool:
        if weighted and balanced_accuracy is None:
            return False
        low, _ = _interval(float(run.val_score[run.kept]), validation_examples)
        unknown = balanced_accuracy is not None or low <= baseline_accuracy
        return unknown and run.skill < CHANCE

    def scores(run: Measured) -> str:
        return (
            f"are right on {percent(run.train_score[run.kept])} of {_number(train_examples)}"
            f"training examples and on {percent(run.val_score[run.kept])} of "
            f"{validation_examples:,} validation examples"
        )

    def above_test(score: float, examples: int | None) -> tuple[float, float]:
        known = math.nan if test_accuracy is None else test_accuracy
        return gap_interval(score, examples, known, test_examples)

    skill, doubts = None, []
    if balanced_accuracy is not None and classes:
        skill = (balanced_accuracy - 1 / classes) / (1 - 1 / classes)
        doubts.append(
            f"The balanced accuracy on validation examples, which counts every class equally, is "
            f"{percent(balanced_accuracy)}; a guess has {percent(1 / classes)}."
        )
    elif weighted:
        skill = math.nan
        doubts.append(
            "Classes were weighted, so the accuracy may be below that of always predicting the "
            "most frequent one."
        )
    terms = Terms(
        interval=lambda train, val, *losses: gap_interval(
            train, train_examples, val, validation_examples
        ),
        scores=scores,
        trivial=baseline_accuracy,
        trivial_words=(
            f"Always predicting the most frequent class would reach {percent(baseline_accuracy)}."
            if baseline_accuracy
            else ""
        ),
        chance=chance,
        ceiling=ceiling,
        skill=skill,
        ignorance=_ignorance(baseline_accuracy),
        test_score=test_accuracy,
        test_examples=test_examples or 0,
        test_interval=None if test_accuracy is None else above_test,
        counts=(train_examples, validation_examples),
        doubts=tuple(doubts),
    )
    return judge_curves(curves, terms, kept)


def gap_interval(
    train: float, train_examples: int | None, val: float, val_examples: int | None
) -> tuple[float, float]:
    """95 % interval of train - val (Newcombe 1998, Statistics in Medicine 17, method 10)."""
    train_low, train_high = _interval(train, train_examples)
    val_low, val_high = _interval(val, val_examples)
    gap = float(train - val)
    return (
        gap - math.hypot(train - train_low, val_high - val),
        gap + math.hypot(train_high - train, val - val_low),
    )


def _interval(share: float, examples: int | None) -> tuple[float, float]:
    if not examples or not math.isfinite(share):
        return float(share), float(share)
    return wilson_interval(round(share * examples), examples)


def _ignorance(baseline: float) -> float:
    """The least that the entropy of the classes can be, where the largest has that share, nats.

    With a share above one half, that of two classes; below, as if all were as large.
    """
    if not 0 < baseline < 1:
        return math.inf
    rest = 1 - baseline
    return max(-math.log(baseline), -baseline * math.log(baseline) - rest * math.log(rest))


def _number(examples: int | None) -> str:
    return f"{examples:,} " if examples else "the "
