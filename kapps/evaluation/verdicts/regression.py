"""Does a regression over-fit? Its terms for the rules of `kapps.evaluation.verdicts.curves`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kapps.evaluation.verdicts.curves import Verdict, judge_curves
from kapps.evaluation.verdicts.measured import Measured
from kapps.evaluation.verdicts.shares import CONFIDENT, HARDLY_ANY, share_curves, share_terms
from kapps.evaluation.verdicts.words import percent


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
    test = None
    if test_r2 is not None:
        low, high = test_r2_interval or (test_r2, test_r2)
        test = test_r2, (high - low) / (2 * CONFIDENT)

    def scores(run: Measured) -> str:
        return (
            f"explain {percent(run.train_score[run.kept])} of the variance of {train_examples:,} "
            f"training examples and {percent(run.val_score[run.kept])} of that of "
            f"{validation_examples:,} validation examples"
        )

    known = linear_r2 is not None
    terms = share_terms(
        scores=scores,
        score="explained variance",
        counts=(train_examples, validation_examples),
        spread=math.sqrt(kurtosis - 1),
        ignorance=1.0,
        test=test,
        ceiling=ceiling,
        # A linear model that explains nothing proves nothing.
        reference=linear_r2 if known and linear_r2 >= HARDLY_ANY else None,
        reference_words=(
            f"A linear model explains {percent(linear_r2)} of the training examples' variance."
            if known
            else ""
        ),
        test_examples=test_examples,
    )
    return judge_curves(share_curves(history, 1.0), terms, kept)
