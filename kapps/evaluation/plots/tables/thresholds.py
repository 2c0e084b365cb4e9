"""What a decision between two classes costs at every threshold."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kapps.evaluation.plots.figure import BLUE, GREY, ORANGE, calm, new_figure, shorten


def threshold_curves(positive: np.ndarray, scores: np.ndarray, name: str) -> Figure:
    """ROC and precision-recall curve of one class against the other.

    The dot is where the class is answered when its probability is one half or more.

    Args:
        positive: which examples are of the class, bool [n]; some are and some are not.
        scores: probability of the class, [n].
        name: of the class.
    """
    from sklearn import metrics

    positive, scores = np.asarray(positive, bool), np.asarray(scores, np.float64)
    false_rate, true_rate, _ = metrics.roc_curve(positive, scores)
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    said = scores >= 0.5
    hits = int(np.sum(said & positive))
    figure = new_figure(2.9)
    left, right = figure.subplots(1, 2)
    area = metrics.roc_auc_score(positive, scores)
    _panel(left, false_rate, true_rate, f"ROC, area {area:.3f}")
    left.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=":")
    left.plot(
        np.sum(said & ~positive) / np.sum(~positive), hits / positive.sum(), "o", color=ORANGE
    )
    left.set_xlabel("false-positive rate")
    left.set_ylabel(f"true-positive rate, {shorten(name, 16)}", parse_math=False)
    average = metrics.average_precision_score(positive, scores)
    _panel(right, recall, precision, f"Precision, mean {average:.3f}")
    right.axhline(positive.mean(), color=GREY, linewidth=0.9, linestyle=":")
    if said.any():
        right.plot(hits / positive.sum(), hits / said.sum(), "o", color=ORANGE)
    right.set_xlabel(f"recall, {shorten(name, 16)}", parse_math=False)
    right.set_ylabel("precision")
    return figure


def _panel(axes, x, y, title: str) -> None:
    calm(axes)
    axes.plot(x, y, color=BLUE, linewidth=1.8, drawstyle="steps-post")
    axes.set_title(title, loc="left", fontsize=8.5, fontweight="bold")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    axes.tick_params(labelsize=7.5)
