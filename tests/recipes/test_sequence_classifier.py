import dataclasses
import json
import pathlib
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import cli, serving, training
from kapps.command_line import call
from kapps.errors import UserError
from kapps.training import series_choice
from recipes import sequence_classifier as recipe
from recipes.sequence_classifier import Config

ROOT = pathlib.Path(recipe.__file__).parents[1]


def command(*flags):
    return [sys.executable, str(ROOT / "recipes/sequence_classifier.py"), *map(str, flags)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The default task, shorter."""
    root = tmp_path_factory.mktemp("recipe")
    config = Config(
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
        length=10,
        examples=3000,
        units=(24,),
        learning_rate=0.02,
        epochs=4,
        gradient_flow=True,
    )
    return config, call(recipe, config)


def test_a_memory_task_is_solved_and_shown(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    assert metrics["test_mse"] < 0.01 and metrics["trivial_mse"] == pytest.approx(1 / 6)
    assert metrics["verdict"] == "solved"
    page = (run / "report.html").read_text()
    assert "is solved" in page
    assert "kapps train sequence_classifier" in page and "--epochs 4" in page
    pictures = {path.name for path in (run / "plots").iterdir()}
    assert {"learning_curves.png", "worst_mistakes.png", "predicted_and_true.png"} <= pictures
    assert any("gradient" in name for name in pictures)
    assert (run / "gradient_flow.csv").exists()


def test_what_is_served_adds_whatever_the_padding(finished):
    config, metrics = finished
    signature = tf.saved_model.load(metrics["exported"]).signatures["serving_default"]
    x = np.random.default_rng(0).uniform(size=(50, 12, 2)).astype("float32")
    x[..., 1] = 0.0
    x[:, [2, 7], 1] = 1.0
    x[:, 10:] = np.nan
    said = signature(sequence=tf.constant(x))["prediction"].numpy()[:, 0]
    assert np.mean((said - x[:, 2, 0] - x[:, 7, 0]) ** 2) < 0.02
    kept = serving.load_model(pathlib.Path(config.run_dir) / "model.keras")
    np.testing.assert_allclose(np.asarray(kept(x))[:, 0], said, rtol=1e-4, atol=1e-5)


def test_a_finished_run_answers_at_once(finished):
    config, _ = finished
    flags = ["--run-dir", config.run_dir, "--export-dir", config.export_dir, "--length", 10]
    flags += ["--examples", 3000, "--units", 24, "--learning-rate", 0.02, "--epochs", 4]
    begin = time.monotonic()
    done = subprocess.run(command(*flags), capture_output=True, text=True)
    assert done.returncode == 0 and "is finished" in done.stdout, done.stderr
    assert "test mse" in done.stdout
    assert time.monotonic() - begin < 10  # TensorFlow alone takes longer on a busy machine


def test_a_run_is_published_again(finished, tmp_path, capsys):
    config, metrics = finished
    cli.main(["export", config.run_dir, "--export-dir", str(tmp_path)])
    assert capsys.readouterr().out.strip() == str(tmp_path / "1")
    x = tf.constant(np.random.default_rng(0).uniform(size=(3, 8, 2)).astype("float32"))
    one, other = (
        tf.saved_model.load(str(path)).signatures["serving_default"](sequence=x)["prediction"]
        for path in (metrics["exported"], tmp_path / "1")
    )
    np.testing.assert_allclose(one, other, rtol=1e-5)


class Stop(keras.callbacks.Callback):
    """Ends the process, as far as a test can."""

    def on_train_batch_end(self, batch, logs=None):
        if self.params["epochs"] and self._epoch == 1 and batch == 2:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    """With everything that draws random numbers switched on."""
    config = Config(
        dataset="digits",
        run_dir=str(tmp_path / "whole"),
        export=False,
        epochs=3,
        units=(6,),
        frame=4,
        batch_size=128,
        repeats=2,
        dropout=0.2,
        recurrent_dropout=0.2,
        window=0.2,
        warp=0.4,
        jitter=0.1,
        ema=0.9,
    )
    whole = call(recipe, config)
    broken = dataclasses.replace(config, run_dir=str(tmp_path / "broken"))
    callbacks = training.setup.callbacks
    monkeypatch.setattr(training.setup, "callbacks", lambda *a: [*callbacks(*a), Stop()])
    with pytest.raises(KeyboardInterrupt):
        call(recipe, broken)
    monkeypatch.setattr(training.setup, "callbacks", callbacks)
    resumed = call(recipe, broken)
    assert resumed["test_loss"] == whole["test_loss"]
    rows = [(tmp_path / name / "metrics.csv").read_text() for name in ("whole", "broken")]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_what_auto_chooses_is_trained_as_if_it_had_been_asked_for(tmp_path, monkeypatch):
    """To the bit, killed and resumed; the trial is not repeated."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(160, 6, 1)).astype("float32"), np.arange(160) % 2
    np.savez(tmp_path / "a.npz", x_train=x + y[:, None, None], y_train=y)
    monkeypatch.setattr(series_choice, "TRIED", ("rnn",))
    monkeypatch.setattr(series_choice, "TRIAL_STEPS", 2)
    monkeypatch.setattr(series_choice, "STEPS", 45)
    monkeypatch.setattr(series_choice, "FEWEST_EPOCHS", 1)
    left_open = Config(
        dataset=f"npz:{tmp_path / 'a.npz'}",
        run_dir=str(tmp_path / "auto"),
        validation_fraction=0.3,
        export=False,
        peers=False,
    )
    callbacks = training.setup.callbacks
    monkeypatch.setattr(training.setup, "callbacks", lambda *a: [*callbacks(*a), Stop()])
    with pytest.raises(KeyboardInterrupt):
        call(recipe, left_open)
    monkeypatch.setattr(training.setup, "callbacks", callbacks)
    monkeypatch.setattr(series_choice, "TRIED", ())
    resumed = call(recipe, left_open)
    settled = json.loads((tmp_path / "auto/config.json").read_text())["settled"]
    why = settled.pop("why")
    # 160 less a fifth for the test and 0.3 of the rest: 90 series, 5 steps of 16, four times.
    assert settled == {"model": "rnn", "batch_size": 16, "epochs": 3}
    assert why in (tmp_path / "auto/report.html").read_text().replace("&#39;", "'")
    asked = dataclasses.replace(left_open, run_dir=str(tmp_path / "asked"), **settled)
    assert call(recipe, asked)["test_loss"] == resumed["test_loss"]
    rows = [(tmp_path / name / "metrics.csv").read_text() for name in ("auto", "asked")]
    assert rows[0] == rows[1] and len(rows[0].splitlines()) == 4


@pytest.mark.slow
def test_copying_and_convolutions_train(tmp_path):
    """One epoch each of what asks for an answer per step, and of LSTM-FCN on unequal lengths."""
    shared = {"epochs": 1, "units": (4,), "export_dir": str(tmp_path / "served")}
    copy = call(
        recipe,
        Config(dataset="copy", length=5, examples=200, run_dir=str(tmp_path / "c"), **shared),
    )
    assert 0 <= copy["test_symbol_accuracy"] <= 1
    assert copy["trivial_nats_per_step"] == pytest.approx(10 * np.log(8) / 25)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 12, 1)).astype("float32"), np.arange(60) % 2
    x[y == 1] += np.linspace(-2, 2, 12)[:, None]
    for i, row in enumerate(x):
        row[8 + i % 5 :] = np.nan
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y)
    config = Config(
        dataset=f"npz:{tmp_path / 'a.npz'}",
        model="gru_fcn",
        run_dir=str(tmp_path / "f"),
        validation_fraction=0,
        batch_size=16,
        **shared,
    )
    metrics = call(recipe, config)
    assert metrics["test_accuracy"] > 0.8 and metrics["verdict"] == "not judged"
    assert metrics["temperature"] == 1.0


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"cell": "lstm", "activation": "relu"}, "simple"),
        ({"dataset": "digits", "model": "inception_time", "cell": "lstm"}, "--model rnn"),
        ({"epochs": 0}, "--epochs 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"model": "lstm_fcn"}, "adding asks for more"),
        ({"dataset": "digits", "model": "lstm_fcn", "bidirectional": True}, "--model rnn"),
        ({"dataset": "digits", "model": "gru_fcn", "units": (4, 4)}, "one recurrent layer"),
        ({"dataset": "digits", "length": 100}, "memory tasks"),
        ({"warp": 0.1}, "not made here"),
        ({"shuffle": False}, "lstm_fcn"),
        ({"dataset": "copy", "frame": 2}, "answer at each step"),
        ({"length": 3}, "--length 3"),
        ({"units": ()}, "--units"),
        ({"cell": "simple", "memory": 20}, "--memory"),
        ({"dropout": 1.0}, "--dropout"),
        ({"dataset": "addin"}, "adding"),
        ({"dataset": "ts:no/such.ts"}, "no/such.ts"),
        ({"dataset": "folder:."}, "unknown dataset"),
        ({"schedule": "step", "warmup": 0.1}, "warmup"),
    ],
)
def test_mistakes_are_named(flags, words):
    with pytest.raises(UserError, match=words):
        recipe.check(Config(**flags))


def test_mistakes_end_with_exit_code_2_without_tensorflow(tmp_path):
    code = (
        "import sys\nsys.argv[1:] = ['--dataset', 'ts:nothing.ts']\n"
        "import runpy\n"
        "try:\n"
        f"    runpy.run_path({recipe.__file__!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    print(end.code, 'tensorflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "2 False", done.stderr
    assert "nothing.ts" in done.stderr and "Traceback" not in done.stderr
