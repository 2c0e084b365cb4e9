"""A network that gives pictures any number of labels: measured, explained, beside simple ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kapps import training
from kapps.evaluation import plots
from kapps.evaluation.explanation import Explanation, Tables
from kapps.evaluation.images.mistakes import WORST, mistakes_by_name
from kapps.evaluation.label_errors import Judged, issue_notes, issue_rows, issue_tables
from kapps.evaluation.metrics.classification import predict_logits
from kapps.evaluation.metrics.labels import (
    choose_thresholds,
    ignorant_loss,
    label_metrics,
    losses_of,
    probabilities_of,
)
from kapps.evaluation.plots.figure import ORANGE, shorten
from kapps.evaluation.verdicts.caveats import label_words, picture_name
from kapps.evaluation.verdicts.labels import labels_verdict

if TYPE_CHECKING:
    from kapps.data import ImageData

FEW_TO_MEASURE = 5  # test pictures with a label
COLUMNS = (
    "label",
    "threshold",
    "precision",
    "recall",
    "F1",
    "AUC",
    "average precision",
    "images",
)


def explain_labels(
    model: keras.Model,
    images: ImageData,
    history: Sequence[Mapping[str, Any]],
    *,
    kept: int | None = None,
    batch_size: int = 256,
) -> Explanation:
    """Choose a threshold for each label on validation, then measure once on test.

    Args as those of `explain_pictures`; the model gives logits [n, labels].

    Raises:
        UserError: the model's outputs are not finite numbers.
    """
    train, validation, test = (images.splits[name] for name in ("train", "validation", "test"))
    val_logits = predict_logits(model, validation, batch_size)
    thresholds = choose_thresholds(validation.labels, probabilities_of(val_logits))
    logits = predict_logits(model, test, batch_size)
    found = label_metrics(test.labels, logits, images.class_names, thresholds)
    val_losses = losses_of(validation.labels, val_logits)
    ignorance = ignorant_loss(train.labels)
    verdict = labels_verdict(
        history,
        ignorance=ignorance,
        spread=float(val_losses.std() / max(val_losses.mean(), 1e-12)),
        validation_examples=len(validation),
        train_examples=training.clean_examples(images.counts),
        kept=kept,
        test_loss=found["loss"],
        test_examples=len(test),
    )
    rows = found.pop("per_label")
    issues = _label_issues(images, {"validation": val_logits, "test": logits})
    metrics = {f"test_{name}": value for name, value in found.items()}
    metrics |= {"trivial_loss": ignorance, "verdict": verdict.label, "label_issues": len(issues)}
    worst = worst_rows(test.labels, logits, thresholds)
    figures = [
        (
            "Learning curves",
            plots.learning_curves(history, kept=kept),
            f"{verdict.path} The accuracy is per label: where labels are rare, it is high even if "
            "none is ever predicted.".strip(),
        ),
    ]
    tables: Tables = [("Test split, label by label", COLUMNS, [(*row.values(),) for row in rows])]
    if len(worst):
        figures.append(_worst_figure(images, logits, thresholds, worst))
        tables.append(_worst_table(images, logits, thresholds, worst))
    tables += issue_tables(issues, "image", "file")
    few = [row["name"] for row in rows if row["support"] < FEW_TO_MEASURE]
    notes = (
        [
            f"Fewer than {FEW_TO_MEASURE} test pictures have {', '.join(few[:10])}: the figures "
            "for these labels are a matter of luck."
        ]
        if few
        else []
    )
    return Explanation(
        metrics,
        verdict,
        figures,
        tables,
        headline=_headline(metrics, len(images.class_names)),
        notes=[*notes, *issue_notes(issues)],
        label_issues=issues,
        label_rows=rows,
        test_logits=logits,
        served={"thresholds": [float(value) for value in thresholds]},
    )


def _label_issues(images: ImageData, logits: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Rows of label_issues.csv, each label judged by itself: should the picture have it?"""

    def judged(name: str, i: int) -> Judged:
        split, own = images.splits[name], logits[name][:, i]
        return Judged(
            (split.labels[:, i] > 0).astype(int),
            np.stack([np.zeros_like(own), own], axis=1),
            lambda row: {"row": row, "file": picture_name(split, name, row)},
        )

    found = [
        row
        for i, label in enumerate(images.class_names)
        for row in issue_rows({name: judged(name, i) for name in logits}, (f"no {label}", label))
    ]
    return sorted(
        found, key=lambda row: row["probability_of_label"] - row["probability_of_suggested"]
    )


def _headline(metrics: Mapping[str, Any], labels: int) -> str:
    auc = metrics["test_roc_auc"]
    told = "" if auc is None else f", area under the ROC curve {auc:.3f}"
    return (
        f"Mean F1 of {labels} labels {metrics['test_macro_f1']:.2%} (95 % interval "
        f"{metrics['test_macro_f1_low']:.2%} to {metrics['test_macro_f1_high']:.2%}){told}; all "
        f"labels right for {metrics['test_exact']:.2%} of {metrics['test_examples']} test images."
    )


def worst_rows(labels: np.ndarray, logits: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Rows of the pictures with a wrong label that are known least; right ones are no mistakes.

    Args:
        labels: 0 and 1 [n, labels].
        logits: [n, labels].
        thresholds: [labels].
    """
    wrong = ((probabilities_of(logits) > thresholds) != (labels > 0)).any(axis=1)
    order = np.argsort(-losses_of(labels, logits), kind="stable")
    return order[wrong[order]][:WORST]


def _worst_figure(images, logits, thresholds, worst):
    test, said = images.splits["test"], probabilities_of(logits) > thresholds
    captions = [
        f"{shorten(label_words(images, given), 20)}\nis {shorten(label_words(images, true), 17)}"
        for given, true in zip(said[worst], test.labels[worst], strict=True)
    ]
    grid = plots.image_grid(test.take(worst), captions, colours=[ORANGE] * len(worst))
    words = "Test images on which the network has the highest loss: look here for wrong labels."
    return "Worst mistakes", grid, words


def _worst_table(images, logits, thresholds, worst) -> tuple:
    test, said = images.splits["test"], probabilities_of(logits) > thresholds
    return mistakes_by_name(
        images,
        worst,
        lambda i: label_words(images, test.labels[i]),
        lambda i: label_words(images, said[i]),
    )
