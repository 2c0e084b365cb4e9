"""Curves of many trainings over one another, each the mean of its seeds with their spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from kapps.evaluation.plots.curves import RUN_COLOURS, RUN_STYLES
from kapps.evaluation.plots.figure import calm, new_figure, shorten

PANEL = 2.6  # inches


class Panel(NamedTuple):
    """One set of axes.

    Attributes:
        title: what is drawn.
        x_label: words under it.
        curves: x [n] and y [seeds, n] by label; the same label looks the same in all panels.
        x_scale: "linear" or "log".
        y_scale: "linear" or "log".
        marks: whether each point is marked, where there are few.
        share: whether y is shown as a percentage.
    """

    title: str
    x_label: str
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]]
    x_scale: str = "linear"
    y_scale: str = "linear"
    marks: bool = False
    share: bool = False


def seed_curves(panels: Sequence[Panel]) -> Figure:
    """Panels under one another with a common legend; lines are means, bands lowest to highest.

    Values that are not finite leave a gap: the mean is drawn where all seeds have a value.
    """
    labels = list(dict.fromkeys(label for panel in panels for label in panel.curves))
    looks = {
        label: {
            "color": RUN_COLOURS[i % len(RUN_COLOURS)],
            "linestyle": RUN_STYLES[i // len(RUN_COLOURS) % len(RUN_STYLES)],
        }
        for i, label in enumerate(labels)
    }
    figure = new_figure(PANEL * len(panels) + 0.12 * len(labels) + 0.4)
    grid = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axes, panel in zip(grid, panels, strict=True):
        calm(axes)
        for label, (x, y) in panel.curves.items():
            y = np.atleast_2d(np.asarray(y, np.float64))
            y = np.where(np.isfinite(y).all(0), y, np.nan)
            axes.plot(x, y.mean(0), linewidth=1.5, **looks[label], **_marker(panel.marks))
            if len(y) > 1:
                axes.fill_between(
                    x, y.min(0), y.max(0), color=looks[label]["color"], alpha=0.13, linewidth=0
                )
        axes.set_xscale(panel.x_scale)
        axes.set_yscale(panel.y_scale)
        if panel.x_scale == "log":
            _few_ticks(axes)
        axes.set_xlabel(panel.x_label, fontsize=9)
        axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
        if panel.share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    handles = [Line2D([], [], **looks[label]) for label in labels]
    legend = figure.legend(
        handles,
        [shorten(label, 34) for label in labels],
        loc="outside lower left",
        ncols=2,
        frameon=False,
        fontsize=8.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def _few_ticks(axes: Axes) -> None:
    """Powers of ten, and threes where there are few: Matplotlib's labels run into one another."""
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0) if high < 300 * low else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _marker(marks: bool) -> dict:
    return {"marker": "o", "markersize": 3.5} if marks else {}
