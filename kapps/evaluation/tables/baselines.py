"""Models of scikit-learn on the same rows of a table, for comparison."""

from __future__ import annotations

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


MANY_ROWS = 20_000  # from which on threads are worth their waiting


def fit_baselines(table: TableData, seed: int = 0) -> dict[str, Any]:
    """Fitted estimators by name: gradient boosting, a linear model, and a constant answer.

    All are fitted on the training split alone, with scikit-learn's own preprocessing and usual
    settings: `HistGradientBoosting*`, which takes missing values and categories as they are;
    `LogisticRegression`, or `RidgeCV`, on imputed, standardised and one-hot columns.

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
    models = {
        "gradient_boosting": boosting(
            categorical_features=[not number for number in numbers], random_state=seed
        ),
        "linear": _linear(
            numbers,
            linear_model.LogisticRegression(max_iter=5000)
            if classifies
            else linear_model.RidgeCV(np.logspace(-3, 4, 15)),
        ),
        "constant": dummy.DummyClassifier() if classifies else dummy.DummyRegressor(),
    }
    train = table.splits["train"]
    x = as_matrix(table, train)
    # Threads wait for each other in small steps; where others use the cores, too, for very long.
    with threadpoolctl.threadpool_limits(1 if len(train) < MANY_ROWS else None):
        for model in models.values():
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


def _linear(numbers: list[bool], estimator: Any) -> Any:
    from sklearn import compose, impute, pipeline, preprocessing

    standardised = pipeline.make_pipeline(
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
                ("numbers", standardised, np.flatnonzero(numbers)),
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
