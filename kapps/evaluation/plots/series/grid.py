"""Series as curves, small and many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation.plots.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    YELLOW,
    new_figure,
    shorten,
)

COLUMNS = 4
MOST = 24  # panels
MOST_FEATURES = 6  # curves in a panel


def series_grid(
    series: np.ndarray, captions: Sequence[str], *, colours: Sequence[str] | None = None
) -> Figure:
    """A panel per series, a curve per feature; padding is not drawn.

    Args:
        series: [n, steps, features], padded with NaN. The first 24 are drawn, and of each the
            first six features.
        captions: one per series, above it.
        colours: of the captions.
    """
    series = np.asarray(series)[:MOST]
    rows = max(1, -(-len(series) // COLUMNS))
    figure = new_figure(0.2 + 1.0 * rows)
    panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    curves = (BLUE, ORANGE, GREEN, PINK, SKY, YELLOW)
    for axes in panels[len(series) :]:
        axes.set_axis_off()
    for i, (axes, one) in enumerate(zip(panels, series, strict=False)):
        steps = np.arange(1, len(one) + 1)
        marker = "." if np.sum(~np.isnan(one[:, 0])) == 1 else ""
        for feature, colour in zip(one.T, curves, strict=False):
            axes.plot(steps, feature, color=colour, linewidth=0.8, marker=marker)
        axes.set_title(
            "\n".join(shorten(line, 16) for line in str(captions[i]).split("\n")),
            fontsize=7,
            color=colours[i] if colours is not None else GREY,
            parse_math=False,
        )
        axes.tick_params(labelsize=5.5, length=2, pad=1)
        axes.locator_params(nbins=3)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
