"""Where a training step's time goes, drawn."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from kapps.evaluation.plots.figure import BLUE, calm, new_figure

MOST = 12  # bars


def step_profile(kinds: Mapping[str, float], layers: Mapping[str, float]) -> Figure:
    """Milliseconds a step by kind of operation and by layer, of all threads; the largest on top.

    Args:
        kinds: milliseconds by kind.
        layers: milliseconds by layer; the largest twelve are shown.
    """
    figure = new_figure(3.4)
    for axes, sums, title in zip(
        figure.subplots(1, 2), (kinds, layers), ("by kind of operation", "by layer"), strict=True
    ):
        shown = sorted(sums.items(), key=lambda item: -item[1])[:MOST]
        calm(axes)
        axes.barh([name for name, _ in shown], [value for _, value in shown], color=BLUE)
        axes.invert_yaxis()
        axes.set_title(title, loc="left", fontsize=9)
        axes.set_xlabel("ms a step", fontsize=8)
        axes.tick_params(labelsize=7)
    return figure
