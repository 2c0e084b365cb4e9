"""Curves by epoch: one run, or several over one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kapps.evaluation.metrics.history import column, epoch_numbers
from kapps.evaluation.plots.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    YELLOW,
    calm,
    new_figure,
    shorten,
)
from kapps.training.fitting.kept_epoch import best_epoch

LINE: dict[str, Any] = {"linewidth": 1.8}
# Prefix of the column, what it is, how it is drawn.
CURVES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("", "training, running average", {"color": SKY, "linestyle": (0, (4, 2)), "linewidth": 1.2}),
    ("train_", "training, evaluation mode", {"color": BLUE}),
    ("val_", "validation", {"color": ORANGE}),
)
RUN_COLOURS = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, "#000000")
MOST_HOVERED = 60  # epochs; of more, the page would grow too much
ACRONYMS = {
    "mae": "Mean absolute error",
    "mse": "Mean squared error",
    "frechet": "Fréchet distance",
}
THIN: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.6, "linestyle": ":"}
COMPARED = ("loss", "accuracy", "mse", "frechet")
RUN_STYLES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))


def learning_curves(
    history: Sequence[Mapping],
    metrics: Sequence[str] = ("loss", "accuracy"),
    *,
    kept: int | None = None,
) -> Figure:
    """A panel per metric, with up to three curves, and a small one for the learning rate.

    `history` has a mapping per epoch, as metrics.csv. Of a metric `loss` the columns `loss` (while
    training, with dropout and augmentation), `train_loss` (in inference mode) and `val_loss` are
    drawn, as far as they are there; a metric without any gets no panel. The epoch whose weights are
    kept is marked: `kept`, from 1, or that of the lowest `val_loss`.
    """
    metrics = [name for name in metrics if _columns(history, name)]
    rates = column(history, "learning_rate")
    with_rates = bool(np.isfinite(rates).any())
    heights = [2.5] * len(metrics) + [1.1] * with_rates
    if not heights:
        return _nothing_to_show()
    figure = new_figure(sum(heights) + 0.5)
    panels = figure.subplots(len(heights), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    epochs = epoch_numbers(history)
    best = best_epoch(history) if kept is None else kept - 1
    for axes, name in zip(panels, metrics, strict=False):
        _metric_panel(axes, history, epochs, best, name)
    figure.legend(*_legend_entries(history, metrics, best), loc="outside upper left", **_LEGEND)
    if with_rates:
        axes = calm(panels[-1])
        axes.plot(epochs, rates, color=GREY, **_marks(rates))
        axes.set_title("Learning rate", **_TITLE)
        positive = rates[rates > 0]
        if len(positive) and positive.max() > 20 * positive.min():
            axes.set_yscale("log")
    _epoch_axis(panels[-1], epochs)
    return figure


def compare_runs(runs: Sequence[tuple[str, Sequence[Mapping]]]) -> Figure:
    """Validation figures of several runs over one another, training thin and dotted.

    Those are loss and accuracy, the error of autoencoders, the distance of samples from real
    pictures: as far as any run has them. `runs` holds pairs of a name and a history; the legend
    tells the best validation accuracy of each (its lowest distance, error or loss where no accuracy
    was recorded) and its epoch, and which lines are validation and which training.
    """
    runs = [(name, history) for name, history in runs if history]
    metrics = [
        name
        for name in COMPARED
        if any(f"val_{name}" in _columns(history, name) for _, history in runs)
    ]
    if "frechet" in metrics and all(_columns(history, "frechet") for _, history in runs):
        metrics = [
            name for name in metrics if name != "loss"
        ]  # that of two players says nothing about either
    if not metrics:
        return _nothing_to_show()
    figure = new_figure(2.8 * len(metrics) + 0.22 * len(runs) + 0.5)
    panels = figure.subplots(len(metrics), sharex=True, squeeze=False)[:, 0]
    handles, with_training = [], False
    for i, (name, history) in enumerate(runs):
        look = {
            "color": RUN_COLOURS[i % len(RUN_COLOURS)],
            "linestyle": RUN_STYLES[i // len(RUN_COLOURS) % len(RUN_STYLES)],
        }
        handles.append(Line2D([], [], label=_run_label(name, history), **look))
        epochs = epoch_numbers(history)
        for axes, metric in zip(panels, metrics, strict=True):
            values = column(history, f"val_{metric}")
            axes.plot(epochs, values, linewidth=1.8, **look, **_marks(values))
            if len(runs) <= len(RUN_COLOURS):
                _hover(axes, epochs, values, shorten(name, 44), metric)
            training = column(history, f"train_{metric}")
            if np.isfinite(training).any():
                with_training = True
                axes.plot(epochs, training, color=look["color"], **THIN)
    for axes, metric in zip(panels, metrics, strict=True):
        _dress(calm(axes), metric, _panel_title(metric))
    _epoch_axis(panels[-1], np.concatenate([epoch_numbers(history) for _, history in runs]))
    if with_training:
        handles.append(Line2D([], [], color=GREY, linewidth=1.8, label="thick: validation"))
        thin = Line2D([], [], color=GREY, label="thin, dotted: training, evaluation mode", **THIN)
        handles.append(thin)
    labels = [handle.get_label() for handle in handles]
    legend = figure.legend(handles, labels, loc="outside lower left", **_LEGEND | {"ncols": 1})
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


_TITLE: dict[str, Any] = {"loc": "left", "fontsize": 10, "fontweight": "bold"}
_LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 8.5, "ncols": 2, "columnspacing": 1.2}


def _metric_panel(axes: Axes, history, epochs, best, name: str) -> None:
    calm(axes)
    for prefix, label, look in CURVES:
        values = column(history, prefix + name)
        if np.isfinite(values).any():
            axes.plot(epochs, values, **LINE | look | _marks(values))
            _hover(axes, epochs, values, label, name)
    if best is not None:
        axes.axvline(epochs[best], color=GREY, linewidth=0.9, linestyle=":")
        value = column(history, f"val_{name}")[best]
        if np.isfinite(value):
            axes.plot(epochs[best], value, "o", color=ORANGE, markersize=6, zorder=5)
            said = f"{100 * value:.1f} %" if name.endswith("accuracy") else f"{value:.3g}"
            right = best > 0.6 * (len(epochs) - 1)
            _dress(axes, name, "")
            low, high = axes.get_ylim()
            above = value < low + 0.15 * (high - low)  # below, it would leave the panel
            axes.annotate(
                f"epoch {epochs[best]:.0f}: {said}",
                (epochs[best], value),
                xytext=(-6 if right else 6, 8 if above else -15),
                textcoords="offset points",
                ha="right" if right else "left",
                fontsize=8.5,
                bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.65},
            )
    _dress(axes, name, _panel_title(name))


def _panel_title(metric: str) -> str:
    return ACRONYMS.get(metric, metric.replace("_", " ").capitalize())


def _hover(axes: Axes, epochs: np.ndarray, values: np.ndarray, label: str, name: str) -> None:
    """What the pointer is told over each epoch, in a page."""
    if len(epochs) > MOST_HOVERED:
        return
    for epoch, value in zip(epochs, values, strict=True):
        if np.isfinite(value):
            said = f"{100 * value:.2f} %" if name.endswith("accuracy") else f"{value:.4g}"
            axes.plot(
                epoch,
                value,
                "o",
                markersize=8,
                alpha=0.0,
                gid=f"hover:{label}, epoch {epoch:.0f}: {said}",
            )


def _dress(axes: Axes, metric: str, title: str) -> None:
    axes.set_title(title, parse_math=False, **_TITLE)
    low, high = axes.get_ylim()
    if metric.endswith("accuracy"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        axes.set_ylim(max(low, -0.02), min(high, 1.02))
    elif metric.endswith("loss") and 0 < low < 0.7 * high:
        axes.set_ylim(bottom=0)


def _epoch_axis(axes: Axes, epochs: np.ndarray) -> None:
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(epochs) and epochs.min() == epochs.max():
        axes.set_xlim(epochs.min() - 1, epochs.max() + 1)


def _columns(history, name: str) -> list[str]:
    names = [prefix + name for prefix, _, _ in CURVES]
    return [n for n in names if np.isfinite(column(history, n)).any()]


def _legend_entries(history, metrics, best) -> tuple[list, list]:
    drawn = {name for metric in metrics for name in _columns(history, metric)}
    entries = [
        (Line2D([], [], **LINE | look), label)
        for prefix, label, look in CURVES
        if any(prefix + metric in drawn for metric in metrics)
    ]
    if best is not None:
        mark = Line2D([], [], color=ORANGE, marker="o", linestyle="none", markersize=6)
        entries.append((mark, "the epoch that is kept"))
    return [handle for handle, _ in entries], [label for _, label in entries]


def _marks(values: np.ndarray) -> dict[str, Any]:
    """A line through fewer than three points needs markers to be seen."""
    return {"marker": "o", "markersize": 4} if np.isfinite(values).sum() < 3 else {}


def _run_label(name: str, history) -> str:
    name = shorten(name, 44).lstrip("_") or "run"
    for metric, words, best in (
        ("accuracy", "best accuracy", np.nanargmax),
        ("frechet", "lowest Fréchet distance", np.nanargmin),
        ("mse", "lowest MSE", np.nanargmin),
        ("loss", "lowest loss", np.nanargmin),
    ):
        values = column(history, f"val_{metric}")
        if np.isfinite(values).any():
            values = np.where(np.isfinite(values), values, np.nan)
            place = int(best(values))
            value = (
                f"{100 * values[place]:.2f} %" if best is np.nanargmax else f"{values[place]:.4g}"
            )
            return f"{name}: {words} {value}, epoch {epoch_numbers(history)[place]:.0f}"
    return name


def _nothing_to_show() -> Figure:
    figure = new_figure(1.2)
    figure.text(0.5, 0.5, "No epoch has been recorded yet.", ha="center", va="center")
    return figure
