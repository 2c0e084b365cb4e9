"""A grid of learning rates that grows while its edge is best, and results that a kill leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kapps import files
from kapps.training.run_directory.run import Run

if TYPE_CHECKING:
    from kapps.training.comparing.cells import Candidate, Cells

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


class TriedRates(NamedTuple):
    """What a candidate has done at each rate.

    Attributes:
        rate: the best one.
        at_edge: "lowest" or "highest" if it is at the edge of the widest grid, else "".
        curves: by rate, one per seed, as `Cells.run` returns them.
        seconds: that each cell took, by a name that says candidate, rate and seed.
    """

    rate: float
    at_edge: str
    curves: dict[float, list[dict[str, Any]]]
    seconds: dict[str, float]


def try_rates(
    run: Run,
    cells: Cells,
    candidate: Candidate,
    seeds: Sequence[int],
    usual: float,
    *,
    tune: bool = True,
) -> TriedRates:
    """All seeds of a candidate, at every rate that is worth a try.

    The best rate has the lowest loss, in the mean over the seeds, at the end of each seed's best
    epoch.

    Args:
        run: where each cell is kept.
        cells: trains them.
        candidate: what is trained.
        seeds: of weights and order.
        usual: the rate to begin with.
        tune: whether others are tried, as `best_rate` does.
    """
    curves: dict[float, list[dict[str, Any]]] = {}
    seconds: dict[str, float] = {}
    kind = f"{candidate.optimizer}-{candidate.batch_size}-{candidate.schedule}"

    def measure(rate: float) -> float:
        curves[rate] = []
        for seed in seeds:
            name = f"{kind}-{rate:.3g}-{seed}"
            curve = kept_cell(run, name, lambda s=seed: cells.run(candidate, rate, s))
            curves[rate].append(curve)
            seconds[name] = curve["seconds"]
        return float(lowest_losses(curves[rate], cells.measurements).mean())

    if tune:
        rate, at_edge = best_rate(measure, usual)
    else:
        rate, at_edge = usual, ""
        measure(rate)
    return TriedRates(rate, at_edge, curves, seconds)


def lowest_losses(curves: Sequence[dict[str, Any]], measurements: int) -> np.ndarray:
    """The lowest validation loss at the end of an epoch, [seeds]; infinite where none is finite.

    Args:
        curves: one per seed, as `Cells.run` returns them.
        measurements: how many there are in an epoch.
    """
    ends = [curve["val_loss"][measurements::measurements] for curve in curves]
    return np.where(np.isfinite(ends), ends, np.inf).min(axis=1)


def kept_cell(run: Run, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` returns, kept in a file: a killed comparison loses one cell at most."""
    path = run.checkpoints / f"state-{name}.json"
    try:
        return files.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged
        found = compute()
        # Not `write_json`: a loss that diverged is to come back as the number it was, NaN.
        files.write_text(path, files.to_json(found) + "\n")
        return found


def share_measurements(batch_sizes: Sequence[int]) -> bool:
    """Whether each batch size divides the largest: then all are measured after the same images."""
    return not any(max(batch_sizes) % size for size in batch_sizes)
