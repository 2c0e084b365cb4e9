"""The pictures of tables: what they hold, and that odd inputs draw without a warning."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from kapps.evaluation import plots


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


@pytest.mark.slow
def test_thresholds():
    rng = np.random.default_rng(0)
    positive = rng.random(200) < 0.3
    scores = np.clip(0.3 * positive + rng.uniform(0, 0.7, 200), 0, 1)
    figure = plots.threshold_curves(positive, scores, "a $long$ name of a class")
    assert f"{roc_auc_score(positive, scores):.3f}" in titles(figure)[0]
    assert f"{average_precision_score(positive, scores):.3f}" in titles(figure)[1]
    left, right = figure.axes
    (alarms, found), (recall, precision) = (
        next(line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o")
        for axes in (left, right)
    )
    said = scores >= 0.5
    assert alarms == said[~positive].mean() and found == recall == said[positive].mean()
    assert precision == positive[said].mean()
    assert plots.png_bytes(figure)
    assert plots.png_bytes(plots.threshold_curves([True, False], [0.1, 0.2], "x"))  # none is said


@pytest.mark.slow
def test_regressions():
    targets, predictions = np.array([1.0, 2.0, 4.0]), np.array([1.5, 2.0, 3.0])
    figure = plots.predicted_against_true(targets, predictions, "$price")
    dots = figure.axes[0].lines[1].get_xydata()
    np.testing.assert_array_equal(dots, np.stack([targets, predictions], 1))
    assert plots.png_bytes(figure)
    figure = plots.residuals(targets, predictions)
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_ydata(), [0.5, 0.0, -1.0])
    assert plots.png_bytes(figure)
    assert plots.png_bytes(plots.residuals(targets, targets))


def test_importance():
    value, low, high = np.array([[0.1, 0.5, 0.0], [0.05, 0.4, -0.1], [0.2, 0.8, 0.1]])
    axes = plots.column_importance(["a", "b", "c"], value, low, high, "nats").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "a", "c"]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [0.5, 0.1, 0.0])
    whiskers = [segment[:, 0] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(whiskers, [[0.4, 0.8], [0.05, 0.2], [-0.1, 0.1]])
    ones = np.ones(40)
    names = [f"column {i}" for i in range(40)]
    figure = plots.column_importance(names, ones, ones, ones, "x")
    assert len(figure.axes[0].patches) == 25 and plots.png_bytes(figure)
