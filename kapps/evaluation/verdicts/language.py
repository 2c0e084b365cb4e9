"""Does a language model over-fit? Its terms for the rules of `kapps.evaluation.verdicts.curves`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from kapps.evaluation.verdicts.curves import Verdict, judge_curves
from kapps.evaluation.verdicts.measured import Measured
from kapps.evaluation.verdicts.shares import share_curves, share_terms
from kapps.evaluation.verdicts.words import percent

# Standard deviation of a character's bits relative to their mean, as if characters were
# independent: 1.5 for single ones, times sqrt(10) because bits of neighbours go together.
SPREAD = 4.7


def language_verdict(
    history: Sequence[Mapping],
    *,
    unigram: float,
    five_gram: float,
    validation_characters: int,
    train_characters: int,
    harder: float = 0.0,
    spread: float = SPREAD,
    kept: int | None = None,
) -> Verdict:
    """Judge the kept weights of a language model, and its learning curves.

    The rules are those of `kapps.evaluation.verdicts.curves`; in the place of the accuracy stands
    the share of the bits of single characters that is saved. A gap is one to the training part as
    it would be, were it as hard as the validation part. Under-fitted is a network that needs more
    bits for its training part than a 5-gram for the validation part.

    Args:
        history: a mapping per epoch, as the rows of metrics.csv: `loss`, `train_loss` and
            `val_loss` in nats per character, and if there is a schedule `learning_rate`.
        unigram: bits per character of the validation part, for how frequent each character is.
        five_gram: the same for a 5-gram.
        validation_characters: how many `val_loss` is the mean of.
        train_characters: how many `train_loss` is the mean of.
        harder: bits per character that the validation part costs more by itself: `harder_by`.
        spread: standard error of a mean of bits, times the root of the number of characters,
            relative to that mean: `bits_interval` measures it.
        kept: the epoch whose weights are kept, from 1; by default that of the lowest `val_loss`.

    Raises:
        ValueError: a column is missing.
    """
    whole = unigram * math.log(2.0)
    curves = share_curves(history, whole)
    for name in ("train_score", "score"):
        curves[name] -= harder / unigram

    def scores(run: Measured) -> str:
        less = (
            f" (less {abs(harder):.2f} bits, by which the validation part is "
            f"{'harder' if harder > 0 else 'easier'} for a 5-gram that has seen neither part)"
            if abs(harder) >= 0.01
            else ""
        )
        return (
            f"save {percent(run.train_score[run.kept])} of the bits of single characters on the "
            f"training part{less} and {percent(run.val_score[run.kept])} on the validation part"
        )

    terms = share_terms(
        scores=scores,
        score="share of saved bits",
        counts=(train_characters, validation_characters),
        spread=spread,
        ignorance=whole,
        reference=1.0 - five_gram / unigram + 0.05,  # without the leeway of a reference
        reference_words=f"A 5-gram needs {five_gram:.2f} bits per character on validation.",
    )
    return judge_curves(curves, terms, kept)
