import csv
import dataclasses
import json
import math
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data
from kapps.command_line import call
from kapps.errors import UserError
from recipes import vq_vae
from recipes.vq_vae import Config

ROOT = pathlib.Path(vq_vae.__file__).parents[1]
SMALL = {
    "codes": 16,
    "code_dim": 4,
    "filters": (16,),
    "prior_filters": 8,
    "prior_depth": 1,
    "learning_rate": 0.01,
    "restart_after": 10,
    "batch_size": 128,
}
# Trains as the recipe does and is killed after that many steps in all of this process.
KILLED = """
import sys
from crashes import Die
from kapps.command_line import call
from kapps.training import setup
from recipes import vq_vae

die, usual = Die(int(sys.argv[2])), setup.callbacks
setup.callbacks = lambda *known: [*usual(*known), die]
call(vq_vae, vq_vae.Config(run_dir=sys.argv[1], **eval(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A short run on the embedded data."""
    root = tmp_path_factory.mktemp("recipe")
    config = Config(
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
        epochs=8,
        prior_epochs=6,
        **SMALL,
    )
    return config, call(vq_vae, config)


def rows_of(directory):
    return list(csv.DictReader(pathlib.Path(directory, "metrics.csv").read_text().splitlines()))


def test_the_run_directory_holds_what_there_is_to_know(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    rows = rows_of(run)
    assert [row["epoch"] for row in rows] == [str(i + 1) for i in range(14)]
    assert [row["phase"] for row in rows] == ["1"] * 8 + ["2"] * 6
    assert all(row["val_mse"] and not row["val_code_nats"] for row in rows[:8])
    assert all(row["val_code_nats"] and not row["val_mse"] for row in rows[8:])
    pictures = {path.name for path in (run / "plots").iterdir()}
    expected = "learning_curves learning_curves_of_the_prior samples samples_by_epoch"
    expected += " nearest_training_pictures reconstructions use_of_the_codebook"
    expected += " what_the_codes_look_like"
    assert {f"{name}.png" for name in expected.split()} | {"samples.webp"} == pictures
    page = (run / "report.html").read_text()
    assert "kapps train vq_vae" in page and "data:image/webp" in page
    assert 'src="http' not in page and "<script" not in page


def test_the_figures_fit_together(finished):
    """The prior knows more than how often codes occur, and nothing beats the entropy's bounds."""
    config, metrics = finished
    assert metrics["verdict"] == "healthy"
    assert 0 < metrics["test_mse"] < metrics["mean_picture_mse"]
    assert metrics["most_code_bits"] == 16 * math.log2(16)
    by_frequency = 16 * math.log(metrics["test_perplexity"])
    assert 0 < metrics["test_code_nats"] < by_frequency
    assert metrics["test_code_bits"] == pytest.approx(metrics["test_code_nats"] / math.log(2))
    assert metrics["test_perplexity"] <= 16 * metrics["test_code_usage"]
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    split = data.load("digits", seed=0).splits["test"]
    test = split.take(range(len(split)))
    codes = model.encode(test)
    assert np.mean(model.prior.negative_log_likelihood(codes)) == pytest.approx(
        metrics["test_code_nats"], rel=1e-5
    )
    error = np.mean((model.decode(codes) - test / np.float32(255)) ** 2)
    assert error == pytest.approx(metrics["test_mse"], rel=1e-4)


def test_model_keras_and_the_saved_model_draw_the_same(finished):
    config, _ = finished
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    served = tf.saved_model.load(str(pathlib.Path(config.export_dir, "1")))
    drawn = served.signatures["sample"](count=tf.constant(5), seed=tf.constant(3))
    difference = drawn["image"].numpy().astype(int) - model.sample(5, seed=3)
    assert abs(difference).max() <= 1
    assert model.sample(5, seed=3).std() > 20


def test_again_is_quick_and_publishes_once(finished):
    config, metrics = finished
    path = pathlib.Path(config.run_dir, "metrics.json")
    stamp = path.stat().st_mtime_ns
    assert call(vq_vae, config) == metrics and path.stat().st_mtime_ns == stamp
    with pytest.raises(UserError, match="commitment"):
        call(vq_vae, dataclasses.replace(config, commitment=2.0))
    path.unlink()  # killed after publishing
    assert call(vq_vae, config) == metrics
    assert [path.name for path in pathlib.Path(config.export_dir).iterdir()] == ["1"]


def test_a_conditional_prior_knows_classes(tmp_path, monkeypatch):
    """What it says of codes depends on the class, and a classifier learns from its samples."""
    learned = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "real": 0.9, "examples": 7}
    asked = {}

    def learn(model, images, count, seed):
        asked["samples"] = model.sample(20, seed, np.eye(10, dtype=np.float32)[np.arange(20) % 10])
        rows = [("samples", 0.5, 7)]
        return {f"test_tstr_{k}": v for k, v in learned.items()}, ("T", ("a", "b", "c"), rows)

    monkeypatch.setattr("kapps.evaluation.generative.explain_vq_vae.learned_from_samples", learn)
    config = Config(
        run_dir=str(tmp_path / "run"),
        export=False,
        conditional=True,
        epochs=3,
        prior_epochs=3,
        schedule="cosine",
        clip=5.0,
        patience=3,
        **SMALL,
    )
    metrics = call(vq_vae, config)
    assert metrics["test_tstr_accuracy"] == 0.5 and asked["samples"].shape == (20, 8, 8, 1)
    model = keras.models.load_model(tmp_path / "run/model.keras")
    assert model.classes == 10
    codes = np.zeros((1, 4, 4), np.int32)
    nats = [
        float(model.prior.negative_log_likelihood(codes, np.eye(10, dtype="float32")[[k]])[0])
        for k in (0, 1)
    ]
    assert abs(nats[0] - nats[1]) > 1e-4


@pytest.mark.parametrize(
    ("shape", "filters"),
    [
        ((8, 8, 1), (32,)),
        ((28, 28, 1), (32, 64)),
        ((32, 40, 3), (32, 64)),
        ((65, 65, 3), (32, 64, 128, 128)),
        ((1, 1, 1), (32,)),
    ],
)
def test_maps_have_at_most_eight_codes_a_side(shape, filters):
    assert vq_vae.filters_of(Config(), shape) == filters
    assert vq_vae.filters_of(Config(filters=(5,)), shape) == (5,)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"codes": 1}, "--codes"),
        ({"code_dim": 0}, "--code-dim"),
        ({"filters": (8, 0)}, "--filters 8 0"),
        ({"prior_epochs": 0}, "--prior-epochs"),
        ({"prior_dropout": 1.0}, "--prior-dropout"),
        ({"decay": 1.0}, "--decay"),
        ({"commitment": -1.0}, "--commitment"),
        ({"devices": "cpu:2", "batch_size": 63}, "62 or 64"),
    ],
)
def test_a_mistake_is_found_at_once(flags, words):
    with pytest.raises(UserError, match=words):
        vq_vae.check(Config(**flags))


@pytest.mark.slow
def test_killed_in_both_phases_it_ends_with_the_same_bits(tmp_path):
    """Ten steps an epoch: killed in the second epoch, then in the second one of the prior."""
    settings = {**SMALL, "epochs": 2, "prior_epochs": 2, "export": False}
    whole, run = tmp_path / "whole", tmp_path / "run"
    call(vq_vae, Config(run_dir=str(whole), **settings))
    code = f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}\n{KILLED}"
    for step, rows in ((13, 1), (25, 3)):
        command = [sys.executable, "-c", code, str(run), str(step), repr(settings)]
        assert subprocess.run(command, capture_output=True).returncode == -signal.SIGKILL
        assert len(rows_of(run)) == rows
    call(vq_vae, Config(run_dir=str(run), **settings))
    assert rows_of(run) == rows_of(whole)
    pairs = [keras.models.load_model(path / "model.keras").get_weights() for path in (run, whole)]
    for mine, theirs in zip(*pairs, strict=True):
        np.testing.assert_array_equal(mine, theirs)
