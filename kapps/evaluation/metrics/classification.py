"""How good a classifier is on examples it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import special, stats

from kapps.errors import UserError

if TYPE_CHECKING:
    import keras

    from kapps.data import Split

MOST_CONFUSED = 10


def predict_logits(model: keras.Model, split: Split, batch_size: int = 256) -> np.ndarray:
    """The model's logits for every example of `split`, in order: float32 `[n, classes]`.

    The last batch may be smaller; no example is dropped and none is counted twice.
    """
    import tensorflow as tf

    from kapps.data import without_autotune

    if len(split.labels) == 0:
        return np.zeros((0, model.output_shape[-1]), np.float32)
    batches = (
        tf.data.Dataset.range(len(split.labels))
        .batch(batch_size)
        .map(split.images, num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )
    return np.asarray(model.predict(without_autotune(batches), verbose=0), np.float32)


def classification_metrics(
    labels: np.ndarray, logits: np.ndarray, class_names: Sequence[str]
) -> dict:
    """What one table, or one page, says of a classifier; JSON can hold all of it.

    `labels` int `[n]`, `logits` `[n, classes]`. The keys:

    - `examples`; `accuracy` with its 95 % Wilson interval `accuracy_low`, `accuracy_high`;
      `loss`, the mean negative log-likelihood in nats;
    - `balanced_accuracy`: the mean recall of the classes that occur in `labels`;
    - `macro_f1`: the mean F1 of the classes that occur or are predicted;
    - `top_5_accuracy`, with more than five classes;
    - `per_class`: a dict per class with `name`, `precision`, `recall`, `f1` (None where it has no
      meaning: the recall of a class that does not occur) and `support`, how often it occurs;
    - `confusion_matrix`: counts, `[true][predicted]`;
    - `most_confused`: the most frequent mistakes, dicts with `true`, `predicted`, `count` and
      `share` of the examples of the true class.

    Ties go to the lower class index, as in `argmax`.

    Raises:
        UserError: no examples, or logits that are not finite numbers.
        ValueError: shapes or labels that do not belong together.
    """
    labels, logits = checked(labels, logits)
    count, classes = logits.shape
    if len(class_names) != classes:
        raise ValueError(f"{len(class_names)} class names for {classes} logits")
    if count == 0:
        raise UserError("There is no example to evaluate on: the split is empty.")

    ranks = _ranks(labels, logits)
    correct = int(np.sum(ranks == 0))
    low, high = wilson_interval(correct, count)
    said = logits.argmax(axis=-1)
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, said), 1)
    per_class = _per_class(labels, said, class_names)
    metrics = {
        "examples": count,
        "accuracy": correct / count,
        "accuracy_low": low,
        "accuracy_high": high,
        "loss": float(_losses(labels, logits).mean()),
        "balanced_accuracy": _mean(row["recall"] for row in per_class),
        "macro_f1": _mean(row["f1"] for row in per_class),
    }
    if classes > 5:
        metrics["top_5_accuracy"] = float(np.mean(ranks < 5))
    metrics["per_class"] = per_class
    metrics["confusion_matrix"] = matrix.tolist()
    metrics["most_confused"] = _most_confused(matrix, class_names)
    return metrics


def top_losses(labels: np.ndarray, logits: np.ndarray, k: int = 16) -> np.ndarray:
    """Indices int64 `[min(k, n)]` of the examples with the highest loss, the highest first."""
    labels, logits = checked(labels, logits)
    return np.argsort(-_losses(labels, logits), kind="stable")[:k]


def worst_mistakes(labels: np.ndarray, logits: np.ndarray, k: int = 16) -> np.ndarray:
    """Indices int64 [at most k] of the wrong answers, the highest loss first.

    A right answer is no mistake, however unsure it is.

    Args:
        labels: int [n].
        logits: [n, classes].
        k: how many.
    """
    order = top_losses(labels, logits, len(labels))
    return order[np.asarray(logits)[order].argmax(axis=-1) != np.asarray(labels)[order]][:k]


def baseline_accuracy(labels: np.ndarray) -> float:
    """What always answering the most frequent class of `labels` reaches: 0.1 for ten equal ones."""
    if len(labels) == 0:
        raise UserError("There is no example to evaluate on: the split is empty.")
    return float(np.bincount(labels).max() / len(labels))


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927), sound near 0 and 1 where +-1.96 s.e. is not."""
    interval = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def checked(labels: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels int `[n]` and logits float64 `[n, classes]` that belong together and are finite.

    Raises:
        UserError: logits that are not finite numbers.
        ValueError: shapes or labels that do not belong together.
    """
    labels, logits = np.asarray(labels), np.asarray(logits, np.float64)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"labels [n] and logits [n, classes] are wanted, not {labels.shape}, {logits.shape}"
        )
    if len(labels) and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(
            f"labels {labels.min()} to {labels.max()} do not fit {logits.shape[1]} classes"
        )
    broken = int(np.sum(~np.isfinite(logits).all(axis=-1)))
    if broken:
        raise UserError(
            f"The model's outputs are not finite numbers for {broken} of {len(labels)} examples: "
            "its training diverged. Train again with a lower learning rate."
        )
    return labels, logits


def _losses(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Negative log-likelihood in nats, [n]."""
    return -special.log_softmax(logits, axis=-1)[np.arange(len(labels)), labels]


def _ranks(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """The place of the true class among the logits, 0 for the first, [n]."""
    own = logits[np.arange(len(labels)), labels][:, None]
    # Ties count as argmax breaks them. Otherwise a model that answers nothing would be in the
    # first five with all its examples.
    ahead = (logits > own) | ((logits == own) & (np.arange(logits.shape[1]) < labels[:, None]))
    return ahead.sum(axis=-1)


def _per_class(labels: np.ndarray, said: np.ndarray, class_names: Sequence[str]) -> list[dict]:
    from sklearn.metrics import precision_recall_fscore_support  # a second to import

    figures = precision_recall_fscore_support(
        labels, said, labels=np.arange(len(class_names)), zero_division=np.nan
    )
    return [
        {
            "name": str(name),
            "precision": _or_none(precision),
            "recall": _or_none(recall),
            "f1": _or_none(f1),
            "support": int(support),
        }
        for name, precision, recall, f1, support in zip(class_names, *figures, strict=True)
    ]


def _most_confused(matrix: np.ndarray, class_names: Sequence[str]) -> list[dict]:
    mistakes = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [divmod(int(place), len(matrix)) for place in order]
    return [
        {
            "true": str(class_names[i]),
            "predicted": str(class_names[j]),
            "count": int(mistakes[i, j]),
            "share": float(mistakes[i, j] / matrix[i].sum()),
        }
        for i, j in pairs
        if mistakes[i, j]
    ]


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _mean(values) -> float:
    return float(np.mean([value for value in values if value is not None]))
