"""What to try next: one piece of advice for each verdict, and never two that contradict."""

from __future__ import annotations

import math

from kapps.evaluation.verdicts.criteria import one_class
from kapps.evaluation.verdicts.measured import ALL, Measured

STEPS_TOO_LARGE = (
    "Try a tenth of the learning rate, a warm-up or gradient clipping, and check that the inputs "
    "hold no NaN and are scaled."
)
UNDER_FITTED = (
    "Try a larger network, another learning rate (ten times lower or higher), or less dropout and "
    "augmentation; and look whether the labels are right."
)


def advice_on(label: str, run: Measured | None) -> str:
    """One or two sentences.

    Args:
        label: of the verdict.
        run: what was measured; None where no epoch is whole.
    """
    if label == "diverged" or run is None:
        return STEPS_TOO_LARGE
    return _BY_LABEL[label](run)


def _cannot_tell(run: Measured) -> str:
    if not math.isfinite(run.gap):
        return (
            "Look at the metric: a split without examples, or labels outside the classes, give no "
            "number."
        )
    if one_class(run):
        return "Take a validation split that holds every class: a stratified one."
    if math.isnan(run.skill):
        return "Look at the balanced accuracy and the confusion matrix."
    return "Measure on more validation examples, or by cross-validation."


def _unstable(run: Measured) -> str:
    if run.restarted:
        return (
            "Stop at the end of a cycle of the learning rate, where the losses are low. The "
            f"weights of epoch {run.kept_epoch} are kept."
        )
    return (
        "Try a third of the learning rate, a schedule that lowers it, or gradient clipping. The "
        f"weights of epoch {run.kept_epoch} are kept."
    )


def _over_fitted(run: Measured) -> str:
    if run.terms.chance(run):
        return "Check that labels match their inputs; then try data augmentation or more data."
    if run.improving:
        return (
            "Try data augmentation, more dropout or weight decay, or more data, and with them more "
            "epochs: the validation loss was still falling."
        )
    less = " More epochs will not help." if run.stalled() else ""
    return (
        "Try data augmentation, more dropout or weight decay, a smaller network, or more data."
        f"{less}"
    )


def _slightly(run: Measured) -> str:
    if run.improving:
        return (
            "Train for more epochs: the validation loss was still falling. A little more "
            "augmentation, dropout or weight decay keeps the gap small."
        )
    less = " More epochs will not help." if run.stalled() else ""
    sure = ""
    if run.terms.score == "accuracy" and run.rise and run.score_trend() >= 0:
        sure = " If it is only over-confident, temperature scaling on validation data is enough."
    return f"Try a little more augmentation, dropout or weight decay, or more data.{less}{sure}"


def _not_learned(run: Measured) -> str:
    if run.unchanged:
        return (
            "Look whether the learning rate is above zero, whether there are weights to train, and "
            "whether units died at the first steps: then a tenth of the learning rate helps."
        )
    if run.far_above_a_guess:
        return STEPS_TOO_LARGE
    if run.fall > 0:
        return (
            "The loss is still falling: train for more epochs; if that does not help, at ten times "
            "the learning rate."
        )
    return (
        "Try a learning rate ten times lower and one ten times higher, and check that inputs are "
        "scaled and labels match them."
    )


def _plateau(run: Measured) -> str:
    return (
        "To find out, train a larger network once, or this one at another learning rate: if it "
        "learns its training examples better, this one under-fits; if not, check the examples with "
        "the highest loss for wrong labels, and whether the inputs lack something."
    )


def _well_fitted(run: Measured) -> str:
    terms = run.terms
    if terms.ceiling is not None and run.train_score[run.kept] >= terms.ceiling - 0.05:
        return "To get further, better labels are needed, not another network."
    if run.nothing_left:
        easy = " So easy a task: look whether the answer is among the inputs."
        return f"Nothing is left to get here.{easy if run.val_score[0] >= ALL else ''}"
    if run.stalled():
        return (
            f"More epochs will not help: epoch {run.lowest_epoch} of {run.last_epoch} was as good. "
            "To get further, try more data or augmentation."
        )
    if run.annealed and run.fall > 0:
        return "To get further, try a longer schedule, a larger network, or more data."
    return "To get further, try a larger network or more data."


_BY_LABEL = {
    "too short to say": lambda run: "Train for at least 3 epochs, ideally 10, before judging.",
    "cannot tell": _cannot_tell,
    "unstable": _unstable,
    "validation differs": lambda run: (
        "Check where the validation examples come from and how they are prepared, and take "
        "training and validation examples from one source. If they are what the network will meet "
        "in use, train on examples like them."
    ),
    "test differs": lambda run: (
        "Look at where the test examples come from and how they are prepared. If they show what "
        "the network will meet, validate, and train, on examples of their kind."
    ),
    "over-fitted": _over_fitted,
    "not learned": _not_learned,
    "slightly over-fitted": _slightly,
    "still improving": lambda run: (
        "Train for more epochs: the learning rate then falls more slowly."
        if run.annealed
        else "Train for more epochs, or with a higher learning rate."
    ),
    "under-fitted": lambda run: UNDER_FITTED,
    "plateau": _plateau,
    "well fitted": _well_fitted,
}
