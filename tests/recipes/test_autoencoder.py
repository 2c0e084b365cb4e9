import csv
import dataclasses
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from crashes import Crash, Crashed
from kapps import data, evaluation, models, training
from kapps.command_line import call
from kapps.errors import UserError
from recipes import autoencoder
from recipes.autoencoder import Config

ROOT = pathlib.Path(autoencoder.__file__).parents[1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A denoising one on the embedded data, without the eights."""
    root = tmp_path_factory.mktemp("recipe")
    config = Config(
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
        epochs=6,
        latent_dim=12,
        denoise="gaussian",
        noise=0.1,
        anomaly_class="8",
        learning_rate=0.01,
    )
    return config, call(autoencoder, config)


def test_the_run_directory_holds_what_a_run_leaves(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert len(rows) == 6 and {"mse", "val_mse", "train_mse", "val_loss"} <= set(rows[0])
    drawn = {path.name for path in (run / "plots").glob("*.png")}
    assert drawn >= {"reconstructions.png", "codes.png", "interpolation.png"}
    page = (run / "report.html").read_text()
    for words in (metrics["verdict"], "mean image", "PCA", "kapps train autoencoder"):
        assert words in page
    assert 'src="http' not in page and "<script" not in page


def test_the_figures_are_those_of_the_saved_model(finished):
    config, metrics = finished
    images = data.load("digits", seed=0)
    test, train = images.splits["test"], images.splits["train"]
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    assert isinstance(model, models.Autoencoder)
    normal = np.flatnonzero(test.labels != 8)
    errors = model.reconstruction_error(test.take(range(len(test))))
    assert metrics["test_mse"] == pytest.approx(errors[normal].mean(), rel=1e-4)
    assert metrics["test_psnr"] == pytest.approx(-10 * np.log10(metrics["test_mse"]))
    assert metrics["test_examples"] == len(normal)
    seen = train.take(np.flatnonzero(train.labels != 8))
    assert metrics["pca_mse"] == pytest.approx(
        evaluation.pca_mse(seen, test.take(normal), 12), rel=1e-6
    )
    # The area under the curve is the probability that an eight has the higher error.
    higher = errors[test.labels == 8][:, None] > errors[normal]
    assert metrics["test_anomaly_auc"] == pytest.approx(higher.mean(), abs=1e-3)
    assert metrics["test_anomaly_auc"] > 0.6
    assert metrics["test_mse"] < 0.5 * metrics["mean_picture_mse"]
    assert metrics["noisy_mse"] == pytest.approx(0.01, rel=0.1)
    assert metrics["test_mse"] < metrics["test_denoised_mse"] < metrics["mean_picture_mse"]


def test_the_export_answers_as_the_model(finished):
    config, metrics = finished
    images = data.load("digits", seed=0).splits["test"].take(range(5))
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    served = tf.saved_model.load(metrics["exported"])
    assert {"serving_default", "encode", "decode", "reconstruct"} <= set(served.signatures)
    z = served.signatures["encode"](image=tf.constant(images))["z"]
    np.testing.assert_allclose(z, model.encode(images), rtol=1e-4, atol=1e-4)
    made = served.signatures["decode"](z=z)["pixels"]
    np.testing.assert_allclose(made, model.reconstruct(images), atol=1e-4)


def test_again_is_quick_and_changes_nothing(finished):
    config, metrics = finished
    stamp = pathlib.Path(config.run_dir, "metrics.json").stat().st_mtime_ns
    assert call(autoencoder, config) == metrics
    assert pathlib.Path(config.run_dir, "metrics.json").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="latent_dim"):
        call(autoencoder, dataclasses.replace(config, latent_dim=3))


def fit(run, *callbacks):
    """A denoising autoencoder, three epochs of ten steps, a checkpoint every three."""
    training.seed_everything(0)
    split = data.load("digits", seed=0).splits["train"]
    batches = data.TrainingBatches(split, 128, seed=0, prepare=lambda x, label, seed: x)
    validation = data.evaluation_batches(split, 256, prepare=lambda x, label: x, limit=200)
    model = models.dense_autoencoder(
        (8, 8, 1), 5, units=12, normalization="batch", corruption="salt_and_pepper", sparsity="l1"
    )
    model.compile(training.optimizer("adamw", 0.01))
    training.fit(
        model,
        batches,
        validation,
        epochs=3,
        run=run,
        monitor="val_mse",
        save_steps=3,
        callbacks=callbacks,
        verbose=0,
    )
    return model


@dataclasses.dataclass(frozen=True)
class Directory:
    run_dir: str
    overwrite: bool = False


def test_a_killed_denoising_one_ends_with_the_same_bits(tmp_path):
    with training.open_run("test", Directory(str(tmp_path / "whole"))) as run:
        whole = fit(run)
    path = str(tmp_path / "killed")
    for step in (14, 9):  # in the second epoch, four steps in; in the third one
        with training.open_run("test", Directory(path)) as run, pytest.raises(Crashed):
            fit(run, Crash(step))
    with training.open_run("test", Directory(path)) as run:
        killed = fit(run)
    for one, other in zip(whole.variables, killed.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(whole.optimizer.variables, killed.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    table = "metrics.csv"
    assert (tmp_path / "whole" / table).read_text() == (tmp_path / "killed" / table).read_text()


def test_layer_by_layer_then_killed_then_on(tmp_path, monkeypatch):
    """The layers are not trained a second time once the training of the whole has begun."""
    settings = dict(model="stacked", units=(12, 8), latent_dim=4, pretrain=2, epochs=2)
    config = Config(run_dir=str(tmp_path), export=False, **settings)
    with monkeypatch.context() as patch:
        crash = [Crash(50)]  # in the second epoch
        patch.setattr("kapps.training.setup.callbacks", lambda *_: crash)
        with pytest.raises(Crashed):
            call(autoencoder, config)
    errors = json.loads((tmp_path / "config.json").read_text())["layer_errors"]
    assert len(errors) == 3 and min(errors) > 0
    monkeypatch.setattr(training, "greedy_pretrain", lambda *_, **__: pytest.fail("once more"))
    assert call(autoencoder, config)["best_epoch"] in (1, 2)
    assert "Layer by layer, before" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "settings",
    [
        dict(model="linear", latent_dim=3),
        dict(model="residual", width=8, depth=1, dropout=0.1, reconstruction="bernoulli"),
        dict(model="conv", filters=(4, 4), sparse="l1", schedule="plateau", patience=1),
        dict(model="dense", units=(6,), sparse="kl", ema=0.9, latent_dim=2),
    ],
)
def test_other_networks(tmp_path, settings):
    metrics = call(autoencoder, Config(run_dir=str(tmp_path), epochs=1, export=False, **settings))
    assert 0 < metrics["test_mse"] < 0.5 and metrics["pca_mse"] > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(model="conv", units=(8,)), "--units"),
        (dict(model="linear", pretrain=2), "--pretrain"),
        (dict(filters=(8,)), "--filters is for --model conv, not dense"),
        (dict(depth=2), "--depth"),
        (dict(denoise="masking", noise=1.5), "--noise"),
        (dict(model="linear", reconstruction="bernoulli"), "bernoulli"),
        (dict(latent_dim=0), "--latent-dim"),
        (dict(sparse_target=1.0), "--sparse-target"),
        (dict(devices="cpu:2", batch_size=63), "62 or 64"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(tmp_path, settings, words):
    with pytest.raises(UserError, match=words):
        call(autoencoder, Config(run_dir=str(tmp_path / "run"), **settings))
    assert not (tmp_path / "run").exists()


def test_an_unknown_class_names_the_known(tmp_path):
    with pytest.raises(UserError, match="0, 1, 2"):
        call(autoencoder, Config(run_dir=str(tmp_path), anomaly_class="zero"))


def test_a_mistake_is_one_message_and_exit_code_2(tmp_path):
    command = [sys.executable, str(ROOT / "recipes/autoencoder.py"), "--noise", "0"]
    answer = subprocess.run(
        [*command, "--run-dir", str(tmp_path / "run")], capture_output=True, text=True, cwd=ROOT
    )
    assert answer.returncode == 2
    assert "--noise" in answer.stderr and "Traceback" not in answer.stderr
