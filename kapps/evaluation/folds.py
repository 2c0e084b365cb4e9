"""Cross-validation of a recipe: a run for each fold, then the one that is published."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from scipy import stats

from kapps import training
from kapps.training.run_directory.run import FOLDS

MEASURES = ("accuracy", "micro_f1", "r2", "mae", "loss")  # those that a run has are told
SHOWN = {"accuracy": ".2%", "micro_f1": ".2%", "r2": ".3f", "mae": ".4g"}

_NAMES = {"r2": "R²", "micro_f1": "F1"}


class FoldMean(NamedTuple):
    """A figure over the folds: mean, 95 % interval, deviation from fold to fold."""

    mean: float
    low: float
    high: float
    deviation: float


def fold_mean(values: Sequence[float]) -> FoldMean:
    """The mean over K folds, and an interval that knows that their training parts overlap.

    Student's t with the variance times 1/K + 1/(K - 1) in the place of 1/K: each test part is
    1/(K - 1) of its training part (Nadeau and Bengio 2003, Machine Learning 52, equation 9).

    Args:
        values: one per fold, two or more.

    Raises:
        ValueError: fewer than two.
    """
    count = len(values)
    if count < 2:
        raise ValueError(f"{count} folds: two or more are needed")
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    width = float(stats.t.ppf(0.975, count - 1)) * deviation
    width *= math.sqrt(1 / count + 1 / (count - 1))
    return FoldMean(mean, mean - width, mean + width, deviation)


def cross_validated(
    main: Callable[[Any, training.Run], Mapping[str, Any]], config: Any, run: training.Run
) -> None:
    """Trains on every fold, if `--folds` asks for that, and notes mean and interval in the run.

    Each fold has a run directory of its own below that of the run, so a killed one goes on where
    it was. What the recipe trains afterwards, on the splits of the data, is what is published.

    Args:
        main: of the recipe.
        config: its configuration.
        run: whose notes and figures are added to.
    """
    if not config.folds or config.fold is not None:
        return
    measured: list[Mapping[str, Any]] = []
    for fold in range(config.folds):
        print(f"fold      {fold + 1} of {config.folds}")  # noqa: T201
        path = run.path / FOLDS / str(fold)
        alone = dataclasses.replace(
            config, fold=fold, run_dir=str(path), export=False, overwrite=False
        )
        with training.open_run(run.recipe, alone) as opened:
            measured.append(opened.metrics() if opened.finished else main(alone, opened))
        keras.backend.clear_session()
    said = []
    for name in MEASURES:
        values = [metrics.get(f"test_{name}") for metrics in measured]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if len(numbers) < len(values):
            continue
        found = fold_mean(numbers)
        run.figures[f"fold_{name}"] = found.mean
        run.figures[f"fold_{name}_low"], run.figures[f"fold_{name}_high"] = found.low, found.high
        if name in SHOWN:
            mean, low, high = (format(value, SHOWN[name]) for value in found[:3])
            said.append(f"{_NAMES.get(name, name)} {mean} (95 % interval {low} to {high})")
    run.notes.append(
        f"Cross-validation over {config.folds} folds: {', '.join(said)}. "
        "The published model was trained on the usual splits"
    )
