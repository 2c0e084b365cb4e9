"""A network that says a number of each picture: measured and explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from scipy import stats

from kapps import training
from kapps.evaluation import plots
from kapps.evaluation.explanation import Explanation, error_headline
from kapps.evaluation.images.mistakes import WORST, mistakes_by_name
from kapps.evaluation.metrics.classification import predict_logits
from kapps.evaluation.metrics.regression import checked, regression_metrics
from kapps.evaluation.verdicts.regression import regression_verdict

if TYPE_CHECKING:
    from kapps.data import ImageData

TABLE = "Test split, compared with always predicting the mean"


def explain_numbers(
    model: keras.Model,
    images: ImageData,
    history: Sequence[Mapping[str, Any]],
    *,
    kept: int | None = None,
    batch_size: int = 256,
) -> Explanation:
    """Measure once on test, in the units of the targets, beside always saying the training mean.

    Args as those of `explain_pictures`; the model gives numbers [n, 1], in their units, and the
    losses are in units of the training targets' variance.

    Raises:
        UserError: the model's outputs are not finite numbers, or all test targets are equal.
    """
    train, validation, test = (images.splits[name] for name in ("train", "validation", "test"))
    val_errors = predict_logits(model, validation, batch_size)[:, 0] - validation.labels
    answers = predict_logits(model, test, batch_size)[:, 0]
    targets, answers = checked(test.labels, answers)
    found = regression_metrics(targets, answers)
    mean = float(train.labels.mean(dtype=np.float64))
    trivial = regression_metrics(targets, np.full(len(targets), mean))
    verdict = regression_verdict(
        history,
        validation_examples=len(validation),
        train_examples=training.clean_examples(images.counts),
        kept=kept,
        kurtosis=max(float(stats.kurtosis(val_errors, fisher=False)), 3.0),
        test_r2=found["r2"],
        test_r2_interval=(found["r2_low"], found["r2_high"]),
        test_examples=len(targets),
    )
    metrics = {f"test_{name}": value for name, value in found.items()}
    metrics |= {
        "trivial_mae": trivial["mae"],
        "trivial_rmse": trivial["rmse"],
        "verdict": verdict.label,
    }
    worst = np.argsort(-np.abs(answers - targets), kind="stable")[:WORST]
    columns = ("model", "MAE", "RMSE", "R²", "R², 95 % interval")
    rows = [
        (
            words,
            figures["mae"],
            figures["rmse"],
            figures["r2"],
            f"{figures['r2_low']:.3f} to {figures['r2_high']:.3f}",
        )
        for words, figures in (("this network", found), (f"always {mean:.4g}", trivial))
    ]
    return Explanation(
        metrics,
        verdict,
        [
            (
                "Learning curves",
                plots.learning_curves(history, metrics=("loss", "mae"), kept=kept),
                f"{verdict.path} In units of the training targets' variance: always predicting "
                "the mean has a loss of one.".strip(),
            ),
            (
                "Predicted against true",
                plots.predicted_against_true(targets, answers),
                "Each dot is a test image; on the dotted line the prediction is exact.",
            ),
            (
                "Residuals",
                plots.residuals(targets, answers),
                "If errors grow or bend with the prediction, there is something left to learn.",
            ),
            (
                "Worst mistakes",
                plots.image_grid(
                    test.take(worst), [f"{answers[i]:.4g}\nis {targets[i]:.4g}" for i in worst]
                ),
                "Test images with the largest errors: look here for wrong targets.",
            ),
        ],
        [
            (TABLE, columns, rows),
            mistakes_by_name(
                images, worst, lambda i: float(targets[i]), lambda i: float(answers[i])
            ),
        ],
        headline=error_headline(metrics, "images"),
        test_logits=answers[:, None].astype(np.float32),
    )
