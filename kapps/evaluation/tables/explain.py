"""A model of a table, measured and explained, beside scikit-learn's on the same rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from scipy import special, stats

from kapps.evaluation import plots
from kapps.evaluation.explanation import (
    Explanation,
    accuracy_headline,
    calibration_figure,
    class_tables,
    error_headline,
    judge_classifier,
    measure_classifier,
)
from kapps.evaluation.label_errors import Judged, issue_notes, issue_rows, issue_tables
from kapps.evaluation.metrics import regression
from kapps.evaluation.metrics.calibration import fit_temperature, softmax
from kapps.evaluation.metrics.classification import classification_metrics, worst_mistakes
from kapps.evaluation.metrics.comparison import mcnemar, paired_bootstrap
from kapps.evaluation.peers import beaten
from kapps.evaluation.tables.baselines import NAMES, as_matrix, fit_baselines
from kapps.evaluation.verdicts.curves import Verdict
from kapps.evaluation.verdicts.regression import regression_verdict

if TYPE_CHECKING:
    from kapps.data import TableData, TableSplit

TOGETHER = 4096  # rows
REPETITIONS = 10  # of shuffling a column
IMPORTANCE_ROWS = 1000
WORST = 8
NETWORK = "this network"


def explain_table(
    model: keras.Model,
    table: TableData,
    history: Sequence[Mapping[str, Any]],
    *,
    kept: int | None = None,
    weighted: bool = False,
    seed: int = 0,
) -> Explanation:
    """Measure a model on validation, then once on test, beside scikit-learn's on the same rows.

    Args:
        model: raw columns -> logits or prediction, as `kapps.models.tabular_mlp` makes it.
        table: what it was trained on.
        history: rows of metrics.csv, its `train_*` measured on the whole training split.
        kept: the epoch whose weights these are, from 1; by default the best by accuracy, or by R².
        weighted: whether every class had the same share of the loss.
        seed: of the bootstrap, of the shuffling and of the boosting.

    Raises:
        UserError: the model's outputs are not finite numbers.
    """
    if table.task == "classification":
        return _classification(model, table, history, kept, weighted, seed)
    return _regression(model, table, history, kept, seed)


def predict_table(model: keras.Model, split: TableSplit) -> np.ndarray:
    """Logits [n, classes] or predictions [n] for every row of a split, in order, float32."""
    return _answers(model)(split.inputs)


class Importance(NamedTuple):
    """What shuffling each column costs, [columns], with 95 % intervals over the rows.

    `drops` [columns, repetitions] are the single shuffles: their scatter is that of the shuffling
    alone, and far smaller than what other rows would have shown.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    drops: np.ndarray


def column_importance(
    model: keras.Model, table: TableData, *, seed: int = 0, repetitions: int = REPETITIONS
) -> Importance:
    """What shuffling each column of the validation split costs.

    Permutation importance (Breiman 2001, section 10): nats of the loss of a classifier, share of
    the explained variance of a regression. Columns that say the same thing share their importance,
    or hide it from each other. The interval is that of a mean over rows, each row's cost being
    averaged over the shuffles.

    Args:
        model: raw columns -> logits or prediction.
        table: its validation split is used, at most 1,000 rows of it.
        seed: of the shuffling.
        repetitions: how often each column is shuffled.
    """
    split = table.splits["validation"]
    rows = np.random.default_rng(seed).permutation(len(split))[:IMPORTANCE_ROWS]
    targets, answer = split.targets[rows], _answers(model)
    inputs = {name: split.inputs[name][rows] for name in table.columns}

    def costs(changed: Mapping[str, np.ndarray]) -> np.ndarray:
        """Of each row: nats, or its part of the unexplained share of the variance."""
        answers = answer(changed).astype(np.float64)
        if table.task == "classification":
            own = answers[np.arange(len(rows)), targets]
            return special.logsumexp(answers, axis=-1) - own
        return (answers - targets) ** 2 / np.var(targets)

    usual, random = costs(inputs), np.random.default_rng(seed)
    drops = np.empty((len(table.columns), repetitions))
    by_row, by_donor = np.zeros((2, len(table.columns), len(rows)))
    for i, name in enumerate(table.columns):
        for j in range(repetitions):
            donors = random.permutation(len(rows))
            cost = costs(inputs | {name: inputs[name][donors]}) - usual
            drops[i, j] = cost.mean()
            by_row[i] += cost / repetitions
            by_donor[i, donors] += cost / repetitions
    return Importance(*row_interval(by_row, by_donor), drops)


def row_interval(
    by_row: np.ndarray, by_donor: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean cost of shuffling, and its 95 % interval, Student's.

    A row counts twice, for what it suffers and for what its value does to another row: leaving the
    second out makes the interval too short.

    Args:
        by_row: cost of each row, averaged over shuffles, [..., n].
        by_donor: cost that the value of each row caused elsewhere, [..., n].
    """
    count = by_row.shape[-1]
    mean = by_row.mean(axis=-1)
    if count < 2:
        return mean, np.full_like(mean, -np.inf), np.full_like(mean, np.inf)
    deviation = (by_row + by_donor).std(axis=-1, ddof=1)
    width = stats.t.ppf(0.975, count - 1) * deviation / np.sqrt(count)
    return mean, mean - width, mean + width


def _classification(model, table, history, kept, weighted, seed) -> Explanation:
    train, validation, test = (table.splits[name] for name in ("train", "validation", "test"))
    names, val_logits = table.class_names, predict_table(model, validation)
    temperature = fit_temperature(validation.targets, val_logits)
    logits = predict_table(model, test)
    found, metrics = measure_classifier(test.targets, logits, names, temperature)
    verdict = judge_classifier(
        history,
        validation.targets,
        val_logits,
        metrics,
        train_examples=len(train),
        kept=kept,
        weighted=weighted,
    )
    compared, differences, winners = {NETWORK: found}, {NETWORK: ""}, []
    x, right = as_matrix(table, test), logits.argmax(axis=-1) == test.targets
    for name, estimator in fit_baselines(table, seed).items():
        scores = np.full((len(test), len(names)), -np.inf)
        scores[:, estimator.classes_] = np.log(np.clip(estimator.predict_proba(x), 1e-12, 1.0))
        scores = np.maximum(scores, np.log(1e-12))
        compared[name] = classification_metrics(test.targets, scores, names)
        for measure in ("accuracy", "accuracy_low", "accuracy_high", "loss"):
            metrics[f"{name}_{measure}"] = compared[name][measure]
        pair = mcnemar(right, scores.argmax(axis=-1) == test.targets)
        metrics[f"ahead_of_{name}_accuracy"] = pair.difference
        metrics[f"ahead_of_{name}_low"], metrics[f"ahead_of_{name}_high"] = pair.low, pair.high
        metrics[f"ahead_of_{name}_p"] = pair.p
        if pair.high < 0:
            winners.append((NAMES[name], pair))
        differences[name] = f"{100 * pair.low:+.1f} to {100 * pair.high:+.1f} (p = {pair.p:.2g})"
    rows = [
        (
            NAMES.get(name, name),
            figures["accuracy"],
            f"{figures['accuracy_low']:.1%} to {figures['accuracy_high']:.1%}",
            differences[name],
            figures["balanced_accuracy"],
            figures["loss"],
        )
        for name, figures in compared.items()
    ]
    columns = (
        "model",
        "accuracy",
        "95 % interval",
        "this network is ahead by, points",
        "balanced accuracy",
        "loss, nats",
    )
    figures = [
        _learning_curves(history, ("loss", "accuracy"), kept),
        (
            "Confusion matrix",
            plots.confusion_matrix(np.asarray(found["confusion_matrix"]), names),
            "Which class is mistaken for which: rows are true classes, columns predicted ones.",
        ),
    ]
    if len(names) == 2 and len(np.unique(test.targets)) == 2:
        figures.append(_thresholds(test, logits, temperature, names, metrics))
    figures += [
        calibration_figure(test.targets, logits, metrics),
        _importance(model, table, seed, "rise of the loss, nats"),
    ]
    probabilities = softmax(logits, temperature)
    worst = [
        (
            int(test.rows[i]) + 1,
            names[test.targets[i]],
            names[probabilities[i].argmax()],
            f"{probabilities[i, test.targets[i]]:.1%}",
        )
        for i in worst_mistakes(test.targets, logits, WORST)
    ]
    issues = issue_rows(
        {
            name: _judged(table.splits[name], part)
            for name, part in (("validation", val_logits), ("test", logits))
        },
        names,
        temperature,
    )
    metrics["label_issues"] = len(issues)
    heads = ("data row", "true", "predicted", "probability of the truth")
    tables = [
        ("Beside other models, on the same rows", columns, rows),
        *class_tables(found, "rows"),
        *([("Worst mistakes", heads, worst)] if worst else []),
        *issue_tables(issues, "data row", "row"),
    ]
    found = dataclasses.replace(
        _explanation(table, metrics, temperature, verdict, figures, tables),
        notes=issue_notes(issues),
        test_logits=logits,
        test_labels=test.targets,
        label_issues=issues,
    )
    return beaten(found, winners) if winners else found


def _judged(split: TableSplit, logits: np.ndarray) -> Judged:
    return Judged(split.targets, logits, lambda i: {"row": int(split.rows[i]) + 1})


def _thresholds(test, logits, temperature, names, metrics) -> tuple[str, Figure, str]:
    """The curves of the second class; their areas go into the metrics."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    positive, scores = test.targets == 1, softmax(logits, temperature)[:, 1]
    metrics["test_roc_auc"] = float(roc_auc_score(positive, scores))
    metrics["test_average_precision"] = float(average_precision_score(positive, scores))
    return (
        "Thresholds",
        plots.threshold_curves(positive, scores, names[1]),
        f"How many of '{names[1]}' are found, at what cost. Dotted: guessing; dot: threshold 0.5.",
    )


def _regression(model, table, history, kept, seed) -> Explanation:
    train, validation, test = (table.splits[name] for name in ("train", "validation", "test"))
    errors = predict_table(model, validation) - validation.targets
    answers = predict_table(model, test)
    found = regression.regression_metrics(test.targets, answers, seed=seed)
    metrics: dict[str, Any] = {f"test_{name}": value for name, value in found.items()}
    compared, x, linear_r2 = {NETWORK: found}, as_matrix(table, test), None
    differences, winners = {NETWORK: ""}, []
    squares = (answers.astype(np.float64) - test.targets) ** 2
    for name, estimator in fit_baselines(table, seed).items():
        said = estimator.predict(x)
        compared[name] = regression.regression_metrics(test.targets, said, seed=seed)
        pair = paired_bootstrap(_ahead(squares, (said - test.targets) ** 2, test), len(test))
        metrics[f"ahead_of_{name}_r2"] = pair.difference
        metrics[f"ahead_of_{name}_low"], metrics[f"ahead_of_{name}_high"] = pair.low, pair.high
        if pair.high < 0:
            winners.append((NAMES[name], pair))
        differences[name] = f"{pair.low:+.3f} to {pair.high:+.3f}"
        for measure in ("mae", "rmse", "r2", "r2_low", "r2_high"):
            metrics[f"{name}_{measure}"] = compared[name][measure]
        if name == "linear":
            linear_r2 = float(estimator.score(as_matrix(table, train), train.targets))
    verdict = regression_verdict(
        history,
        validation_examples=len(validation),
        train_examples=len(train),
        linear_r2=linear_r2,
        kept=kept,
        test_r2=found["r2"],
        test_r2_interval=(found["r2_low"], found["r2_high"]),
        test_examples=len(test),
        kurtosis=max(float(stats.kurtosis(errors, fisher=False)), 3.0),
    )
    rows = [
        (
            NAMES.get(name, name),
            *(figures[measure] for measure in ("mae", "rmse", "r2")),
            f"{figures['r2_low']:.3f} to {figures['r2_high']:.3f}",
            differences[name],
        )
        for name, figures in compared.items()
    ]
    columns = (
        "model",
        "MAE",
        "RMSE",
        "R²",
        "R², 95 % interval",
        "this network is ahead by, R²",
    )
    figures = [
        _learning_curves(history, ("loss", "mae"), kept),
        (
            "Predicted against true",
            plots.predicted_against_true(test.targets, answers, table.target),
            f"Test rows, in units of '{table.target}'; on the dotted line predictions are exact.",
        ),
        (
            "Residuals",
            plots.residuals(test.targets, answers),
            "If errors grow or bend with the prediction, there is something left to learn.",
        ),
        _importance(model, table, seed, "fall of R²"),
    ]
    order = np.argsort(-np.abs(answers - test.targets), kind="stable")[:WORST]
    worst = [(int(test.rows[i]) + 1, float(test.targets[i]), float(answers[i])) for i in order]
    tables = [
        ("Beside other models, on the same rows", columns, rows),
        ("Worst mistakes", ("data row", "true", "predicted"), worst),
    ]
    found = _explanation(table, metrics, 1.0, verdict, figures, tables)
    return beaten(found, winners, "points of R²") if winners else found


def _ahead(ours: np.ndarray, theirs: np.ndarray, test: TableSplit) -> Callable:
    """From rows to the difference of the two shares of the variance that are explained."""

    def measure(rows: np.ndarray) -> float:
        variance = float(np.var(test.targets[rows]))
        return float(np.mean(theirs[rows] - ours[rows])) / variance if variance else np.nan

    return measure


def _explanation(
    table: TableData,
    metrics: dict[str, Any],
    temperature: float,
    verdict: Verdict,
    figures: list,
    tables: list,
) -> Explanation:
    metrics["verdict"] = verdict.label
    headline = (
        accuracy_headline(metrics, "rows") if table.class_names else error_headline(metrics, "rows")
    )
    tables.append(
        (
            "Columns of the training split",
            ("column", "name when served", "kind", "statistics"),
            [
                (table.titles[name], name, column["kind"], _facts(column))
                for name, column in table.columns.items()
            ],
        )
    )
    return Explanation(
        metrics, verdict, figures, tables, headline=headline, temperature=temperature
    )


def _learning_curves(history, measures, kept) -> tuple[str, Figure, str]:
    return (
        "Learning curves",
        plots.learning_curves(history, measures, kept=kept),
        "Training rows are measured twice: while training (dropout on), and in evaluation mode, "
        "like validation. The gap between the last two curves is over-fitting.",
    )


def _importance(model, table, seed, words: str) -> tuple[str, Figure, str]:
    found = column_importance(model, table, seed=seed)
    titles = [table.titles[name] for name in table.columns]
    return (
        "What the answers rest on",
        plots.column_importance(titles, found.value, found.low, found.high, words),
        f"What it costs on validation to shuffle a column, {found.drops.shape[1]} times each, with "
        "95 % intervals over the rows. Correlated columns hide each other.",
    )


def _facts(column: Mapping[str, Any]) -> str:
    if column["kind"] == "number":
        lacking = "; some are missing" if column["indicator"] else ""
        mean, std, median = (f"{column[name]:.4g}" for name in ("mean", "std", "median"))
        return f"mean {mean}, deviation {std}, median {median}{lacking}"
    shown = ", ".join(map(str, column["vocabulary"][:8]))
    more = len(column["vocabulary"]) - 8
    return (
        shown
        + (f" and {more} more" if more > 0 else "")
        + ("; some are missing" if column["missing"] else "")
    )


def _answers(model: keras.Model) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """A function from columns [n] by name to logits [n, classes] or predictions [n]."""
    # A graph: a table has many columns, and as many small operations.
    ask = tf.function(
        lambda columns: model(columns, training=False), autograph=False, reduce_retracing=True
    )

    def answer(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        count, answers = len(next(iter(inputs.values()))), []
        for start in range(0, count, TOGETHER):
            part = slice(start, start + TOGETHER)
            columns = {name: tf.constant(values[part, None]) for name, values in inputs.items()}
            answers.append(np.asarray(ask(columns), np.float32))
        answers = np.concatenate(answers)
        return answers[:, 0] if model.output_shape[-1] == 1 else answers

    return answer
