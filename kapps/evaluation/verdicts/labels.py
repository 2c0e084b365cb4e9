"""Does a network of several labels over-fit? Its terms for the rules of `verdicts.curves`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kapps.evaluation.verdicts.curves import Verdict, judge_curves
from kapps.evaluation.verdicts.measured import Measured
from kapps.evaluation.verdicts.shares import share_curves, share_terms
from kapps.evaluation.verdicts.words import percent


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
    counts = train_examples, validation_examples
    test = None
    if test_loss is not None:
        error = spread * test_loss / ignorance / math.sqrt(max(test_examples, 1))
        test = 1.0 - test_loss / ignorance, error

    def scores(run: Measured) -> str:
        return (
            f"remove {percent(run.train_score[run.kept])} of the uncertainty about the labels of "
            f"{train_examples:,} training examples and {percent(run.val_score[run.kept])} of that "
            f"about {validation_examples:,} validation examples"
        )

    terms = share_terms(
        scores=scores,
        score="share of the uncertainty removed",
        counts=counts,
        spread=spread,
        ignorance=ignorance,
        test=test,
        trivial_words="Knowing only how frequent each label is removes 0 %.",
        test_examples=test_examples,
    )
    return judge_curves(share_curves(history, ignorance), terms, kept)
