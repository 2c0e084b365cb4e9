"""When each verdict of `kapps.evaluation.verdicts.curves` holds: thresholds and conditions."""

from __future__ import annotations

import math

import numpy as np

from kapps.evaluation.verdicts.measured import SKILL, Measured

SHORTEST = 3  # epochs: two points lie on every line
STRONG_GAP, SLIGHT_GAP = 0.10, 0.05  # of the score: what augmentation or more data usually mends
STRONG_RISE, SLIGHT_RISE = 0.20, 0.05  # of the validation loss, relative to its minimum
EXPLODED = 1.5  # times the loss of a guess, and of the first epoch
UNSTABLE, UNSTABLE_SHARE = 0.10, 0.02  # rise of the training loss: of itself, of that of a guess
TOGETHER = 0.5  # of the rise of the validation loss that the training loss shows, too
SHORT = 0.10  # of the score below a known ceiling
BEHIND = 0.05  # of the score below a simple model
MEMORIZED = 10.0  # validation loss / training loss, where the second half gained nothing
LEAP, LEAPS = 1.5, 0.3  # how many times as high, and in how large a share of the epochs
MATTERS = 0.05  # of the loss of who knows nothing: a smaller leap is one between good and good


def exploded(run: Measured) -> bool:
    """Training ends far worse than a guess, and than it began."""
    worse = run.train_level > EXPLODED * max(run.scale, float(run.train_loss[0]))
    return len(run.number) > 1 and worse


def unstable(run: Measured) -> bool:
    """Both losses rose together."""
    lowest = float(np.min(run.train_loss))
    rose = run.train_rise >= max(UNSTABLE * lowest, UNSTABLE_SHARE * run.scale)
    rise = run.rise * run.minimum
    return rose and run.rise >= SLIGHT_RISE and run.train_rise >= TOGETHER * rise


def leaps(run: Measured) -> bool:
    """Whether both losses go up and down by half and more in the second half of the epochs."""
    half = len(run.number) // 2
    if half < 4:
        return False
    up = np.ones(half, bool)
    for values in (run.train_loss[-half - 1 :], run.val_loss[-half - 1 :]):
        higher = (values[1:] > LEAP * values[:-1]) & (np.diff(values) > MATTERS * run.scale)
        up &= higher
    return bool(np.mean(up) >= LEAPS)


def one_class(run: Measured) -> bool:
    """Whether who knows nothing has every validation example right."""
    return run.terms.trivial >= 1


def differs(run: Measured) -> bool:
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


def test_differs(run: Measured) -> bool:
    """The test split alone is far off: what was learned holds for the validation split."""
    return run.below_validation[0] >= STRONG_GAP and run.gap_interval[1] < STRONG_GAP


def only_memorized(run: Measured) -> bool:
    """Training examples are known at the end, and validation stays at chance."""
    return run.terms.chance(run) and run.interval_at(-1)[0] >= STRONG_GAP


def over_fitted(run: Measured) -> bool:
    """The gap is surely large; or surely there, and the validation loss rose."""
    low = run.gap_interval[0]
    risen = low >= SLIGHT_GAP and run.rise >= STRONG_RISE
    return low >= STRONG_GAP or run.below_train[0] >= STRONG_GAP or risen or only_memorized(run)


def slightly(run: Measured) -> bool:
    """The gap, or the rise, is smaller or less sure."""
    low = run.gap_interval[0]
    there, at_the_end = low > 0, run.interval_at(-1)[0] > 0
    return (
        low >= SLIGHT_GAP
        or run.below_train[0] >= SLIGHT_GAP
        or (run.gap >= STRONG_GAP and there)
        or run.rise >= STRONG_RISE
        or (run.rise >= SLIGHT_RISE and (there or at_the_end))
        or (run.stalled() and memorized(run) and at_the_end)
    )


def memorized(run: Measured) -> bool:
    """The training loss is next to nothing beside that of validation."""
    return run.val_loss[-1] >= MEMORIZED * max(float(run.train_loss[-1]), 1e-12)


def under_fitted(run: Measured) -> bool:
    """Less is learned than is known to be possible."""
    score, terms = float(run.train_score[run.kept]), run.terms
    short = terms.ceiling is not None and score < terms.ceiling - SHORT
    return short or (terms.reference is not None and score < terms.reference - BEHIND)


def plateau(run: Measured) -> bool:
    """Less than half is learned, and nobody knows whether more can be."""
    unknown = run.terms.ceiling is None and run.terms.reference is None
    return unknown and run.skill < SKILL


def cannot_tell(run: Measured) -> bool:
    """No gap and a large one are both possible, or the score says nothing."""
    low, high = run.gap_interval
    return math.isnan(run.skill) or (low <= 0 and high >= STRONG_GAP)
