import csv
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from kapps import data, training, tuning
from kapps.command_line import call
from kapps.errors import UserError
from kapps.tuning.workers import worker
from recipes import tune_cnn
from recipes.tune_cnn import Config

ROOT = pathlib.Path(tune_cnn.__file__).parents[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Three trials of two epochs on the embedded data."""
    root = tmp_path_factory.mktemp("tune_cnn")
    config = Config(
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
        epochs=2,
        winner_epochs=2,
        max_trials=3,
        max_stages=1,
        max_parameters=20_000,
        workers=0,
    )
    return config, call(tune_cnn, config)


def test_the_run_directory_holds_the_search_and_its_winner(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    rows = list(csv.DictReader((run / "search.csv").read_text().splitlines()))
    assert [row["status"] for row in rows] == ["completed"] * 3
    scores = [float(row["val_accuracy"]) for row in rows]
    assert metrics["winner"] == scores.index(max(scores))
    assert metrics["search_val_accuracy"] == max(scores)
    assert str(metrics["parameters"]) == rows[metrics["winner"]]["parameters"]
    assert all(int(row["parameters"]) <= 20_000 for row in rows)
    page = (run / "report.html").read_text()
    for words in ("Parallel coordinates", "Learning curves of all trials", "Confusion matrix"):
        assert words in page
    assert f"The winner is trial {metrics['winner']}" in page
    assert (run / "predictions.npz").exists()
    issues = run / "label_issues.csv"
    rows = issues.read_text().splitlines()[1:] if issues.exists() else []
    assert len(rows) == metrics["label_issues"]
    assert not list(run.glob("trials/*/seed-*/checkpoints"))
    assert list((run / "tensorboard" / "hparams").glob("*/events*"))


def test_the_published_network_is_the_one_that_was_measured(finished):
    config, metrics = finished
    test = data.load("digits", seed=0).splits["test"]
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    correct = model.predict(test.take(range(len(test))), verbose=0).argmax(1) == test.labels
    assert correct.mean() == pytest.approx(metrics["test_accuracy"], abs=1e-9)
    assert pathlib.Path(config.export_dir, "1", "saved_model.pb").exists()


def test_again_is_the_same_and_another_config_is_refused(finished):
    config, metrics = finished
    assert call(tune_cnn, config) == metrics
    with pytest.raises(UserError, match="algorithm"):
        call(tune_cnn, dataclasses.replace(config, algorithm="grid"))


def test_a_larger_budget_goes_on_and_no_trial_is_repeated(finished, tmp_path, monkeypatch):
    config, _ = finished
    shutil.copytree(config.run_dir, tmp_path / "run")
    more = dataclasses.replace(config, run_dir=str(tmp_path / "run"), max_trials=4, export=False)
    with training.open_run("tune_cnn", more) as run:
        assert not tuning.search_is_done(more, run)
        begun = []
        monkeypatch.setattr(
            tune_cnn.CnnTrials,
            "__call__",
            lambda self, trial: begun.append(trial.number) or {"val_accuracy": 0.5},
        )
        results = tune_cnn.search(more, run, trials_of(more))
    assert begun == [3] and len(results.records) == 4


def trials_of(config):
    return tune_cnn.CnnTrials(config)


@pytest.mark.parametrize(("augment", "shifted"), [(True, {0.0, 0.1}), (False, {0.0})])
def test_shifts_are_sought_unless_nothing_is_to_be_augmented(augment, shifted):
    config = Config(augment=augment)
    images = training.load_images(config)
    trials = tune_cnn.CnnTrials(config)
    hp = tuning.spaces.declared(trials.space)
    tried = {hp.values["crop"], 0.0} if augment else {0.0}
    assert tried == shifted
    for crop in tried:
        hp.values["crop"] = crop
        how = trials.space(hp)[1]
        batches, *_ = tune_cnn.batches(config, images, how, seed=0)
        pictures, labels = next(iter(batches.dataset(0, 1)))
        plain = images.splits["train"].take(range(images.counts["train"]))
        known = {picture.tobytes() for picture in plain}
        same = [picture.tobytes() in known for picture in pictures.numpy().astype(np.uint8)]
        assert all(same) == (crop == 0.0)


def test_changed_data_is_refused(finished, tmp_path):
    config, _ = finished
    shutil.copytree(config.run_dir, tmp_path / "run")
    more = dataclasses.replace(config, run_dir=str(tmp_path / "run"), max_trials=4)
    trials = trials_of(more)
    trials.images = dataclasses.replace(trials.images, fingerprint="another")
    with training.open_run("tune_cnn", more) as run, pytest.raises(UserError, match="data .was"):
        tune_cnn.search(more, run, trials)


def test_the_winner_on_all_data_ends_at_its_best_epoch(finished, tmp_path, capsys):
    config, _ = finished
    shutil.copytree(config.run_dir, tmp_path / "run")
    (tmp_path / "run/metrics.json").unlink()
    everything = dataclasses.replace(
        config, run_dir=str(tmp_path / "run"), refit="all", export=False
    )
    images = training.load_images(everything)
    results = tuning.read_results(tmp_path / "run")
    joined = data.with_validation(images)
    assert joined.counts["train"] == images.counts["train"] + images.counts["validation"]
    row = images.counts["train"] + 5
    np.testing.assert_array_equal(
        joined.splits["train"].take([3, row]),
        np.concatenate([images.splits["train"].take([3]), images.splits["validation"].take([5])]),
    )
    assert joined.splits["train"].labels[row] == images.splits["validation"].labels[5]
    config_json = tmp_path / "run/config.json"
    facts = training.read_json(config_json)
    facts["config"]["refit"] = "all"  # the same search, another winner
    config_json.write_text(json.dumps(facts))
    metrics = call(tune_cnn, everything)
    winner = results.best_first()[0]
    assert metrics["best_epoch"] == winner.best_epoch and metrics["temperature"] == 1.0
    assert metrics["verdict"] is None and metrics["refit"] == "all"
    last = f"winner-{winner.number:04d}-all-{winner.best_epoch}"  # not the one before, taken up
    assert (tmp_path / "run" / last).is_dir()
    assert "train and validation" in capsys.readouterr().out


@pytest.mark.slow
def test_a_trial_on_two_devices_is_the_trial_on_one(finished, tmp_path):
    config, _ = finished
    first = tuning.read_results(config.run_dir).records[0]
    assert not first.values["dropout"]  # which draws other numbers on each device
    shared = dataclasses.replace(config, devices="cpu:2")
    target = tune_cnn.CnnTrials(shared)
    space = tuning.spaces.declared(target.space)
    results = tuning.run_search(
        tune_cnn.CnnTrials(shared),  # without data: the worker loads them by itself
        tuning.oracle("random", "val_accuracy", space, seed=config.seed),
        tmp_path,
        canonical=tuning.spaces.canonical(target.space),
        budget=tuning.Budget(trials=1),
        epochs=config.epochs,
        workers=1,
    )
    (record,) = results.records
    assert (first.facts["devices"], record.facts["devices"]) == (1, 2)
    assert record.values == first.values and record.seeds == first.seeds
    for one, two in zip(first.curves[0], record.curves[0], strict=True):
        assert two == pytest.approx(one, abs=1e-3)


class Killed(BaseException):
    pass


def test_the_schedule_ends_with_the_round_of_the_trial(finished, tmp_path, monkeypatch):
    config, _ = finished
    results = tuning.read_results(config.run_dir)
    images = training.load_images(config)
    target = tune_cnn.CnnTrials(config)
    job = {
        "number": 0,
        "values": results.records[0].values,
        "space": results.space["space"],
        "seeds": [0],
        "epochs": 1,  # of a first round, where the recipe's own are two
        "past": None,
        "directory": str(tmp_path),
    }
    asked, schedule = [], training.learning_rate_schedule

    def noted(name, rate, *, steps):
        asked.append(steps)
        return schedule(name, rate, steps=steps)

    monkeypatch.setattr(training, "learning_rate_schedule", noted)
    trial = tuning.Trial(job, 0, lambda message: True)
    target(trial)
    trial.close()
    assert asked == [images.counts["train"] // results.records[0].values["batch_size"]]


def test_a_trial_that_was_interrupted_ends_with_the_same_figures(finished, tmp_path):
    config, _ = finished
    results = tuning.read_results(config.run_dir)
    record = results.records[0]
    job = {
        "number": 0,
        "values": record.values,
        "space": results.space["space"],
        "seeds": record.seeds,
        "epochs": 2,
        "past": None,
        "objective": "val_accuracy",
        "direction": "max",
        "directory": str(tmp_path / "0000"),
    }
    target = tune_cnn.CnnTrials(config)
    heard = []

    def tell(message):
        heard.append(message["rows"])
        if len(heard) == 2:
            raise Killed  # in the second epoch: the checkpoint is that of the first
        return True

    with pytest.raises(Killed):
        worker.attempt(target, job, tell)
    answer = worker.attempt(target, job, lambda message: heard.append(message["rows"]) or True)
    assert [row["epoch"] for row in heard[-1]] == [2]  # the first was not trained again
    (execution,) = answer["executions"]
    assert execution["rows"] == record.curves[0]
    assert execution["score"] == record.score and execution["best_epoch"] == record.best_epoch


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"max_trials": 0}, "--max-trials"),
        ({"max_minutes": 0.0}, "--max-minutes"),
        ({"workers": -1}, "--workers"),
        ({"recycle": 0}, "--recycle"),
        ({"batch_size": 1}, "--batch-size"),
        ({"algorithm": "hyperband", "stop_early": "median"}, "--stop-early"),
        ({"algorithm": "bayesian", "cost": "seconds"}, "--cost"),
        ({"dataset": "mnits"}, "digits"),
        ({"validation_fraction": 1.0}, "--validation-fraction"),
    ],
)
def test_mistakes_are_found_before_tensorflow_is_imported(flags, words):
    with pytest.raises(UserError, match=words):
        tune_cnn.check(Config(**flags))


def test_help_and_a_finished_search_answer_without_tensorflow(finished):
    config, _ = finished
    code = (
        "import sys; from kapps.command_line import call; from recipes import tune_cnn, tune\n"
        f"config = tune_cnn.Config(**{dataclasses.asdict(config)!r})\n"
        "assert call(tune_cnn, config)['test_accuracy'] > 0\n"
        "tune.check(tune.Config())\n"
        "assert 'tensorflow' not in sys.modules and 'keras_tuner' not in sys.modules"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
