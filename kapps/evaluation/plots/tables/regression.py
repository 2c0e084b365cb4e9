"""Predictions of a quantity against what is true, and what is left over."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation.plots.figure import BLUE, GREY, ORANGE, calm, new_figure, shorten


def predicted_against_true(
    targets: np.ndarray, predictions: np.ndarray, name: str = "target"
) -> Figure:
    """A dot an example; on the dotted line the prediction is right.

    Args:
        targets: [n].
        predictions: [n].
        name: what is predicted.
    """
    targets, predictions = np.asarray(targets), np.asarray(predictions)
    figure = new_figure(4.4)
    axes = calm(figure.subplots())
    both = np.concatenate([targets, predictions])
    ends = [both.min(), both.max()]
    axes.plot(ends, ends, color=GREY, linewidth=0.9, linestyle=":")
    axes.plot(targets, predictions, ".", color=BLUE, **_dots(len(targets)))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"{shorten(name, 30)}, true", parse_math=False)
    axes.set_ylabel("predicted")
    return figure


def residuals(targets: np.ndarray, predictions: np.ndarray) -> Figure:
    """Errors by prediction, and how often each comes, beside the normal curve of their spread.

    Errors that grow or bend with the prediction say that something is left to learn.

    Args:
        targets: [n].
        predictions: [n].
    """
    errors = np.asarray(predictions, np.float64) - np.asarray(targets, np.float64)
    figure = new_figure(2.9)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    calm(left).axhline(0, color=GREY, linewidth=0.9, linestyle=":")
    left.plot(predictions, errors, ".", color=BLUE, **_dots(len(errors)))
    left.set_xlabel("predicted")
    left.set_ylabel("predicted \N{MINUS SIGN} true")
    bins = int(np.clip(np.sqrt(len(errors)), 8, 40))
    calm(right).hist(errors, bins, orientation="horizontal", density=True, color=BLUE, alpha=0.6)
    if errors.std() > 0:
        heights = np.linspace(errors.min(), errors.max(), 100)
        scaled = (heights - errors.mean()) / errors.std()
        density = np.exp(-0.5 * scaled**2) / (errors.std() * np.sqrt(2 * np.pi))
        right.plot(density, heights, color=ORANGE)
    right.set_xticks([])
    right.set_xlabel("how often")
    return figure


def _dots(count: int) -> dict:
    return {"markersize": 5, "alpha": float(np.clip(300 / max(count, 1), 0.05, 0.6))}
