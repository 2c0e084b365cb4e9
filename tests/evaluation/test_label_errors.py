"""Planted label errors are listed of every kind of classifier, and the figures of calibration."""

import csv
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kapps import data, evaluation, training
from kapps.data.text.documents import DocumentData, DocumentSplit
from kapps.evaluation import closing
from kapps.evaluation.explanation import measure_classifier
from kapps.evaluation.images.labels import explain_labels
from kapps.evaluation.label_errors import Judged, issue_rows
from training import small

KEYS = {"split", "row", "label", "suggested", "probability_of_label", "probability_of_suggested"}


def history(epochs=4):
    names = ("loss", "train_loss", "val_loss")
    rows = [{name: 1.0 / (e + 1) for name in names} for e in range(epochs)]
    accuracies = dict.fromkeys(("accuracy", "train_accuracy", "val_accuracy"), 0.9)
    return [{"epoch": e + 1, **row, **accuracies} for e, row in enumerate(rows)]


def explained():
    return evaluation.Explanation({}, evaluation.Judgement("healthy", "Fine."), [], [])


def sure(true, classes=2, logit=5.0):
    """Logits of a network that knows what is true."""
    return logit * np.eye(classes, dtype=np.float32)[np.asarray(true, int)]


def test_rows_by_hand():
    """One of six labels is wrong in each split."""
    labels = np.array([0, 0, 0, 1, 1, 1])
    true = np.array([1, 0, 0, 1, 1, 1])
    parts = {
        "validation": Judged(labels, sure(true), lambda row: {"row": 10 + row}),
        "test": Judged(labels, sure(true), lambda row: {"row": 20 + row}),
    }
    rows = issue_rows(parts, ("cat", "dog"), temperature=1.0)
    assert [(row["split"], row["row"]) for row in rows] == [("validation", 10), ("test", 20)]
    assert set(rows[0]) == KEYS and (rows[0]["label"], rows[0]["suggested"]) == ("cat", "dog")
    assert rows[1]["probability_of_suggested"] == pytest.approx(1 / (1 + np.exp(-5)), abs=1e-6)
    cooled = issue_rows(parts, ("cat", "dog"), temperature=2.0)
    assert cooled[1]["probability_of_suggested"] == pytest.approx(1 / (1 + np.exp(-2.5)), abs=1e-6)
    assert issue_rows({}, ()) == []


def wrong_in(rows):
    return {(row["split"], row["row"]) for row in rows}


def test_of_series(tmp_path):
    rng = np.random.default_rng(0)
    true = np.arange(200) % 2
    x = rng.normal(size=(200, 5, 1)) + 3 * (2 * true - 1)[:, None, None]
    np.savez(tmp_path / "a.npz", x_train=x, y_train=true)
    series = data.load_sequences(f"npz:{tmp_path / 'a.npz'}", validation_fraction=0.3)
    for name in ("validation", "test"):
        labels = series.splits[name].labels
        labels[3] = 1 - labels[3]

    class Model:
        def predict(self, x, **_):
            return sure((x[:, :, 0].mean(axis=1) > 0).astype(int))

    found = evaluation.explain_sequences(Model(), series, history())
    assert wrong_in(found.label_issues) == {("validation", 3), ("test", 3)}
    assert found.metrics["label_issues"] == 2 and "2 labels" in found.notes[0]
    titles = [title for title, _, _ in found.tables]
    assert "Likely label errors, the surest" in titles
    np.testing.assert_array_equal(found.test_labels, series.splits["test"].labels)


def test_of_texts():
    texts = np.array([f"{word} {i}" for i in range(60) for word in ("cat", "dog")], object)
    true = np.array([text.startswith("dog") for text in texts], np.int32)
    given = true.copy()
    given[[7, 100]] = 1 - given[[7, 100]]
    parts = {"train": range(60), "validation": range(60), "test": range(60, 120)}
    splits = {
        name: DocumentSplit(texts[list(rows)], given[list(rows)], np.array(rows, int))
        for name, rows in parts.items()
    }
    documents = DocumentData("csv:x", ("cat", "dog"), splits, "")

    def model(words, training):
        return tf.constant(sure([word.numpy().startswith(b"dog") for word in words]))

    found = evaluation.explain_documents(model, documents, history())
    assert wrong_in(found.label_issues) == {("validation", 8), ("test", 101)}  # lines, from 1
    assert {row["text"] for row in found.label_issues} == {texts[7], texts[100]}
    (worst,) = [rows for title, _, rows in found.tables if title == "Worst mistakes"]
    assert [row[0] for row in worst] == [texts[100]]  # the other answers are right
    assert found.test_labels is not None


def test_of_several_labels():
    """Each label by itself: a picture that should have it, and one that should not."""
    rng = np.random.default_rng(0)
    true = rng.random((80, 2)) < 0.5
    given = true.astype(np.float32)
    given[5, 0], given[9, 1] = 1 - given[5, 0], 1 - given[9, 1]
    held = tf.constant(np.repeat(true.astype(np.uint8) * 200, 4, axis=1)[:, None, :, None])
    split = data.Split(given, lambda rows: tf.gather(held, rows))
    splits = dict.fromkeys(("train", "validation", "test"), split)
    images = data.ImageData("npz:x", ("a", "b"), (1, 8, 1), splits, "", kind="labels")

    class Model:
        def predict(self, batches, **_):
            pictures = np.concatenate([batch.numpy() for batch in batches])
            return np.where(pictures[:, 0, ::4, 0] > 0, 5.0, -5.0)

    found = explain_labels(Model(), images, history())
    rows = {(row["split"], row["row"], row["suggested"]) for row in found.label_issues}
    expected = {(split, 5, "a" if true[5, 0] else "no a") for split in ("validation", "test")} | {
        (split, 9, "b" if true[9, 1] else "no b") for split in ("validation", "test")
    }
    assert rows == expected and found.metrics["label_issues"] == 4
    assert found.metrics["test_macro_f1_low"] < found.metrics["test_macro_f1"]
    assert "95 % interval" in found.headline


def test_a_run_keeps_them_and_what_was_said(tmp_path):
    """What an earlier winner has left goes."""
    row = {"split": "test", "row": 3, "label": "a", "suggested": "b"}
    both = {"test_logits": sure(np.array([0, 1])), "test_labels": np.array([0, 0])}
    told = dataclasses.replace(explained(), label_issues=[row], **both)
    with training.open_run("small", small.Config(str(tmp_path / "run"))) as run:
        closing.keep_rows(run, told)
        kept = list(csv.DictReader((run.path / "label_issues.csv").read_text().splitlines()))
        assert kept == [{name: str(value) for name, value in row.items()}]
        with np.load(run.path / "predictions.npz") as arrays:
            assert arrays["said"].tolist() == [0, 1] and arrays["labels"].tolist() == [0, 0]
        closing.keep_rows(run, explained())
        assert not (run.path / "label_issues.csv").exists()


def test_the_calibration_error_stands_beside_that_of_chance():
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=3, size=(360, 10))
    labels = logits.argmax(axis=-1)
    _, metrics = measure_classifier(labels, logits, [str(i) for i in range(10)], 2.0)
    found = evaluation.calibration(labels, logits, 2.0)
    assert metrics["test_ece"] == found.ece != metrics["test_ece_before_temperature"]
    assert metrics["test_ece_if_calibrated"] == found.ece_if_calibrated > 0
    assert metrics["test_ece_if_calibrated_high"] > metrics["test_ece_if_calibrated"]
    assert metrics["test_loss_after_temperature"] == found.loss
    assert metrics["test_loss"] == pytest.approx(found.loss_before)
    said = evaluation.accuracy_headline(metrics, "images")
    assert f"by chance alone {found.ece_if_calibrated:.2%}" in said
