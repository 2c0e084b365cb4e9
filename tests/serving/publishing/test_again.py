"""`kapps publish RUN` says of the training data what the recipe's own version says."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import cli, data, serving
from kapps.serving.publishing.families import family_of
from kapps.serving.savedmodel import input_statistics, out_of_distribution


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture
def run(tmp_path, digits):
    """A finished run of an image classifier."""
    path = tmp_path / "runs" / "one"
    path.mkdir(parents=True)
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    hidden = keras.layers.Dense(8, "relu")(keras.layers.Flatten()(image))
    keras.Model(image, keras.layers.Dense(10)(hidden)).save(path / "model.keras")
    facts = {
        "recipe": "image_classifier",
        "config": {"dataset": "digits", "export_dir": str(tmp_path / "served")},
        "image_shape": [8, 8, 1],
        "data": {"fingerprint": digits.fingerprint, "class_names": list(digits.class_names)},
    }
    (path / "config.json").write_text(json.dumps(facts))
    (path / "metrics.json").write_text(json.dumps({"temperature": 2.0}))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--freeze",)])
def test_the_score_comes_with_an_image_classifier(run, digits, capsys, flags):
    cli.main(["publish", str(run), *flags])
    said = capsys.readouterr()
    version = run.parents[1] / "served" / "1"
    assert said.out == f"{version}\n" and "note" not in said.err
    model = serving.load_model(run / "model.keras")
    wanted = family_of(model, digits).settings(model, digits, 2.0)
    threshold = out_of_distribution.read(version)["threshold"]
    assert threshold == pytest.approx(wanted["detector"].threshold, rel=1e-5)
    assert input_statistics.read(version) == wanted["statistics"]

    images = digits.splits["test"].take(range(5))
    answer = tf.saved_model.load(str(version)).signatures["serving_default"](tf.constant(images))
    features, logits = wanted["detector"].network(tf.cast(images, tf.float32))
    np.testing.assert_allclose(
        answer[out_of_distribution.OUTPUT], wanted["detector"].score(features), rtol=1e-4
    )
    np.testing.assert_allclose(answer["probabilities"], tf.nn.softmax(logits / 2), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["fingerprint", "dataset", "image_shape"])
def test_data_that_is_gone_is_told_in_a_line(run, capsys, missing):
    facts = json.loads((run / "config.json").read_text())
    if missing == "fingerprint":
        facts["data"]["fingerprint"] = "of others"
    else:
        del (facts if missing in facts else facts["config"])[missing]
    (run / "config.json").write_text(json.dumps(facts))
    cli.main(["publish", str(run)])
    version = run.parents[1] / "served" / "1"
    [note] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert note.startswith("note: no out-of-distribution score: ")
    assert not out_of_distribution.read(version) and (version / "saved_model.pb").is_file()


def test_statistics_are_those_of_the_runs_own_version(tmp_path):
    version, run = tmp_path / "served" / "1", tmp_path / "runs" / "one"
    version.mkdir(parents=True)
    statistics = {"x": {"mean": [1.0], "std": [2.0]}}
    input_statistics.write(version, statistics)
    facts = {"exported": str(version)}
    assert serving.statistics_of_published(run, facts) == {}  # nothing says whose it is
    (version / "model_card.md").write_text("Run directory: two\n")
    assert serving.statistics_of_published(run, facts) == {}
    (version / "model_card.md").write_text("A net.\n\nRun directory: one\n")
    assert serving.statistics_of_published(run, facts) == statistics
    shutil.rmtree(version)
    assert serving.statistics_of_published(run, facts) == {}
    assert serving.statistics_of_published(run, {}) == {}
