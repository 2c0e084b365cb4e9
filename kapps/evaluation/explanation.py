"""What the reports of all classifiers share: an `Explanation`, and the figures in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation.metrics.calibration import expected_calibration_error, softmax
from kapps.evaluation.metrics.classification import classification_metrics
from kapps.evaluation.verdicts.overfitting import Verdict


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What there is to say about a trained classifier.

    Attributes:
        metrics: flat figures under the names of metrics.json (`test_accuracy` ...).
        temperature: what the logits are to be divided by, fitted on validation.
        verdict: over-fitted or not, in words.
        figures: (title, Figure, caption).
        tables: (title, column names, rows).
        test_logits: float32 [n, classes], of the test split.
    """

    metrics: dict[str, Any]
    temperature: float
    verdict: Verdict
    figures: list[tuple[str, Figure, str]]
    tables: list[tuple[str, Sequence[str], Sequence[Sequence]]]
    test_logits: np.ndarray | None = None


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
    before, after = softmax(logits), softmax(logits, temperature)
    metrics = {
        f"test_{name}": value
        for name, value in found.items()
        if isinstance(value, int | float) and name != "examples"
    }
    return found, {
        **metrics,
        "test_examples": found["examples"],
        "test_ece": expected_calibration_error(labels, after),
        "test_ece_before_temperature": expected_calibration_error(labels, before),
        "temperature": temperature,
    }


def class_tables(
    found: dict[str, Any], examples: str = "pictures"
) -> list[tuple[str, Sequence[str], Sequence[Sequence]]]:
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
    tables = [("Test split, class by class", columns, rows)]
    if confused:
        columns = ("true", "taken for", "times", "share of the class")
        tables.append(("Most frequent confusions", columns, confused))
    return tables
