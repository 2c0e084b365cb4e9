"""A trained classifier, measured and explained: figures, pictures and words for its report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from matplotlib.figure import Figure

from kapps import training
from kapps.errors import UserError
from kapps.evaluation import plots
from kapps.evaluation.explanation import (
    Explanation,
    accuracy_headline,
    class_tables,
    judge_classifier,
    measure_classifier,
)
from kapps.evaluation.images.gradcam import grad_cam
from kapps.evaluation.metrics.calibration import (
    fit_temperature,
    softmax,
)
from kapps.evaluation.metrics.classification import (
    predict_logits,
    top_losses,
)

if TYPE_CHECKING:
    from kapps.data import ImageData

SAMPLES_PER_CLASS = 8
MOST_CLASSES_DRAWN = 60
WORST = 16


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
    figures = [
        *_training_figures(images, history, kept),
        *_test_figures(
            model if look_into is None else look_into, images, logits, temperature, found
        ),
    ]
    return Explanation(
        metrics,
        verdict,
        figures,
        class_tables(found),
        headline=accuracy_headline(metrics, "images"),
        temperature=temperature,
        test_logits=logits,
    )


def without_validation(found: Explanation) -> Explanation:
    """What is left to say where the validation split was trained on, too.

    It tells nothing of over-fitting or calibration then.
    """
    metrics = {
        **found.metrics,
        "verdict": None,
        "test_ece": found.metrics["test_ece_before_temperature"],
        "temperature": 1.0,
    }
    headline = accuracy_headline(metrics, "images")
    return dataclasses.replace(
        found, metrics=metrics, verdict=None, headline=headline, temperature=1.0
    )


def _training_figures(images: ImageData, history, kept) -> list[tuple[str, Figure, str]]:
    figures = [
        (
            "Learning curves",
            plots.learning_curves(history, kept=kept),
            "Training examples are measured twice: while training (dropout and augmentation on), "
            "and afterwards as validation examples are. The distance between the latter two is "
            "over-fitting.",
        )
    ]
    train = images.splits["train"]
    if images.classes <= MOST_CLASSES_DRAWN:
        rows = [
            np.flatnonzero(train.labels == i)[:SAMPLES_PER_CLASS] for i in range(images.classes)
        ]
        rows = np.concatenate(rows)
        samples = plots.class_samples(train.take(rows), train.labels[rows], images.class_names)
        figures.append(("Training pictures", samples, "Some of every class, as they are."))
    return figures


def _test_figures(model, images, logits, temperature, found) -> list[tuple[str, Figure, str]]:
    test, names = images.splits["test"], images.class_names
    worst = top_losses(test.labels, logits, WORST)
    pictures, labels = test.take(worst), test.labels[worst]
    probabilities = softmax(logits[worst], temperature)
    figures = [
        (
            "Confusion matrix",
            plots.confusion_matrix(np.asarray(found["confusion_matrix"]), names),
            "Who is taken for whom: rows are what pictures show, columns what the network said.",
        ),
        (
            "Worst mistakes",
            plots.top_losses_grid(pictures, labels, probabilities, names),
            "Test pictures on which the network is most wrong: look here for mislabelled ones.",
        ),
        (
            "Calibration",
            plots.reliability_diagram(test.labels, logits, temperature),
            "Is 90 % sure right in 90 % of the cases? A temperature fitted on validation is folded "
            "into the exported model.",
        ),
    ]
    try:
        heat = grad_cam(model, pictures[: WORST // 2])
    except UserError:  # no feature maps: a multi-layer perceptron looks everywhere
        return figures
    captions = [f"said {names[i]}" for i in probabilities[: WORST // 2].argmax(-1)]
    figures.append(
        (
            "Where the network looked",
            plots.grad_cam_grid(pictures[: WORST // 2], heat, captions),
            "Grad-CAM (arXiv:1610.02391) for the class that was said, on the worst mistakes.",
        )
    )
    return figures
