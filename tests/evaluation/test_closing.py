"""What every recipe of pictures says at its end."""

import json

import numpy as np
import pytest
from kapps.recipes import vae

from kapps import data, evaluation, training
from kapps.data import ImageData
from kapps.evaluation import closing
from kapps.evaluation.explanation import judge_classifier
from training import small


@pytest.fixture
def images():
    return data.load("digits", seed=0)


def found(**metrics):
    return evaluation.Explanation(metrics, evaluation.Judgement("healthy", "Fine."), [], [])


def test_twins_are_told_of_every_recipe_of_pictures(images, monkeypatch):
    train = images.splits["train"]
    twins = data.Split(train.labels[:3], lambda rows: train.images(rows))
    splits = {**images.splits, "test": twins}
    fields = {name: getattr(images, name) for name in images.__dataclass_fields__}
    leaking = ImageData(**{**fields, "splits": splits})
    told = closing.with_twins(found(test_mse=0.1), leaking)
    assert told.metrics == {"test_mse": 0.1, "near_duplicates": 3}
    assert told.notes[0].startswith("3 of 3 test images have a near-duplicate")
    assert [table[0] for table in told.tables] == ["Near-duplicates across splits"]
    known = found(near_duplicates=0)  # a classifier's report has looked already
    assert closing.with_twins(known, leaking) is known
    assert closing.with_twins(found(), object()).metrics == {}


def test_twins_are_told_of_images_that_a_perceptron_learned(images):
    """It holds them as points: two classes of digits, of which three test images are copies."""
    points = data.only_classes(images, ("3", "8"))
    points.x["test"][:3] = points.x["train"][:3]
    told = closing.with_twins(found(), points)
    assert told.metrics == {"near_duplicates": 3} and told.tables[0][2][0][3] in ("3", "8")
    assert closing.with_twins(found(), data.load_points("blobs")).metrics == {}


def test_what_a_run_ends_with(images, tmp_path, capsys):
    """Of three epochs the second is kept, and that is what the figures say."""
    config = small.Config(str(tmp_path / "run"))
    history = training.History([{"epoch": i, "loss": 1 / i} for i in (1, 2, 3)], 2, 60.0, 100.0)
    with training.open_run("small", config) as run:
        run.flags = vae.Config(run_dir=str(run.path))
        metrics = closing.close(run, images, history, found(test_mse=0.1), None, title="small")
    said = json.loads((run.path / "metrics.json").read_text())
    assert said == metrics
    assert (said["best_epoch"], said["train_seconds"], said["test_mse"]) == (2, 60.0, 0.1)
    assert "0.1" in capsys.readouterr().out


def test_the_verdict_is_told_of_kept_epoch_and_test_split():
    """Epoch 2 is kept; by the last epoch, or without the test split, it would be another one."""
    rows = [
        {"loss": 0.5, "train_loss": 0.50, "train_accuracy": 0.85, "val_loss": 0.5,
         "val_accuracy": 0.84},
        {"loss": 0.3, "train_loss": 0.30, "train_accuracy": 0.92, "val_loss": 0.32,
         "val_accuracy": 0.91},
        {"loss": 0.2, "train_loss": 0.10, "train_accuracy": 0.99, "val_loss": 0.33,
         "val_accuracy": 0.86},
    ]  # fmt: skip
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 3000)
    logits = np.eye(10)[labels]
    metrics = {"test_accuracy": 0.905, "test_examples": 3000}
    judged = {"train_examples": 3000, "kept": 2}
    verdict = judge_classifier(rows, labels, logits, metrics, **judged)
    assert verdict.kept_epoch == 2 and verdict.gap == pytest.approx(0.01)
    assert "on 3,000 test examples the accuracy is 90.5 %" in verdict.sentence
    last = judge_classifier(rows, labels, logits, metrics, train_examples=3000, kept=3)
    assert last.label == "over-fitted" and last.gap == pytest.approx(0.13)
    poor = metrics | {"test_accuracy": 0.77}
    verdict = judge_classifier(rows, labels, logits, poor, **judged)
    assert verdict.label == "test differs"


def test_balanced_accuracy_is_judged_where_classes_were_weighted():
    """Half of class 0 and all of the rare class 1 are right: 0.75, worked out by hand."""
    row = {"loss": 0.5, "train_loss": 0.5, "train_accuracy": 0.55, "val_loss": 0.5,
           "val_accuracy": 0.55}  # fmt: skip
    labels = np.array([0] * 180 + [1] * 20)
    logits = np.zeros((200, 2))
    logits[:90, 0] = logits[90:, 1] = 1
    metrics = {"test_accuracy": 0.55, "test_examples": 200}
    verdict = judge_classifier(
        [row] * 8, labels, logits, metrics, train_examples=1000, kept=1, weighted=True
    )
    assert "is 75.0 %; a guess has 50.0 %" in verdict.sentence
    assert verdict.label != "not learned"
