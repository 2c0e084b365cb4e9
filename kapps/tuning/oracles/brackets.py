"""The sizes of Hyperband's brackets (Li et al. 2018, arXiv:1603.06560, algorithm 1)."""

from __future__ import annotations

import math

from kapps.errors import UserError

LEAST_EPOCHS = 2  # of a first round: after one epoch the schedule is compared, not the trials


def bracket(rounds: int, epochs: int, factor: int = 3) -> list[tuple[int, int]]:
    """The rounds of the first bracket: (trials, epochs of each)."""
    return [
        (factor ** (rounds - 1 - i), math.ceil(epochs / factor ** (rounds - 1 - i)))
        for i in range(rounds)
    ]


def rounds_for(trials: int | None, epochs: int, factor: int = 3) -> int:
    """How many rounds the first bracket can have, so that it fits into a budget.

    Args:
        trials: the budget; None if it is not limited.
        epochs: of the last round.
        factor: one in how many is promoted.

    Raises:
        UserError: not even two rounds fit; says what would.
    """
    rounds = 1
    while epochs / factor**rounds >= LEAST_EPOCHS and (
        trials is None or sum(n for n, _ in bracket(rounds + 1, epochs, factor)) <= trials
    ):
        rounds += 1
    if rounds == 1:
        raise UserError(
            f"Hyperband needs {factor + 1} trials or more, and {LEAST_EPOCHS * factor} epochs or "
            f"more of those that are promoted: there are {trials} trials of {epochs} epochs"
        )
    return rounds
