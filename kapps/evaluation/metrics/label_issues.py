"""Labels that are likely wrong, from what a network says of examples it was not trained on.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
arXiv:1911.00068.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LabelIssue(NamedTuple):
    """One label that is likely wrong."""

    row: int
    label: int
    suggested: int
    given: float
    """Probability of the label."""
    other: float
    """Probability of what is suggested."""


def label_issues(labels: np.ndarray, probabilities: np.ndarray) -> list[LabelIssue]:
    """The examples that count outside the diagonal of the confident joint, the surest first.

    A class is likely for an example if its probability is at least the mean one of the examples
    labelled so (equation 2): a class of which the network is never sure needs less. An example
    whose most probable likely class is not its label is an issue (equation 1). They are ordered by
    the probability of the label minus that of the suggestion.

    Args:
        labels: int [n].
        probabilities: [n, classes], of a network that was not trained on these examples.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if not len(labels):
        return []
    classes = probabilities.shape[1]
    thresholds = np.array(
        [
            probabilities[labels == i, i].mean() if (labels == i).any() else np.inf
            for i in range(classes)
        ]
    )
    likely = np.where(probabilities >= thresholds, probabilities, -1.0)
    suggested = likely.argmax(axis=-1)
    rows = np.flatnonzero((likely.max(axis=-1) >= 0) & (suggested != labels))
    found = [
        LabelIssue(
            int(i),
            int(labels[i]),
            int(suggested[i]),
            float(probabilities[i, labels[i]]),
            float(probabilities[i, suggested[i]]),
        )
        for i in rows
    ]
    return sorted(found, key=lambda issue: issue.given - issue.other)
