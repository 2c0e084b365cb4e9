"""What the learning curves say, in words: over-fitted, well fitted, under-fitted ...

The weights that are kept are judged; how the training went is told apart from that, as the path.
`RULES` holds the verdicts in the order in which they are tried, `criteria` their thresholds,
`measured` the quantities, `sentences` the words:

diverged             a loss is not finite at the end, or training ends far worse than a guess
too short to say     fewer than three epochs
cannot tell          no accuracy is a number; or validation is of one class only; or so few examples
                     that no gap and one of ten points are both possible; or nothing says what the
                     accuracy is worth
unstable             training *and* validation loss rose together, or leap up and down: the steps
                     are too large
validation differs   the gap was there after the first epoch, before anything can be memorized
test differs         the test split is surely ten points below validation, which is surely less than
                     that below training
over-fitted          the gap is surely ten points or more, on validation or on test; or surely five,
                     and the validation loss rose by 20 % after its minimum; or only the training
                     examples are learned, while validation stays at chance
not learned          no better than a guess
slightly over-fitted the gap is surely five points, or it is ten and surely not zero; or the
                     validation loss rose by 20 %, or by 5 % with a gap; or the second half of the
                     training gained nothing on validation while the training loss ended at most a
                     tenth of the validation loss
still improving      the validation loss fell by 5 % or more over the last quarter, and the learning
                     rate is not annealed, or less than half is learned
under-fitted         less is learned than the labels allow, or than a simple model learns
plateau              less than half is learned, and nothing says whether more is possible
well fitted          everything else

"Surely" refers to the lower end of the gap's 95 % interval (Newcombe 1998, method 10: the hybrid of
two Wilson intervals). A rise counts only beyond the noise of the curve.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kapps.evaluation.verdicts import criteria, sentences
from kapps.evaluation.verdicts.advice import UNDER_FITTED, advice_on
from kapps.evaluation.verdicts.measured import Measured, Terms
from kapps.training.fitting.kept_epoch import best_epoch

if TYPE_CHECKING:
    from kapps.evaluation.verdicts.collapse import Judgement


@dataclass(frozen=True)
class Verdict:
    """The judgement of one training run; `dataclasses.asdict` of it is valid JSON."""

    label: str
    """One of the rules of this module, from "diverged" to "well fitted"."""
    sentence: str
    """All of the following three in one."""
    epochs: int
    reasons: str = ""
    """What is judged of the kept weights, with the numbers."""
    path: str = ""
    """How the training went: what the loss did, and what the accuracy did."""
    advice: str = ""
    """What to try next."""
    kept_epoch: int | None = None
    """The epoch (counted from 1) whose weights are kept: these are judged."""
    best_epoch: int | None = None
    """The epoch with the lowest validation loss."""
    gap: float | None = None
    """Training minus validation accuracy of the kept weights, 0.05 is five points. Of a regression:
    of the share of the variance that is explained."""
    gap_interval: tuple[float, float] | None = None
    """95 % interval of `gap`."""
    last_gap: float | None = None
    """The same gap at the last epoch."""
    val_loss_rise: float | None = None
    """How far the validation loss ends above its minimum, relative to it: 0.2 is 20 %."""
    val_loss_slope: float | None = None
    """Nats per epoch after the best epoch; None with fewer than three epochs after it."""
    val_loss_noise: float | None = None
    """Standard deviation of the validation loss from epoch to epoch, without its trend."""
    loss_ratio: float | None = None
    """Validation loss / training loss of the kept weights."""


class Rule(NamedTuple):
    """One line of the table."""

    label: str
    holds: Callable[[Measured], bool]
    reasons: Callable[[Measured], str]


def judge_curves(
    curves: Mapping[str, np.ndarray], terms: Terms, kept: int | None = None
) -> Verdict:
    """The verdict on the columns that `Measured` takes.

    Args:
        curves: float64 [epochs] each; scores may be any of which 1 is the best.
        terms: what the scores are.
        kept: the epoch whose weights are kept, from 1; by default that of the highest validation
            score, among equals the lowest validation loss.
    """
    epochs = len(curves["val_loss"])
    if epochs == 0:
        reasons = "No epoch has been trained yet."
        return Verdict("too short to say", reasons, 0, reasons)
    losses = np.isfinite([curves[name] for name in ("loss", "train_loss", "val_loss")])
    whole = np.asarray(losses.all(axis=0))
    place = _kept(curves, whole) if kept is None else kept - 1
    if not whole.any():
        return _verdict("diverged", sentences.no_number(whole, None), "", epochs, None)
    run = Measured(curves, terms, place)
    if not whole[-1]:
        return _verdict("diverged", sentences.no_number(whole, run), "", epochs, run)
    rule = next(rule for rule in RULES if rule.holds(run))
    path = "" if rule.label in ("diverged", "too short to say") else sentences.path(run, rule.label)
    return _verdict(rule.label, rule.reasons(run), path, epochs, run)


def _kept(curves: Mapping[str, np.ndarray], whole: np.ndarray) -> int:
    scores = np.where(whole, curves["val_score"], math.nan)
    losses = np.where(whole, curves["val_loss"], math.nan)
    rows = [{"score": s, "val_loss": v} for s, v in zip(scores, losses, strict=True)]
    found = best_epoch(rows, "score", "max")
    if found is None:
        found = best_epoch(rows)
    return 0 if found is None else found


def _verdict(label: str, reasons: str, path: str, epochs: int, run: Measured | None) -> Verdict:
    advice = advice_on(label, run)
    doubts = [] if run is None else sentences.doubts(run)
    sentence = " ".join(filter(None, (reasons, path, *doubts, advice)))
    if run is None:
        return Verdict(label, sentence, epochs, reasons, path, advice)
    return Verdict(
        label=label,
        sentence=sentence,
        epochs=epochs,
        reasons=reasons,
        path=path,
        advice=advice,
        kept_epoch=run.kept_epoch,
        best_epoch=run.lowest_epoch,
        gap=_or_none(run.gap),
        gap_interval=run.gap_interval if math.isfinite(run.gap_interval[0]) else None,
        last_gap=_or_none(run.gap_at(-1)),
        val_loss_rise=run.raw_rise,
        val_loss_slope=run.slope,
        val_loss_noise=run.noise,
        loss_ratio=run.loss_ratio,
    )


def with_better(verdict: Verdict | Judgement, sentence: str) -> Any:
    """The same verdict, where a simple model does better on test examples.

    What the curves left open is known then: as much can be learned.

    Args:
        verdict: on a network.
        sentence: which model, and by how much.
    """
    advice = getattr(verdict, "advice", "")
    before = verdict.sentence.removesuffix(advice).strip()
    if isinstance(verdict, Verdict) and verdict.label == "plateau":
        open_question = f" {sentences.UNKNOWN}"
        reasons, before = (text.replace(open_question, "") for text in (verdict.reasons, before))
        verdict = dataclasses.replace(
            verdict, label="under-fitted", reasons=reasons, advice=(advice := UNDER_FITTED)
        )
    return dataclasses.replace(verdict, sentence=f"{before} {sentence} {advice}".strip())


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


RULES = (
    Rule("diverged", criteria.exploded, sentences.exploded_words),
    Rule(
        "too short to say", lambda run: len(run.number) < criteria.SHORTEST, sentences.short_words
    ),
    Rule("cannot tell", lambda run: not math.isfinite(run.gap), sentences.no_score_words),
    Rule("cannot tell", criteria.one_class, sentences.one_class_words),
    Rule("unstable", criteria.unstable, sentences.unstable_words),
    Rule("unstable", criteria.leaps, sentences.leaps_words),
    Rule("validation differs", criteria.differs, sentences.differs_words),
    Rule("test differs", criteria.test_differs, sentences.test_differs_words),
    Rule("over-fitted", criteria.over_fitted, sentences.over_words),
    Rule("not learned", lambda run: run.terms.chance(run), sentences.not_learned_words),
    Rule("slightly over-fitted", criteria.slightly, sentences.slight_words),
    Rule("still improving", lambda run: run.improving, sentences.improving_words),
    Rule("under-fitted", criteria.under_fitted, sentences.under_words),
    Rule("plateau", criteria.plateau, sentences.plateau_words),
    Rule("cannot tell", criteria.cannot_tell, sentences.cannot_tell_words),
    Rule("well fitted", lambda run: True, sentences.well_words),
)
