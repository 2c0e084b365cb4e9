import json
import pathlib
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data
from kapps.command_line import call
from kapps.errors import UserError
from recipes import perceptron
from recipes.perceptron import Config

ROOT = pathlib.Path(perceptron.__file__).parents[1]


def command(*flags):
    return [sys.executable, str(ROOT / "recipes/perceptron.py"), *map(str, flags)]


def shell(*flags):
    return subprocess.run(command(*flags), capture_output=True, text=True, cwd=ROOT)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two digits, to the last mistake."""
    root = tmp_path_factory.mktemp("pair")
    config = Config(
        classes=("3", "8"), run_dir=str(root / "run"), export_dir=str(root / "served"), epochs=40
    )
    return config, call(perceptron, config)


def test_a_pair_of_digits_ends_below_the_bound(pair):
    config, metrics = pair
    assert metrics["verdict"] == "converged" and metrics["separable"]
    assert 0 < metrics["updates"] <= metrics["bound"]
    assert metrics["bound"] == pytest.approx((metrics["radius"] / metrics["margin"]) ** 2)
    assert metrics["train_error"] == 0 and metrics["test_accuracy"] > 0.9
    assert metrics["best_epoch"] < 40 and metrics["parameters"] == 65
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    page = (run / "report.html").read_text()
    assert "converged" in page and "--classes 3 8" in page
    drawn = {path.name for path in (run / "plots").glob("*.png")}
    assert {"weights.png", "updates_and_bound.png", "epoch_by_epoch.png"} <= drawn
    assert call(perceptron, config) == metrics


def test_what_is_served_takes_raw_images(pair):
    config, metrics = pair
    points = data.only_classes(data.load("digits", seed=0), ("3", "8"))
    served = tf.saved_model.load(str(pathlib.Path(config.export_dir, "1")))
    answer = served.signatures["serving_default"](image=tf.constant(points.x["test"]))
    said = np.array([label.decode() for label in answer["label"].numpy()])
    accuracy = (said == np.array(["3", "8"])[points.y["test"]]).mean()
    assert accuracy == pytest.approx(metrics["test_accuracy"])
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    assert (model.predict(points.x["test"], verbose=0).argmax(1) == points.y["test"]).mean() == (
        pytest.approx(accuracy)
    )


def test_points_that_no_line_separates(tmp_path):
    settings = {"dataset": "moons", "epochs": 8, "points": 200, "gradient_flow": True}
    config = Config(
        rule="pocket", run_dir=str(tmp_path / "run"), export_dir=str(tmp_path / "s"), **settings
    )
    metrics = call(perceptron, config)
    assert metrics["verdict"] == "not separable" and metrics["margin"] is None
    page = (tmp_path / "run/report.html").read_text()
    assert "No plane separates" in page and "the classes" in page
    assert (tmp_path / "run/plots/gradient_flow.png").exists()
    assert (tmp_path / "run/plots/learning.webp").stat().st_size > 1000
    served = tf.saved_model.load(str(tmp_path / "s/1")).signatures["serving_default"]
    points = data.load_points("moons", 200, noise=config.noise, seed=0)
    answer = served(points=tf.constant(points.x["test"]))
    said = np.array([int(label) for label in answer["label"].numpy()])
    assert (said == points.y["test"]).mean() == pytest.approx(metrics["test_accuracy"])
    assert answer["probabilities"].shape == (40, 2)
    assert "points" in (tmp_path / "s/1/model_card.md").read_text()


@pytest.mark.parametrize(
    ("rate", "label"), [(None, ("separable, not separated", "converged")), (9.0, ("diverged",))]
)
def test_the_delta_rule_and_its_warning(tmp_path, capsys, rate, label):
    config = Config(
        dataset="blobs",
        rule="delta",
        points=100,
        batch_size=60,
        epochs=25,
        learning_rate=rate,
        run_dir=str(tmp_path),
        export=False,
    )
    metrics = call(perceptron, config)
    assert metrics["verdict"] in label
    warned = "is not below" in capsys.readouterr().out
    assert warned == (rate is not None)
    if rate is None:
        assert metrics["learning_rate"] == pytest.approx(metrics["highest_learning_rate"] / 2)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--dataset", "blob"], "blobs"),
        (["--devices", "cpu:2"], "one example after another"),
        (["--learning-rate", "0.1"], "--rule delta"),
        (["--classes", "3"], "two or more"),
        (["--dataset", "moons", "--classes", "0", "1"], "has two"),
        (["--points", "3"], "20 or more"),
        (["--precision", "mixed_bfloat16"], "float32"),
        (["--rule", "delta", "--devices", "cpu:2", "--batch-size", "7"], "6 or 8"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(tmp_path, flags, words):
    answer = shell(*flags, "--run-dir", tmp_path / "run")
    assert answer.returncode == 2
    assert words in answer.stderr and "Traceback" not in answer.stderr
    assert not (tmp_path / "run").exists()


def test_an_unknown_class_is_named(tmp_path):
    with pytest.raises(UserError, match="10"):
        call(perceptron, Config(classes=("1", "10"), run_dir=str(tmp_path)))


@pytest.mark.slow
def test_killed_it_ends_with_the_same_bits(tmp_path):
    flags = ["--dataset", "xor", "--rule", "pocket", "--epochs", "25", "--no-export"]
    assert shell(*flags, "--run-dir", tmp_path / "whole").returncode == 0
    run = tmp_path / "killed"
    process = subprocess.Popen(
        command(*flags, "--run-dir", run), stdout=subprocess.DEVNULL, cwd=ROOT
    )
    while process.poll() is None and len(list(run.glob("checkpoints/state-*.npz"))) < 2:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    answer = shell(*flags, "--run-dir", run)
    assert answer.returncode == 0, answer.stderr
    assert (run / "metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()
