"""What the learning curves say, in words: over-fitted, well fitted, under-fitted ...

The verdict is on the kept weights; how the training went is told separately, as the path. `RULES`
lists the verdicts in the order in which they are tried, the constants are the thresholds, and
`kapps.evaluation.verdicts.measured` has the quantities:

diverged             a loss is not finite at the end, or training ends far worse than a guess
too short to say     fewer than three epochs
cannot tell          the accuracy is not a number; or there are so few examples that both no gap and
                     a gap of ten points are possible; or nothing says what the accuracy is worth
unstable             training *and* validation loss rose together: the steps are too large
validation differs   the gap was there after the first epoch, before anything can be memorized
over-fitted          the gap is surely ten points or more, on validation or on test; or surely five,
                     and the validation loss rose by 20 % after its minimum; or only the training
                     examples are learned, while validation stays at chance
not learned          no better than a guess
slightly over-fitted the gap is surely five points, or it is ten and surely not zero; or the
                     validation loss rose by 20 %, or by 5 % with a gap; or the second half of the
                     training gained nothing on validation while the training loss ended at most a
                     tenth of the validation loss
still improving      the validation loss fell by 5 % or more over the last quarter, and the learning
                     rate is not annealed
under-fitted         less is learned than the labels allow, or than a simple model learns
plateau              less than half is learned, and nothing says whether more is possible
well fitted          everything else

"Surely" refers to the lower end of the gap's 95 % interval (Newcombe 1998, method 10: the hybrid of
two Wilson intervals). A rise counts only beyond the noise of the curve.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kapps.evaluation.verdicts.advice import advice_on
from kapps.evaluation.verdicts.measured import Measured, Terms
from kapps.evaluation.verdicts.words import count, loss, percent, points
from kapps.training.fitting.kept_epoch import best_epoch

SHORTEST = 3  # epochs: two points lie on every line
STRONG_GAP, SLIGHT_GAP = 0.10, 0.05  # of the score: what augmentation or more data usually fixes
STRONG_RISE, SLIGHT_RISE = 0.20, 0.05  # of the validation loss, relative to its minimum
EXPLODED = 1.5  # times the loss of a guess, and of the first epoch
UNSTABLE, UNSTABLE_SHARE = 0.10, 0.02  # rise of the training loss: of its minimum, of a guess's
TOGETHER = 0.5  # share of the rise of the validation loss that the training loss shows, too
SKILL = 0.5  # below which the network may be too small
SHORT = 0.10  # of the score below a known ceiling
BEHIND = 0.05  # of the score below a simple model
MEMORIZED = 10.0  # validation loss / training loss, where the second half gained nothing


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
        return _verdict("diverged", _no_number(whole, None), "", epochs, None)
    run = Measured(curves, terms, place)
    if not whole[-1]:
        return _verdict("diverged", _no_number(whole, run), "", epochs, run)
    rule = next(rule for rule in RULES if rule.holds(run))
    path = "" if rule.label in ("diverged", "too short to say") else _path(run, rule.label)
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
    doubts = [] if run is None else _doubts(run)
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


# -- what holds


def _exploded(run: Measured) -> bool:
    worse = run.train_level > EXPLODED * max(run.scale, float(run.train_loss[0]))
    return len(run.number) > 1 and worse


def _unstable(run: Measured) -> bool:
    lowest = float(np.min(run.train_loss))
    rose = run.train_rise >= max(UNSTABLE * lowest, UNSTABLE_SHARE * run.scale)
    rise = run.rise * run.minimum
    return rose and run.rise >= SLIGHT_RISE and run.train_rise >= TOGETHER * rise


def _differs(run: Measured) -> bool:
    """The gap was there after one epoch, in which every example was new when it was met."""
    low, _ = run.interval_at(0)
    if run.number[0] != 1 or not low >= STRONG_GAP or not run.gap_interval[0] >= SLIGHT_GAP:
        return False
    if run.gap_at(0) < 0.5 * run.gap:
        return False
    if math.isnan(run.first_running):
        return True
    fresh, *rest = run.first_running, run.val_score[0], run.train_loss[0], run.val_loss[0]
    return run.terms.interval(fresh, *map(float, rest))[0] > 0


def _only_memorized(run: Measured) -> bool:
    return run.terms.chance(run) and run.interval_at(-1)[0] >= STRONG_GAP


def _over_fitted(run: Measured) -> bool:
    low = run.gap_interval[0]
    risen = low >= SLIGHT_GAP and run.rise >= STRONG_RISE
    return low >= STRONG_GAP or run.below_train[0] >= STRONG_GAP or risen or _only_memorized(run)


def _slightly(run: Measured) -> bool:
    low = run.gap_interval[0]
    there, at_the_end = low > 0, run.interval_at(-1)[0] > 0
    return (
        low >= SLIGHT_GAP
        or run.below_train[0] >= SLIGHT_GAP
        or (run.gap >= STRONG_GAP and there)
        or run.rise >= STRONG_RISE
        or (run.rise >= SLIGHT_RISE and (there or at_the_end))
        or (run.stalled() and _memorized(run) and at_the_end)
    )


def _memorized(run: Measured) -> bool:
    return run.val_loss[-1] >= MEMORIZED * max(float(run.train_loss[-1]), 1e-12)


def _under_fitted(run: Measured) -> bool:
    score, terms = float(run.train_score[run.kept]), run.terms
    short = terms.ceiling is not None and score < terms.ceiling - SHORT
    return short or (terms.reference is not None and score < terms.reference - BEHIND)


def _plateau(run: Measured) -> bool:
    unknown = run.terms.ceiling is None and run.terms.reference is None
    return unknown and run.skill < SKILL


def _cannot_tell(run: Measured) -> bool:
    low, high = run.gap_interval
    return math.isnan(run.skill) or (low <= 0 and high >= STRONG_GAP)


# -- in words


def _no_number(whole: np.ndarray, run: Measured | None) -> str:
    first = int(np.flatnonzero(whole)[-1]) + 2 if whole.any() else 1
    said = f"The training diverged: from epoch {first} on the loss is not a finite number."
    if run is None:
        return said
    return f"{said} {_scores(run)}"


def _exploded_words(run: Measured) -> str:
    return (
        f"The training diverged: the loss on training examples ended at {loss(run.train_level)}, "
        f"above the {loss(float(run.train_loss[0]))} of the first epoch and what a guess would "
        f"cost. {_scores(run)}"
    )


def _short_words(run: Measured) -> str:
    epochs = count(len(run.number), "epoch")
    return f"{epochs[0].upper()}{epochs[1:]} cannot show a trend. {_scores(run)}"


def _no_score_words(run: Measured) -> str:
    return (
        f"The {run.terms.score} is not a number in any epoch, although the loss is finite: it went "
        f"from {loss(float(run.val_loss[0]))} to {loss(float(run.val_loss[-1]))} on validation "
        f"examples, and to {loss(float(run.train_loss[-1]))} on training examples."
    )


def _unstable_words(run: Measured) -> str:
    lowest = int(np.argmin(run.train_loss))
    return (
        f"The training became unstable after epoch {run.lowest_epoch}: the loss rose on training "
        f"examples, from {loss(float(run.train_loss[lowest]))} to {loss(run.train_level)}, and on "
        f"validation examples, from {loss(run.minimum)} to {loss(run.level)}. Over-fitting would "
        f"lower the former. {_scores(run)}"
    )


def _differs_words(run: Measured) -> str:
    told = points(run.gap_at(0), run.interval_at(0), run.terms.unit)
    fresh = ""
    if math.isfinite(run.first_running):
        fresh = (
            f" During the first epoch, when every training example was new, its "
            f"{run.terms.score} was {percent(run.first_running)}; on validation examples, after "
            f"it, {percent(float(run.val_score[0]))}."
        )
    return (
        "The validation examples differ from the training examples, or are harder: the gap was "
        f"{told} after the first epoch, before anything could be learned by heart.{fresh} "
        f"{_scores(run)}"
    )


def _over_words(run: Measured) -> str:
    if _only_memorized(run):
        return (
            "The network learned its training examples by heart, and nothing that generalizes: "
            f"by the last epoch the gap was {points(run.gap_at(-1), run.interval_at(-1))}, "
            f"and validation never rose above chance. {_scores(run)} {run.terms.trivial_words}"
        ).rstrip()
    return f"The network over-fits: it knows its training examples by heart. {_scores(run)}"


def _not_learned_words(run: Measured) -> str:
    far = ""
    if run.far_above_a_guess:
        far = (
            f" Its loss of {loss(float(run.val_loss[run.kept]))} is far above that of a guess, "
            f"about {loss(run.terms.ignorance)}."
        )
    return (
        f"The network has not learned anything yet. {_scores(run)} {run.terms.trivial_words}{far}"
    ).rstrip()


def _slight_words(run: Measured) -> str:
    return f"The network is beginning to over-fit. {_scores(run)}"


def _improving_words(run: Measured) -> str:
    return (
        f"The training stopped too early: the validation loss was still falling at epoch "
        f"{run.last_epoch}, by {100 * run.fall:.0f} % over the last quarter. {_scores(run)}"
    )


def _under_words(run: Measured) -> str:
    terms = run.terms
    most = "" if terms.ceiling is None else f"The labels allow {percent(terms.ceiling)}."
    told = most or terms.reference_words or terms.trivial_words
    return (
        f"The network under-fits: it has not even learned its training examples. {_scores(run)} "
        f"{told}"
    ).rstrip()


def _plateau_words(run: Measured) -> str:
    return (
        f"The network has stopped improving, far from perfect. {_scores(run)} "
        f"{run.terms.trivial_words} The curves cannot say whether it under-fits, or whether the "
        "data allow no more."
    ).replace("  ", " ")


def _cannot_tell_words(run: Measured) -> str:
    low, high = run.gap_interval
    if low <= 0 and high >= STRONG_GAP:
        why = "There are too few examples to say whether the network over-fits."
    else:
        why = f"The {run.terms.score} alone does not show what was learned."
    return f"{why} {_scores(run)}"


def _well_words(run: Measured) -> str:
    terms = run.terms
    most = "" if terms.ceiling is None else f" The labels allow {percent(terms.ceiling)}."
    return (
        "The network fits well: what it learned generalizes to unseen examples. "
        f"{_scores(run)}{most}"
    )


def _scores(run: Measured) -> str:
    said = f"The kept weights (epoch {run.kept_epoch}) {run.terms.scores(run)}"
    if math.isfinite(run.gap):
        said += f", a gap of {points(run.gap, run.gap_interval, run.terms.unit)}"
    if run.terms.test_score is not None:
        said += (
            f"; on {run.terms.test_examples:,} test examples the {run.terms.score} is "
            f"{percent(run.terms.test_score)}"
        )
    return f"{said}."


def _doubts(run: Measured) -> list[str]:
    if run.terms.test_score is None or not run.below_validation[0] > 0:
        return list(run.terms.doubts)
    lag = float(run.val_score[run.kept]) - run.terms.test_score
    return [
        *run.terms.doubts,
        f"On test examples it is lower than on validation examples by "
        f"{points(lag, run.below_validation, run.terms.unit)}: the epoch and the settings were "
        "chosen on validation, or the two come from different sources.",
    ]


def _path(run: Measured, label: str) -> str:
    """What the validation loss did, and what the score did meanwhile."""
    at, last = run.lowest_epoch, run.last_epoch
    if run.rise >= SLIGHT_RISE:
        rose = (
            f"the validation loss rose from {loss(run.minimum)} to {loss(run.level)}, by "
            f"{100 * run.raw_rise:.0f} %"
        )
        before = float(run.val_score[run.lowest])
        end = float(np.median(run.val_score[-min(3, run.after) :]))
        trend, score = run.score_trend(), run.terms.score
        if not math.isfinite(before + end):
            return f"After epoch {at} {rose}."
        to = f"from {percent(before)} to {percent(end)}"
        if label == "unstable" or trend < 0:
            fell = "fell" if trend < 0 else "went"
            return f"After epoch {at} {rose}, and its {score} {fell} {to}."
        did = f"its {score} still rose, {to}" if trend else f"its {score} hardly changed ({to})"
        return f"From epoch {at + 1} on it became over-confident: {rose}, while {did}."
    if run.after == 0:
        return f"The validation loss was lowest at the end ({loss(run.minimum)})."
    gained = (
        " Nothing was gained on validation examples after that, while the training loss fell to "
        f"{loss(float(run.train_loss[-1]))}."
        if run.stalled()
        else ""
    )
    return (
        f"The validation loss did not rise beyond its noise: lowest at epoch {at} "
        f"({loss(run.minimum)}), {loss(float(run.val_loss[-1]))} at epoch {last}.{gained}"
    )


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


RULES = (
    Rule("diverged", _exploded, _exploded_words),
    Rule("too short to say", lambda run: len(run.number) < SHORTEST, _short_words),
    Rule("cannot tell", lambda run: not math.isfinite(run.gap), _no_score_words),
    Rule("unstable", _unstable, _unstable_words),
    Rule("validation differs", _differs, _differs_words),
    Rule("over-fitted", _over_fitted, _over_words),
    Rule("not learned", lambda run: run.terms.chance(run), _not_learned_words),
    Rule("slightly over-fitted", _slightly, _slight_words),
    Rule("still improving", lambda run: run.improving, _improving_words),
    Rule("under-fitted", _under_fitted, _under_words),
    Rule("plateau", _plateau, _plateau_words),
    Rule("cannot tell", _cannot_tell, _cannot_tell_words),
    Rule("well fitted", lambda run: True, _well_words),
)
