"""How good a regression is on examples it was not trained on."""

from __future__ import annotations

import numpy as np

from kapps.errors import UserError
from kapps.evaluation.metrics.bootstrap import bootstrap_interval, sampled_rows

RESAMPLES = 2000


def regression_metrics(
    targets: np.ndarray,
    predictions: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, float]:
    """Errors in the units of the targets, each with its 95 % bootstrap interval.

    - `mae`: mean absolute error; `rmse`: root of the mean squared error;
    - `r2`: the share of the targets' variance that is explained, 0 for always answering their
      mean, below 0 for worse than that;
    - `mae_low`, `mae_high` and so on: by the bootstrap (`bootstrap_interval`);
    - `bias`: the mean of prediction minus target; `examples`.

    Args:
        targets: [n], two of them different.
        predictions: [n].
        seed: of the resampling.
        resamples: how many samples.

    Raises:
        UserError: no examples, all targets equal, or predictions that are not finite.
    """
    targets, predictions = checked(targets, predictions)
    if len(np.unique(targets)) < 2:
        raise UserError("all targets to evaluate on are equal: R2 has no meaning for them")
    errors = predictions - targets
    metrics: dict[str, float] = {"examples": len(targets)}
    samples = [
        _measures(targets[rows], errors[rows])
        for rows in sampled_rows(len(targets), resamples, seed)
    ]
    for name, value in _measures(targets, errors).items():
        drawn = np.concatenate([sample[name] for sample in samples])
        metrics[name] = float(value)
        metrics[f"{name}_low"], metrics[f"{name}_high"] = bootstrap_interval(
            metrics[name], drawn, len(targets)
        )
    return metrics | {"bias": float(errors.mean())}


def checked(targets: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets and predictions, float64 [n] each, that belong together and are finite.

    Raises:
        UserError: no examples, or predictions that are not finite.
        ValueError: shapes that do not belong together.
    """
    targets = np.asarray(targets, np.float64)
    predictions = np.asarray(predictions, np.float64)
    if targets.ndim != 1 or targets.shape != predictions.shape:
        raise ValueError(
            f"targets [n] and predictions [n] are wanted, not {targets.shape}, {predictions.shape}"
        )
    if not len(targets):
        raise UserError("There is no example to evaluate on: the split is empty.")
    broken = int(np.sum(~np.isfinite(predictions)))
    if broken:
        raise UserError(
            f"The model's predictions are not finite numbers for {broken} of {len(targets)} "
            "examples: its training diverged. Train again with a lower learning rate."
        )
    return targets, predictions


def _measures(targets: np.ndarray, errors: np.ndarray) -> dict[str, np.ndarray]:
    """By name, over the last axis: [..., n] -> [...]."""
    squares = np.mean(errors**2, axis=-1)
    variance = np.var(targets, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a sample of one row, again and again
        r2 = 1.0 - squares / variance
    return {"mae": np.mean(np.abs(errors), axis=-1), "rmse": np.sqrt(squares), "r2": r2}
