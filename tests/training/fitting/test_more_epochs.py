"""A finished run that is trained longer, and a run that begins with the weights of another."""

import csv
import dataclasses
import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

from kapps import data, training
from kapps.command_line import call
from kapps.errors import UserError
from kapps.training import setup
from kapps.training.fitting import warm_start
from recipes import image_classifier, tabular
from recipes.image_classifier import Config

pytestmark = pytest.mark.slow


class Stop(Exception):
    """Ends a training in the middle, as a crash does."""


class Crash(keras.callbacks.Callback):
    def __init__(self, step):
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Stop


def config_of(root, **changes):
    known = dict(model="mlp", epochs=2, dropout=0.2, peers=False, augment=True)
    places = dict(run_dir=str(root / "run"), export_dir=str(root / "served"))
    return Config(**{**known, **places, **changes})


def rows_of(root):
    return list(csv.DictReader((root / "run/metrics.csv").read_text().splitlines()))


def weights_of(root):
    return keras.models.load_model(root / "run/model.keras").get_weights()


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """Two epochs, then two more."""
    root = tmp_path_factory.mktemp("longer")
    call(image_classifier, config_of(root))
    shutil.copytree(root / "run", root / "first")
    first = rows_of(root)
    return root, first, call(image_classifier, config_of(root, more_epochs=2))


def test_more_epochs_follow_those_of_the_run(longer):
    root, first, metrics = longer
    rows = rows_of(root)
    assert [row["epoch"] for row in rows] == list("1234")
    assert [row["phase"] for row in rows] == list("1122")
    for before, after in zip(first, rows, strict=False):
        assert before.items() <= {**after, "epoch": before["epoch"]}.items()
    assert metrics["more_epochs"] == 2 and float(rows[3]["loss"]) < float(rows[1]["loss"])
    accuracies = [float(row["val_accuracy"]) for row in rows]
    assert accuracies[metrics["best_epoch"] - 1] == max(accuracies)
    assert sorted(p.name for p in (root / "served").iterdir()) == ["1", "2"]
    assert metrics["exported"].endswith("2")


def test_the_same_command_again_shows_the_result(longer):
    root, _, metrics = longer
    stamp = (root / "run/metrics.json").stat().st_mtime_ns
    for more in (2, 1, 0):  # so many it has had
        assert call(image_classifier, config_of(root, more_epochs=more)) == metrics
    assert (root / "run/metrics.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("step", [3, 30])
def test_killed_in_its_further_epochs_it_ends_with_the_same_bits(longer, tmp_path, step):
    shutil.copytree(longer[0] / "first", tmp_path / "run")
    patch, usual, crash = pytest.MonkeyPatch(), setup.callbacks, Crash(step)
    patch.setattr(setup, "callbacks", lambda *arguments: [*usual(*arguments), crash])
    with pytest.raises(Stop):
        call(image_classifier, config_of(tmp_path, more_epochs=2))
    patch.undo()
    before = json.loads((tmp_path / "run/metrics.json").read_text())
    assert "more_epochs" not in before  # the first result stands until there is another
    call(image_classifier, config_of(tmp_path, more_epochs=2, export=False))
    files = [(root / "run/metrics.csv").read_bytes() for root in (tmp_path, longer[0])]
    assert files[0] == files[1]
    for one, other in zip(weights_of(tmp_path), weights_of(longer[0]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_and_still_more(longer, tmp_path):
    shutil.copytree(longer[0] / "first", tmp_path / "run")
    for more, count in ((1, 3), (3, 5)):
        config = config_of(tmp_path, more_epochs=more, export=False)
        metrics = call(image_classifier, config)
        assert len(rows_of(tmp_path)) == count and metrics["more_epochs"] == more
    facts = json.loads((tmp_path / "run/config.json").read_text())
    assert facts["more_epochs"] == [1, 2]


def test_batches_go_on_where_they_stopped():
    split = data.load("digits").splits["train"]
    train = data.TrainingBatches(split, 500, prepare=lambda x, y, seed: (x, y, seed))
    after = training.later(train, 3)
    assert (after.steps, after.batch_size) == (train.steps, 500)
    for one, other in zip(after.dataset(0, 1, 1), train.dataset(3, 4, 1), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_refusal_for_more_epochs_says_how_to_go_on(longer):
    root, _, _ = longer
    with pytest.raises(UserError) as refused:
        call(image_classifier, config_of(root, epochs=5))
    for words in ("epochs (was 2, now 5)", "--epochs 2 --more-epochs 3", "--start-from"):
        assert words in str(refused.value)
    for changes in ({"epochs": 1}, {"epochs": 5, "dropout": 0.3}):  # no longer training
        with pytest.raises(UserError) as refused:
            call(image_classifier, config_of(root, **changes))
        assert "--more-epochs" not in str(refused.value)


def test_another_directory_says_where_the_shorter_run_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = Config(epochs=2)
    with training.open_run("image_classifier", short) as run:
        run.finish({"test_accuracy": 0.5})
    with training.open_run("image_classifier", Config(epochs=5)) as other:
        assert [note for note in other.notes if "--epochs 2 --more-epochs 3" in note]
    with training.open_run("image_classifier", Config(epochs=5, dropout=0.5)) as other:
        assert not other.notes


def test_a_run_begins_with_the_weights_of_another(longer, tmp_path):
    root, _, _ = longer
    settings = dict(epochs=1, learning_rate=1e-9, export=False)
    config = config_of(tmp_path, start_from=str(root / "run"), **settings)
    metrics = call(image_classifier, config)
    for one, other in zip(weights_of(tmp_path), weights_of(root), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-2)  # statistics of the batches move
    assert metrics["test_accuracy"] > 0.5  # nothing was learned in this run
    facts = json.loads((tmp_path / "run/config.json").read_text())
    assert len(facts["start_from"]["model"]) == 16


def test_of_a_table_the_network_is_taken_and_the_columns_are_its_own(tmp_path):
    places = dict(run_dir=str(tmp_path / "run"), export=False, epochs=2)
    call(tabular, tabular.Config(dataset="wine", **places))
    again = places | {"run_dir": str(tmp_path / "again"), "learning_rate": 1e-9}
    call(tabular, tabular.Config(dataset="wine", start_from=str(tmp_path / "run"), **again))
    one, other = (
        keras.models.load_model(tmp_path / name / "model.keras").get_layer("network")
        for name in ("run", "again")
    )
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def small(classes=4, width=8, name="net"):
    layers = [keras.layers.Dense(width), keras.layers.Dense(classes)]
    return keras.Sequential([keras.Input((3,)), *layers], name=name)


def test_a_last_layer_of_other_classes_begins_anew():
    other, same, fewer = small(), small(), small(classes=3)
    assert not warm_start.take_weights(same, other, "RUN")
    for one, two in zip(same.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    last = fewer.layers[-1].get_weights()
    assert warm_start.take_weights(fewer, other, "RUN")
    np.testing.assert_array_equal(fewer.layers[0].kernel, other.layers[0].kernel)
    np.testing.assert_array_equal(fewer.layers[-1].kernel, last[0])
    named = small()  # as many classes, but others
    assert warm_start.take_weights(named, other, "RUN", same_classes=False)
    assert not np.array_equal(named.layers[-1].kernel, other.layers[-1].kernel)


def test_another_network_is_refused_by_its_first_layer():
    with pytest.raises(UserError, match=r"has the layer .*\(3, 9\).*that one has .*\(3, 8\)"):
        warm_start.take_weights(small(width=9), small(), "RUN")
    deeper = keras.Sequential([keras.Input((3,)), *(keras.layers.Dense(8) for _ in range(3))])
    with pytest.raises(UserError, match="nothing more|another network"):
        warm_start.take_weights(deeper, small(8), "RUN")


def test_the_network_is_found_inside_what_stands_around_it():
    inner = small(name="network")
    x = keras.Input((3,))
    whole = keras.Model(x, keras.layers.Softmax()(inner(x)))
    fresh = small(name="network")
    warm_start.take_weights(fresh, whole, "RUN")
    np.testing.assert_array_equal(fresh.layers[0].kernel, inner.layers[0].kernel)


def test_the_same_data_divided_otherwise_is_noted(longer, tmp_path):
    """Another seed moves the validation split: what it holds, the other run may have seen."""
    root, _, _ = longer
    for seed, said in ((0, False), (1, True)):
        config = config_of(tmp_path, start_from=str(root / "run"), seed=seed)
        config = dataclasses.replace(config, run_dir=str(tmp_path / str(seed)))
        images = data.load("digits", seed=seed)
        with training.open_run("image_classifier", config) as run:
            model = image_classifier.network(config, images)
            training.begin_with(model, config, run, images)
            assert any("split in another way" in note for note in run.notes) == said


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"start_from": "nowhere"}, "nowhere: not a run directory"),
        ({"start_from": "begun"}, "no model yet"),
        ({"more_epochs": 2, "folds": 3}, "--more-epochs continues one run"),
        ({"start_from": "begun", "folds": 3}, "every fold"),
    ],
)
def test_mistakes(tmp_path, monkeypatch, changes, words):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("begun").mkdir()
    pathlib.Path("begun/config.json").write_text("{}")
    with pytest.raises(UserError, match=words):
        image_classifier.check(Config(**changes))
