"""How good a regression is on examples it was not trained on, and what its curves say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from kapps.errors import UserError
from kapps.evaluation.verdicts.overfitting import (
    Run,
    Terms,
    Verdict,
    curves_of,
    judge_curves,
    percent,
)

RESAMPLES = 2000
TOGETHER = 2**20  # numbers drawn at a time
HARDLY_ANY = 0.05  # of the variance; below, nothing was learned
BEHIND_LINEAR = 0.05  # of the variance that a linear model explains more
CONFIDENT = float(stats.norm.ppf(0.975))


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
    - `mae_low`, `mae_high` and so on: percentiles over samples of the examples with replacement
      (Efron and Tibshirani 1993, section 13.3);
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
    random, count = np.random.default_rng(seed), len(targets)
    together = max(1, TOGETHER // count)
    samples = []
    for start in range(0, resamples, together):
        rows = random.integers(0, count, (min(together, resamples - start), count))
        samples.append(_measures(targets[rows], errors[rows]))
    for name, value in _measures(targets, errors).items():
        drawn = np.concatenate([sample[name] for sample in samples])
        low, high = np.percentile(drawn[np.isfinite(drawn)], (2.5, 97.5))
        metrics |= {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
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


def regression_verdict(
    history: Sequence[Mapping],
    *,
    validation_examples: int,
    train_examples: int,
    linear_r2: float | None = None,
    kurtosis: float = 3.0,
) -> Verdict:
    """Judge the learning curves of a regression.

    The rules are those of `kapps.evaluation.verdicts.overfitting`, with the share of the variance
    that is explained (1 - loss) in the place of the accuracy. What no model can explain is no fault
    of the network, so under-fitted is one that explains five points less of its training examples
    than a linear model does, or hardly anything. The gap's interval is that of a difference of two
    mean squared errors, each of variance `(kurtosis - 1) / n` relative to its square.

    Args:
        history: a mapping per epoch, as the rows of metrics.csv: `loss`, `train_loss`, `val_loss`,
            all mean squared errors in units of the training targets' variance, and if there is a
            schedule `learning_rate`.
        validation_examples: how many `val_loss` is the mean of.
        train_examples: how many `train_loss` is the mean of.
        linear_r2: what a linear model explains of the training examples, if that is known.
        kurtosis: of the errors, 3 for normal ones; heavy tails widen the interval.

    Raises:
        ValueError: a column is missing.
    """
    curves = curves_of(history, ("loss", "train_loss", "val_loss"))
    for split in ("train", "val"):
        curves[f"{split}_accuracy"] = 1.0 - curves[f"{split}_loss"]

    def interval(run: Run) -> tuple[float, float]:
        width = CONFIDENT * math.hypot(
            run.train_loss[-1] * math.sqrt((kurtosis - 1) / train_examples),
            run.val_loss[-1] * math.sqrt((kurtosis - 1) / validation_examples),
        )
        return run.gap - width, run.gap + width

    def scores(run: Run) -> str:
        return (
            f"It explains {percent(run.train_accuracy[-1])} of the variance of the training "
            f"examples and {percent(run.val_accuracy[-1])} of the validation examples'"
        ).replace("-", "\N{MINUS SIGN}")

    def skill(run: Run) -> float:
        return float(run.train_accuracy[-1])

    guess, enough = "", HARDLY_ANY
    if linear_r2 is not None:
        guess = f"A linear model explains {percent(linear_r2)} of the former."
        enough = max(enough, linear_r2 - BEHIND_LINEAR)
    return judge_curves(curves, Terms(interval, skill, enough, scores, guess))


def _measures(targets: np.ndarray, errors: np.ndarray) -> dict[str, np.ndarray]:
    """By name, over the last axis: [..., n] -> [...]."""
    squares = np.mean(errors**2, axis=-1)
    variance = np.var(targets, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a sample of one row, again and again
        r2 = 1.0 - squares / variance
    return {"mae": np.mean(np.abs(errors), axis=-1), "rmse": np.sqrt(squares), "r2": r2}
