"""Texts from a table to a published model that is asked again."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from kapps import cli, serving
from kapps.command_line import call
from kapps.errors import UserError
from recipes import text_classifier
from recipes.text_classifier import Config

ABOUT = {
    "cats": "purr whiskers mouse sofa milk".split(),
    "dogs": "bark bone fetch walk lead".split(),
    "fish": "water fin tank bubble algae".split(),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Half of the words say what a text is about."""
    root, rng = tmp_path_factory.mktemp("texts"), np.random.default_rng(0)
    rows = []
    for i in range(240):
        kind = list(ABOUT)[i % 3]
        words = [*rng.choice(ABOUT[kind], 3), *rng.choice(["the", "a", "is", "it", "and"], 3)]
        rows.append(f'"{" ".join(rng.permutation(words))}",{kind}')
    (root / "t.csv").write_text("\n".join(["body,kind", *rows]))
    config = Config(
        dataset=f"csv:{root / 't.csv'}",
        text="body",
        target="kind",
        epochs=6,
        learning_rate=0.02,
        embedding=8,
        units=8,
        class_weights=True,
        run_dir=str(root / "run"),
        export_dir=str(root / "served"),
    )
    return config, call(text_classifier, config)


def test_it_learns_what_words_say_beside_tfidf(finished):
    config, metrics = finished
    assert metrics["test_accuracy"] > 0.9 and metrics["tfidf_linear_accuracy"] > 0.9
    assert metrics["ahead_of_tfidf_linear_low"] <= metrics["ahead_of_tfidf_linear_high"]
    run = pathlib.Path(config.run_dir)
    assert json.loads((run / "metrics.json").read_text()) == metrics
    page = (run / "report.html").read_text()
    assert "TF-IDF" in page and "--text body --target kind" in page
    assert ("Worst mistakes" in page) == (metrics["test_accuracy"] < 1)


def test_the_published_model_gives_the_reported_accuracy(finished, capsys):
    config, metrics = finished
    documents = text_classifier.load(config)
    test = documents.splits["test"]
    signature = tf.saved_model.load(metrics["exported"]).signatures["serving_default"]
    said = signature(text=tf.constant(test.texts.tolist()))["label"].numpy()
    right = [a.decode() == documents.class_names[b] for a, b in zip(said, test.labels, strict=True)]
    assert np.mean(right) == pytest.approx(metrics["test_accuracy"])
    cli.main(["predict", config.export_dir, "the bone and a walk, bark!"])
    assert "dogs" in capsys.readouterr().out


def test_files_are_asked_and_the_run_exports_again(finished, tmp_path, capsys):
    config, _ = finished
    (tmp_path / "a.txt").write_text("water tank fin")
    (tmp_path / "a.csv").write_text("text\npurr milk\nfetch bone\n")
    asked = [str(tmp_path / "a.txt"), str(tmp_path / "a.csv")]
    said = [answer["label"] for answer in serving.ask(config.export_dir, asked)]
    assert said == ["fish", "cats", "dogs"]
    cli.main(["export", config.run_dir, "--export-dir", str(tmp_path / "again")])
    assert (tmp_path / "again/1/saved_model.pb").exists()
    cli.main(["export", config.run_dir, "--format", "onnx"])
    written = pathlib.Path(capsys.readouterr().out.split()[-1])
    assert written.is_file() and written.suffix == ".onnx"


@pytest.mark.parametrize(
    "flags, words",
    [
        ({"dataset": "digits"}, "unknown dataset"),
        ({"text": "body"}, "python_docstrings has none"),
        ({"folds": 1}, "two folds"),
    ],
)
def test_mistakes(flags, words):
    with pytest.raises(UserError, match=words):
        text_classifier.check(Config(**flags))
