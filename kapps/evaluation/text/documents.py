"""A classifier of texts, measured and explained, beside TF-IDF with a linear model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
import threadpoolctl

from kapps import training
from kapps.data import folds
from kapps.evaluation import plots
from kapps.evaluation.explanation import (
    Explanation,
    accuracy_headline,
    calibration_figure,
    class_tables,
    judge_classifier,
    measure_classifier,
)
from kapps.evaluation.label_errors import Judged, issue_notes, issue_rows, issue_tables
from kapps.evaluation.metrics.calibration import fit_temperature, softmax
from kapps.evaluation.metrics.classification import worst_mistakes
from kapps.evaluation.peers import Peer

if TYPE_CHECKING:
    from kapps.data import DocumentData

Texts = Sequence[str] | np.ndarray

WORST = 12
SHOWN = 160  # characters of a text
PENALTIES = (1.0, 10.0, 100.0)  # C, of rows of length 1
FOLDS = 3
_ITERATIONS = 200


def explain_documents(
    model: keras.Model,
    documents: DocumentData,
    history: Sequence[Mapping[str, Any]],
    *,
    kept: int | None = None,
    weighted: bool = False,
    batch_size: int = 256,
) -> Explanation:
    """Measure a classifier of texts on validation, then once on test, and show its mistakes.

    Args:
        model: texts -> logits.
        documents: what it was trained on.
        history: rows of metrics.csv.
        kept: the epoch whose weights these are, from 1; by default that of the highest validation
            accuracy.
        weighted: whether every class had the same share of the loss.
        batch_size: texts at a time.

    Raises:
        UserError: the model's outputs are not finite numbers.
    """
    validation, test = documents.splits["validation"], documents.splits["test"]
    val_logits = text_logits(model, validation.texts, batch_size)
    temperature = fit_temperature(validation.labels, val_logits)
    logits = text_logits(model, test.texts, batch_size)
    found, metrics = measure_classifier(test.labels, logits, documents.class_names, temperature)
    verdict = judge_classifier(
        history,
        validation.labels,
        val_logits,
        metrics,
        train_examples=training.clean_examples(documents.counts),
        kept=kept,
        weighted=weighted,
    )
    metrics["verdict"] = verdict.label
    names = documents.class_names
    probabilities = softmax(logits, temperature)
    worst = [
        (
            shortened(str(test.texts[i])),
            names[test.labels[i]],
            names[probabilities[i].argmax()],
            f"{probabilities[i, test.labels[i]]:.1%}",
        )
        for i in worst_mistakes(test.labels, logits, WORST)
    ]
    issues = issue_rows(
        {
            name: _judged(documents, name, part)
            for name, part in (("validation", val_logits), ("test", logits))
        },
        names,
        temperature,
    )
    metrics["label_issues"] = len(issues)
    figures = [
        (
            "Learning curves",
            plots.learning_curves(history, kept=kept),
            "Training texts are measured twice: while training (dropout on), and in evaluation "
            "mode, like validation. The gap between the last two curves is over-fitting.",
        ),
        (
            "Confusion matrix",
            plots.confusion_matrix(np.asarray(found["confusion_matrix"]), names),
            "Which class is mistaken for which: rows are true classes, columns predicted ones.",
        ),
        calibration_figure(test.labels, logits, metrics),
    ]
    columns = ("text", "true", "predicted", "probability of the truth")
    return Explanation(
        metrics,
        verdict,
        figures,
        [
            *class_tables(found, "texts"),
            *([("Worst mistakes", columns, worst)] if worst else []),
            *issue_tables(issues, "text", "text"),
        ],
        headline=accuracy_headline(metrics, "texts"),
        notes=issue_notes(issues),
        temperature=temperature,
        test_logits=logits,
        test_labels=test.labels,
        label_issues=issues,
    )


def _judged(documents: DocumentData, name: str, logits: np.ndarray) -> Judged:
    split = documents.splits[name]
    return Judged(
        split.labels,
        logits,
        lambda i: {"row": int(split.rows[i]) + 1, "text": shortened(str(split.texts[i]))},
    )


def text_logits(model: keras.Model, texts: Texts, batch_size: int = 256) -> np.ndarray:
    """The logits of texts, float32 [n, classes], in order."""
    parts = [
        model(tf.constant(list(texts[start : start + batch_size]), tf.string), training=False)
        for start in range(0, len(texts), batch_size)
    ]
    return np.concatenate([np.asarray(part, np.float32) for part in parts])


def document_peers(documents: DocumentData, seed: int = 0) -> dict[str, Peer]:
    """What a linear model on TF-IDF of words and pairs of words says of the test split.

    Args:
        documents: it learns from the training split, and chooses its penalty in three folds of it.
        seed: of the folds.
    """
    train, test = documents.splits["train"], documents.splits["test"]
    said = tfidf_labels(train.texts, train.labels, test.texts, seed)
    return {"tfidf_linear": Peer("a linear model on TF-IDF of words and their pairs", said)}


def tfidf_labels(known: Texts, labels: np.ndarray, asked: Texts, seed: int = 0) -> np.ndarray:
    """Labels int [m] by a logistic regression on TF-IDF.

    Args:
        known: texts [n] with labels.
        labels: int [n].
        asked: texts [m].
        seed: of the folds that choose the penalty.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    try:
        x, y = words.fit_transform(known), words.transform(asked)
    except ValueError:  # no words at all
        return np.full(len(asked), np.bincount(labels).argmax())

    def said(penalty, rows, of):
        model = LogisticRegression(C=penalty, max_iter=_ITERATIONS, tol=1e-3)
        return model.fit(x[rows], labels[rows]).predict(of)

    parts = list(folds(labels, FOLDS, seed=seed)) if len(labels) >= 2 * FOLDS else []
    parts = [(rest, part) for rest, part in parts if len(np.unique(labels[rest])) > 1]
    with threadpoolctl.threadpool_limits(1):
        right = [
            sum(int(np.sum(said(c, rest, x[part]) == labels[part])) for rest, part in parts)
            for c in PENALTIES
        ]
        return np.asarray(said(PENALTIES[int(np.argmax(right))], np.arange(len(labels)), y))


def shortened(text: str) -> str:
    """The beginning of a text, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
