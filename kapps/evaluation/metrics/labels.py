"""How good a network is that gives any number of labels, label by label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kapps.errors import UserError
from kapps.evaluation.metrics.bootstrap import bootstrap_interval, sampled_rows
from kapps.evaluation.metrics.classification import wilson_interval

HALF = 0.5
RESAMPLES = 1000
FEWEST = 5  # validation pictures with a label, and without it: fewer choose no threshold


def probabilities_of(logits: np.ndarray) -> np.ndarray:
    """The sigmoid of logits, float64 of any shape."""
    logits = np.asarray(logits, np.float64)
    return np.exp(-np.logaddexp(0.0, -logits))


def choose_thresholds(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """For each label the threshold with the highest F1, float64 [labels].

    Between the two probabilities next to it, so that rounding moves no picture. Of a label that
    fewer than five pictures have, or lack, nothing can be chosen: one half.

    Args:
        targets: 0 and 1 [n, labels], of the validation split.
        probabilities: [n, labels].
    """
    chosen = np.full(targets.shape[1], HALF)
    for label, (truth, said) in enumerate(zip(targets.T, probabilities.T, strict=True)):
        positive = truth > 0
        if min(positive.sum(), (~positive).sum()) < FEWEST:
            continue
        order = np.argsort(-said, kind="stable")
        ranked = said[order]
        hits, count = np.cumsum(positive[order]), np.arange(1, len(said) + 1)
        f1 = 2 * hits / (count + positive.sum())
        f1[np.append(ranked[1:] == ranked[:-1], False)] = -1.0  # equal ones go together
        best = int(np.argmax(f1))
        below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
        chosen[label] = (ranked[best] + below) / 2
    return chosen


def label_metrics(
    targets: np.ndarray,
    logits: np.ndarray,
    names: Sequence[str],
    thresholds: np.ndarray,
) -> dict[str, Any]:
    """What a table, or a page, says of the labels of a split; by scikit-learn.

    - `examples`; `loss`: the mean binary cross-entropy of a label, in nats;
    - `exact`: the share of pictures with all labels right, with its Wilson interval;
      `label_accuracy`: of labels right;
    - `macro_f1`, `micro_f1` at the thresholds, each with its bootstrap interval over the pictures
      (`macro_f1_low`, `macro_f1_high` ...); `roc_auc`, `average_precision`: the mean of the
      labels that some pictures have and some lack; None where there is no such label;
    - `per_label`: `name`, `threshold`, `precision`, `recall`, `f1`, `roc_auc`,
      `average_precision`, `support`, a dictionary each.

    Args:
        targets: 0 and 1 [n, labels].
        logits: [n, labels].
        names: of the labels.
        thresholds: [labels]; a label is given where its probability is above.

    Raises:
        UserError: no examples, or logits that are not finite numbers.
    """
    from sklearn import metrics

    targets, logits = np.asarray(targets) > 0, np.asarray(logits, np.float64)
    if not len(targets):
        raise UserError("There is no example to evaluate on: the split is empty.")
    if not np.isfinite(logits).all():
        raise UserError(
            "The model's outputs are not finite numbers: its training diverged. Train again with a "
            "lower learning rate."
        )
    chances = probabilities_of(logits)
    said = chances > thresholds
    each = metrics.precision_recall_fscore_support(targets, said, average=None, zero_division=0.0)
    rows = []
    for i, name in enumerate(names):
        both = 0 < targets[:, i].sum() < len(targets)
        row = {"name": name, "threshold": float(thresholds[i])}
        row |= {key: float(each[k][i]) for k, key in enumerate(("precision", "recall", "f1"))}
        row["roc_auc"] = (
            float(metrics.roc_auc_score(targets[:, i], chances[:, i])) if both else None
        )
        row["average_precision"] = (
            float(metrics.average_precision_score(targets[:, i], chances[:, i])) if both else None
        )
        rows.append(row | {"support": int(targets[:, i].sum())})

    def mean(key):
        values = [row[key] for row in rows if row[key] is not None]
        return float(np.mean(values)) if values else None

    right = (said == targets).all(axis=1)
    low, high = wilson_interval(int(right.sum()), len(right))
    return {
        "examples": len(targets),
        "loss": float(losses_of(targets, logits).mean()),
        "exact": float(right.mean()),
        "exact_low": low,
        "exact_high": high,
        "label_accuracy": float((said == targets).mean()),
        **f1_scores(targets, said),
        "roc_auc": mean("roc_auc"),
        "average_precision": mean("average_precision"),
        "per_label": rows,
    }


def f1_scores(
    targets: np.ndarray, said: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """`macro_f1`, the mean over labels, and `micro_f1`, all labels pooled, with 95 % intervals.

    The F1 of a label is twice its hits over its hits, misses and false alarms; 0 where it neither
    occurs nor is given.

    Args:
        targets: what holds, bool [n, labels].
        said: what is given, bool [n, labels].
        resamples: samples of the pictures, for the intervals.
        seed: of these samples.
    """
    count = len(targets)
    # What each picture adds to the two parts of the fraction, [n, labels] each.
    parts = np.concatenate([2.0 * (targets & said), targets.astype(float) + said], axis=1)

    def scores(weights: np.ndarray) -> np.ndarray:
        above, below = np.split(weights @ parts, 2, axis=1)
        macro = np.divide(above, below, out=np.zeros_like(above), where=below > 0).mean(axis=1)
        pooled = np.maximum(below.sum(axis=1), 1.0)
        return np.stack([macro, above.sum(axis=1) / pooled])

    drawn = [
        scores(np.stack([np.bincount(one, minlength=count) for one in rows]).astype(float))
        for rows in sampled_rows(count, resamples, seed)
    ]
    found: dict[str, float] = {}
    for name, (value,), sample in zip(
        ("macro_f1", "micro_f1"), scores(np.ones((1, count))), np.hstack(drawn), strict=True
    ):
        low, high = bootstrap_interval(float(value), sample, count)
        found |= {name: float(value), f"{name}_low": max(low, 0.0), f"{name}_high": min(high, 1.0)}
    return found


def losses_of(targets: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Binary cross-entropy of each picture, in nats, the mean over its labels: float64 [n]."""
    logits = np.asarray(logits, np.float64)
    return np.mean(np.logaddexp(0.0, logits) - np.asarray(targets) * logits, axis=1)


def ignorant_loss(known: np.ndarray) -> float:
    """The cross-entropy of always saying how frequent each label is, in nats, of a label.

    Args:
        known: 0 and 1 [n, labels], of the training split.
    """
    p = np.clip(np.mean(known, axis=0, dtype=np.float64), 1e-12, 1 - 1e-12)
    return float(np.mean(-p * np.log(p) - (1 - p) * np.log1p(-p)))
