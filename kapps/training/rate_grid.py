"""A grid of learning rates that grows while its edge is best, and results that a kill leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from kapps import files
from kapps.training.run import Run

FIRST_RATES = (-1, 0, 1)  # half decades around the usual rate
WIDEST = 4  # half decades from the usual rate that are tried at most


def best_rate(measure: Callable[[float], float], usual: float) -> tuple[float, str]:
    """The rate with the lowest loss: around the usual one, and further while the edge is best.

    Args:
        measure: rate -> loss.
        usual: centre of the grid, whose rates are half a decade apart.

    Returns:
        The rate, and "lowest" or "highest" if it is at the edge of the widest grid, else "".
    """
    scores: dict[int, float] = {}

    def score(place: int) -> None:
        scores[place] = measure(float(f"{usual * 10 ** (place / 2):.3g}"))

    for place in FIRST_RATES:
        score(place)
    while True:
        best = min(scores, key=lambda place: (scores[place], abs(place)))
        low, high = min(scores), max(scores)
        if best == low and low > -WIDEST:
            score(low - 1)
        elif best == high and high < WIDEST:
            score(high + 1)
        else:
            edge = "lowest" if best == low else "highest" if best == high else ""
            return float(f"{usual * 10 ** (best / 2):.3g}"), edge


def kept_cell(run: Run, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` returns, kept in a file: a killed comparison loses one cell at most."""
    path = run.checkpoints / f"state-{name}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged
        found = compute()
        # Not `write_json`: a loss that diverged is to come back as the number it was, NaN.
        files.write_text(path, json.dumps(found) + "\n")
        return found


def share_measurements(batch_sizes: Sequence[int]) -> bool:
    """Whether each batch size divides the largest: then all are measured after the same images."""
    return not any(max(batch_sizes) % size for size in batch_sizes)
