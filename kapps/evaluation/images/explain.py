"""A trained classifier, measured and explained: figures, pictures and words for its report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from matplotlib.figure import Figure

from kapps import data, training
from kapps.errors import UserError
from kapps.evaluation import plots
from kapps.evaluation.explanation import (
    Explanation,
    accuracy_headline,
    calibration_figure,
    calibration_metrics,
    class_tables,
    judge_classifier,
    measure_classifier,
    most_confused_words,
)
from kapps.evaluation.images.gradcam import grad_cam
from kapps.evaluation.images.labels import explain_labels
from kapps.evaluation.images.mistakes import WORST, mistakes_by_name, picture_file
from kapps.evaluation.images.numbers import explain_numbers
from kapps.evaluation.label_errors import TITLE, Judged, issue_rows
from kapps.evaluation.metrics.calibration import fit_temperature, softmax
from kapps.evaluation.metrics.classification import predict_logits, worst_mistakes
from kapps.evaluation.plots.figure import shorten
from kapps.evaluation.verdicts.caveats import (
    caveats_of,
    near_duplicate_findings,
    picture_name,
    split_counts,
)

if TYPE_CHECKING:
    from kapps.data import ImageData

SAMPLES_PER_CLASS = 8
MOST_CLASSES_DRAWN = 60


def explain_pictures(
    model: keras.Model,
    images: ImageData,
    history: Sequence[Mapping[str, Any]],
    *,
    kept: int | None = None,
    batch_size: int = 256,
    **settings: Any,
) -> Explanation:
    """`explain_classifier`, `explain_labels` or `explain_numbers`, as the data ask for.

    Args:
        model: images -> what there is to say of them; numbers in their units.
        images: what it was trained on.
        history: rows of metrics.csv.
        kept: the epoch whose weights these are, from 1.
        batch_size: examples at a time.
        **settings: further arguments of `explain_classifier`, for classes.
    """
    common = {"kept": kept, "batch_size": batch_size}
    if images.kind == "labels":
        return explain_labels(model, images, history, **common)
    if images.kind == "number":
        return explain_numbers(model, images, history, **common)
    return explain_classifier(model, images, history, **common, **settings)


def explain_classifier(
    model: keras.Model,
    images: ImageData,
    history: Sequence[Mapping[str, Any]],
    *,
    kept: int | None = None,
    weighted: bool = False,
    clean_examples: int | None = None,
    batch_size: int = 256,
    look_into: keras.Model | None = None,
) -> Explanation:
    """Measure a classifier on validation, then once on test, and draw what explains it.

    The temperature is fitted on validation before the test split is looked at; temperature and
    test figures never meet.

    Args:
        model: images -> logits.
        images: what it was trained on.
        history: rows of metrics.csv.
        kept: the epoch whose weights these are, from 1; by default that of the highest validation
            accuracy.
        weighted: whether every class had the same share of the loss.
        clean_examples: how many training examples `train_accuracy` was measured on; by default
            what `training.clean_examples` says.
        batch_size: examples at a time.
        look_into: the model with the feature maps, where `model` is one around it.

    Raises:
        UserError: the model's outputs are not finite numbers.
    """
    validation, test = images.splits["validation"], images.splits["test"]
    val_logits = predict_logits(model, validation, batch_size)
    temperature = fit_temperature(validation.labels, val_logits)
    logits = predict_logits(model, test, batch_size)
    found, metrics = measure_classifier(test.labels, logits, images.class_names, temperature)
    print(f"test accuracy {metrics['test_accuracy']:.2%}; the report follows")  # noqa: T201
    verdict = judge_classifier(
        history,
        validation.labels,
        val_logits,
        metrics,
        train_examples=clean_examples or training.clean_examples(images.counts),
        kept=kept,
        weighted=weighted,
    )
    metrics["verdict"] = verdict.label
    correct = logits.argmax(axis=-1) == test.labels
    near = data.twins_in_train(images)
    twins, notes, twin_tables = near_duplicate_findings(images, near, correct)
    judged = {"validation": val_logits, "test": logits}
    issues = _label_issues(images, judged, temperature)
    metrics |= twins | {"label_issues": len(issues)}
    figures = [
        *_training_figures(images, history, kept, verdict),
        *_test_figures(model if look_into is None else look_into, images, logits, metrics, found),
        *_issue_figures(images, issues),
    ]
    return Explanation(
        metrics,
        verdict,
        figures,
        [
            *class_tables(found),
            _counts_table(images),
            _mistakes_table(images, logits, temperature),
            *_issues_table(images, issues),
            *twin_tables,
        ],
        headline=accuracy_headline(metrics, "images"),
        notes=[*caveats_of(images, metrics, weighted), *notes],
        temperature=temperature,
        test_logits=logits,
        test_labels=test.labels,
        label_issues=issues,
    )


def without_validation(found: Explanation) -> Explanation:
    """What is left to say where the validation split was trained on, too.

    It tells nothing of over-fitting, calibration or its labels then.
    """
    issues = [each for each in found.label_issues if each["split"] != "validation"]
    if found.test_labels is None or found.test_logits is None:
        raise ValueError("of a classifier, with what it said of the test split")
    metrics = {
        **found.metrics,
        **calibration_metrics(found.test_labels, found.test_logits, 1.0),
        "verdict": None,
        "label_issues": len(issues),
    }
    headline = accuracy_headline(metrics, "images")
    return dataclasses.replace(
        found,
        metrics=metrics,
        verdict=None,
        headline=headline,
        temperature=1.0,
        label_issues=issues,
        # Those of validation are among their pictures.
        figures=[each for each in found.figures if each[0] != TITLE],
        tables=[each for each in found.tables if not each[0].startswith(TITLE)],
    )


def _label_issues(images: ImageData, logits, temperature: float) -> list[dict[str, Any]]:
    """Rows of label_issues.csv: of the splits that were not trained on, the surest first."""

    def judged(name: str, part: np.ndarray) -> Judged:
        split = images.splits[name]
        return Judged(
            split.labels, part, lambda row: {"row": row, "file": picture_name(split, name, row)}
        )

    splits = {name: judged(name, part) for name, part in logits.items()}
    return issue_rows(splits, images.class_names, temperature)


def _issue_figures(images: ImageData, issues) -> list[tuple[str, Figure, str]]:
    if not issues:
        return []
    shown = issues[:WORST]
    pictures = [images.splits[each["split"]].take([each["row"]])[0] for each in shown]
    captions = [
        f"labelled {shorten(each['label'], 11)}\n{shorten(each['suggested'], 13)}?"
        for each in shown
    ]
    words = (
        f"{len(issues)} validation and test labels are likely wrong, by confident learning "
        "(arXiv:1911.00068). The most certain are shown; all are in label_issues.csv."
    )
    return [(TITLE, plots.image_grid(np.stack(pictures), captions), words)]


def _issues_table(images: ImageData, issues) -> list[tuple]:
    rows = [
        (
            picture_file(images, each["split"], each["row"]),
            each["label"],
            each["suggested"],
            each["probability_of_suggested"],
        )
        for each in issues[:WORST]
    ]
    columns = ("image", "label", "suggested", "probability")
    return [(f"{TITLE}, the surest", columns, rows)] if rows else []


def _mistakes_table(images: ImageData, logits, temperature: float) -> tuple:
    labels, names = images.splits["test"].labels, images.class_names
    probabilities = softmax(logits, temperature)
    return mistakes_by_name(
        images,
        worst_mistakes(labels, logits, WORST),
        lambda i: names[labels[i]],
        lambda i: names[probabilities[i].argmax()],
        probability_of_the_true_class=lambda i: float(probabilities[i, labels[i]]),
    )


def _counts_table(images: ImageData) -> tuple:
    counts = split_counts(images)
    columns = ("class", *(f"{name} images" for name in counts))
    rows = [
        (name, *(int(counts[split][i]) for split in counts))
        for i, name in enumerate(images.class_names)
    ]
    return "Images of each class", columns, rows


def _training_figures(images: ImageData, history, kept, verdict) -> list[tuple[str, Figure, str]]:
    figures = [
        (
            "Learning curves",
            plots.learning_curves(history, kept=kept),
            f"{verdict.path} Training examples are measured twice: while training (dropout and "
            "augmentation on), and in evaluation mode, like validation. The gap between the last "
            "two curves is over-fitting.".strip(),
        )
    ]
    train = images.splits["train"]
    if images.classes <= MOST_CLASSES_DRAWN:
        rows = [
            np.flatnonzero(train.labels == i)[:SAMPLES_PER_CLASS] for i in range(images.classes)
        ]
        rows = np.concatenate(rows)
        samples = plots.class_samples(train.take(rows), train.labels[rows], images.class_names)
        figures.append(("Training pictures", samples, "Some of every class, unaugmented."))
    return figures


def _test_figures(model, images, logits, metrics, found) -> list[tuple[str, Figure, str]]:
    test, names = images.splits["test"], images.class_names
    worst = worst_mistakes(test.labels, logits, WORST)
    figures = [
        (
            "Confusion matrix",
            plots.confusion_matrix(np.asarray(found["confusion_matrix"]), names),
            f"{most_confused_words(found)} Rows are true classes, columns predicted ones.",
        ),
        calibration_figure(test.labels, logits, metrics),
    ]
    if len(worst):
        probabilities = softmax(logits[worst], metrics["temperature"])
        figures.append(
            (
                "Worst mistakes",
                plots.top_losses_grid(test.take(worst), test.labels[worst], probabilities, names),
                "Wrong predictions on test images, the most confident first: look here for "
                "mislabelled images.",
            )
        )
    return [*figures, *_heat_figure(model, images, logits, worst)]


def _heat_figure(model, images, logits, worst) -> list[tuple[str, Figure, str]]:
    """Grad-CAM of mistakes and of right answers, which are spread over the classes."""
    test, names = images.splits["test"], images.class_names
    said = logits.argmax(axis=-1)
    right = np.flatnonzero(said == test.labels)
    firsts = right[np.unique(said[right], return_index=True)[1]] if len(right) else right
    rows = np.concatenate([worst[: WORST // 4], firsts[: WORST // 4]]).astype(int)
    if not len(rows):
        return []
    pictures = test.take(rows)
    try:
        heat = grad_cam(model, pictures, one_scale=True)
    except UserError:  # no feature maps: a multi-layer perceptron looks everywhere
        return []
    captions = [
        f"said {shorten(names[s], 12)}, " + ("right" if s == t else f"is {shorten(names[t], 12)}")
        for s, t in zip(said[rows], test.labels[rows], strict=True)
    ]
    words = (
        "Grad-CAM (arXiv:1610.02391) for the predicted class: mistakes, then right answers, on one "
        "scale."
    )
    return [("Where the network looked", plots.grad_cam_grid(pictures, heat, captions), words)]
