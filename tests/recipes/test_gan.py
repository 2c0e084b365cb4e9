import csv
import dataclasses
import functools
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, evaluation, models, training
from kapps.command_line import call
from kapps.errors import UserError
from kapps.evaluation.generative import explain_gan
from recipes import gan
from recipes.gan import Config

ROOT = pathlib.Path(gan.__file__).parents[1]
SMALL = dict(model="dense", units=(16,), latent_dim=8, ema=0.9, batch_size=128)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The networks that measure are trained for an epoch, and not kept in the user's cache."""
    cache = tmp_path_factory.mktemp("cache")
    of = functools.partial(evaluation.feature_extractor, cache_dir=cache, epochs=1)
    learn = functools.partial(explain_gan.train_on_synthetic, epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "feature_extractor", of)
        patch.setattr(explain_gan, "train_on_synthetic", learn)
        yield of


@pytest.fixture(scope="module")
def finished(tmp_path_factory, quick):
    """A conditional game with two steps of the critic, on the embedded data."""
    root = tmp_path_factory.mktemp("recipe")
    config = Config(
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
        epochs=3,
        conditioning="projection",
        augment=("translation",),
        n_critic=2,
        **SMALL,
    )
    return config, call(gan, config)


def loaded(config):
    return keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))


def test_the_run_directory_holds_what_a_run_leaves(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    names = {"discriminator_loss", "generator_loss", "penalty", "val_frechet", "val_coverage"}
    assert len(rows) == 3 and names | {"discriminator_learning_rate"} <= set(rows[0])
    distances = [float(row["val_frechet"]) for row in rows]
    assert metrics["best_epoch"] == np.argmin(distances) + 1
    # Each step of the generator takes the pictures of two batches of 128.
    assert metrics["generator_steps"] == 3 * (len(data.load("digits").splits["train"]) // 256)
    pictures = {path.name for path in (run / "plots").iterdir()}
    assert pictures >= {"samples.png", "samples_by_epoch.png", "interpolations.png", "samples.webp"}
    page = (run / "report.html").read_text()
    for words in (metrics["verdict"], "Nearest training pictures", "kapps train gan"):
        assert words in page
    assert 'src="http' not in page and "<script" not in page


def test_the_figures_are_those_of_the_saved_model(finished, quick):
    config, metrics = finished
    images, model = data.load("digits", seed=0), loaded(config)
    assert isinstance(model, models.GAN) and model.classes == 10
    test, validation = (images.splits[name] for name in ("test", "validation"))
    found = evaluation.sample_quality(
        quick(images, verbose=0),
        model.sample(len(test), 1),
        test.take(range(len(test))),
        validation.take(range(len(validation))),
    )
    assert metrics["test_extractor"] == found.pop("extractor")
    for name, value in found.items():
        assert metrics[f"test_{name}"] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert metrics["test_tstr_low"] <= metrics["test_tstr_accuracy"] <= metrics["test_tstr_high"]


def test_the_discriminator_s_accuracy_is_over_pairs(finished):
    """Counted here: in how many pairs of a picture and a sample the picture's logit is higher."""
    config, metrics = finished
    model, test = loaded(config), data.load("digits", seed=0).splits["test"]
    eye = np.eye(10, dtype="float32")
    real = model.judge(test.take(range(len(test))), eye[test.labels]).numpy()
    turn = eye[np.arange(len(test)) % 10]
    fake = model.judge(model.sample(len(test), 1, turn), turn).numpy()
    higher = np.mean(real[:, None] > fake)
    assert metrics["discriminator_accuracy"] == pytest.approx(higher, abs=1e-3)


def test_grids_are_of_the_same_noise(finished):
    config, metrics = finished
    grids = sorted(pathlib.Path(config.run_dir, "samples").glob("*.npy"))
    assert len(grids) == 3
    kept = np.load(grids[metrics["best_epoch"] - 1])
    np.testing.assert_array_equal(kept, loaded(config).sample(64, config.seed))


def test_the_export_answers_as_the_model(finished):
    config, metrics = finished
    model, served = loaded(config), tf.saved_model.load(metrics["exported"])
    z = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    labels = np.arange(5, dtype=np.int32)
    made = served.signatures["generate"](z=tf.constant(z), label=tf.constant(labels))
    expected = model.generate(z, np.eye(10)[labels])
    np.testing.assert_allclose(made["pixels"], expected, atol=1e-5)
    ask = {"count": tf.constant(3), "seed": tf.constant(7), "label": tf.constant(4)}
    pictures = served.signatures["sample"](**ask)["image"].numpy().astype(int)
    expected = model.sample(3, 7, np.eye(10)[[4, 4, 4]]).astype(int)
    assert np.abs(pictures - expected).max() <= 1


def test_again_is_quick_and_changes_nothing(finished):
    config, metrics = finished
    stamp = pathlib.Path(config.run_dir, "metrics.json").stat().st_mtime_ns
    assert call(gan, config) == metrics
    assert pathlib.Path(config.run_dir, "metrics.json").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="latent_dim"):
        call(gan, dataclasses.replace(config, latent_dim=3))


@pytest.mark.slow
def test_killed_and_repeated(tmp_path, quick, monkeypatch):
    """Figures of a run that was killed between two epochs, to the last digit."""

    class Killed(Exception):
        pass

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise Killed

    config = Config(run_dir=str(tmp_path / "whole"), epochs=2, export=False, **SMALL)
    whole = call(gan, config)
    config = dataclasses.replace(config, run_dir=str(tmp_path / "killed"))
    with monkeypatch.context() as patch:
        patch.setattr(training.setup, "callbacks", lambda *_: [Kill()])
        with pytest.raises(Killed):
            call(gan, config)
    again = call(gan, config)
    timed = ("train_seconds", "examples_per_second")
    assert {k: v for k, v in whole.items() if k not in timed} == {
        k: v for k, v in again.items() if k not in timed
    }


@pytest.mark.slow
def test_a_convolutional_game_of_other_choices(tmp_path, quick):
    """Classes by an auxiliary head; fewer measurements than epochs."""
    metrics = call(
        gan,
        Config(
            run_dir=str(tmp_path),
            epochs=2,
            measure_every=2,
            export=False,
            batch_size=256,
            filters=4,
            conditioning="auxiliary",
            loss="wasserstein",
            regularizer="gradient_penalty",
            discriminator_normalization="layer",
            generator_normalization="layer",
            upsampling="nearest",
            tstr=False,
        ),
    )
    assert metrics["best_epoch"] == 2 and np.isfinite(metrics["test_frechet"])
    assert "test_tstr_accuracy" not in metrics


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (dict(), dict(r1=0.5, r2=0.5, loss_name="relativistic")),
        (dict(regularizer="none"), dict(r1=0.0, r2=0.0, gradient_penalty=0.0, weight_clip=0.0)),
        (dict(regularizer="r1", penalty=3.0), dict(r1=3.0, r2=0.0)),
        (dict(regularizer="gradient_penalty"), dict(gradient_penalty=10.0, r1=0.0)),
        (dict(regularizer="weight_clip"), dict(weight_clip=0.01, r1=0.0)),
        (dict(penalty_interval=4, n_critic=2), dict(penalty_interval=4, n_critic=2)),
        (dict(loss="bce", label_smoothing=0.2), dict(loss_name="bce", label_smoothing=0.2)),
        (dict(conditioning="concat"), dict(classes=10, auxiliary=False)),
        (dict(conditioning="auxiliary"), dict(classes=10, auxiliary=True)),
        (dict(ema=0.5, seed=4, latent_dim=9), dict(ema=0.5, seed=4, latent_dim=9)),
        (dict(augment=("cutout",)), dict(augment=["cutout"])),
    ],
)
def test_flags_reach_the_model(settings, expected):
    images = data.load("digits", seed=0)
    model = gan.network(Config(model="dense", units=(3, 4), **settings), images)
    assert {name: getattr(model, name) for name in expected} == expected
    widths = [layer.units for layer in model.generator.layers if hasattr(layer, "units")]
    assert widths[-3:] == [3, 4, 64]
    widths = [layer.units for layer in model.discriminator.layers if hasattr(layer, "units")]
    assert [n for n in widths if n in (3, 4)] == [4, 3]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(loss="hinge", label_smoothing=0.1), "--label-smoothing"),
        (dict(regularizer="none", penalty=1.0), "--penalty is for a --regularizer"),
        (dict(regularizer="weight_clip", penalty_interval=2), "--penalty-interval"),
        (dict(discriminator_normalization="batch"), "depend on other images"),
        (dict(model="dense", filters=8), "--filters"),
        (dict(units=(8,)), "--units"),
        (dict(schedule="step", warmup=0.1), "--warmup"),
        (dict(epochs=2, measure_every=3), "--measure-every"),
        (dict(ema=1.0), "--ema"),
        (dict(n_critic=0), "--n-critic"),
        (dict(devices="cpu:2", batch_size=63), "62 or 64"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(tmp_path, settings, words):
    with pytest.raises(UserError, match=words):
        call(gan, Config(run_dir=str(tmp_path / "run"), **settings))
    assert not (tmp_path / "run").exists()


def test_batches_larger_than_the_data(tmp_path, quick):
    with pytest.raises(UserError, match="less than one batch of 1600"):
        call(gan, Config(run_dir=str(tmp_path), batch_size=800, n_critic=2))


def test_a_mistake_is_one_message_and_exit_code_2(tmp_path):
    command = [sys.executable, str(ROOT / "recipes/gan.py"), "--beta-1", "1"]
    answer = subprocess.run(
        [*command, "--run-dir", str(tmp_path / "run")], capture_output=True, text=True, cwd=ROOT
    )
    assert answer.returncode == 2
    assert "--beta-1" in answer.stderr and "Traceback" not in answer.stderr
