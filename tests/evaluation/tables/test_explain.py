"""What the report of a table says, with models whose worth is known."""

import keras
import numpy as np
import pytest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kapps import data, evaluation, models
from kapps.evaluation.tables.baselines import as_matrix
from kapps.evaluation.tables.explain import row_interval


@pytest.fixture(scope="module")
def cancer():
    return data.load_table("breast_cancer")


@pytest.fixture(scope="module")
def logistic(cancer):
    """scikit-learn's logistic regression, and the network without hidden layers of its weights."""
    train = cancer.splits["train"]
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    fitted.fit(as_matrix(cancer, train), train.targets)
    model = models.tabular_mlp(cancer.columns, 2, units=())
    slopes, offset = fitted[-1].coef_[0], fitted[-1].intercept_[0]
    model.set_weights([np.stack([0 * slopes, slopes], 1), np.array([0.0, offset])])
    return fitted, model


def history(**changes):
    row = {"loss": 0.1, "train_loss": 0.1, "val_loss": 0.1, "train_accuracy": 0.98}
    row |= {"val_accuracy": 0.98, "mae": 1.0, "train_mae": 1.0, "val_mae": 1.0}
    return [{"epoch": i, **row, **changes} for i in range(1, 11)]


@pytest.mark.slow
def test_a_network_with_scikit_learns_weights_gives_its_answers(cancer, logistic):
    """So the encoding, the order of the columns and the rows are all the same."""
    fitted, model = logistic
    for split in cancer.splits.values():
        logits = evaluation.predict_table(model, split)
        np.testing.assert_allclose(
            logits[:, 1] - logits[:, 0],
            fitted.decision_function(as_matrix(cancer, split)),
            rtol=1e-4,
            atol=1e-3,
        )


@pytest.mark.slow
def test_importance_is_scikit_learns(cancer, logistic):
    fitted, model = logistic
    split = cancer.splits["validation"]
    found = evaluation.column_importance(model, cancer, seed=3, repetitions=30)
    expected = permutation_importance(
        fitted, as_matrix(cancer, split), split.targets,
        scoring="neg_log_loss", n_repeats=30, random_state=3,
    ).importances  # fmt: skip
    error = np.sqrt((expected.var(axis=1) + found.drops.var(axis=1)) / 30)
    assert found.drops.shape == expected.shape
    np.testing.assert_array_less(np.abs(found.value - expected.mean(axis=1)), 4 * error + 1e-4)
    np.testing.assert_allclose(found.value, found.drops.mean(axis=1), atol=1e-9)
    assert (found.low <= found.value).all() and (found.value <= found.high).all()


def test_the_interval_over_rows_holds_the_truth():
    """Simulation: y = x + noise; shuffling x costs 2 var(x) = 2, over 120 rows, ten shuffles."""
    rng, held, narrow = np.random.default_rng(0), 0, 0
    for _ in range(500):
        x, noise = rng.normal(size=(2, 120))
        donors = np.array([rng.permutation(120) for _ in range(10)])
        costs = (x[donors] - x - noise) ** 2 - noise**2
        by_donor = np.take_along_axis(costs, np.argsort(donors, axis=1), axis=1).mean(axis=0)
        _, low, high = row_interval(costs.mean(axis=0), by_donor)
        held += low <= 2 * (1 - 1 / 120) <= high
        shuffles = costs.mean(axis=1)  # what stood there before: the scatter of the shuffles
        width = 2 * shuffles.std(ddof=1) / np.sqrt(10)
        narrow += abs(shuffles.mean() - 2) <= width
    assert 0.92 <= held / 500 <= 0.98 and narrow / 500 < 0.8


@pytest.mark.slow
def test_a_report_on_a_classifier(cancer, logistic):
    _, model = logistic
    found = evaluation.explain_table(model, cancer, history())
    metrics = found.metrics
    # The same model, fitted there and here.
    assert metrics["test_accuracy"] == metrics["linear_accuracy"] > 0.95
    assert metrics["gradient_boosting_accuracy"] > 0.92
    worst = next(rows for title, _, rows in found.tables if title == "Worst mistakes")
    assert len(worst) == min(8, round(114 * (1 - metrics["test_accuracy"])))
    assert all(row[1] != row[2] for row in worst)  # right answers are no mistakes
    assert metrics["label_issues"] == len(found.label_issues) and len(found.test_labels) == 114
    rows = {int(row) + 1 for name in ("validation", "test") for row in cancer.splits[name].rows}
    assert {row["row"] for row in found.label_issues} <= rows
    share = np.bincount(cancer.splits["test"].targets).max() / 114
    assert metrics["constant_accuracy"] == pytest.approx(share)
    assert 0.98 < metrics["test_roc_auc"] <= 1 and 0.97 < metrics["test_average_precision"] <= 1
    # The same model: no example tells them apart.
    assert metrics["ahead_of_linear_accuracy"] == 0 and metrics["ahead_of_linear_p"] == 1
    assert metrics["ahead_of_constant_accuracy"] > 0.2 and metrics["ahead_of_constant_p"] < 1e-6
    titles = [title for title, _, _ in found.figures]
    assert {"Confusion matrix", "Thresholds", "Calibration", "Learning curves"} <= set(titles)
    name, columns, rows = found.tables[0]
    assert len(rows) == 4 and all(len(row) == len(columns) for row in rows)
    assert rows[0][1] == metrics["test_accuracy"] and "gradient boosting" in rows[1][0]
    for _, columns, rows in found.tables:
        assert {len(row) for row in rows} == {len(columns)}


@pytest.mark.slow
def test_a_simple_model_that_wins_is_named_in_the_verdict(cancer):
    """A network that always says the more frequent class, where the linear model knows better."""
    model = models.tabular_mlp(cancer.columns, 2, units=())
    model.set_weights([np.zeros((30, 2)), np.array([1.0, 0.0])])
    found = evaluation.explain_table(model, cancer, history())
    share = np.bincount(cancer.splits["test"].targets).max() / 114
    behind = {name: share - found.metrics[f"{name}_accuracy"] for name in ("linear", "constant")}
    assert found.metrics["ahead_of_linear_accuracy"] == pytest.approx(behind["linear"])
    assert found.metrics["ahead_of_linear_high"] < 0
    assert behind["constant"] == 0 and found.metrics["ahead_of_constant_high"] > 0
    best = max(("gradient_boosting", "linear"), key=lambda n: found.metrics[f"{n}_accuracy"])
    words = {"linear": "linear model", "gradient_boosting": "gradient boosting"}[best]
    told = f"{words} (scikit-learn), by {100 * (found.metrics[f'{best}_accuracy'] - share):.1f}"
    assert told in found.verdict.sentence and told in found.notes[0]


@pytest.mark.slow
def test_a_report_on_a_regression():
    """A column that says it all, and one that says nothing."""
    rng = np.random.default_rng(0)
    x = rng.normal(10, 3, (400, 2)).astype(np.float32)
    columns = {
        name: {
            "kind": "number", "mean": float(v.mean()), "std": float(v.std()), "median": 10.0,
            "indicator": False,
        }
        for name, v in zip("ab", x.T, strict=True)
    }  # fmt: skip
    targets = (5 * x[:, 0] + rng.normal(size=400)).astype(np.float32)
    rows = np.arange(400)
    splits = {
        name: data.TableSplit({"a": x[part, 0], "b": x[part, 1]}, targets[part], rows[part])
        for name, part in zip(
            ("train", "validation", "test"), np.split(rows, (200, 300)), strict=True
        )
    }
    titles = {"a": "first column", "b": "second"}
    table = data.TableData("made", "y", "regression", (), columns, titles, {}, splits, "")
    model = models.tabular_mlp(columns, units=(), target_mean=0.0, target_std=1.0)
    model.set_weights(
        [np.array([[5 * columns["a"]["std"]], [0.0]]), np.array([5 * columns["a"]["mean"]])]
    )
    drops = evaluation.column_importance(model, table).drops
    # Shuffled, a column of all the variance costs twice that: 1 - 2 instead of 1 - 0.
    assert drops[0].mean() == pytest.approx(2.0, abs=0.25) and not drops[1].any()
    found = evaluation.explain_table(model, table, history(train_loss=0.01, val_loss=0.01))
    metrics = found.metrics
    assert metrics["test_r2"] == pytest.approx(metrics["linear_r2"], abs=2e-3)
    assert metrics["test_rmse"] == pytest.approx(1.0, abs=0.15)
    assert metrics["constant_r2"] < 0.02 < metrics["gradient_boosting_r2"]
    assert metrics["verdict"] == "well fitted"
    assert "A simple model" not in found.verdict.sentence and not found.notes
    worst = found.tables[1][2]
    errors = [abs(true - said) for _, true, said in worst]
    assert errors == sorted(errors, reverse=True)
    assert worst[0][0] - 1 == 300 + np.argmax(
        np.abs(evaluation.predict_table(model, splits["test"]) - splits["test"].targets)
    )
    # One that always says the mean explains nothing; of the variance of 226, noise is 1.
    model.set_weights([np.zeros((2, 1)), np.array([5 * columns["a"]["mean"]])])
    told = evaluation.explain_table(model, table, history(train_loss=0.01, val_loss=0.01))
    assert told.metrics["ahead_of_linear_r2"] == pytest.approx(-1, abs=0.05)
    assert told.metrics["ahead_of_linear_high"] < -0.9 and "points of R²" in told.notes[0]
    assert "linear model (scikit-learn), by" in told.verdict.sentence


@pytest.mark.slow
def test_baselines_take_categories_and_gaps(tmp_path):
    rng = np.random.default_rng(0)
    city = rng.choice(["a", "b", "c", "?"], 300)
    size = rng.normal(size=300)
    dear = np.where(size + 2 * (city == "b") + 0.1 * rng.normal(size=300) > 0.5, "yes", "no")
    shown = [str(v) if i % 7 else "" for i, v in enumerate(size)]
    lines = ["city,size,dear", *map(",".join, zip(city, shown, dear, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    table = data.load_table(f"csv:{tmp_path / 't.csv'}", target="dear")
    keras.utils.set_random_seed(0)
    found = evaluation.explain_table(models.tabular_mlp(table.columns, 2), table, history())
    assert found.metrics["linear_accuracy"] > 0.8 < found.metrics["gradient_boosting_accuracy"]
