"""Several labels, and a number, for each picture: the recipes from the folder to the answer."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import cli, data, models
from kapps.command_line import call
from kapps.errors import UserError
from recipes import image_classifier, transfer_learning
from small_transfer import SETTINGS, install

COUNT = 240


def shapes(folder):
    """Pictures with a bar on the left, on the right, on both or none; and how bright they are."""
    rng = np.random.default_rng(0)
    rows, numbers = [], []
    for i in range(COUNT):
        image = rng.integers(0, 60, (12, 12, 3)).astype(np.uint8)
        left, right, level = rng.random() < 0.4, rng.random() < 0.3, int(rng.integers(0, 150))
        image[:, 1:4] += np.uint8(190 * left)
        image[:, 8:11] += np.uint8(190 * right)
        image[5:7] = np.maximum(image[5:7], level)
        name = f"{i:03}.png"
        Image.fromarray(image).save(folder / name)
        given = "|".join([*["left"] * left, *["right"] * right]) or "|"
        rows.append(f"{name},{given}")
        numbers.append(f"{name},{level / 10}")
    for file, lines in (("labels", rows), ("numbers", numbers)):
        (folder.parent / f"{file}.csv").write_text("\n".join(["file_name,label", *lines]) + "\n")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("targets")
    (root / "pictures").mkdir()
    shapes(root / "pictures")
    return root


def settings(root, kind, name, **changes):
    places = dict(run_dir=str(root / name / "run"), export_dir=str(root / name / "served"))
    data_of = dict(dataset=f"folder:{root / 'pictures'}", labels=str(root / f"{kind}.csv"))
    return {**places, **data_of, "augment": False, **changes}


@pytest.fixture(scope="module")
def labelled(root):
    config = image_classifier.Config(
        **settings(root, "labels", "labels", epochs=8, filters=(8, 16), batch_size=16)
    )
    return config, call(image_classifier, config)


@pytest.fixture(scope="module")
def numbered(root):
    config = image_classifier.Config(
        **settings(root, "numbers", "numbers", epochs=12, filters=(8, 16), batch_size=16)
    )
    return config, call(image_classifier, config)


def test_labels_are_learned_and_reported(labelled, root):
    config, metrics = labelled
    run = pathlib.Path(config.run_dir)
    assert metrics["test_macro_f1"] > 0.9 and metrics["test_exact"] > 0.8
    assert metrics["test_loss"] < 0.5 * metrics["trivial_loss"]
    assert "test_accuracy" not in metrics
    for peer in ("features_linear", "pixels_linear"):
        assert metrics[f"{peer}_average_precision"] > 0.5
        assert metrics[f"ahead_of_{peer}_low"] <= metrics[f"ahead_of_{peer}_high"]
    page = (run / "report.html").read_text()
    for words in ("Test split, label by label", "logistic regressions on pixels", "threshold"):
        assert words in page
    name = next(iter((root / "pictures").glob("*.png"))).parent.as_uri()
    assert "Worst mistakes" not in page or f'href="{name}/' in page
    lines = (run / "labels.csv").read_text().splitlines()
    assert lines[0].startswith("name,threshold,precision,recall,f1") and len(lines) == 3


def test_the_served_labels_have_the_reported_figures(labelled):
    config, metrics = labelled
    found = data.load_as_configured(vars(config))
    test = found.splits["test"]
    served = tf.saved_model.load(metrics["exported"]).signatures["serving_default"]
    said = served(image=tf.constant(test.take(range(len(test)))))["labels"].numpy()
    truth = [
        "|".join(n for n, there in zip(found.class_names, row, strict=True) if there)
        for row in test.labels
    ]
    right = np.mean([text.decode() == true for text, true in zip(said, truth, strict=True)])
    assert right == pytest.approx(metrics["test_exact"], abs=1e-9)


def test_predict_prints_labels_and_export_repeats_them(labelled, root, capsys):
    config, metrics = labelled
    files = sorted(map(str, (root / "pictures").glob("00*.png")))
    cli.main(["predict", metrics["exported"], *files])
    first = capsys.readouterr().out
    assert len(first.splitlines()) == 10 and "no label" in first and "left 0." in first
    again = str(root / "again")
    cli.main(["export", config.run_dir, "--export-dir", again])
    capsys.readouterr()
    cli.main(["predict", again, *files])
    assert capsys.readouterr().out == first
    cli.main(["predict", again, files[0], "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["probabilities"]) == {"left", "right"}
    cli.main(["export", config.run_dir, "--format", "onnx"])
    written = pathlib.Path(capsys.readouterr().out.split()[-1])
    assert written.is_file() and written.suffix == ".onnx"


def test_a_number_is_learned_beside_the_mean(numbered):
    config, metrics = numbered
    assert metrics["test_r2"] > 0.5 and metrics["test_mae"] < metrics["trivial_mae"]
    assert metrics["features_linear_r2"] <= 1.0
    found = data.load_as_configured(vars(config))
    test = found.splits["test"]
    pictures = test.take(range(len(test)))
    served = tf.saved_model.load(metrics["exported"]).signatures["serving_default"]
    value = served(image=tf.constant(pictures))["value"].numpy()
    assert np.abs(value - test.labels).mean() == pytest.approx(metrics["test_mae"], rel=1e-4)
    model = keras.models.load_model(pathlib.Path(config.run_dir, "model.keras"))
    np.testing.assert_allclose(model.predict(pictures, verbose=0)[:, 0], value, rtol=1e-4)
    page = pathlib.Path(config.run_dir, "report.html").read_text()
    assert "always predicting the mean" in page and "ridge regression on pixels" in page


def test_predict_prints_a_number(numbered, root, capsys):
    config, metrics = numbered
    files = sorted(map(str, (root / "pictures").glob("00*.png")))[:2]
    cli.main(["predict", metrics["exported"], *files])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == files
    assert all(float(line.split("  ")[1]) < 30 for line in lines)
    cli.main(["export", config.run_dir, "--export-dir", str(root / "numbers-again")])


@pytest.mark.parametrize("kind, figure", [("labels", "test_macro_f1"), ("numbers", "test_r2")])
def test_transfer_learning_of_them(root, kind, figure, monkeypatch):
    monkeypatch.setitem(models.backbone_table.BACKBONES, "small", None)
    install(monkeypatch.setattr)
    changes = SETTINGS | {"batch_size": 16, "export": True, "more_epochs": 1, "peers": False}
    config = transfer_learning.Config(**settings(root, kind, f"transfer-{kind}", **changes))
    metrics = call(transfer_learning, config)
    assert np.isfinite(metrics[figure]) and metrics["more_epochs"] == 1
    assert metrics["exported"] and np.isfinite(metrics["test_loss" if kind == "labels" else figure])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"class_weights": True}, "--class-weights is for pictures of one class each"),
        ({"label_smoothing": 0.1}, "--label-smoothing is for pictures of one class each"),
    ],
)
@pytest.mark.parametrize("recipe", [image_classifier, transfer_learning])
def test_flags_that_are_for_classes(root, tmp_path, recipe, changes, words):
    places = {"run_dir": str(tmp_path / "run")}
    config = recipe.Config(**settings(root, "labels", "refused", **changes, **{}) | places)
    with pytest.raises(UserError, match=words):
        call(recipe, config)


def test_kinds_are_for_folders(tmp_path):
    with pytest.raises(UserError, match="--target-kind number is for folder"):
        image_classifier.check(image_classifier.Config(target_kind="number"))
