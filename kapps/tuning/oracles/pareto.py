"""Points that nothing beats in both of two respects."""

from __future__ import annotations

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Numbers of the points that no other dominates, by their first coordinate.

    Smaller is better in both coordinates; a point dominates another if it is at least as good in
    both and better in one.
    """
    found, lowest = [], float("inf")
    for i in sorted(range(len(points)), key=lambda i: points[i]):
        if points[i][1] < lowest:
            found.append(i)
            lowest = points[i][1]
        elif found and points[i] == points[found[-1]]:  # the same point again
            found.append(i)
    return found


def ranks(points: Sequence[tuple[float, float]]) -> list[int]:
    """How many fronts have to be taken away before a point is on the front."""
    answer, left, rank = [0] * len(points), list(range(len(points))), 0
    while left:
        chosen = {left[i] for i in front([points[i] for i in left])}
        for i in chosen:
            answer[i] = rank
        left = [i for i in left if i not in chosen]
        rank += 1
    return answer
