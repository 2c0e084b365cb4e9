"""The norm of the gradient in each layer, as training goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kapps.evaluation.plots.figure import BLUE, GREY, ORANGE, SKY, calm, new_figure, shorten

PLACES = ("epoch", "step")  # the columns that are no layers
MOST_NAMED = 12  # layers whose names fit into a legend and under an axis
_TITLE = {"loc": "left", "fontsize": 9.5, "fontweight": "bold"}


def layer_norms(rows: Sequence[Mapping[str, float]]) -> tuple[list[str], np.ndarray]:
    """The layers of the rows of `training.GradientFlow`, and their norms [rows, layers]."""
    names = [name for name in (rows[0] if rows else {}) if name not in PLACES]
    return names, np.array([[row[name] for name in names] for row in rows], np.float64)


def gradient_flow(rows: Sequence[Mapping[str, float]]) -> Figure:
    """The norm of the gradient by layer: a curve each, and their profile from first to last layer.

    Args:
        rows: those of `training.GradientFlow`: `epoch`, `step`, and the norm of each layer, from
            the first layer to the last.
    """
    names, norms = layer_norms(rows)
    if not names:
        figure = new_figure(1.0)
        figure.text(0.5, 0.5, "No gradient was measured.", ha="center", va="center")
        return figure
    figure = new_figure(5.6 if len(names) <= MOST_NAMED else 5.2)
    by_time, by_layer = figure.subplots(2, height_ratios=(1.25, 1.0))
    _curves(by_time, rows, names, norms)
    _profile(by_layer, rows, names, norms)
    return figure


def _curves(axes: Axes, rows, names, norms) -> None:
    within = len({row["epoch"] for row in rows}) < len(rows)
    places = [row["step" if within else "epoch"] for row in rows]
    colours = colormaps["viridis"](np.linspace(0.0, 0.9, len(names)))
    for name, colour, values in zip(names, colours, norms.T, strict=True):
        marks = {"marker": "o", "markersize": 3} if len(rows) < 3 else {}
        label = shorten(name, 18)
        axes.plot(places, _positive(values), color=colour, lw=1.4, label=label, **marks)
    calm(axes).set_title("Gradient norm by layer", **_TITLE)
    axes.set_xlabel("Step" if within else "Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _log_scale(axes, norms)
    if len(names) <= MOST_NAMED:
        legend = axes.legend(
            frameon=False, fontsize=7, ncols=1, loc="center left", bbox_to_anchor=(1.0, 0.5)
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    else:
        axes.annotate(
            f"{len(names)} layers, from the first (dark) to the last (light)",
            (0.0, 1.0), (0, -2), xycoords="axes fraction", textcoords="offset points",
            fontsize=7.5, va="top", color=GREY,
        )  # fmt: skip


def _profile(axes: Axes, rows, names, norms) -> None:
    chosen = sorted({0, (len(rows) - 1) // 2, len(rows) - 1})
    for i, colour in zip(chosen, (SKY, BLUE, ORANGE)[-len(chosen) :], strict=True):
        label = f"epoch {rows[i]['epoch']:g}" if rows[i]["step"] else "before training"
        axes.plot(
            range(1, len(names) + 1), _positive(norms[i]), color=colour, marker="o", markersize=3.5,
            lw=1.4, label=label,
        )  # fmt: skip
    calm(axes).set_title("Backwards: from the last layer (right) to the first (left)", **_TITLE)
    _log_scale(axes, norms)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(names) <= MOST_NAMED:
        axes.set_xticks(range(1, len(names) + 1), [shorten(name, 14) for name in names])
        axes.tick_params(axis="x", labelsize=7, rotation=30)
        for text in axes.get_xticklabels():
            text.set(parse_math=False, ha="right", rotation_mode="anchor")
    else:
        axes.set_xlabel("Layer with weights")
    axes.legend(frameon=False, fontsize=7.5)


def _positive(values: np.ndarray) -> np.ndarray:
    """What has a logarithm; the rest is left out."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _log_scale(axes: Axes, norms: np.ndarray) -> None:
    if np.isfinite(_positive(norms)).any():
        axes.set_yscale("log")
