"""What the reports of all classifiers share: an `Explanation`, and the figures in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation import plots
from kapps.evaluation.metrics.calibration import calibration
from kapps.evaluation.metrics.classification import baseline_accuracy, classification_metrics
from kapps.evaluation.verdicts.collapse import Judgement
from kapps.evaluation.verdicts.curves import Verdict
from kapps.evaluation.verdicts.overfitting import overfitting_verdict

Figures = list[tuple[str, Figure, str]]
Tables = list[tuple[str, Sequence[str], Sequence[Sequence]]]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What there is to say about a trained model.

    Attributes:
        metrics: flat figures under the names of metrics.json (`test_accuracy` ...).
        verdict: over-fitted or not, collapsed or not, in words.
        figures: (title, Figure, caption).
        tables: (title, column names, rows).
        headline: the figures of the test split in one sentence, for the model card.
        notes: what the reader should know.
        animations: (title, content of a WebP file, caption), in place of the samples by epoch.
        temperature: what logits are to be divided by, fitted on validation.
        test_logits: float32 [n, outputs], of the test split: of a classifier [n, classes].
        test_labels: int [n], what is true there.
        label_issues: rows of label_issues.csv.
        label_rows: rows of labels.csv, where pictures have several labels: their thresholds and
            figures.
        served: keywords of the exporter, found on validation.
    """

    metrics: dict[str, Any]
    verdict: Verdict | Judgement
    figures: Figures
    tables: Tables
    _: dataclasses.KW_ONLY
    headline: str = ""
    notes: Sequence[str] = ()
    animations: Sequence[tuple[str, bytes, str]] = ()
    temperature: float = 1.0
    test_logits: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    label_issues: Sequence[Mapping[str, Any]] = ()
    label_rows: Sequence[Mapping[str, Any]] = ()
    served: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def accuracy_headline(metrics: Mapping[str, Any], examples: str) -> str:
    """The test figures of a classifier in one sentence.

    Args:
        metrics: with `test_accuracy`, its interval, `test_examples`, `test_ece` and
            `test_ece_if_calibrated`.
        examples: what was counted, "images" for one.
    """
    accuracy, low, high = (metrics[f"test_accuracy{part}"] for part in ("", "_low", "_high"))
    return (
        f"Test accuracy {accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, "
        f"{metrics['test_examples']} {examples}), calibration error {metrics['test_ece']:.2%} "
        f"(by chance alone {metrics['test_ece_if_calibrated']:.2%})."
    )


def error_headline(metrics: Mapping[str, Any], examples: str) -> str:
    """The test figures of a regression in one sentence; arguments as `accuracy_headline`."""
    r2, low, high = (metrics[f"test_r2{part}"] for part in ("", "_low", "_high"))
    return (
        f"Test R² {r2:.3f} (95 % interval {low:.3f} to {high:.3f}, {metrics['test_examples']} "
        f"{examples}), mean absolute error {metrics['test_mae']:.4g}."
    )


def measure_classifier(
    labels: np.ndarray, logits: np.ndarray, class_names: Sequence[str], temperature: float
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All that `classification_metrics` finds on the test split, and its figures for metrics.json.

    Args:
        labels: int [n].
        logits: [n, classes].
        class_names: one per class.
        temperature: fitted on validation.

    Raises:
        UserError: no examples, or logits that are not finite numbers.
    """
    found = classification_metrics(labels, logits, class_names)
    metrics = {
        f"test_{name}": value
        for name, value in found.items()
        if isinstance(value, int | float) and name != "examples"
    }
    return found, {
        **metrics,
        "test_examples": found["examples"],
        **calibration_metrics(labels, logits, temperature),
    }


def calibration_metrics(
    labels: np.ndarray, logits: np.ndarray, temperature: float
) -> dict[str, float]:
    """What a temperature does to the test split, under the names of metrics.json.

    `test_loss_after_temperature` and `test_ece` are those of the probabilities that are served;
    `test_ece_if_calibrated` is what a perfectly calibrated classifier shows on as many examples,
    and 95 % of such classifiers stay below `test_ece_if_calibrated_high`.

    Args:
        labels: int [n].
        logits: [n, classes].
        temperature: fitted on validation.
    """
    found = calibration(labels, logits, temperature)
    return {
        "test_loss_after_temperature": found.loss,
        "test_ece": found.ece,
        "test_ece_before_temperature": found.ece_before,
        "test_ece_if_calibrated": found.ece_if_calibrated,
        "test_ece_if_calibrated_high": found.ece_if_calibrated_high,
        "temperature": temperature,
    }


def calibration_figure(
    labels: np.ndarray, logits: np.ndarray, metrics: Mapping[str, Any], fitted: str = ""
) -> tuple[str, Figure, str]:
    """The reliability diagram of the test split, and what chance alone would show in it.

    Args:
        labels: int [n].
        logits: [n, classes].
        metrics: with those of `calibration_metrics`.
        fitted: on which condition a temperature is.
    """
    usual, high = (100 * metrics[f"test_ece_if_calibrated{part}"] for part in ("", "_high"))
    return (
        "Calibration",
        plots.reliability_diagram(labels, logits, metrics["temperature"]),
        "Are predictions made with 90 % confidence right 90 % of the time? A temperature fitted on "
        f"validation{fitted} is folded into the exported model. On {len(labels)} examples a "
        f"perfectly calibrated network is off by {usual:.1f} points by chance, and by more than "
        f"{high:.1f} in one case of twenty.",
    )


def judge_classifier(
    history: Sequence[Mapping],
    labels: np.ndarray,
    logits: np.ndarray,
    metrics: Mapping[str, Any],
    *,
    train_examples: int,
    kept: int | None = None,
    weighted: bool = False,
) -> Verdict:
    """The verdict on the kept weights, of the curves and of the test split together.

    Args:
        history: rows of metrics.csv.
        labels: of the validation split, int [n].
        logits: of it, [n, classes].
        metrics: with `test_accuracy` and `test_examples`.
        train_examples: how many `train_accuracy` was measured on.
        kept: the epoch whose weights they are, from 1.
        weighted: whether every class had the same share of the loss.
    """
    balanced: dict[str, Any] = {}
    if weighted:
        recalls = [np.mean(logits[labels == i].argmax(-1) == i) for i in np.unique(labels)]
        balanced = {"balanced_accuracy": float(np.mean(recalls)), "classes": logits.shape[-1]}
    return overfitting_verdict(
        history,
        validation_examples=len(labels),
        train_examples=train_examples,
        baseline_accuracy=baseline_accuracy(labels),
        kept=kept,
        weighted=weighted,
        test_accuracy=metrics["test_accuracy"],
        test_examples=metrics["test_examples"],
        **balanced,
    )


def most_confused_words(found: Mapping[str, Any]) -> str:
    """The most frequent confusion in a sentence.

    Args:
        found: of `classification_metrics`.
    """
    if not found["most_confused"]:
        return "No example was misclassified."
    most = found["most_confused"][0]
    times = "once" if most["count"] == 1 else f"{most['count']} times"
    return (
        f"The most frequent confusion is {most['true']} mistaken for {most['predicted']}: {times}, "
        f"{100 * most['share']:.1f} % of its examples."
    )


def class_tables(found: dict[str, Any], examples: str = "images") -> Tables:
    """What `classification_metrics` says of each class, as tables of a report.

    Args:
        found: its result.
        examples: what is counted.
    """
    columns = ("class", "precision", "recall", "F1", examples)
    rows = [
        (row["name"], row["precision"], row["recall"], row["f1"], row["support"])
        for row in found["per_class"]
    ]
    confused = [(r["true"], r["predicted"], r["count"], r["share"]) for r in found["most_confused"]]
    tables: Tables = [("Test split, class by class", columns, rows)]
    if confused:
        columns = ("true", "predicted", "times", "share of the class")
        tables.append(("Most frequent confusions", columns, confused))
    return tables
