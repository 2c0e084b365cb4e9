"""A model of series, measured and explained: classes, numbers, or the symbols of a memory task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from scipy import special

from kapps import training
from kapps.data.series.ragged import by_length
from kapps.evaluation import plots
from kapps.evaluation.explanation import (
    Explanation,
    Figures,
    Tables,
    accuracy_headline,
    calibration_figure,
    class_tables,
    judge_classifier,
    measure_classifier,
)
from kapps.evaluation.label_errors import Judged, issue_notes, issue_rows, issue_tables
from kapps.evaluation.metrics.calibration import fit_temperature, softmax
from kapps.evaluation.metrics.classification import worst_mistakes
from kapps.evaluation.metrics.regression import checked, regression_metrics
from kapps.evaluation.plots.figure import ORANGE
from kapps.evaluation.plots.series.grid import MOST
from kapps.evaluation.verdicts.collapse import Judgement
from kapps.evaluation.verdicts.curves import Verdict
from kapps.evaluation.verdicts.memory import memory_verdict
from kapps.evaluation.verdicts.regression import regression_verdict

if TYPE_CHECKING:
    from kapps.data import SequenceData

ENOUGH = 30  # validation series, for a temperature
PER_CLASS = 4
WORST = 12


def explain_sequences(
    model: keras.Model,
    series: SequenceData,
    history: Sequence[Mapping[str, Any]],
    *,
    memory_task: bool = False,
    kept: int | None = None,
    batch_size: int = 250,
) -> Explanation:
    """Measure a model of series on validation, then once on test, and draw what explains it.

    Args:
        model: series -> logits, logits per step, or numbers.
        series: what it was trained on.
        history: rows of metrics.csv, its `train_*` measured as validation is.
        memory_task: the verdict says whether a generated task was solved.
        kept: the epoch whose weights these are, from 1; by default the best by accuracy, or by R².
        batch_size: series at a time.

    Raises:
        UserError: the model's outputs are not finite numbers.
    """
    answers = {
        name: by_length(
            lambda x: model.predict(x, batch_size=batch_size, verbose=0), series.splits[name].values
        )
        for name in ("validation", "test")
    }
    if series.per_step:
        return _steps(series, history, answers, kept)
    if series.classes:
        return _classes(series, history, answers, kept)
    return _numbers(series, history, answers, memory_task, kept)


def _classes(series, history, answers, kept) -> Explanation:
    validation, test, names = series.splits["validation"], series.splits["test"], series.class_names
    temperature = 1.0
    if series.held_out and len(validation) >= ENOUGH:
        temperature = fit_temperature(validation.labels, answers["validation"])
    logits = answers["test"]
    found, metrics = measure_classifier(test.labels, logits, names, temperature)
    verdict = _not_judged()
    if series.held_out:
        verdict = judge_classifier(
            history,
            validation.labels,
            answers["validation"],
            metrics,
            train_examples=training.clean_examples(series.counts),
            kept=kept,
        )
    metrics["verdict"] = verdict.label
    judged = ("validation", "test") if series.held_out else ("test",)
    issues = issue_rows(
        {
            name: Judged(series.splits[name].labels, answers[name], lambda row: {"row": row})
            for name in judged
        },
        names,
        temperature,
    )
    metrics["label_issues"] = len(issues)
    figures = [
        _curves(history, kept),
        _some_of_each(series),
        (
            "Confusion matrix",
            plots.confusion_matrix(np.asarray(found["confusion_matrix"]), names),
            "Which class is mistaken for which: rows are true classes, columns predicted ones.",
        ),
        *_worst_figure(series, logits, temperature),
        calibration_figure(test.labels, logits, metrics, f" (if that has {ENOUGH} series or more)"),
    ]
    return Explanation(
        metrics,
        verdict,
        figures,
        [*class_tables(found, "series"), *issue_tables(issues, "series of the split", "row")],
        headline=accuracy_headline(metrics, "series"),
        notes=issue_notes(issues),
        temperature=temperature,
        test_logits=logits,
        test_labels=test.labels,
        label_issues=issues,
    )


def _worst_figure(series, logits, temperature) -> Figures:
    """The test series that the network is most wrong about; none where it is always right."""
    test, names = series.splits["test"], series.class_names
    worst = worst_mistakes(test.labels, logits, WORST)
    if not len(worst):
        return []
    probabilities = softmax(logits[worst], temperature)
    captions = [
        f"{names[p.argmax()]} {100 * p.max():.0f} %\nis {names[label]}"
        for p, label in zip(probabilities, test.labels[worst], strict=True)
    ]
    words = "Test series with a wrong answer, the surest first: look here for wrong labels."
    figure = plots.series_grid(test.values[worst], captions, colours=[ORANGE] * len(worst))
    return [("Worst mistakes", figure, words)]


def _numbers(series, history, answers, memory_task, kept) -> Explanation:
    test = series.splits["test"]
    targets, predictions = checked(test.labels[:, 0], answers["test"][:, 0])
    found = regression_metrics(targets, predictions)
    mse = float(np.mean((targets - predictions) ** 2))
    if memory_task:
        verdict: Verdict | Judgement = memory_verdict(series.spec, mse, series.baseline, "MSE")
    elif not series.held_out:
        verdict = _not_judged()
    else:
        verdict = regression_verdict(
            history,
            validation_examples=len(series.splits["validation"]),
            train_examples=training.clean_examples(series.counts),
            kept=kept,
            test_r2=found["r2"],
            test_r2_interval=(found["r2_low"], found["r2_high"]),
            test_examples=len(test),
        )
    metrics = {
        "test_mse": mse,
        "trivial_mse": series.baseline,
        **{f"test_{name}": value for name, value in found.items()},
        "verdict": verdict.label,
    }
    worst = np.argsort(-np.abs(targets - predictions), kind="stable")[:WORST]
    figures = [
        _curves(history, kept),
        (
            "Predicted and true",
            plots.predicted_against_true(targets, predictions),
            "On the dotted line the prediction is exact.",
        ),
        (
            "Worst mistakes",
            plots.series_grid(
                test.values[worst],
                [f"said {predictions[i]:.3g}\nis {targets[i]:.3g}" for i in worst],
            ),
            "Test series with the largest errors.",
        ),
    ]
    headline = (
        f"Squared error per test series {mse:.4g}; of the best constant prediction "
        f"{series.baseline:.4g} ({len(targets)} series)."
    )
    said = None if memory_task else answers["test"]
    return Explanation(metrics, verdict, figures, [], headline=headline, test_logits=said)


def _steps(series, history, answers, kept) -> Explanation:
    test = series.splits["test"]
    log_p = special.log_softmax(answers["test"].astype(np.float64), axis=-1)
    nats = -np.take_along_axis(log_p, test.labels[..., None], axis=-1)[..., 0]
    asked = test.labels != series.classes - 1  # all but blanks
    right = answers["test"].argmax(-1) == test.labels
    loss = float(nats.mean())
    verdict = memory_verdict(series.spec, loss, series.baseline, "nats a step")
    metrics = {
        "test_nats_per_step": loss,
        "trivial_nats_per_step": series.baseline,
        "test_symbol_accuracy": float(right[asked].mean()),
        "test_examples": len(test),
        "verdict": verdict.label,
    }
    places = np.arange(1, int(asked[0].sum()) + 1)
    by_place = right[asked].reshape(len(test), -1).mean(0)
    figures: Figures = [_curves(history, kept)]
    rows = [(int(place), float(share)) for place, share in zip(places, by_place, strict=True)]
    tables: Tables = [("Symbols that were remembered", ("place", "accuracy"), rows)]
    headline = (
        f"{loss:.4g} nats per step on the test split, {series.baseline:.4g} without memory "
        f"({len(test)} series)."
    )
    return Explanation(metrics, verdict, figures, tables, headline=headline)


def _curves(history, kept):
    return (
        "Learning curves",
        plots.learning_curves(history, kept=kept),
        "Training series are measured twice: while training (dropout and augmentation on), and in "
        "evaluation mode, like validation. The gap between the last two curves is over-fitting.",
    )


def _some_of_each(series: SequenceData):
    train = series.splits["train"]
    each = max(1, min(PER_CLASS, MOST // series.classes))
    rows = np.concatenate([np.flatnonzero(train.labels == i)[:each] for i in range(series.classes)])
    names = [series.class_names[label] for label in train.labels[rows]]
    figure = plots.series_grid(train.values[rows], names)
    return "Training series", figure, "Some of every class, unaugmented; one curve per feature."


def _not_judged() -> Judgement:
    return Judgement(
        "not judged",
        "No series were held out for validation, so the curves cannot say whether the network "
        "over-fits; the test figures can.",
        {},
    )
