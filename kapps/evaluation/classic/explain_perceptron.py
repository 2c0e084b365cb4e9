"""A trained network of one layer, measured and explained: figures and words for its report."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kapps import models
from kapps.evaluation import plots
from kapps.evaluation.classic.separation import Separation, separation
from kapps.evaluation.classic.verdicts import linear_verdict
from kapps.evaluation.explanation import Explanation, Figures
from kapps.evaluation.label_errors import Judged, issue_notes, issue_rows, issue_tables
from kapps.evaluation.metrics.calibration import fit_temperature
from kapps.evaluation.metrics.classification import classification_metrics
from kapps.evaluation.sample_grids import learning_film

if TYPE_CHECKING:
    from kapps.data import PointData
    from kapps.models import DeltaRule, Perceptron

TOGETHER = 1024  # examples at a time
COLUMNS = 4  # frames in a row of the film of a plane
PANELS = {
    "Misclassified": ("error", "train_error", "val_error"),
    "Loss": ("loss", "train_loss", "val_loss"),
}
FILMS = {
    True: "The region assigned to each class, with the training examples.",
    False: "The weights as images: blue pixels count for the class, orange ones against it.",
}


def explain_perceptron(
    model: Perceptron | DeltaRule,
    points: PointData,
    history: Sequence[Mapping[str, Any]],
    *,
    rule: str,
    kept: int,
    run: pathlib.Path,
    rate: float | None = None,
    highest_rate: float | None = None,
) -> Explanation:
    """Measure a network of one layer, once, on the test split, and draw what explains it.

    Args:
        model: as trained, on one device.
        points: what it was trained on, points or images.
        history: rows of metrics.csv.
        rule: perceptron, pocket or delta.
        kept: the epoch whose weights the model has, from 1.
        run: the run directory, with what `perceptron_frames` has drawn after every epoch; the film
            is written to `plots/learning.webp` in it.
        rate: learning rate of the delta rule.
        highest_rate: below which it converges.
    """
    found = separation(features_of(model, points.x["train"]), points.y["train"])
    classifier = models.class_logits(model)
    logits = {
        split: classifier.predict(points.x[split], verbose=0, batch_size=TOGETHER)
        for split in ("validation", "test")
    }
    temperature = fit_temperature(points.y["validation"], logits["validation"])
    measured = classification_metrics(points.y["test"], logits["test"], points.class_names)
    verdict = linear_verdict(rule, history, found, kept=kept, highest_rate=highest_rate, rate=rate)
    issues = issue_rows(
        {
            name: Judged(points.y[name], part, lambda row: {"row": row})
            for name, part in logits.items()
        },
        points.class_names,
        temperature,
    )
    metrics = {
        **{
            f"test_{name}": value
            for name, value in measured.items()
            if isinstance(value, int | float) and name not in ("examples", "loss", "nll")
        },
        "test_examples": measured["examples"],
        **verdict.numbers,
        "margin": found.margin,
        "radius": found.radius,
        "separable": found.separable,
        "learning_rate": rate,
        "highest_learning_rate": highest_rate,
        "verdict": verdict.label,
        "temperature": temperature,
        "label_issues": len(issues),
    }
    frames, epochs, film = learning_film(run, FILMS[_is_plane(points)])
    figures = _training_figures(history, found, bounded=rule != "delta")
    if _is_plane(points):
        figures += _plane_figures(model, points, frames, epochs)
    else:
        figures += _image_figures(model, points, frames, epochs, measured["confusion_matrix"])
    return Explanation(
        metrics,
        verdict,
        figures,
        issue_tables(issues, "point of the split", "row"),
        headline=f"Test accuracy {measured['accuracy']:.2%} (95 % interval "
        f"{measured['accuracy_low']:.2%} to {measured['accuracy_high']:.2%}, "
        f"{measured['examples']} examples).",
        notes=issue_notes(issues),
        temperature=temperature,
        test_logits=logits["test"],
        test_labels=points.y["test"],
        label_issues=issues,
        animations=[film],
    )


def features_of(model: Perceptron | DeltaRule, x: np.ndarray) -> np.ndarray:
    """What the layer sees of examples [n, ...]: float32 [n, features]."""
    parts = range(0, len(x), TOGETHER)
    return np.concatenate([np.asarray(model.features(x[i : i + TOGETHER])) for i in parts])


def perceptron_frames(model: Perceptron | DeltaRule, points: PointData) -> np.ndarray:
    """The plane, or the weights of every class, as they are now: uint8 [n, H, W, 3]."""
    x = points.x["train"]
    if _is_plane(points):
        return plots.decision_frame(_scores_of(model), x, points.y["train"])[None]
    weights = np.asarray(model.scores.kernel).T.reshape(-1, *x.shape[1:])
    return plots.weight_pictures(weights)


def _is_plane(points: PointData) -> bool:
    return points.x["train"].ndim == 2


def _scores_of(model) -> Callable[[np.ndarray], np.ndarray]:
    """Points [n, 2] -> scores [n]: class 1 where positive."""
    kernel, bias = (np.asarray(w) for w in (model.scores.kernel, model.scores.bias))
    return lambda x: (np.asarray(model.features(x)) @ kernel + bias)[:, 0]


def _training_figures(history, found: Separation, *, bounded: bool) -> Figures:
    figures = [
        (
            "Learning curves",
            plots.training_curves(history, PANELS),
            "The share of misclassified examples: as met during the epoch, on the training split "
            "after it, and on validation.",
        )
    ]
    if bounded:
        figures.append(
            (
                "Updates and bound",
                plots.updates_and_bound(history, found.bound),
                "Only misclassified examples change the weights. Novikoff's bound holds for any "
                "order of the examples.",
            )
        )
    return figures


def _plane_figures(model, points: PointData, frames, epochs) -> Figures:
    chosen = np.unique(np.linspace(0, len(frames) - 1, 3 * COLUMNS).astype(int))
    regions = plots.decision_regions(
        _scores_of(model), points.x["test"], points.y["test"], points.class_names
    )
    strip = plots.image_grid(
        np.concatenate([frames[i] for i in chosen]),
        [f"epoch {epochs[i]}" for i in chosen],
        columns=COLUMNS,
    )
    return [
        ("Decision regions", regions, "Test points; rings mark misclassified ones."),
        ("Epoch by epoch", strip, FILMS[True]),
    ]


def _image_figures(model, points: PointData, frames, epochs, confusion) -> Figures:
    names = points.class_names
    weights = plots.picture_rows(
        [perceptron_frames(model, points)], column_names=names if len(names) > 2 else names[1:]
    )
    return [
        ("Weights", weights, FILMS[False]),
        ("Epoch by epoch", plots.epoch_grid(frames, epochs, columns=10), FILMS[False]),
        (
            "Confusion matrix",
            plots.confusion_matrix(np.asarray(confusion), names),
            "Which class is mistaken for which: rows are true classes, columns predicted ones.",
        ),
    ]
