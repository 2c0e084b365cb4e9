"""What a model's answers rest on, column by column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation.plots.figure import BLUE, GREY, calm, new_figure, short_names

MOST_SHOWN = 25


def column_importance(names: Sequence[str], drops: np.ndarray, words: str) -> Figure:
    """A bar for each column, the most important first; the whiskers are two standard errors.

    Args:
        names: of the columns, at most 25 of which are drawn.
        drops: what shuffling the column costs, [columns, repetitions].
        words: what that is, for the axis.
    """
    drops = np.asarray(drops, np.float64)
    order = np.argsort(-drops.mean(axis=1), kind="stable")[:MOST_SHOWN]
    errors = 2 * drops.std(axis=1, ddof=1)[order] / np.sqrt(drops.shape[1])
    figure = new_figure(0.22 * len(order) + 0.8)
    axes = calm(figure.subplots())
    axes.barh(
        short_names([names[i] for i in order], 28),
        drops.mean(axis=1)[order],
        xerr=errors,
        color=BLUE,
        error_kw={"ecolor": GREY, "elinewidth": 1},
    )
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlabel(words)
    return figure
