"""Pictures of results by class and by confidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import PercentFormatter

from kapps.evaluation.metrics.calibration import (
    expected_calibration_error,
    reliability_bins,
    softmax,
)
from kapps.evaluation.metrics.classification import wilson_interval
from kapps.evaluation.plots.figure import (
    BLUE,
    GREY,
    ORANGE,
    WIDTH,
    calm,
    new_figure,
    short_names,
)

ON_DARK, ON_LIGHT = "#fefefe", "#222222"  # on a cell: none of the page's colours, which change
MOST_CELLS = 30  # classes; with more of them the page would grow by megabytes


def confusion_matrix(matrix: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Rows are true classes, columns predicted ones; darker is a larger share of the true class.

    `matrix` holds counts, `[true][predicted]`. Up to 15 classes the counts are written in, above
    that the picture grows and its labels get smaller; above 120 only some classes are named.
    """
    matrix = np.asarray(matrix, np.int64)
    classes = len(matrix)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(totals, 1)
    size = float(np.clip(0.09 * classes + 1.6, WIDTH, 12))
    figure = new_figure(size, size)
    axes = figure.subplots()
    # The square root lets rare mistakes be seen beside a diagonal near 1.
    colours = colormaps["Blues"](np.sqrt(shares))
    if classes <= MOST_CELLS:  # sharp at any size, and each cell says what it is
        for i, j in np.ndindex(classes, classes):
            cell = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colours[i, j], linewidth=0)
            cell.set_gid(
                f"hover:{class_names[i]} taken for {class_names[j]}: {matrix[i, j]}, "
                f"{100 * shares[i, j]:.1f} %"
            )
            axes.add_patch(cell)
        axes.set(xlim=(-0.5, classes - 0.5), ylim=(classes - 0.5, -0.5), aspect="equal")
    else:
        axes.imshow(colours, interpolation="nearest")
    step = -(-classes // 120)
    named = np.arange(0, classes, step)
    points = float(np.clip(72 * 0.62 * size / classes * step * 0.8, 3.5, 9))
    names = short_names(class_names, 16)
    labels = [names[i] for i in named]
    axes.set_xticks(named, labels, rotation=90, fontsize=points, parse_math=False)
    axes.set_yticks(named, labels, fontsize=points, parse_math=False)
    axes.tick_params(length=0 if classes > 30 else 2)
    axes.spines[:].set_color("#BBBBBB")
    axes.set_xlabel("Predicted")
    axes.set_ylabel("True")
    if classes <= 15:
        for i, j in np.argwhere(matrix).tolist():
            axes.text(
                j,
                i,
                _count(int(matrix[i, j])),
                ha="center",
                va="center",
                fontsize=min(points, 8 if matrix.max() < 1000 else 6.5),
                color=ON_DARK if shares[i, j] > 0.3 else ON_LIGHT,
            )
    return figure


def reliability_diagram(
    labels: np.ndarray, logits: np.ndarray, temperature: float | None = None, bins: int = 15
) -> Figure:
    """Accuracy against confidence, with 95 % intervals, and below how often each confidence occurs.

    On the diagonal a confidence of 80 % is right in 80 % of the cases; below it the network is too
    sure. With a `temperature` the curve after it is drawn as well.
    """
    if temperature is None:
        curves = [("as it is", 1.0, BLUE, "o")]
    else:
        curves = [("before", 1.0, ORANGE, "s"), ("after", temperature, BLUE, "o")]
    figure = new_figure(5.4)
    axes, below = figure.subplots(2, sharex=True, height_ratios=[3.4, 1])
    calm(axes).plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    calm(below)
    for name, heat, colour, marker in curves:
        probabilities = softmax(logits, heat)
        groups = reliability_bins(labels, probabilities, bins)
        filled = groups.counts > 0
        x, y = groups.confidence[filled], groups.accuracy[filled]
        ends = np.array(
            [
                wilson_interval(round(share * count), int(count))
                for share, count in zip(y, groups.counts[filled], strict=True)
            ]
        )
        error = expected_calibration_error(labels, probabilities, bins)
        told = f", T = {heat:.2f}" if name == "after" else ""
        axes.vlines(x, ends[:, 0], ends[:, 1], color=colour, alpha=0.35, linewidth=2.5)
        axes.plot(
            x,
            y,
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=1.5,
            label=f"{name}{told}: off by {100 * error:.1f} points (ECE)",
        )
        below.stairs(groups.counts / len(labels), groups.edges, color=colour, linewidth=1.6)
    figure.legend(frameon=False, fontsize=8.5, loc="outside upper left")
    axes.set_ylabel("Accuracy")
    axes.set_ylim(-0.02, 1.02)
    below.set_ylabel("Examples")
    below.set_xlabel("Confidence in the predicted class")
    below.set_xlim(0, 1)
    for axis in (axes.yaxis, below.yaxis, below.xaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    return figure


def _count(value: int) -> str:
    return str(value) if value < 100_000 else f"{value / 1000:.0f}k"
