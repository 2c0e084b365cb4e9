"""Likely label errors of any classifier: the rows of label_issues.csv, and a table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from kapps.evaluation.metrics.calibration import softmax
from kapps.evaluation.metrics.label_issues import label_issues

TITLE = "Likely label errors"
SHOWN = 16


class Judged(NamedTuple):
    """A split that the network was not trained on.

    Attributes:
        labels: int [n], as they are in the data.
        logits: [n, classes].
        where: row of the split -> where to find the example in the data, by column.
    """

    labels: np.ndarray
    logits: np.ndarray
    where: Callable[[int], Mapping[str, Any]]


def issue_rows(
    splits: Mapping[str, Judged], class_names: Sequence[str], temperature: float = 1.0
) -> list[dict[str, Any]]:
    """Rows of label_issues.csv, the surest first.

    Args:
        splits: by name.
        class_names: one per class.
        temperature: of the network.
    """
    if not splits:
        return []
    labels = np.concatenate([each.labels for each in splits.values()])
    logits = np.concatenate([each.logits for each in splits.values()])
    places = [(name, row) for name, each in splits.items() for row in range(len(each.labels))]
    rows = []
    for issue in label_issues(labels, softmax(logits, temperature)):
        split, row = places[issue.row]
        rows.append(
            {
                "split": split,
                **splits[split].where(row),
                "label": class_names[issue.label],
                "suggested": class_names[issue.suggested],
                "probability_of_label": round(issue.given, 6),
                "probability_of_suggested": round(issue.other, 6),
            }
        )
    return rows


def issue_tables(rows: Sequence[Mapping[str, Any]], column: str, key: str) -> list[tuple]:
    """A table of the surest, or none.

    Args:
        rows: of `issue_rows`.
        column: what an example is called.
        key: the column of `rows` that says where it is.
    """
    if not rows:
        return []
    shown = [
        (row["split"], row[key], row["label"], row["suggested"], row["probability_of_suggested"])
        for row in rows[:SHOWN]
    ]
    columns = ("split", column, "label", "suggested", "probability")
    return [(f"{TITLE}, the surest", columns, shown)]


def issue_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence on how many there are, or none.

    Args:
        rows: of `issue_rows`.
    """
    if not rows:
        return []
    labels = "1 label" if len(rows) == 1 else f"{len(rows):,} labels"
    return [
        f"Likely wrong, by confident learning (arXiv:1911.00068): {labels} of examples that were "
        "not trained on; see label_issues.csv."
    ]
