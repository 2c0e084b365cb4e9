"""Does a network of several labels over-fit? Its terms for the rules of `verdicts.curves`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scipy import stats

from kapps.evaluation.verdicts.curves import Verdict, judge_curves
from kapps.evaluation.verdicts.measured import Measured, Terms, curves_of
from kapps.evaluation.verdicts.words import percent

HARDLY_ANY = 0.05  # of the uncertainty; below, nothing was learned
CONFIDENT = float(stats.norm.ppf(0.975))


def labels_verdict(
    history: Sequence[Mapping],
    *,
    ignorance: float,
    spread: float,
    validation_examples: int,
    train_examples: int,
    kept: int | None = None,
    test_loss: float | None = None,
    test_examples: int = 0,
) -> Verdict:
    """Judge the kept weights of a network of several labels, and its learning curves.

    The share of right labels says little: where one picture in a hundred has a label, 99 % are
    right who never give it. So the score is the share of the uncertainty that is removed,
    1 - loss / `ignorance`, 0 for always saying how frequent each label is.

    Args:
        history: a mapping per epoch, as the rows of metrics.csv: `loss`, `train_loss`, `val_loss`,
            binary cross-entropies, and if there is a schedule `learning_rate`.
        ignorance: the loss of who knows nothing but how frequent labels are.
        spread: standard deviation of the loss of a picture over its mean: what a mean over few
            pictures is worth.
        validation_examples: how many `val_loss` is the mean of.
        train_examples: how many `train_loss` is the mean of.
        kept: the epoch whose weights are kept, from 1; by default that of the lowest `val_loss`.
        test_loss: of the kept weights.
        test_examples: how many there are.

    Raises:
        ValueError: a column is missing.
    """
    curves = curves_of(history, ("loss", "train_loss", "val_loss"))
    for split in ("train", "val"):
        curves[f"{split}_score"] = 1.0 - curves[f"{split}_loss"] / ignorance
    curves["score"] = 1.0 - curves["loss"] / ignorance

    def error(score: float, examples: int) -> float:
        return (1 - score) * spread / math.sqrt(max(examples, 1))

    def apart(difference: float, *errors: float) -> tuple[float, float]:
        width = CONFIDENT * math.hypot(*errors)
        return difference - width, difference + width

    def interval(train: float, val: float, *losses: float) -> tuple[float, float]:
        return apart(train - val, error(train, train_examples), error(val, validation_examples))

    test_score = None if test_loss is None else 1.0 - test_loss / ignorance

    def below(score: float, examples: int | None) -> tuple[float, float]:
        if test_score is None:
            return -math.inf, math.inf
        own = error(score, examples or validation_examples)
        return apart(score - test_score, own, error(test_score, test_examples))

    def scores(run: Measured) -> str:
        return (
            f"remove {percent(run.train_score[run.kept])} of the uncertainty about the labels of "
            f"{train_examples:,} training examples and {percent(run.val_score[run.kept])} of that "
            f"about {validation_examples:,} validation examples"
        )

    def chance(run: Measured) -> bool:
        return max(run.train_score[run.kept], run.val_score[run.kept]) < HARDLY_ANY

    terms = Terms(
        interval=interval,
        scores=scores,
        score="share of the uncertainty removed",
        chance=chance,
        trivial_words="Predicting only the label frequencies removes 0 %.",
        ignorance=ignorance,
        test_score=test_score,
        test_examples=test_examples,
        test_interval=below,
        counts=(train_examples, validation_examples),
    )
    return judge_curves(curves, terms, kept)
