import csv
import dataclasses
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

import programs
from kapps import command_line, data, serving, training
from kapps.command_line import call
from kapps.errors import UserError
from recipes import image_classifier, tabular
from recipes.image_classifier import Config

ROOT = pathlib.Path(image_classifier.__file__).parents[1]


def command(*flags):
    return [sys.executable, str(ROOT / "recipes/image_classifier.py"), *map(str, flags)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on the embedded data, five epochs long."""
    root = tmp_path_factory.mktemp("recipe")
    config = Config(run_dir=str(root / "run"), export_dir=str(root / "served"), epochs=5)
    return config, call(image_classifier, config)


def test_the_run_directory_holds_what_the_design_says(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    assert metrics["test_accuracy"] > 0.93
    assert json.loads((run / "metrics.json").read_text()) == metrics
    for name in ("test_loss", "best_epoch", "parameters", "train_seconds", "examples_per_second"):
        assert metrics[name] > 0
    facts = json.loads((run / "config.json").read_text())
    assert facts["config"]["epochs"] == 5 and len(facts["data"]["fingerprint"]) == 64
    rows = list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5"]
    pictures = {path.name for path in (run / "plots").glob("*.png")}
    assert {"learning_curves.png", "confusion_matrix.png", "calibration.png"} <= pictures
    assert list((run / "tensorboard").rglob("events*"))
    for peer in ("features_linear", "pixels_linear"):  # chance is a tenth
        assert metrics[f"{peer}_accuracy"] > 0.7
        assert metrics[f"ahead_of_{peer}_low"] <= metrics[f"ahead_of_{peer}_high"]
    page = (run / "report.html").read_text()
    assert "logistic regression on pixels" in page
    assert metrics["verdict"] in page and "kapps train image_classifier" in page
    assert 'src="http' not in page and "<script" not in page


def test_model_keras_and_the_saved_model_give_the_reported_accuracy(finished):
    config, metrics = finished
    test = data.load("digits", seed=0).splits["test"]
    pictures = test.take(range(len(test)))
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    correct = model.predict(pictures, verbose=0).argmax(1) == test.labels
    assert correct.mean() == pytest.approx(metrics["test_accuracy"], abs=1e-9)
    served = tf.saved_model.load(str(pathlib.Path(config.export_dir, "1")))
    answer = served.signatures["serving_default"](image=tf.constant(pictures))
    said = [label.decode() for label in answer["label"].numpy()]
    names = data.load("digits").class_names
    assert np.mean([a == names[b] for a, b in zip(said, test.labels, strict=True)]) == (
        pytest.approx(metrics["test_accuracy"], abs=1e-9)
    )


def test_again_is_quick_and_changes_nothing(finished):
    config, metrics = finished
    stamp = pathlib.Path(config.run_dir, "metrics.json").stat().st_mtime_ns
    assert call(image_classifier, config) == metrics
    assert pathlib.Path(config.run_dir, "metrics.json").stat().st_mtime_ns == stamp
    assert [p.name for p in pathlib.Path(config.export_dir).iterdir()] == ["1"]


def test_another_config_is_refused(finished):
    config, _ = finished
    with pytest.raises(UserError, match="epochs"):
        call(image_classifier, dataclasses.replace(config, epochs=6))


def test_nothing_is_lost_by_overwrite_when_the_new_command_fails(finished, tmp_path):
    config, metrics = finished
    wrong = dataclasses.replace(config, overwrite=True, dataset=f"folder:{tmp_path}")
    with pytest.raises(UserError, match="pictures"):
        call(image_classifier, wrong)
    assert call(image_classifier, config) == metrics


def test_killed_between_publishing_and_the_last_line_publishes_once(finished):
    config, metrics = finished
    pathlib.Path(config.run_dir, "metrics.json").unlink()
    again = call(image_classifier, config)
    assert [p.name for p in pathlib.Path(config.export_dir).iterdir()] == ["1"]
    assert again == metrics


def test_class_weights_are_those_of_the_true_classes(tmp_path):
    """Smoothing moves targets, and must not dilute what a rare class counts."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [90, 30])
    images = rng.integers(0, 256, (120, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    config = Config(class_weights=True, label_smoothing=0.4, batch_size=8, augment=False)
    loaded = data.load(f"npz:{tmp_path / 'data.npz'}")
    train, _, _ = image_classifier.batches(config, loaded)
    weights = data.class_weights(loaded.splits["train"].labels, 2)
    for _, targets, sample_weights in train.dataset(0, 1):
        expected = weights[targets.numpy().argmax(1)]
        np.testing.assert_allclose(sample_weights[:, 0], expected, rtol=1e-5)


def test_changed_data_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    labels = np.arange(60) % 3
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    config = Config(
        dataset=f"npz:{tmp_path / 'data.npz'}",
        run_dir=str(tmp_path / "run"),
        epochs=1,
        model="mlp",
        peers=False,
        export=False,
    )
    call(image_classifier, config)
    (tmp_path / "run/metrics.json").unlink()  # as if it had been killed at the end
    np.savez(tmp_path / "data.npz", images=images[::-1], labels=labels)
    with pytest.raises(UserError, match="another data"):
        call(image_classifier, config)


def test_every_switch_together(tmp_path):
    config = Config(
        run_dir=str(tmp_path),
        filters=(4,),
        epochs=2,
        flip="yes",
        rotation=10.0,
        resized_crop=0.5,
        jitter=0.2,
        randaugment=5.0,
        erasing=0.2,
        mixup=0.2,
        cutmix=1.0,
        dropout=0.2,
        label_smoothing=0.1,
        class_weights=True,
        optimizer="nesterov",
        schedule="cosine",
        warmup=0.1,
        clip=1.0,
        ema=0.9,
        patience=5,
        peers=False,
        export=False,
    )
    metrics = call(image_classifier, config)
    assert np.isfinite(metrics["test_loss"]) and metrics["exported"] is None


def test_an_augmentation_of_ones_own(tmp_path):
    """A run goes on with the function that it was begun with, or not at all."""
    seen = []

    def brighter(images, seed):
        seen.append(images.shape)
        return images + 40

    config = Config(run_dir=str(tmp_path), epochs=1, model="mlp", peers=False, export=False)
    metrics = call(image_classifier, config, augment=brighter)
    assert seen and np.isfinite(metrics["test_loss"])
    assert call(image_classifier, config, augment=brighter) == metrics
    with pytest.raises(UserError, match="another own_augmentation"):
        call(image_classifier, config, augment=lambda images, seed: images)
    with pytest.raises(UserError, match="takes no augmentation"):
        call(tabular, tabular.Config(), augment=brighter)


@pytest.mark.slow
def test_all_that_the_fast_preset_does_is_in_what_is_served(tmp_path):
    """Mirror images get the same answer, and so the views are in the graph."""
    config = Config(
        **{**image_classifier.FAST, "model": "cnn", "epochs": 2},
        filters=(8,),
        flip="yes",
        run_dir=str(tmp_path / "run"),
        export_dir=str(tmp_path / "served"),
    )
    metrics = call(image_classifier, config)
    test = data.load("digits", seed=0).splits["test"]
    pictures = test.take(range(len(test)))
    served = tf.saved_model.load(str(tmp_path / "served/1")).signatures["serving_default"]
    answer, mirrored = (
        served(image=tf.constant(x))["probabilities"].numpy()
        for x in (pictures, pictures[:, :, ::-1])
    )
    np.testing.assert_allclose(answer, mirrored, atol=1e-5)
    correct = answer.argmax(1) == test.labels
    assert correct.mean() == pytest.approx(metrics["test_accuracy"], abs=1e-9)
    model = keras.models.load_model(tmp_path / "run/model.keras")
    kernels = [layer for layer in model._flatten_layers() if layer.name == "whitening"]
    assert kernels[0].kernel.shape == (4, 4, 1, 32) and np.any(kernels[0].kernel.numpy())
    assert kernels[0].strides == 2


def test_flags_go_before_a_preset():
    flags = ["--preset", "fast", "--optimizer", "adamw", "--whitening", "0"]
    found = command_line.parse(Config, flags)
    expected = {**image_classifier.FAST, "optimizer": "adamw", "whitening": 0}
    assert found == Config(**expected) == command_line.parse(Config, [*flags[2:], "--preset=fast"])
    words = training.command(found, "").split()
    assert command_line.parse(Config, words) == found  # what the report says repeats it


@pytest.mark.parametrize("schedule", ["constant", "step", "plateau"])
def test_other_schedules(tmp_path, schedule):
    config = Config(run_dir=str(tmp_path), epochs=4, schedule=schedule, model="mlp")
    with training.open_run("image_classifier", config) as run:
        *_, history = image_classifier.fit(config, run)
    assert history.rows[-1]["val_accuracy"] > 0.5


def test_learning_rate_range_test(tmp_path):
    config = Config(run_dir=str(tmp_path), lr_find=True)
    found = call(image_classifier, config)
    assert 1e-5 < found["suggested_learning_rate"] < 1
    assert (tmp_path / "plots/lr_find.png").stat().st_size > 5000
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model", "resnet21"], "resnet20"),
        (["--dataset", "folder:/does/not/exist"], "/does/not/exist"),
        (["--dataset", "mnits"], "digits"),
        (["--epochs", "0"], "--epochs"),
        (["--devices", "tpu"], "cpu:N"),
        (["--optimiser", "sgd"], "--optimiser"),
        (["--learning-rate", "-1"], "--learning-rate"),
        (["--ema", "2"], "--ema"),
        (["--patience", "-1"], "--patience"),
        (["--label-smoothing", "1"], "--label-smoothing"),
        (["--no-augment", "--mixup", "0.2"], "--mixup"),
        (["--no-augment", "--resized-crop", "0.2"], "--resized-crop is part of"),
        (["--jitter", "2"], "--jitter"),
        (["--randaugment", "11"], "--randaugment"),
        (["--start-from", "nowhere"], "not a run directory"),
        (["--more-epochs", "2", "--folds", "3"], "--more-epochs"),
        (["--target-kind", "number"], "--target-kind"),
        (["--schedule", "plateau", "--warmup", "0.1"], "plateau"),
        (["--devices", "cpu:2", "--batch-size", "63"], "62 or 64"),
        (["--model", "mlp", "--filters", "8"], "--filters is for --model cnn; mlp has a shape"),
        (["--filters", "16", "0"], "--filters 16 0: it must be 1 or more"),
        (["--filters"], "--filters: name at least one"),
        (["--kernel-size", "0"], "--kernel-size 0: it must be 1 or more"),
        (["--strides", "-1"], "--strides -1: it must be 1 or more"),
        (["--export-dir", __file__], "is a file"),
        (["--preset", "quick"], "fast"),
        (["--whitening", "8"], "--whitening"),
        (["--whitening-strides", "2"], "--whitening-strides are those of --whitening"),
        (["--model", "mlp", "--whitening", "2"], "--model mlp"),
        (["--model", "mlp", "--identity-start"], "--identity-start"),
        (["--flip", "no", "--alternate-flips"], "--alternate-flips"),
        (["--no-augment", "--test-views"], "--test-views"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(tmp_path, monkeypatch, capsys, flags, words):
    argv = ["image_classifier.py", *flags, "--run-dir", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit) as ended:
        command_line.run(
            image_classifier.main,
            Config,
            image_classifier.check,
            is_done=image_classifier.is_done,
        )
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_so_it_is_from_a_shell(tmp_path):
    answer = subprocess.run(
        command("--model", "resnet21", "--run-dir", tmp_path / "run"),
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert answer.returncode == 2
    assert "resnet20" in answer.stderr and "Traceback" not in answer.stderr


@pytest.mark.slow
def test_killed_at_a_random_moment_it_ends_with_the_same_bits(tmp_path):
    """Another process is killed; this one goes on with its run, and trains a whole one."""
    flags = ["--epochs", "4", "--filters", "8", "--ema", "0.95", "--dropout", "0.2"]
    flags += ["--no-export", "--no-peers"]
    runs = [tmp_path / "killed", tmp_path / "whole"]
    rng = np.random.default_rng(3)

    def newest():
        return max((path.name for path in runs[0].glob("checkpoints/state-*.npz")), default="")

    process = programs.Program(
        command(*flags, "--run-dir", runs[0]), stdout=subprocess.DEVNULL, cwd=ROOT
    )
    while process.poll() is None and not newest():
        time.sleep(0.005)
    time.sleep(rng.uniform(0.0, 0.3))
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and newest()
    for run in runs:
        call(image_classifier, command_line.parse(Config, [*flags, "--run-dir", str(run)]))
    one, other = ((run / "metrics.csv").read_bytes() for run in runs)
    assert one == other
    models = [serving.load_model(run / "model.keras") for run in runs]
    for one, other in zip(models[0].weights, models[1].weights, strict=True):
        np.testing.assert_array_equal(one, other)
