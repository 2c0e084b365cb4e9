"""Figures of a search for hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from kapps.evaluation.plots.figure import BLUE, GREY, ORANGE, calm, new_figure, shorten

COLOURS = colormaps["viridis"]
LOGARITHMIC = 20.0  # a range of positive numbers this wide is drawn by their logarithms
FEW = 5  # whole numbers that each get a tick
ROW = 0.42  # inches per hyperparameter


def search_progress(
    scores: Sequence[float | None], failed: Sequence[bool], name: str, maximize: bool
) -> Figure:
    """The objective of each trial, and the best so far.

    Args:
        scores: by trial; None for those without one.
        failed: by trial.
        name: of the objective.
        maximize: whether more is better.
    """
    values = _numbers(scores)
    best = (np.fmax if maximize else np.fmin).accumulate(values)
    figure = new_figure(2.8)
    axes = calm(figure.subplots())
    trials = np.arange(len(values))
    axes.plot(trials, values, "o", color=BLUE, markersize=4, label="trials")
    axes.step(trials, best, where="post", color=ORANGE, linewidth=1.8, label="best so far")
    _value_axis(axes.yaxis, name, values)
    low = axes.get_ylim()[0]
    if any(failed):
        where = np.flatnonzero(failed)
        axes.plot(where, np.full(len(where), low), "x", color=GREY, label="failed", clip_on=False)
        axes.set_ylim(bottom=low)
    axes.set_xlabel("Trial")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_title(_words(name), loc="left", fontsize=10, fontweight="bold")
    figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=8.5)
    return figure


def parallel_coordinates(
    points: Sequence[Mapping[str, Any]],
    scores: Sequence[float] | np.ndarray,
    name: str,
    maximize: bool,
) -> Figure:
    """A line per trial through its hyperparameters, one under the other, and its objective.

    The axes lie, for the width of a phone. Where a hyperparameter is not active the line has a gap.

    Args:
        points: values by name.
        scores: by trial.
        name: of the objective.
        maximize: whether more is better.
    """
    scores = np.asarray(scores, np.float64)
    names = [n for n in dict.fromkeys(n for point in points for n in point) if _varies(points, n)]
    rows = [*names, name]
    columns = [_scaled([point.get(n) for point in points]) for n in names]
    columns.append(_scaled([float(score) for score in scores]))
    figure = new_figure(ROW * len(rows) + 1.0)
    axes = figure.subplots()
    shade, norm = COLOURS if maximize else COLOURS.reversed(), _normal(scores)
    order = np.argsort(scores if maximize else -scores)  # the best on top
    heights = np.arange(len(rows))[::-1]
    for i in order:
        x = np.array([column[0][i] for column in columns])
        rank = norm(scores[i]) if maximize else 1 - norm(scores[i])
        axes.plot(
            x, heights, color=shade(norm(scores[i])), linewidth=0.7 + rank, alpha=0.35 + 0.6 * rank
        )
    for height, row, (_, low, high) in zip(heights, rows, columns, strict=True):
        axes.axhline(height, color="#C8C8C8", linewidth=0.8, zorder=0)
        axes.text(-0.02, height, shorten(low, 9), ha="right", va="center", fontsize=7.5)
        axes.text(1.02, height, shorten(high, 9), ha="left", va="center", fontsize=7.5)
        weight = "bold" if row == name else "normal"
        axes.text(
            0.5, height + 0.1, shorten(_words(row), 30), ha="center", va="bottom", fontsize=8,
            fontweight=weight, parse_math=False,
            bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
        )  # fmt: skip
    axes.set_xlim(-0.2, 1.2)
    axes.set_ylim(-0.4, len(rows) - 0.4)
    axes.set_axis_off()
    return figure


def search_slices(
    points: Sequence[Mapping[str, Any]],
    scores: Sequence[float] | np.ndarray,
    names: Sequence[str],
    name: str,
) -> Figure:
    """The objective by each of some hyperparameters, a point per trial in which it is active.

    Args:
        points: values by name.
        scores: by trial.
        names: of the hyperparameters, drawn in this order.
        name: of the objective.
    """
    rows = (len(names) + 1) // 2
    figure = new_figure(1.75 * rows + 0.4)
    panels = figure.subplots(rows, 2, sharey=True, squeeze=False).ravel()
    scores = np.asarray(scores, np.float64)
    for axes, hyperparameter in zip(panels, names, strict=False):
        calm(axes)
        values = [point.get(hyperparameter) for point in points]
        active = np.array([value is not None for value in values])
        shown = [value for value in values if value is not None]
        numeric = all(_is_number(value) for value in shown)
        if numeric:
            axes.plot(shown, scores[active], "o", color=BLUE, markersize=3, alpha=0.7)
            kinds = sorted(set(shown))
            if _logarithmic(np.array(shown, np.float64)):
                axes.set_xscale("log")
            elif len(kinds) <= FEW and all(isinstance(kind, int) for kind in kinds):
                axes.set_xticks(kinds)
        else:
            kinds = sorted(set(map(str, shown)))
            x = np.array([kinds.index(str(value)) for value in shown], np.float64)
            x += np.random.default_rng(0).uniform(-0.12, 0.12, len(x))
            axes.plot(x, scores[active], "o", color=BLUE, markersize=3, alpha=0.7)
            axes.set_xticks(range(len(kinds)), [shorten(kind, 9) for kind in kinds])
            axes.set_xlim(-0.5, len(kinds) - 0.5)
        axes.tick_params(labelsize=7.5)
        axes.set_title(shorten(_words(hyperparameter), 24), loc="left", fontsize=8.5)
        _value_axis(axes.yaxis, name, scores)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    return figure


def search_curves(
    curves: Sequence[Sequence[tuple[float, float]]], best: int, name: str, maximize: bool
) -> Figure:
    """The objective of every trial by epoch, the best one on top.

    Args:
        curves: (epoch, value) by trial.
        best: number of the curve that is to stand out.
        name: of the objective.
        maximize: whether more is better.
    """
    figure = new_figure(3.0)
    axes = calm(figure.subplots())
    ends = [max((v for _, v in curve), default=np.nan) for curve in curves]
    if not maximize:
        ends = [min((v for _, v in curve), default=np.nan) for curve in curves]
    norm = _normal(np.array(ends))
    for i, curve in enumerate(curves):
        if curve and i != best:
            x, y = zip(*curve, strict=True)
            look = {"marker": "o", "markersize": 2.5} if len(x) == 1 else {}
            shade = norm(ends[i]) if maximize else 1 - norm(ends[i])
            axes.plot(x, y, color=COLOURS(shade), linewidth=0.8, alpha=0.6, **look)
    if curves and curves[best]:
        x, y = zip(*curves[best], strict=True)
        axes.plot(x, y, color=ORANGE, linewidth=2.2, label="the best trial")
        figure.legend(loc="outside lower left", frameon=False, fontsize=8.5)
    values = np.array([v for curve in curves for _, v in curve], np.float64)
    _value_axis(axes.yaxis, name, values)
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_title(_words(name), loc="left", fontsize=10, fontweight="bold")
    return figure


def pareto_front(
    costs: Sequence[float] | np.ndarray,
    scores: Sequence[float] | np.ndarray,
    front: Sequence[int],
    cost: str,
    name: str,
) -> Figure:
    """Objective against a cost, and the trials that no other beats in both.

    Args:
        costs: by trial.
        scores: by trial.
        front: numbers of the trials on the front, the cheapest first.
        cost: name of the cost.
        name: of the objective.
    """
    figure = new_figure(3.0)
    axes = calm(figure.subplots())
    costs, scores = np.asarray(costs, np.float64), np.asarray(scores, np.float64)
    axes.plot(costs, scores, "o", color=BLUE, markersize=4, alpha=0.6, label="trials")
    chosen = list(front)
    axes.step(costs[chosen], scores[chosen], where="post", color=ORANGE, linewidth=1.5)
    axes.plot(costs[chosen], scores[chosen], "o", color=ORANGE, markersize=5, label="Pareto front")
    if _logarithmic(costs):
        axes.set_xscale("log")
    axes.set_xlabel(_words(cost))
    _value_axis(axes.yaxis, name, scores)
    axes.set_title(_words(name), loc="left", fontsize=10, fontweight="bold")
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8.5)
    return figure


def hyperparameter_importance(
    names: Sequence[str], means: np.ndarray, spread: np.ndarray
) -> Figure:
    """How much of the objective each hyperparameter decides, the most first.

    Args:
        names: of the hyperparameters.
        means: share of the variance, by hyperparameter.
        spread: standard deviation of each.
    """
    figure = new_figure(0.3 * len(names) + 0.8)
    axes = calm(figure.subplots())
    heights = np.arange(len(names))[::-1]
    axes.barh(heights, means, xerr=spread, color=BLUE, height=0.65, ecolor=GREY)
    axes.set_yticks(heights, [shorten(_words(name), 26) for name in names], fontsize=8.5)
    axes.set_xlabel("Share of variance lost without it", fontsize=8.5)
    axes.set_xlim(left=min(0.0, float(np.min(means, initial=0.0))))
    return figure


def _value_axis(axis, name: str, values: np.ndarray) -> None:
    """Percent for shares; the limits leave out what only a few very bad trials need."""
    if name.endswith("accuracy"):
        axis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axis.set_tick_params(labelsize=8)
    finite = values[np.isfinite(values)]
    axes: Axes = axis.axes
    if len(finite) > 4 and "loss" in name:
        low, high = finite.min(), np.quantile(finite, 0.9)
        if finite.max() - low > 5 * (high - low) > 0:
            axes.set_ylim(low - 0.05 * (high - low), high + 0.5 * (high - low))


def _scaled(values: Sequence[Any]) -> tuple[np.ndarray, str, str]:
    """Values on 0..1 (NaN where None), and what stands at its ends."""
    shown = [value for value in values if value is not None]
    if all(_is_number(value) for value in shown):
        numbers = _numbers(values)
        known = numbers[np.isfinite(numbers)]
        low, high = known.min(), known.max()
        ends = f"{low:.3g}", f"{high:.3g}"
        if _logarithmic(known):
            numbers, low, high = np.log(numbers), np.log(low), np.log(high)
        return (numbers - low) / ((high - low) or 1.0), *ends
    kinds = sorted(set(map(str, shown)))
    scale = max(1, len(kinds) - 1)
    places = [np.nan if v is None else kinds.index(str(v)) / scale for v in values]
    return np.array(places), kinds[0], kinds[-1]


def _varies(points: Sequence[Mapping[str, Any]], name: str) -> bool:
    return len({str(point.get(name)) for point in points}) > 1


def _numbers(values: Sequence[Any]) -> np.ndarray:
    return np.array([np.nan if value is None else float(value) for value in values])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _logarithmic(values: np.ndarray) -> bool:
    return bool(len(values) and values.min() > 0 and values.max() > LOGARITHMIC * values.min())


def _normal(values: np.ndarray) -> Normalize:
    finite = values[np.isfinite(values)]
    low = np.quantile(finite, 0.25) if len(finite) else 0.0  # colours for the better ones
    high = finite.max() if len(finite) else 1.0
    if not len(finite) or low >= high:
        low = high - 1.0
    return Normalize(float(low), float(high), clip=True)


def _words(name: str) -> str:
    words = name.replace("val_", "validation ").replace("_", " ")
    return words[:1].upper() + words[1:]
