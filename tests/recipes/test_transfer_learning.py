import csv
import dataclasses
import json
import pathlib
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import cli, data, models, training
from kapps.command_line import call
from kapps.data.images.files import decode
from kapps.errors import UserError
from kapps.serving.formats import quantization
from recipes import transfer_learning
from recipes.transfer_learning import Config
from small_transfer import SETTINGS, install

ROOT = pathlib.Path(transfer_learning.__file__).parents[1]


@pytest.fixture(scope="module", autouse=True)
def small():
    patch = pytest.MonkeyPatch()
    patch.setitem(models.backbone_table.BACKBONES, "small", None)
    install(patch.setattr)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run on the embedded data, three epochs in each phase."""
    root = tmp_path_factory.mktemp("recipe")
    places = {"run_dir": str(root / "run"), "export_dir": str(root / "served"), "export": True}
    config = Config(**SETTINGS | places)
    return config, call(transfer_learning, config)


def rows_of(run):
    return list(csv.DictReader(pathlib.Path(run, "metrics.csv").read_text().splitlines()))


def program(*arguments):
    path = [*sys.path, str(ROOT), str(ROOT / "tests")]
    code = (
        f"import sys; sys.path[:0] = {path!r}; sys.argv[1:] = {list(map(str, arguments))!r}; "
        f"import runpy; runpy.run_path({str(ROOT / 'tests/small_transfer.py')!r}, "
        "run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_the_run_directory_holds_what_the_design_says(finished):
    config, metrics = finished
    run = pathlib.Path(config.run_dir)
    assert metrics["test_accuracy"] > 0.25 and metrics["kept"] == "fine-tuning"
    assert json.loads((run / "metrics.json").read_text()) == metrics
    rows = rows_of(run)
    assert [row["epoch"] for row in rows] == list("123456")
    assert [row["phase"] for row in rows] == list("111222")
    right = [float(row["val_accuracy"]) for row in rows]
    assert max(right[3:]) >= max(right[:3])  # or the probe would have been kept
    assert metrics["best_epoch"] == 4 + training.best_epoch(rows[3:], "val_accuracy", "max")
    facts = json.loads((run / "config.json").read_text())
    assert facts["learning_rates"] == {"probe": 0.1, "fine-tuning": 0.1 / 3}
    assert facts["image_shape"] == [12, 12, 1]
    page = (run / "report.html").read_text()
    for words in (metrics["verdict"], "probe: epochs 1 to 3; fine-tuning: epochs 4 to 6"):
        assert words in page
    assert "Grad-CAM" not in page  # 12 pixels leave no map of 7 x 7
    pictures = {path.stem for path in (run / "plots").glob("*.png")}
    assert {"learning_curves", "confusion_matrix", "worst_mistakes", "calibration"} <= pictures
    # Train and validation of the probe; train and test of the network as it came, for the peers.
    assert len(list((run.parent / "features").glob("*.npy"))) == 4


def test_model_keras_and_the_saved_model_give_the_reported_accuracy(finished):
    config, metrics = finished
    test = data.load("digits", seed=0, image_size=12).splits["test"]
    pictures = test.take(range(len(test)))
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    logits = model.predict(pictures, verbose=0)
    assert (logits.argmax(1) == test.labels).mean() == pytest.approx(metrics["test_accuracy"])
    served = tf.saved_model.load(str(pathlib.Path(config.export_dir, "1"))).signatures
    answer = served["serving_default"](image=tf.constant(pictures))["probabilities"]
    expected = tf.nn.softmax(logits / metrics["temperature"])  # which is in the graph
    np.testing.assert_allclose(answer, expected, atol=1e-5)
    # A file of another size: resized as the training pictures were.
    image = decode.fit(pictures[0], (40, 30, 1))
    encoded = tf.io.encode_png(image)
    resized = decode.decode_image(encoded, (12, 12, 1))
    np.testing.assert_array_equal(
        served["from_bytes"](image_bytes=encoded[None])["probabilities"],
        served["serving_default"](image=resized[None])["probabilities"],
    )


def test_again_is_quick_and_another_config_is_refused(finished):
    config, metrics = finished
    assert call(transfer_learning, config) == metrics
    with pytest.raises(UserError, match="stage_decay"):
        call(transfer_learning, dataclasses.replace(config, stage_decay=0.9))


def test_quantized_for_phones(finished, capsys, monkeypatch):
    # Some threads add up otherwise than others, and 3 of 144 validation images are over the limit.
    monkeypatch.setitem(quantization.convert_run.__kwdefaults__, "accuracy_loss", 0.05)
    config, metrics = finished
    capsys.readouterr()
    cli.main(["export", config.run_dir, "--format", "litert", "--quantize", "int8"])
    path, cost = capsys.readouterr().out.splitlines()
    assert path.endswith("export/model_int8.tflite") and "of 359 test pictures" in cost
    found = json.loads(pathlib.Path(path).with_suffix(".json").read_text())
    assert found["model_accuracy"] == pytest.approx(metrics["test_accuracy"])
    assert abs(found["accuracy_drop"]) < 0.03 and found["examples"] == 359


def test_fine_tuning_that_does_harm_is_not_kept(tmp_path):
    """And the probe may do without cached features."""
    settings = SETTINGS | dict(fine_tune_learning_rate=30.0, fine_tune_epochs=1, cache=False)
    metrics = call(transfer_learning, Config(run_dir=str(tmp_path / "run"), **settings))
    assert metrics["kept"] == "probe" and metrics["best_epoch"] <= 3
    assert "The weights of the probe are kept" in (tmp_path / "run/report.html").read_text()
    assert not (tmp_path / "features").exists()
    best = rows_of(tmp_path / "run")[metrics["best_epoch"] - 1]
    images = data.load("digits", seed=0, image_size=12).splits["validation"]
    model = keras.models.load_model(tmp_path / "run/model.keras")
    said = model.predict(images.take(range(len(images))), verbose=0).argmax(1)
    assert np.mean(said == images.labels) == pytest.approx(float(best["val_accuracy"]))


def folder(root, counts):
    """Noise around a grey level of its own for each class, pictures of many sizes; one in both."""
    rng = np.random.default_rng(0)
    for level, (name, (train, test)) in zip((40, 110, 180), counts.items(), strict=True):
        for split, count in (("train", train), ("test", test)):
            place = root / split / name
            place.mkdir(parents=True)
            for i in range(count):
                size = (*rng.integers(14, 40, 2), 3)
                pixels = np.clip(rng.normal(level, 60, size), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    twin = Image.open(root / "train" / next(iter(counts)) / "0.png")
    twin.save(root / "test" / next(iter(counts)) / "twin.jpg", quality=95, subsampling=0)
    return f"folder:{root}"


def test_every_switch_together_on_a_difficult_folder(tmp_path):
    spec = folder(tmp_path / "pictures", {"dark": (60, 8), "middle": (40, 6), "light": (8, 3)})
    settings = SETTINGS | dict(
        dataset=spec,
        image_size=None,  # that of the backbone
        epochs=2,
        fine_tune_epochs=2,
        batch_size=16,
        learning_rate=0.05,
        class_weights=True,
        cache_copies=2,
        rotation=5.0,
        erasing=0.1,
        mixup=0.2,
        cutmix=1.0,
        label_smoothing=0.1,
        test_time_flip=True,
        batch_norm="train",
        fine_tune_stages="all",
        optimizer="nesterov",
        schedule="cosine",
        clip=1.0,
        patience=5,
        gradient_flow=True,
        precision="mixed_bfloat16",
        export=True,
    )
    places = {"run_dir": str(tmp_path / "run"), "export_dir": str(tmp_path / "served")}
    metrics = call(transfer_learning, Config(**settings | places))
    assert metrics["near_duplicates"] == 1 and metrics["test_examples"] == 18
    assert 0 <= metrics["test_accuracy_without_twins"] <= 1
    page = (tmp_path / "run/report.html").read_text()
    for words in (
        "Not enough data to say how good it is: with 18 test images",
        "Classes are imbalanced",
        "Fewer than 5 test images: light (3)",
        "1 of 18 test images have a near-duplicate in the training split",
        "test/dark/twin.jpg",
    ):
        assert words in page
    # What is saved and served looks at the mirror image, too.
    model = keras.models.load_model(tmp_path / "run/model.keras")
    assert model.input_shape == (None, 16, 16, 3)
    x = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    served = tf.saved_model.load(str(tmp_path / "served/1")).signatures["serving_default"]
    one, other = (served(image=tf.constant(p))["probabilities"] for p in (x, x[:, :, ::-1]))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_small_pictures_are_enlarged_and_large_ones_fit_the_backbone(tmp_path):
    assert transfer_learning.load(Config()).image_shape == (64, 64, 1)
    assert transfer_learning.load(Config(image_size=40)).image_shape == (40, 40, 1)
    images = np.zeros((40, 50, 60, 3), np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(40) % 2)
    spec = f"npz:{tmp_path / 'data.npz'}"
    assert transfer_learning.load(Config(dataset=spec)).image_shape == (120, 120, 3)
    small = Config(dataset=spec, backbone="small")
    assert transfer_learning.load(small).image_shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"backbone": "efficientnet"}, "efficientnet_lite0, "),
        ({"weights": "/does/not/exist.weights.h5"}, "/does/not/exist.weights.h5"),
        ({"image_size": 16}, "32x32"),
        ({"fine_tune_stages": 10}, "has 9: stem, block1"),
        ({"fine_tune_stages": -1}, "--fine-tune-stages -1"),
        ({"fine_tune_stages": 0, "fine_tune_epochs": 3}, "leaves nothing"),
        ({"probe_epochs": 0, "fine_tune_epochs": 0}, "leave nothing to train"),
        ({"probe_epochs": -1}, "--probe-epochs"),
        ({"stage_decay": 0.0}, "--stage-decay"),
        ({"fine_tune_epochs": 0, "batch_norm": "train"}, "--batch-norm is for fine-tuning"),
        ({"augment": False, "mixup": 0.2}, "--mixup"),
        ({"cache": False, "cache_copies": 2}, "--cache-copies"),
        ({"dataset": "folder:/does/not/exist"}, "/does/not/exist"),
        ({"devices": "cpu:2", "batch_size": 33}, "32 or 34"),
        ({"dropout": 1.0}, "--dropout"),
    ],
)
def test_mistakes_are_named(flags, words):
    with pytest.raises(UserError, match=words):
        transfer_learning.check(Config(**flags))


def test_a_mistake_is_one_message_and_exit_code_2(tmp_path):
    command = [sys.executable, str(ROOT / "recipes/transfer_learning.py"), "--backbone", "resnet"]
    answer = subprocess.run(
        [*command, "--run-dir", str(tmp_path / "run")], capture_output=True, text=True, cwd=ROOT
    )
    assert answer.returncode == 2 and "resnet50" in answer.stderr
    assert "Traceback" not in answer.stderr and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_killed_in_either_phase_it_ends_with_the_same_bits(tmp_path):
    """Ten steps an epoch: in the last one of the probe; then, from there, in phase 2."""
    run, whole = tmp_path / "killed", tmp_path / "whole"
    for step, done in ((25, "1-probe"), (25, "2-fine-tuning")):
        answer = program(run, step)
        assert answer.returncode == -signal.SIGKILL, answer.stderr
        phases = sorted(path.parent.name for path in run.rglob("state-*.npz"))
        assert phases[-1] == done and not (run / "metrics.json").exists()
    again, once = trained(run), trained(whole)
    assert len(list((tmp_path / "features").glob("*.npy"))) == 2  # one run's serve the other
    assert (run / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert len(once) == 17
    for one, other in zip(again, once, strict=True):
        np.testing.assert_array_equal(one, other)


def trained(path):
    """The weights that a run ends with."""
    config = Config(run_dir=str(path), **SETTINGS)
    with training.open_run("transfer_learning", config) as run:
        model, _, history = transfer_learning.fit(config, run)
    assert history.kept == "fine-tuning"
    return model.get_weights()


@pytest.mark.slow
def test_imagenet_weights_are_worth_something(tmp_path):
    """Eight by eight pixels, enlarged: a linear probe on random features gets a third of it."""
    config = Config(
        run_dir=str(tmp_path / "run"),
        image_size=48,
        fine_tune_epochs=0,
        batch_size=64,
        export=False,
    )
    metrics = call(transfer_learning, config)
    assert metrics["test_accuracy"] > 0.85 and metrics["kept"] == "probe"
    assert "fine_tuning_val_loss" not in metrics
    assert training.read_json(tmp_path / "run/config.json")["config"]["weights"] == "imagenet"
