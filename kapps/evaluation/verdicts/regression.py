"""Does a regression over-fit? Its terms for the rules of `kapps.evaluation.verdicts.curves`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scipy import stats

from kapps.evaluation.verdicts.curves import Verdict, judge_curves
from kapps.evaluation.verdicts.measured import Measured, Terms, curves_of
from kapps.evaluation.verdicts.words import percent

HARDLY_ANY = 0.05  # of the variance; below, nothing was learned
CONFIDENT = float(stats.norm.ppf(0.975))


def regression_verdict(
    history: Sequence[Mapping],
    *,
    validation_examples: int,
    train_examples: int,
    linear_r2: float | None = None,
    kurtosis: float = 3.0,
    kept: int | None = None,
    ceiling: float | None = None,
    test_r2: float | None = None,
    test_r2_interval: tuple[float, float] | None = None,
    test_examples: int = 0,
) -> Verdict:
    """Judge the kept weights of a regression, and its learning curves.

    The rules are those of `kapps.evaluation.verdicts.curves`, with the share of the variance that
    is explained (1 - loss) in the place of the accuracy. What no model can explain is no fault of
    the network, so under-fitted is one that explains five points less of its training examples
    than a linear model does. The gap's interval is that of a difference of two mean squared errors,
    each of variance `(kurtosis - 1) / n` relative to its square.

    Args:
        history: a mapping per epoch, as the rows of metrics.csv: `loss`, `train_loss`, `val_loss`,
            all mean squared errors in units of the training targets' variance, and if there is a
            schedule `learning_rate`.
        validation_examples: how many `val_loss` is the mean of.
        train_examples: how many `train_loss` is the mean of.
        linear_r2: what a linear model explains of the training examples, if that is known.
        kurtosis: of the errors, 3 for normal ones; heavy tails widen the interval.
        kept: the epoch whose weights are kept, from 1; by default that of the lowest `val_loss`.
        ceiling: the share that can be explained at best, where that is known.
        test_r2: what the kept weights explain of the test examples.
        test_r2_interval: the 95 % interval of that.
        test_examples: how many there are.

    Raises:
        ValueError: a column is missing.
    """
    curves = curves_of(history, ("loss", "train_loss", "val_loss"))
    for split in ("train", "val"):
        curves[f"{split}_score"] = 1.0 - curves[f"{split}_loss"]
    curves["score"] = 1.0 - curves["loss"]

    def interval(train: float, val: float, train_loss: float, val_loss: float):
        return _apart(train - val, _error(train_loss, train_examples), _error(val_loss, None))

    def _error(loss: float, examples: int | None) -> float:
        return loss * math.sqrt((kurtosis - 1) / (examples or validation_examples))

    def below(score: float, examples: int | None) -> tuple[float, float]:
        if test_r2 is None:
            return -math.inf, math.inf
        low, high = test_r2_interval or (test_r2, test_r2)
        return _apart(score - test_r2, _error(1 - score, examples), (high - low) / (2 * CONFIDENT))

    def scores(run: Measured) -> str:
        return (
            f"explain {percent(run.train_score[run.kept])} of the variance of {train_examples:,} "
            f"training examples and {percent(run.val_score[run.kept])} of that of "
            f"{validation_examples:,} validation examples"
        )

    def chance(run: Measured) -> bool:
        return max(run.train_score[run.kept], run.val_score[run.kept]) < HARDLY_ANY

    known = linear_r2 is not None
    terms = Terms(
        interval=interval,
        scores=scores,
        score="explained variance",
        chance=chance,
        ceiling=ceiling,
        # A linear model that explains nothing proves nothing.
        reference=linear_r2 if known and linear_r2 >= HARDLY_ANY else None,
        reference_words=(
            f"A linear model explains {percent(linear_r2)} of the training examples' variance."
            if known
            else ""
        ),
        ignorance=1.0,
        test_score=test_r2,
        test_examples=test_examples,
        test_interval=below,
        counts=(train_examples, validation_examples),
    )
    return judge_curves(curves, terms, kept)


def _apart(difference: float, *errors: float) -> tuple[float, float]:
    width = CONFIDENT * math.hypot(*errors)
    return difference - width, difference + width
