import csv
import dataclasses
import json
import math
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
from recipes import vae
from recipes.vae import Config

ROOT = pathlib.Path(vae.__file__).parents[1]
SMALL = {"units": (24,), "latent_dim": 3, "nll_samples": 3, "export": False}


def command(*flags):
    return [sys.executable, str(ROOT / "recipes/vae.py"), *map(str, flags)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run on the embedded data."""
    root = tmp_path_factory.mktemp("recipe")
    config = Config(
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
        epochs=12,
        units=(64,),
        latent_dim=4,
        learning_rate=0.01,
        nll_samples=50,
    )
    return config, call(vae, config)


def test_the_run_directory_holds_what_there_is_to_know(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == [str(i + 1) for i in range(12)]
    assert {"val_loss", "val_kl", "val_negative_elbo", "val_active_units"} <= set(rows[0])
    pictures = {path.name for path in (run / "plots").iterdir()}
    expected = "learning_curves samples samples_by_epoch reconstructions latent_traversals"
    expected += " interpolations latent_space nearest_training_pictures kl_of_each_latent"
    expected += " bound_by_importance_samples"
    assert {f"{name}.png" for name in expected.split()} | {"samples.webp"} <= pictures
    assert len(list((run / "samples").glob("*.npy"))) == 12
    page = (run / "report.html").read_text()
    # The four units hold 2.5 nats after twelve epochs: more than log 10, which names the class.
    assert metrics["verdict"] == "healthy" and metrics["active_units"] == 4
    assert 2 < metrics["test_kl"] < 3 and "4 of 4" in page
    assert "kapps train vae" in page and "data:image/webp" in page
    assert 'src="http' not in page and "<script" not in page


def test_the_figures_fit_together(finished):
    """In nats: at least the entropy of the draws, at most the negative ELBO; 64 ln 2 is chance."""
    _, metrics = finished
    assert metrics["test_nll_floor"] < metrics["test_nll"] < 64 * math.log(2)
    assert metrics["test_nll"] < metrics["test_negative_elbo"]
    assert metrics["test_negative_elbo"] == pytest.approx(
        metrics["test_reconstruction"] + metrics["test_kl"]
    )
    bits = metrics["test_nll"] / (64 * math.log(2))
    assert metrics["test_bits_per_dimension"] == pytest.approx(bits)
    assert 0 < metrics["test_mse"] < metrics["mean_picture_mse"]
    assert metrics["pca_mse"] < metrics["mean_picture_mse"]
    assert 2 <= metrics["active_units"] <= 4 and metrics["test_nll_samples"] == 50
    # 64 latents of 4 hold what the floor is computed from: greys and nothing else.
    test = data.load("digits", seed=0).splits["test"]
    p = test.take(range(len(test))) / 255
    inner = p[(p > 0) & (p < 1)]
    entropy = -np.sum(inner * np.log(inner) + (1 - inner) * np.log(1 - inner)) / len(test)
    assert metrics["test_nll_floor"] == pytest.approx(entropy)


def test_model_keras_and_the_saved_model_draw_the_same(finished):
    config, _ = finished
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    served = tf.saved_model.load(str(pathlib.Path(config.export_dir, "1")))
    drawn = served.signatures["sample"](count=tf.constant(5), seed=tf.constant(3))
    difference = drawn["image"].numpy().astype(int) - model.sample(5, seed=3)
    assert abs(difference).max() <= 1
    assert model.sample(5, seed=3).std() > 20


def test_again_is_quick_and_changes_nothing(finished):
    config, metrics = finished
    stamp = pathlib.Path(config.run_dir, "metrics.json").stat().st_mtime_ns
    assert call(vae, config) == metrics
    assert pathlib.Path(config.run_dir, "metrics.json").stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="beta"):
        call(vae, dataclasses.replace(config, beta=2.0))


def test_killed_after_publishing_it_publishes_once_and_says_the_same(finished):
    config, metrics = finished
    pathlib.Path(config.run_dir, "metrics.json").unlink()
    assert call(vae, config) == metrics
    assert [path.name for path in pathlib.Path(config.export_dir).iterdir()] == ["1"]


def test_a_collapsed_posterior_is_called_collapsed(tmp_path):
    config = Config(run_dir=str(tmp_path), epochs=3, beta=1000.0, learning_rate=0.01, **SMALL)
    metrics = call(vae, config)
    assert metrics["verdict"] == "posterior collapsed" and metrics["active_units"] == 0
    assert "The posterior collapsed" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    "settings",
    [
        {
            "model": "conv",
            "filters": (4, 6),
            "likelihood": "discretized_logistic",
            "conditional": True,
            "latent_dim": 2,
            "ema": 0.9,
            "cyclic": 1,
            "schedule": "plateau",
            "patience": 3,
        },
        {"model": "hierarchical", "filters": (4,), "prior": "vamp", "pseudo_inputs": 7},
        {
            "binarization": "static",
            "objective": "dreg",
            "samples": 3,
            "kl_warmup": 0.0,
            "schedule": "cosine",
            "warmup": 0.2,
            "clip": 5.0,
        },
        {"likelihood": "gaussian", "scale": 0.2, "free_bits": 0.2, "beta": 0.5},
    ],
    ids=["conv", "hierarchical", "dreg", "gaussian"],
)
def test_other_models(tmp_path, settings):
    config = Config(**{**SMALL, "epochs": 1, "run_dir": str(tmp_path), **settings})
    metrics = call(vae, config)
    assert np.isfinite([metrics["test_nll"], metrics["test_negative_elbo"]]).all()
    discrete = settings.get("likelihood") != "gaussian"
    assert ("test_bits_per_dimension" in metrics) is discrete
    assert ("test_nll_floor" in metrics) is ("likelihood" not in settings)
    assert (tmp_path / "plots/manifold.png").exists() is (settings.get("latent_dim") == 2)
    assert (tmp_path / "plots/pseudo_inputs.png").exists() is ("prior" in settings)
    model = keras.models.load_model(tmp_path / "model.keras")
    assert model.classes == (10 if settings.get("conditional") else 0)


def test_binarized_pictures_are_given_as_the_flags_say(tmp_path):
    images = data.load("digits", seed=0)
    pixels = {}
    for binarization in ("dynamic", "static"):
        train, validation, clean = vae.batches(Config(binarization=binarization), images)
        first = next(iter(train.dataset(0, 1))).numpy()
        pixels[binarization] = set(np.unique(first))
        assert set(np.unique(next(iter(validation)))) == {0, 255}
    assert pixels["static"] == {0, 255} and len(pixels["dynamic"]) > 2
    _, validation, _ = vae.batches(Config(likelihood="gaussian"), images)
    assert len(np.unique(next(iter(validation)))) > 2


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"filters": (8,)}, "--filters"),
        ({"model": "conv", "units": (8, 8)}, "--units"),
        ({"binarization": "static", "likelihood": "gaussian"}, "bernoulli"),
        ({"scale": 0.1}, "gaussian"),
        ({"kl_warmup": 0.5, "cyclic": 2}, "--cyclic"),
        ({"kl_warmup": 5.0}, "--kl-warmup 5.0"),
        ({"objective": "iwae"}, "--samples"),
        ({"free_bits": 0.1, "prior": "vamp"}, "--free-bits"),
        ({"objective": "dreg", "samples": 5, "model": "hierarchical"}, "dreg"),
        ({"pseudo_inputs": 5}, "--prior vamp"),
        ({"conditional": True, "model": "hierarchical"}, "--conditional"),
        ({"latent_dim": 0}, "--latent-dim"),
        ({"nll_samples": 0}, "--nll-samples"),
        ({"devices": "cpu:2", "batch_size": 63}, "62 or 64"),
    ],
)
def test_a_mistake_is_found_at_once(flags, words):
    with pytest.raises(UserError, match=words):
        vae.check(Config(**flags))


def test_a_mistake_on_the_command_line_is_one_message(tmp_path):
    flags = ("--likelihood", "bernouli", "--run-dir", tmp_path / "run")
    answer = subprocess.run(command(*flags), capture_output=True, text=True, cwd=ROOT)
    assert answer.returncode == 2 and "Traceback" not in answer.stderr
    assert "likelihood" in answer.stderr and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_killed_at_a_random_moment_it_ends_with_the_same_bits(tmp_path):
    flags = ["--epochs", "4", "--units", "24", "--kl-warmup", "0.5", "--nll-samples", "2"]
    flags += ["--no-export", "--ema", "0.9"]
    run, whole = tmp_path / "killed", tmp_path / "whole"
    done = subprocess.run(command(*flags, "--run-dir", whole), capture_output=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(
        command(*flags, "--run-dir", run), stdout=subprocess.DEVNULL, cwd=ROOT
    )
    while process.poll() is None and not list(run.glob("checkpoints/state-*.npz")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    again = subprocess.run(command(*flags, "--run-dir", run), capture_output=True, cwd=ROOT)
    assert again.returncode == 0, again.stderr
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    metrics = [json.loads((path / "metrics.json").read_text()) for path in (run, whole)]
    assert metrics[0]["test_nll"] == metrics[1]["test_nll"]
    for name in ("samples/epoch-00001.npy", "samples/epoch-00004.npy"):
        np.testing.assert_array_equal(np.load(run / name), np.load(whole / name))
