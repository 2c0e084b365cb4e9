"""What a model's answers rest on, column by column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation.plots.figure import BLUE, GREY, calm, new_figure, short_names

MOST_SHOWN = 25


def column_importance(
    names: Sequence[str], value: np.ndarray, low: np.ndarray, high: np.ndarray, words: str
) -> Figure:
    """A bar for each column, the most important first; the whiskers are 95 % intervals.

    Args:
        names: of the columns, at most 25 of which are drawn.
        value: what shuffling the column costs, [columns].
        low: lower end of its interval, [columns].
        high: upper end, [columns].
        words: what that is, for the axis.
    """
    value, low, high = (np.asarray(x, np.float64) for x in (value, low, high))
    order = np.argsort(-value, kind="stable")[:MOST_SHOWN]
    figure = new_figure(0.22 * len(order) + 0.8)
    axes = calm(figure.subplots())
    axes.barh(
        short_names([names[int(i)] for i in order], 28),
        value[order],
        xerr=np.stack([value - low, high - value])[:, order],
        color=BLUE,
        error_kw={"ecolor": GREY, "elinewidth": 1},
    )
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlabel(words)
    return figure
