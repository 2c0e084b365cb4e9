import csv
import dataclasses
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kapps import cli, data, serving, training
from kapps.command_line import call
from kapps.errors import UserError
from kapps.evaluation.tables.baselines import as_matrix
from recipes import tabular
from recipes.tabular import Config

ROOT = pathlib.Path(tabular.__file__).parents[1]


def shell(*flags, script="recipes/tabular.py"):
    command = [sys.executable, str(ROOT / script), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


def write_houses(path, count=400):
    """A regression with a category, whole numbers, gaps, and an identifier."""
    rng = np.random.default_rng(0)
    area, rooms = rng.uniform(30, 200, count), rng.integers(1, 5, count)
    city = rng.choice(["Köln", "Oslo", "Rome", ""], count)
    price = 1e5 + 2e3 * area + 3e4 * rooms + 1e5 * (city == "Oslo") + rng.normal(0, 1e4, count)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "living area", "rooms", "city", "price"])
        for i in range(count):
            shown = "" if i % 9 == 0 else f"{area[i]:.2f}"
            writer.writerow([f"H{i}", shown, rooms[i], city[i], f"{price[i]:.0f}"])
    return f"csv:{path}"


@pytest.fixture(scope="module")
def cancer(tmp_path_factory):
    """A run on the default table."""
    root = tmp_path_factory.mktemp("recipe")
    config = Config(run_dir=str(root / "run"), export_dir=str(root / "served"), epochs=15)
    return config, call(tabular, config)


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """A regression on a CSV file."""
    root = tmp_path_factory.mktemp("houses")
    config = Config(
        dataset=write_houses(root / "houses.csv"),
        target="price",
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
        epochs=30,
    )
    return config, call(tabular, config)


def test_the_run_directory_holds_what_the_design_says(cancer):
    config, metrics = cancer
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    for name in ("test_loss", "best_epoch", "parameters", "train_seconds", "examples_per_second"):
        assert metrics[name] > 0
    facts = json.loads((run / "config.json").read_text())
    assert facts["task"] == "classification" and facts["target"] == "diagnosis"
    assert len(facts["data"]["fingerprint"]) == 64
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, 16)]
    pictures = {path.name for path in (run / "plots").glob("*.png")}
    assert {"learning_curves.png", "thresholds.png", "what_the_answers_rest_on.png"} <= pictures
    page = (run / "report.html").read_text()
    assert metrics["verdict"] in page and "gradient boosting" in page
    assert "kapps train tabular" in page and 'src="http' not in page


def test_it_is_about_as_good_as_logistic_regression(cancer):
    """On 114 rows one row is 0.9 points; three rows less is what chance may take."""
    _, metrics = cancer
    table = data.load_table("breast_cancer", seed=0)
    train, test = table.splits["train"], table.splits["test"]
    reference = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    reference.fit(as_matrix(table, train), train.targets)
    accuracy = reference.score(as_matrix(table, test), test.targets)
    assert metrics["linear_accuracy"] == pytest.approx(accuracy)
    assert metrics["test_accuracy"] > accuracy - 3.5 / 114
    assert metrics["test_roc_auc"] > 0.98


def test_a_regression_learns_what_a_linear_law_says(houses):
    """Noise is 1e4 of a deviation of about 1.2e5, gaps in the area cost more."""
    _, metrics = houses
    assert metrics["test_r2"] > metrics["linear_r2"] - 0.05 > 0.7
    assert metrics["test_mae"] < 0.5 * metrics["constant_mae"]


def test_the_published_model_gives_the_reported_figures(cancer, houses):
    config, metrics = cancer
    test = data.load_table("breast_cancer", seed=0).splits["test"]
    version = pathlib.Path(config.export_dir, "1")
    assert str(version) == metrics["exported"]
    answer = serving.load(version).signatures["serving_default"](**test.inputs)
    said = [label.decode() for label in answer["label"].numpy()]
    names = ("benign", "malignant")
    assert np.mean([a == names[b] for a, b in zip(said, test.targets, strict=True)]) == (
        pytest.approx(metrics["test_accuracy"], abs=1e-9)
    )
    config, metrics = houses
    table = data.load_table(config.dataset, target="price")
    rows = serving.predict_table_file(config.export_dir, config.dataset.removeprefix("csv:"))
    said = np.array([row["prediction"] for row in rows])[table.splits["test"].rows]
    errors = said - table.splits["test"].targets
    assert np.abs(errors).mean() == pytest.approx(metrics["test_mae"], rel=1e-5)


def test_exported_again_from_the_run(houses, tmp_path, capsys):
    config, _ = houses
    cli.main(["export", config.run_dir, "--export-dir", str(tmp_path / "again")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "again/1")
    file = config.dataset.removeprefix("csv:")
    one, two = (
        serving.predict_table_file(path, file) for path in (config.export_dir, tmp_path / "again")
    )
    assert [row["prediction"] for row in one] == pytest.approx(
        [row["prediction"] for row in two], rel=1e-5
    )
    cli.main(["export", config.run_dir, "--format", "onnx"])
    exported = pathlib.Path(config.run_dir, "export")
    assert capsys.readouterr().out.strip() == str(exported / "model.onnx")
    assert (exported / "columns.json").exists()


def test_again_is_quick_and_another_config_is_refused(cancer):
    config, metrics = cancer
    assert call(tabular, config) == metrics
    with pytest.raises(UserError, match="dropout"):
        call(tabular, dataclasses.replace(config, dropout=0.3))


class Stop(keras.callbacks.Callback):
    """What Ctrl-C does in the middle of the fourth epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 3 * 4 + 2:
            raise KeyboardInterrupt


def test_stopped_and_resumed_it_ends_with_the_same_bits(tmp_path, monkeypatch):
    """And other data are refused."""
    spec = write_houses(tmp_path / "t.csv", 200)
    whole = Config(dataset=spec, target="price", epochs=6, ema=0.9, export=False,
                   run_dir=str(tmp_path / "whole"))  # fmt: skip
    metrics = call(tabular, whole)
    stopped = dataclasses.replace(whole, run_dir=str(tmp_path / "stopped"))
    usual = training.setup.callbacks
    monkeypatch.setattr(training.setup, "callbacks", lambda *a: [*usual(*a), Stop()])
    with pytest.raises(KeyboardInterrupt):
        call(tabular, stopped)
    monkeypatch.setattr(training.setup, "callbacks", usual)
    resumed = call(tabular, stopped)
    names = ("test_r2", "test_mae", "best_epoch")
    assert [resumed[name] for name in names] == [metrics[name] for name in names]
    csvs = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("whole", "stopped")]
    assert csvs[0] == csvs[1]
    (tmp_path / "stopped/metrics.json").unlink()  # as if it had been killed at the end
    write_houses(tmp_path / "t.csv", 201)
    with pytest.raises(UserError, match="another data"):
        call(tabular, stopped)


def test_every_switch_together(tmp_path):
    config = Config(
        dataset="iris",
        run_dir=str(tmp_path),
        epochs=3,
        units=(8,),
        activation="gelu",
        normalization="batch",
        optimizer="nesterov",
        schedule="cosine",
        warmup=0.1,
        weight_decay=1e-4,
        clip=1.0,
        ema=0.9,
        patience=5,
        class_weights=True,
        gradient_flow=True,
        precision="mixed_bfloat16",
        drop=("petal width (cm)",),
        export=False,
    )
    metrics = call(tabular, config)
    assert np.isfinite(metrics["test_loss"]) and metrics["exported"] is None
    assert "test_roc_auc" not in metrics  # three classes


@pytest.mark.slow
def test_two_devices_learn_what_one_does(tmp_path):
    flags = ["--epochs", 4, "--dropout", 0, "--no-export", "--dataset", "diabetes"]
    losses = []
    for devices in ("cpu:1", "cpu:2"):
        run = tmp_path / devices.replace(":", "")
        done = shell(*flags, "--devices", devices, "--run-dir", run)
        assert done.returncode == 0, done.stderr
        rows = csv.DictReader((run / "metrics.csv").read_text().splitlines())
        losses.append([float(row["val_loss"]) for row in rows])
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"dataset": "cancer"}, "breast_cancer"),
        ({"dataset": "digits"}, "known are"),
        ({"dataset": "csv:/does/not/exist.csv"}, "no file '/does/not/exist.csv'"),
        ({"dataset": "TABLE"}, "--target"),
        ({"dataset": "TABLE", "target": "prise"}, "perhaps 'price'"),
        ({"dataset": "TABLE", "target": "price", "drop": ("town",)}, "no column 'town'"),
        ({"epochs": 0}, "--epochs"),
        ({"units": (8, 0)}, "--units 8 0"),
        ({"dropout": 1.0}, "--dropout"),
        ({"validation_fraction": 0.0}, "--validation-fraction"),
        ({"memory_limit": 0.0}, "--memory-limit"),
        ({"schedule": "step", "warmup": 0.1}, "no --warmup"),
        ({"task": "regression", "class_weights": True}, "--class-weights"),
        ({"devices": "cpu:2", "batch_size": 33}, "32 or 34"),
    ],
)
def test_mistakes(tmp_path, flags, words):
    spec = write_houses(tmp_path / "t.csv", 20)
    flags = {name: spec if value == "TABLE" else value for name, value in flags.items()}
    with pytest.raises(UserError, match=words):
        tabular.check(Config(**flags))


def test_a_mistake_is_one_message_and_exit_code_2(tmp_path):
    """And found before TensorFlow is imported."""
    spec = write_houses(tmp_path / "t.csv", 20)
    done = shell("--dataset", spec, "--target", "prize", "--run-dir", tmp_path / "run")
    assert done.returncode == 2 and "perhaps 'price'" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()


def test_what_only_the_data_shows(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n" + "1.5,yes\n2.5,yes\n" * 20)
    config = Config(dataset=f"csv:{tmp_path / 't.csv'}", target="b", run_dir=str(tmp_path / "run"))
    with pytest.raises(UserError, match="one class only"):
        call(tabular, config)
    with pytest.raises(UserError, match="--class-weights"):
        call(
            tabular, Config(dataset="diabetes", class_weights=True, run_dir=str(tmp_path / "other"))
        )


def test_describe_on_the_command_line(tmp_path, capsys):
    cli.main(["data", "describe", write_houses(tmp_path / "t.csv", 60)])
    out = capsys.readouterr().out
    assert "60 rows, 5 columns" in out and "identifier" in out and "living area" in out
