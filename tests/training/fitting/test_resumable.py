import os
import pathlib
import sys

import keras
import numpy as np
import pytest

import programs
from crashes import Crash, Crashed
from kapps import training
from kapps.errors import UserError
from training import small

PROGRAM = pathlib.Path(small.__file__)


def program(run_dir, save_steps, die):
    command = [sys.executable, str(PROGRAM), str(run_dir), str(save_steps), str(die)]
    root = PROGRAM.parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "tests")))}
    return programs.run(command, cwd=root, env=env)


def open_run(path):
    return training.open_run("small", small.Config(str(path)))


def interrupted(path, steps, **settings):
    """Train with crashes after so many steps each, then to the end."""
    for step in steps:
        with open_run(path) as run, pytest.raises(Crashed):
            small.train(run, callbacks=[Crash(step)], **settings)
    with open_run(path) as run:
        return small.train(run, **settings)


@pytest.fixture(scope="module")
def whole():
    """What is trained without a crash."""
    return small.train()


@pytest.mark.slow
def test_killed_and_repeated_is_bit_equal_to_uninterrupted(tmp_path, whole):
    """Another process is killed, before its first checkpoint and after one inside an epoch."""
    for die in (2, 18):
        killed = program(tmp_path / "killed", 3, die)
        assert killed.returncode == -9, killed.stderr
    with open_run(tmp_path / "killed") as run:
        model, history = small.train(run, save_steps=3)
    assert small.digest(model) == small.digest(whole[0])
    assert history.rows == whole[1].rows and history.best_epoch == whole[1].best_epoch


@pytest.mark.slow
@pytest.mark.parametrize("steps, settings", [([7, 12], {"save_steps": 4}), ([12], {"ema": 0.0})])
def test_a_crash_changes_nothing(tmp_path, whole, steps, settings):
    expected, history = small.train(**settings) if "ema" in settings else whole
    model, again = interrupted(tmp_path / "run", steps, **settings)
    assert small.digest(model) == small.digest(expected)
    assert again.rows == history.rows and again.best_epoch == history.best_epoch


@pytest.mark.slow
def test_what_keras_reads_ends_at_once_and_its_step_is_traced_once(monkeypatch):
    """Whatever the caller's batches are: a tuned pipeline is waited for when `fit` is over.

    Metrics that are made while a step is traced would have it traced again.
    """
    seen, fit, traced, step = [], keras.Model.fit, [], keras.Model.train_step

    def counted(self, batch):
        traced.append(batch)
        return step(self, batch)

    monkeypatch.setattr(keras.Model, "train_step", counted)

    def watched(self, batches, **kwargs):
        seen.extend([batches, kwargs["validation_data"]])
        return fit(self, batches, **kwargs)

    monkeypatch.setattr(keras.Model, "fit", watched)
    small.train(epochs=1)
    assert [batches.options().autotune.enabled for batches in seen] == [False, False]
    assert len(traced) == 1


@pytest.mark.slow
def test_the_clock_saves_inside_an_epoch_too(tmp_path):
    with open_run(tmp_path / "run") as run, pytest.raises(Crashed):
        small.train(run, callbacks=[Crash(5)], save_minutes=0.0)
    assert [path.name for path in run.checkpoints.glob("state-*")][-1:] != []
    assert max(path.name for path in run.checkpoints.glob("state-*")) >= "state-000000000003"


@pytest.mark.slow
def test_half_precision_with_its_loss_scale(tmp_path):
    """The scale of mixed_float16 moves with the steps, and has to be resumed."""
    with training.precision_policy("mixed_float16"):
        whole, history = small.train()
        model, again = interrupted(tmp_path / "run", [12], save_steps=4)
    assert small.digest(model) == small.digest(whole) and again.rows == history.rows


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_the_run_with_a_note():
    class Explode(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.layers[-1].bias.assign(np.full(10, np.inf))

    _, history = small.train(ema=0.0, callbacks=[Explode(), keras.callbacks.TerminateOnNaN()])
    assert len(history.rows) == 2 and history.best_epoch == 1
    assert "not finite in epoch 2" in history.notes[0]


@pytest.mark.slow
def test_best_weights_that_are_damaged_are_found_at_once(tmp_path):
    with open_run(tmp_path / "run") as run, pytest.raises(Crashed):
        small.train(run, callbacks=[Crash(25)])
    (run.checkpoints / "best.npz").write_bytes(b"")
    with open_run(tmp_path / "run") as run, pytest.raises(UserError, match="best.npz"):
        small.train(run)


@pytest.mark.slow
def test_plateau_and_patience_are_remembered(tmp_path):
    """Their counters decide, and Keras resets them whenever `fit` begins."""

    def callbacks():
        return [
            keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=10.0),
            keras.callbacks.EarlyStopping("loss", patience=3, min_delta=10.0),
        ]

    settings = dict(schedule="constant", epochs=8)
    _, whole = small.train(callbacks=callbacks(), **settings)
    assert len(whole.rows) == 4 and whole.rows[-1]["learning_rate"] < 0.01
    with open_run(tmp_path / "run") as run, pytest.raises(Crashed):
        small.train(run, callbacks=[*callbacks(), Crash(25)], **settings)
    with open_run(tmp_path / "run") as run:
        _, again = small.train(run, callbacks=callbacks(), **settings)
    assert again.rows == whole.rows
    with open_run(tmp_path / "run") as run:  # stopped early: nothing is left to train
        _, third = small.train(run, callbacks=callbacks(), **settings)
    assert third.rows == whole.rows


@pytest.mark.slow
def test_a_damaged_checkpoint_costs_an_epoch_and_is_named(tmp_path, whole):
    with open_run(tmp_path / "run") as run, pytest.raises(Crashed):
        small.train(run, callbacks=[Crash(25)])
    newest = sorted(run.checkpoints.glob("state-*"))[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with open_run(tmp_path / "run") as run:
        model, history = small.train(run)
    assert small.digest(model) == small.digest(whole[0])
    assert newest.name in history.notes[0]
    for path in run.checkpoints.glob("state-*"):
        path.write_bytes(b"")
    with open_run(tmp_path / "run") as run, pytest.raises(UserError, match="no checkpoint"):
        small.train(run)


@pytest.mark.slow
def test_checkpoints_of_another_model_are_refused(tmp_path, monkeypatch):
    with open_run(tmp_path / "run") as run, pytest.raises(Crashed):
        small.train(run, callbacks=[Crash(15)])
    other = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    monkeypatch.setattr(small, "network", lambda: other)
    with open_run(tmp_path / "run") as run, pytest.raises(UserError, match="another model"):
        small.train(run)


@pytest.mark.slow
def test_the_best_epoch_is_what_is_kept(tmp_path):
    """Validated again, the weights give the row of the best epoch and not of the last."""

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                self.model.layers[-1].kernel.assign(self.model.layers[-1].kernel * 50.0)

    with open_run(tmp_path / "run") as run:
        model, history = small.train(run, ema=0.0, callbacks=[Spoil()])
    losses = [row["val_loss"] for row in history.rows]
    assert history.best_epoch == int(np.argmin(losses)) + 1 < 4
    images = small.data.load("digits", seed=0).splits["validation"]
    exact = small.data.classification_targets(10)
    again = model.evaluate(images.take(range(len(images))), exact(images.labels), verbose=0)
    assert again[0] == pytest.approx(min(losses), rel=1e-5)


@pytest.mark.slow
def test_training_learns_and_reports_its_pace():
    model, history = small.train(epochs=6, augment=False, ema=0.0)
    assert history.rows[-1]["val_accuracy"] > 0.6 > history.rows[0]["val_accuracy"]
    assert history.train_seconds > 0 and history.examples_per_second > 0
    assert set(history.rows[0]) == {
        "epoch",
        "loss",
        "accuracy",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "learning_rate",
    }


@pytest.mark.slow
def test_mistakes_are_named():
    with pytest.raises(UserError, match="epochs 0"):
        small.train(epochs=0)
    with pytest.raises(UserError, match="ema 1.5"):
        small.train(ema=1.5)


@pytest.mark.slow
def test_a_classifier_is_kept_by_its_accuracy(tmp_path):
    """Although the loss is lowest elsewhere; killed in between, too."""

    class Written(keras.callbacks.Callback):
        accuracy, loss = [0.2, 0.6, 0.9, 0.9], [1.0, 0.5, 0.9, 0.8]

        def on_epoch_end(self, epoch, logs=None):
            logs.update(val_accuracy=self.accuracy[epoch], val_loss=self.loss[epoch])

    _, history = small.train(callbacks=[Written()])
    assert history.best_epoch == 2
    _, history = small.train(callbacks=[Written()], monitor="val_accuracy", mode="max")
    assert history.best_epoch == 4
    with open_run(tmp_path / "run") as run, pytest.raises(Crashed):
        small.train(run, callbacks=[Written(), Crash(37)], monitor="val_accuracy", mode="max")
    with open_run(tmp_path / "run") as run:
        _, again = small.train(run, callbacks=[Written()], monitor="val_accuracy", mode="max")
    assert again.best_epoch == 4 and again.rows == history.rows
