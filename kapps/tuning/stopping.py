"""When a trial is not worth its next epoch.

A rule is a function of the trial's own curve and those of its peers: pure, so that it can be told
what it should have said. Curves are values of the objective after epochs 1, 2, 3 ..., turned so
that larger is better.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

Curve = Sequence[float]


def median(curve: Curve, peers: Sequence[Curve], *, startup: int = 5, warmup: int = 1) -> bool:
    """Whether the best value so far is worse than the median of what others had averaged by then.

    The median stopping rule (Golovin et al. 2017, Google Vizier, section 3.2.2): the performance
    of a peer by epoch e is the mean of its first e values.

    Args:
        curve: of the trial.
        peers: of trials that have ended; those that are shorter than `curve` do not count.
        startup: peers that it takes before anything is stopped.
        warmup: epochs that every trial gets.
    """
    epoch = len(curve)
    averages = [np.mean(peer[:epoch]) for peer in peers if len(peer) >= epoch]
    if epoch <= warmup or len(averages) < startup:
        return False
    return bool(_best(curve) < np.median(averages))


def halving(curve: Curve, peers: Sequence[Curve], *, factor: int = 3, warmup: int = 1) -> bool:
    """Whether a trial is outside the best 1/`factor` of all that reached its rung.

    Asynchronous successive halving (ASHA, Li et al. 2018, arXiv:1810.05934, algorithm 2), as a rule
    that stops instead of one that promotes: rungs are after `warmup`, `warmup * factor`,
    `warmup * factor**2` ... epochs, and between them nothing is stopped.

    Args:
        curve: of the trial.
        peers: of all other trials, whether they have ended or not.
        factor: one in how many goes on.
        warmup: the first rung.
    """
    epoch, rung = len(curve), warmup
    while rung < epoch:
        rung *= factor
    if rung != epoch:
        return False
    rivals = [_best(peer[:epoch]) for peer in peers if len(peer) >= epoch]
    if len(rivals) + 1 < factor:  # too few to throw one away
        return False
    going_on = max(1, (len(rivals) + 1) // factor)
    return sum(rival > _best(curve) for rival in rivals) >= going_on


def never(curve: Curve, peers: Sequence[Curve]) -> bool:
    """Let every trial have all its epochs."""
    return False


def first_rung(epochs: int | None, *, factor: int = 3, least: int = 2) -> int:
    """Where the first rung of trials of so many epochs is: `epochs / factor**k`, `least` or more.

    What is measured earlier says more of the schedule than of the trial: a rate that has to rise
    first looks poor until it falls.

    Args:
        epochs: of a trial; None if they are not known.
        factor: between rungs.
        least: epochs before which nothing is compared.
    """
    rung = epochs or 1
    while rung // factor >= least:
        rung //= factor
    return rung


def rule(name: str, epochs: int | None = None) -> Callable[[Curve, Sequence[Curve]], bool]:
    """The rule of that name, for trials of so many epochs."""
    if name == "asha":
        return functools.partial(halving, warmup=first_rung(epochs))
    return RULES[name]


RULES: dict[str, Callable[[Curve, Sequence[Curve]], bool]] = {
    "none": never,
    "median": median,
    "asha": halving,
}


def _best(curve: Curve) -> float:
    values = [value for value in curve if np.isfinite(value)]
    return max(values, default=-np.inf)
