"""Models of scikit-learn on the same rows of a table, for comparison."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import threadpoolctl  # scikit-learn stands on it

if TYPE_CHECKING:
    from kapps.data import TableData, TableSplit

NAMES = {
    "gradient_boosting": "gradient boosting (scikit-learn)",
    "linear": "linear model (scikit-learn)",
    "constant": "always the same answer",
}


MOST_BINNED = 254  # categories that a histogram has bins for, beside the one for missing values
MANY_ROWS = 20_000  # from which on threads are worth their waiting


def fit_baselines(table: TableData, seed: int = 0) -> dict[str, Any]:
    """Fitted estimators by name: gradient boosting, a linear model, and a constant answer.

    All are fitted on the training split alone, with scikit-learn's own preprocessing and usual
    settings: `HistGradientBoosting*`, which takes missing values and categories as they are, but
    for columns of more categories than it can bin: these become cross-fitted target means
    (`TargetEncoder`); `LogisticRegression`, or `RidgeCV`, on imputed, standardized and one-hot
    columns, every category a column.

    Args:
        table: what they are fitted on.
        seed: of the boosting.

    Returns:
        Estimators that take what `as_matrix` makes of a split.
    """
    from sklearn import dummy, ensemble, linear_model  # a second to import

    classifies = table.task == "classification"
    boosting = (
        ensemble.HistGradientBoostingClassifier
        if classifies
        else ensemble.HistGradientBoostingRegressor
    )
    numbers = [column["kind"] == "number" for column in table.columns.values()]
    train = table.splits["train"]
    models = {
        "gradient_boosting": _boosting(boosting, table, _early_stopping(table, train), seed),
        "linear": _linear(
            numbers,
            linear_model.LogisticRegression(max_iter=5000)
            if classifies
            else linear_model.RidgeCV(np.logspace(-3, 4, 15)),
        ),
        "constant": dummy.DummyClassifier() if classifies else dummy.DummyRegressor(),
    }
    x = as_matrix(table, train)
    # Threads wait for each other in small steps; where others use the cores, too, for very long.
    with threadpoolctl.threadpool_limits(1 if len(train) < MANY_ROWS else None):
        for model in models.values():
            with warnings.catch_warnings():
                # Of a class with fewer rows than the target encoder has folds.
                warnings.filterwarnings("ignore", "The least populated class", UserWarning)
                model.fit(x, train.targets)
    return models


def as_matrix(table: TableData, split: TableSplit) -> np.ndarray:
    """The columns of a split side by side, float64 [n, columns]; NaN where there is no value.

    Categories are their number in the vocabulary; one that is not in it counts as missing.
    """
    columns = []
    for name, column in table.columns.items():
        values = split.inputs[name]
        if column["kind"] != "number":
            places = {value: float(i) for i, value in enumerate(column["vocabulary"])}
            values = [places.get(value, np.nan) for value in values.tolist()]
        columns.append(np.asarray(values, np.float64))
    return np.stack(columns, axis=-1)


def _early_stopping(table: TableData, train: TableSplit) -> str | bool:
    """Whether boosting may keep rows to stop by: it divides by class, which rare ones forbid."""
    if table.task == "classification" and np.bincount(train.targets).min(initial=9) < 2:
        present = np.bincount(train.targets)
        return False if (present[present > 0] < 2).any() else "auto"
    return "auto"


def _boosting(kind: Any, table: TableData, early_stopping: str | bool, seed: int) -> Any:
    from sklearn import compose, pipeline, preprocessing

    categories = np.array([len(c.get("vocabulary", ())) for c in table.columns.values()])
    is_number = np.array([c["kind"] == "number" for c in table.columns.values()])
    many = categories > MOST_BINNED
    options = {"random_state": seed, "early_stopping": early_stopping}
    if not many.any():
        return kind(categorical_features=~is_number, **options)
    multiclass = len(table.class_names) > 2
    target = "multiclass" if multiclass else "binary" if table.class_names else "continuous"
    encoder = preprocessing.TargetEncoder(target_type=target, **_folds_of(seed))
    encoded = compose.ColumnTransformer(
        [
            ("few", "passthrough", np.flatnonzero(~many)),
            ("many", encoder, np.flatnonzero(many)),
        ]
    )
    means = int(many.sum()) * (len(table.class_names) if multiclass else 1)
    categorical = np.concatenate([~is_number[~many], np.zeros(means, bool)])
    return pipeline.make_pipeline(encoded, kind(categorical_features=categorical, **options))


def _folds_of(seed: int) -> dict[str, Any]:
    """How the target encoder is told its seed: from scikit-learn 1.9 on by its folds."""
    from sklearn import model_selection, preprocessing

    known = inspect.signature(preprocessing.TargetEncoder).parameters
    if "random_state" in known and known["random_state"].default != "deprecated":
        return {"random_state": seed}
    return {"cv": model_selection.KFold(5, shuffle=True, random_state=seed)}


def _linear(numbers: list[bool], estimator: Any) -> Any:
    from sklearn import compose, impute, pipeline, preprocessing

    standardized = pipeline.make_pipeline(
        impute.SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        preprocessing.StandardScaler(),
    )
    one_hot = pipeline.make_pipeline(
        impute.SimpleImputer(strategy="constant", fill_value=-1.0),
        preprocessing.OneHotEncoder(handle_unknown="ignore"),
    )
    return pipeline.make_pipeline(
        compose.ColumnTransformer(
            [
                ("numbers", standardized, np.flatnonzero(numbers)),
                ("categories", one_hot, np.flatnonzero(~np.array(numbers))),
            ]
        ),
        estimator,
    )


def baselines_line(metrics: Mapping[str, Any]) -> str:
    """One line on how the baselines did, for the terminal.

    Args:
        metrics: of `explain_table`.
    """
    name, form = ("accuracy", ".2%") if "test_accuracy" in metrics else ("r2", ".3f")
    said = [
        f"{words} {format(metrics[f'{model}_{name}'], form)}"
        for model, words in (("gradient_boosting", "gradient boosting"), ("linear", "linear model"))
    ]
    return f"{'scikit-learn':<24}{', '.join(said)}"
