import csv
import dataclasses
import json
import math
import pathlib
import signal
import subprocess
import sys
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import command_line, data, training
from kapps.command_line import call
from kapps.errors import UserError
from recipes import optimizers
from recipes.optimizers import Config

ROOT = pathlib.Path(optimizers.__file__).parents[1]
SMALL = {
    "units": (16,),
    "epochs": 3,
    "seeds": 2,
    "optimizers": ("sgd", "adadelta"),
    "batch_sizes": (32,),
    "schedules": ("one-cycle",),
    "schedule_optimizer": "sgd",
    "surfaces": ("quadratic",),
    "surface_steps": 20,
    "target_accuracy": 0.7,
}
LABELS = ["adadelta", "adadelta, rate 1", "sgd", "sgd, batch 32", "sgd, one-cycle"]


def shell(*flags, **options):
    command = [sys.executable, str(ROOT / "recipes/optimizers.py"), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipe")
    config = Config(
        run_dir=str(root / "run"), export_dir=str(root / "served"), gradient_flow=True, **SMALL
    )
    return config, call(optimizers, config)


def test_the_run_directory_holds_what_the_design_says(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert metrics["test_accuracy"] > 0.8 and metrics["winner"] in LABELS
    for name in ("test_loss", "best_epoch", "parameters", "train_seconds", "examples_per_second"):
        assert metrics[name] > 0
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert len(rows) == 3 * 2 * len(LABELS)  # epochs, seeds, candidates
    assert {row["candidate"] for row in rows} == set(LABELS)
    pictures = {path.name for path in (run / "plots").glob("*.png")}
    wanted = {"optimizers", "batch_sizes", "schedules", "learning_rates", "paths_on_quadratic"}
    assert {f"{name}.png" for name in wanted} <= pictures
    assert "gradient_flow.png" in pictures and (run / "gradient_flow.csv").exists()
    page = (run / "report.html").read_text()
    assert metrics["verdict"] in page and "kapps train optimizers" in page
    assert "adadelta, rate 1" in page and "steps to target" in page
    assert 'src="http' not in page and "<script" not in page


def test_figures_of_each_candidate_are_those_of_its_cells(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    for label in LABELS:
        name = label.replace(", ", "_").replace("-", "_").replace(" ", "_")
        mine = [row for row in rows if row["candidate"] == label]
        losses = [
            min(float(row["val_loss"]) for row in mine if row["seed"] == seed) for seed in "01"
        ]
        assert metrics[f"val_loss_{name}"] == pytest.approx(np.mean(losses), rel=1e-9)
        assert {float(row["rate"]) for row in mine} == {metrics[f"learning_rate_{name}"]}
    assert metrics["learning_rate_adadelta_rate_1"] == 1.0
    best = min((metrics[name], name) for name in metrics if name.startswith("val_loss_"))[1]
    winner = metrics["winner"].replace(", ", "_").replace("-", "_").replace(" ", "_")
    assert best == f"val_loss_{winner}"


def test_the_winner_is_kept_and_published(finished):
    config, metrics = finished
    test = data.load("digits", validation_fraction=0.2, seed=0).splits["test"]
    pictures = test.take(range(len(test)))
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    correct = model.predict(pictures, verbose=0).argmax(1) == test.labels
    assert correct.mean() == pytest.approx(metrics["test_accuracy"], abs=1e-9)
    served = tf.saved_model.load(str(pathlib.Path(config.export_dir, "1")))
    assert set(served.signatures) == {"serving_default", "from_bytes"}
    answer = served.signatures["serving_default"](image=tf.constant(pictures))
    said = np.array([int(label) for label in answer["label"].numpy()])
    assert np.mean(said == test.labels) == pytest.approx(metrics["test_accuracy"], abs=1e-9)
    table = pathlib.Path(config.run_dir, "metrics.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    chosen = [
        float(row["val_loss"])
        for row in rows
        if row["candidate"] == metrics["winner"] and int(row["seed"]) == metrics["winner_seed"]
    ]
    assert metrics["best_epoch"] == 1 + int(np.argmin(chosen))


def test_again_shows_the_result_and_another_config_is_refused(finished):
    config, metrics = finished
    assert call(optimizers, config) == metrics
    with pytest.raises(UserError, match="epochs"):
        call(optimizers, dataclasses.replace(config, epochs=4))
    assert [path.name for path in pathlib.Path(config.export_dir).iterdir()] == ["1"]


def test_cells_are_kept_and_a_damaged_one_is_made_again(tmp_path):
    run = types.SimpleNamespace(checkpoints=tmp_path)
    made = []

    def compute():
        made.append(1)
        return {"val_loss": [0.1, float("nan")], "rate": 1 / 3}

    for _ in range(2):
        found = training.kept_cell(run, "sgd-64", compute)
        assert len(made) == 1 and found["rate"] == 1 / 3 and math.isnan(found["val_loss"][1])
    (path,) = tmp_path.iterdir()
    assert path.match("state-*")  # what makes the run directory one that has results
    path.write_text(path.read_text()[:20])
    assert training.kept_cell(run, "sgd-64", compute)["rate"] == 1 / 3 and len(made) == 2


@pytest.mark.parametrize(
    ("optimum", "expected", "edge"),
    [(0, 0, ""), (0.9, 1, ""), (3, 3, ""), (-4, -4, "lowest"), (9, 4, "highest"), (-2, -2, "")],
)
def test_the_grid_grows_until_the_best_rate_is_inside(optimum, expected, edge):
    tried = []

    def loss(rate):
        tried.append(rate)
        return abs(2 * math.log10(rate / 0.1) - optimum)

    rate, where = training.best_rate(loss, 0.1)
    assert rate == pytest.approx(0.1 * 10 ** (expected / 2), rel=0.01) and where == edge
    assert len(set(tried)) == len(tried) <= 9
    if not edge:
        assert min(tried) < rate < max(tried)


def test_rates_that_diverge_are_not_chosen():
    rate, edge = training.best_rate(lambda rate: math.inf if rate > 0.05 else 1.0 / rate, 0.1)
    assert rate == pytest.approx(0.0316) and edge == ""


class FakeCells:
    """One measurement in each of three epochs; the loss is lowest at a rate of 0.1."""

    measurements = 1

    def __init__(self):
        self.asked = []

    def run(self, candidate, rate, seed):
        self.asked.append((candidate.optimizer, rate, seed))
        loss = 1 + abs(math.log10(rate / 0.1)) + 0.01 * seed
        return {
            "examples": [0, 64, 128, 192],
            "val_loss": [3.0, loss, loss + 1, loss + 2],
            "val_accuracy": [0.1, 0.95, 0.5, 0.5],
            "train_loss": [3.0, 2.0, 1.0, 0.5],
            "seconds": 2.0,
        }


def competed(tmp_path, config, label):
    cells = FakeCells()
    (entry,) = (entry for entry in optimizers.entries(config) if entry.label == label)
    run = types.SimpleNamespace(checkpoints=tmp_path)
    found, seconds = optimizers.compete(config, run, cells, entry)
    return found, cells.asked, seconds


def test_rates_are_chosen_by_all_seeds(tmp_path):
    config = Config(seeds=2, seed=5)
    found, asked, seconds = competed(tmp_path, config, "adam")
    assert found.standing.learning_rate == pytest.approx(0.0949, rel=0.01)
    rates = sorted({rate for _, rate, _ in asked})
    assert min(rates) < 0.09 and max(rates) > 0.2  # the next one was tried, too
    assert [seed for _, _, seed in asked] == [5, 6] * len(rates)
    assert len(set(asked)) == len(asked) == len(seconds) and sum(seconds.values()) == 2 * len(asked)
    assert sorted(found.tried) == rates and found.standing.at_edge == ""
    np.testing.assert_allclose(found.standing.steps_to_target, 1)
    # The same again reads the files.
    again, asked, seconds = competed(tmp_path, config, "adam")
    assert not asked and sum(seconds.values()) > 0
    np.testing.assert_array_equal(again.standing.val_loss, found.standing.val_loss)


def test_one_rate_for_all_and_the_papers_for_adadelta(tmp_path):
    config = Config(tune_rates=False, learning_rate=0.02, seeds=1)
    optimizers.check(config)
    assert competed(tmp_path, config, "adam")[1] == [("adam", 0.02, 0)]
    assert competed(tmp_path, config, "adadelta, rate 1")[1] == [("adadelta", 1.0, 0)]
    usual = Config(tune_rates=False, seeds=1)
    assert competed(tmp_path, usual, "rmsprop")[1] == [("rmsprop", 1e-3, 0)]


def test_every_candidate_is_entered_once():
    found = optimizers.entries(Config())
    labels = [entry.label for entry in found]
    assert len(set(labels)) == len(labels) == 14
    groups = {entry.label: entry.groups for entry in found}
    assert groups["sgd"] == ("optimizers", "batch sizes")
    assert groups["momentum"] == ("optimizers", "schedules")
    decays = {entry.label: entry.candidate.weight_decay for entry in found}
    assert decays.pop("adamw") == 0.05 and set(decays.values()) == {0.0}
    none = Config(optimizers=("adam",), batch_sizes=(), schedules=())
    assert [entry.label for entry in optimizers.entries(none)] == ["adam"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--batch-sizes", "48"], "divide"),
        (["--batch-sizes", "0"], "--batch-sizes"),
        (["--optimizers", "lion"], "adadelta"),
        (["--learning-rate", "0.1"], "--no-tune-rates"),
        (["--devices", "cpu:2"], "one device"),
        (["--precision", "mixed_float16"], "float32"),
        (["--seeds", "0"], "--seeds"),
        (["--target-accuracy", "90"], "--target-accuracy"),
        (["--model", "cnn", "--units", "8"], "--units"),
        (["--model", "resnet21"], "resnet20"),
        (["--dataset", "text:x"], "digits"),
    ],
)
def test_a_mistake_names_what_to_do(flags, words):
    with pytest.raises((UserError, SystemExit)) as caught:
        optimizers.check(command_line.parse(Config, flags))
    assert caught.type is SystemExit or words in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [(["--batch-sizes", "48"], "divide"), (["--optimizers", "lion"], "adadelta")],
)
def test_a_mistake_is_one_message_and_exit_code_2(tmp_path, flags, words):
    answer = shell(*flags, "--run-dir", tmp_path / "run")
    assert answer.returncode == 2
    assert words in answer.stderr and "Traceback" not in answer.stderr
    assert not (tmp_path / "run").exists()


def test_batches_larger_than_the_data_are_refused(tmp_path):
    config = Config(run_dir=str(tmp_path), batch_sizes=(2048,))
    with pytest.raises(UserError, match="2048"):
        call(optimizers, config)


@pytest.mark.slow
def test_killed_it_ends_with_the_same_numbers(finished, tmp_path):
    config, metrics = finished
    flags = ["--epochs", "3", "--seeds", "2", "--optimizers", "sgd", "adadelta"]
    flags += ["--units", "16", "--batch-sizes", "32", "--schedules", "one-cycle", "--no-export"]
    flags += ["--schedule-optimizer", "sgd", "--surfaces", "quadratic", "--surface-steps", "20"]
    flags += ["--target-accuracy", "0.7", "--gradient-flow", "--run-dir", str(tmp_path / "run")]
    command = [sys.executable, str(ROOT / "recipes/optimizers.py"), *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    while process.poll() is None and len(list(tmp_path.glob("run/checkpoints/state-*"))) < 11:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("run/checkpoints/state-*")}
    again = call(
        optimizers, dataclasses.replace(config, run_dir=str(tmp_path / "run"), export=False)
    )
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    tables = [pathlib.Path(path, "metrics.csv") for path in (config.run_dir, tmp_path / "run")]
    assert tables[0].read_bytes() == tables[1].read_bytes()
    for name in again:
        if name not in ("train_seconds", "examples_per_second", "exported"):
            assert again[name] == metrics[name], name
