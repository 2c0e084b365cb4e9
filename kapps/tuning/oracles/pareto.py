"""Points that nothing beats in both of two respects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def ranks(points: Sequence[tuple[float, float]]) -> list[int]:
    """How many fronts have to be taken away before a point is on the front: 0 is the front.

    Smaller is better in both coordinates; a point dominates another if it is at least as good in
    both and better in one. What is not known (NaN) is worst.
    """
    values = np.asarray(points, np.float64).reshape(-1, 2)
    values = np.where(np.isnan(values), np.inf, values)
    nowhere_worse = np.asarray((values[:, None] <= values).all(-1))
    beats = nowhere_worse & (values[:, None] < values).any(-1)
    found = np.full(len(values), -1)
    while (left := found < 0).any():
        # "Beats" has no circles, so something is always beaten by nothing that is left.
        found[left & ~beats[left].any(0)] = found.max() + 1
    return found.tolist()
