"""Labels that are likely wrong, from what a network says of examples it was not trained on.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
arXiv:1911.00068.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Cohen's kappa: an agreement below 0.2 is called slight (Landis and Koch 1977).
LEAST_AGREEMENT = 0.2


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

    A network that has learned next to nothing disagrees with labels of all kinds: where what is
    likely agrees with them little more often than by chance, it judges none.

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
    # The mean of equal numbers may be above them by a rounding.
    likely = np.where(probabilities >= thresholds - 1e-12, probabilities, -1.0)
    suggested = likely.argmax(axis=-1)
    counted = likely.max(axis=-1) >= 0
    if not counted.any() or _kappa(labels[counted], suggested[counted]) < LEAST_AGREEMENT:
        return []
    rows = np.flatnonzero(counted & (suggested != labels))
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


def _kappa(labels: np.ndarray, said: np.ndarray) -> float:
    """Cohen's kappa: agreement beyond chance, 1 for all of it."""
    classes = max(labels.max(), said.max()) + 1
    agreed = np.mean(labels == said)
    shares = (np.bincount(each, minlength=classes) / len(labels) for each in (labels, said))
    by_chance = float(np.dot(*shares))
    return float((agreed - by_chance) / (1 - by_chance)) if by_chance < 1 else 1.0
