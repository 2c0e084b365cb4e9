"""The verdicts of `kapps.evaluation.verdicts.curves` in words, with the numbers they stand on."""

from __future__ import annotations

import math

import numpy as np

from kapps.evaluation.verdicts.criteria import SLIGHT_GAP, SLIGHT_RISE, STRONG_GAP, only_memorized
from kapps.evaluation.verdicts.measured import Measured
from kapps.evaluation.verdicts.words import count, listed, percent, points

UNKNOWN = "The curves cannot say whether it under-fits, or whether inputs and labels hold no more."
MOST_NAMED = 5  # epochs
WENT_ON = 0.9  # of the training loss where that on validation was lowest


def no_number(whole: np.ndarray, run: Measured | None) -> str:
    """A loss that is no number at the end."""
    first = int(np.flatnonzero(whole)[-1]) + 2 if whole.any() else 1
    said = f"The training diverged: from epoch {first} on the loss is not a finite number."
    if run is None:
        return said
    return f"{said} {_scores(run)}"


def exploded_words(run: Measured) -> str:
    """A loss that ended above where it began."""
    return (
        "The training diverged: the loss on training examples ended at "
        f"{run.told(run.train_level)}, above the {run.told(run.train_loss[0])} of the first epoch "
        f"and what a guess would cost. {_scores(run)}"
    )


def short_words(run: Measured) -> str:
    """Too few epochs."""
    epochs = count(len(run.number), "epoch")
    return f"{epochs[0].upper()}{epochs[1:]} cannot show a trend. {_scores(run)}"


def no_score_words(run: Measured) -> str:
    """A score that is no number."""
    return (
        f"The {run.terms.score} is not a number in any epoch, although the loss is finite: it went "
        f"from {run.told(run.val_loss[0])} to {run.told(run.val_loss[-1])} on validation "
        f"examples, and to {run.told(run.train_loss[-1])} on training examples."
    )


def unstable_words(run: Measured) -> str:
    """Losses that rose together."""
    lowest = int(np.argmin(run.train_loss))
    return (
        f"The training became unstable after epoch {run.lowest_epoch}: the loss rose on training "
        f"examples, from {run.told(run.train_loss[lowest])} to {run.told(run.train_level)}, and on "
        f"validation examples, from {run.told(run.minimum)} to {run.told(run.level)}. Over-fitting "
        f"would lower the former.{_restart(run)} {_scores(run)}"
    )


def _restart(run: Measured) -> str:
    if not run.restarted:
        return ""
    low, high = run.learning_rate[run.lowest], run.learning_rate[-1]
    return f" Meanwhile the learning rate rose again, from {low:.2g} to {high:.2g}."


def leaps_words(run: Measured) -> str:
    """Losses that go up and down."""
    half = len(run.number) // 2
    ends = [f(run.train_loss[-half:]) for f in (np.min, np.max)]
    return (
        "The training is unstable: the losses go up and down with the epochs, that on training "
        f"examples between {run.told(ends[0])} and {run.told(ends[1])} in the second half. "
        f"{_scores(run)}"
    )


def one_class_words(run: Measured) -> str:
    """A validation split of one class."""
    return (
        "The validation split holds one class only: always answering the most frequent class is "
        f"right each time, so its {run.terms.score} says nothing. {_scores(run)}"
    )


def differs_words(run: Measured) -> str:
    """A gap that was there from the start."""
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


def test_differs_words(run: Measured) -> str:
    """A test split that is far off."""
    return (
        "The test examples differ from the others, or are harder: what was learned holds for "
        f"validation examples, and not for them. {_scores(run)}"
    )


def over_words(run: Measured) -> str:
    """A gap that training made."""
    if only_memorized(run):
        return (
            "The network learned its training examples by heart, and nothing that generalizes: "
            f"by the last epoch the gap was {points(run.gap_at(-1), run.interval_at(-1))}, "
            f"and validation never rose above chance. {_scores(run)} {run.terms.trivial_words}"
        ).rstrip()
    return f"The network over-fits: it knows its training examples by heart. {_scores(run)}"


def not_learned_words(run: Measured) -> str:
    """No better than a guess."""
    far = ""
    if run.far_above_a_guess:
        far = (
            f" Its loss of {run.told(run.val_loss[run.kept])} is far above the "
            f"{run.told(run.terms.ignorance)} or so of a guess."
        )
    return (
        f"The network has not learned anything yet. {_scores(run)} {run.terms.trivial_words}{far}"
    ).rstrip()


def slight_words(run: Measured) -> str:
    """A gap that begins."""
    return f"The network is beginning to over-fit. {_scores(run)}"


def improving_words(run: Measured) -> str:
    """A loss that still falls."""
    return (
        f"The training stopped too early: the validation loss was still falling at epoch "
        f"{run.last_epoch}, by {100 * run.fall:.0f} {run.terms.relative} over the last "
        f"quarter. {_scores(run)}"
    )


def under_words(run: Measured) -> str:
    """Less than can be learned."""
    terms = run.terms
    most = "" if terms.ceiling is None else f"The labels allow {percent(terms.ceiling)}."
    told = most or terms.reference_words or terms.trivial_words
    return (
        f"The network under-fits: it has not even learned its training examples. {_scores(run)} "
        f"{told}"
    ).rstrip()


def plateau_words(run: Measured) -> str:
    """Half of what there is, or less."""
    return (
        f"The network no longer gets better, far from all there is. {_scores(run)} "
        f"{run.terms.trivial_words} {UNKNOWN}"
    ).replace("  ", " ")


def cannot_tell_words(run: Measured) -> str:
    """Figures that do not say enough."""
    low, high = run.gap_interval
    if low <= 0 and high >= STRONG_GAP:
        why = "There are too few examples to say whether the network over-fits."
    else:
        why = f"The {run.terms.score} alone does not show what was learned."
    return f"{why} {_scores(run)}"


def well_words(run: Measured) -> str:
    """What was learned holds."""
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


def doubts(run: Measured) -> list[str]:
    """Sentences on what the figures do not say, or what else could be behind them."""
    said = list(run.terms.doubts)
    if run.gap_interval[1] <= -SLIGHT_GAP:
        said.append(
            "Validation examples are easier than training examples, or some of them are among "
            "these, or labels of training examples are wrong."
        )
    if run.terms.test_score is None or not run.below_validation[0] > 0:
        return said
    lag = float(run.val_score[run.kept]) - run.terms.test_score
    return [
        *said,
        f"On test examples it is lower than on validation examples by "
        f"{points(lag, run.below_validation, run.terms.unit)}: the epoch and the settings were "
        "chosen on validation, or the two come from different sources.",
    ]


def path(run: Measured, label: str) -> str:
    """What the validation loss did, and what the score did meanwhile."""
    return " ".join(filter(None, (_lost(run), _way(run, label))))


def _lost(run: Measured) -> str:
    if not len(run.lost):
        return ""
    named = listed([str(number) for number in run.lost])
    if len(run.lost) > MOST_NAMED:
        named = f"{len(run.lost)} of {run.last_epoch}"
    epochs = "epoch" if len(run.lost) == 1 else "epochs"
    return f"The loss was not a finite number in {epochs} {named} and came back."


def _way(run: Measured, label: str) -> str:
    at, last = run.lowest_epoch, run.last_epoch
    if run.unchanged:
        return f"Neither loss changed at all in {len(run.number)} epochs."
    if run.rise >= SLIGHT_RISE:
        rose = (
            f"the validation loss rose from {run.told(run.minimum)} to {run.told(run.level)}, by "
            f"{100 * run.raw_rise:.0f} {run.terms.relative}"
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
        return f"The validation loss was lowest at the end ({run.told(run.minimum)})."
    gained = ""
    if run.stalled() and label != "unstable":
        gained = " Nothing was gained on validation examples after that"
        if run.train_loss[-1] < WENT_ON * run.train_loss[run.lowest]:
            gained += f", while the training loss went on to {run.told(run.train_loss[-1])}"
        gained += "."
    return (
        f"The validation loss did not rise beyond its noise: lowest at epoch {at} "
        f"({run.told(run.minimum)}), {run.told(run.val_loss[-1])} at epoch {last}.{gained}"
    )
