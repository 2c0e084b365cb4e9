"""The learning-rate range test, drawn."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation.plots.figure import BLUE, GREY, ORANGE, calm, new_figure


def range_test(
    learning_rates: np.ndarray, losses: np.ndarray, suggestion: float, highest: float
) -> Figure:
    """Smoothed loss by learning rate, the suggestion marked.

    Args:
        learning_rates: as tried, rising, `[n]`.
        losses: smoothed training loss at each, nats, `[n]`.
        suggestion: where the loss falls fastest.
        highest: above it, expect trouble.
    """
    figure = new_figure(2.8)
    axes = calm(figure.subplots())
    axes.plot(learning_rates, losses, color=BLUE)
    axes.set_xscale("log")
    # Divergence at the end would flatten everything that matters.
    start = float(np.median(losses[: max(3, len(losses) // 10)]))
    low = float(np.min(losses))
    axes.set_ylim(low - 0.1 * (start - low), start + 0.35 * (start - low) + 1e-6)
    axes.axvline(suggestion, color=ORANGE)
    axes.axvline(highest, color=GREY, linestyle=(0, (5, 1.5)))
    axes.set_title(
        f"falls fastest at {suggestion:.2g} (orange); stay below {highest:.2g} (grey)",
        loc="left",
        fontsize=9,
    )
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss, nats")
    return figure
