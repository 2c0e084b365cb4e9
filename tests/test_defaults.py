"""benchmarks/defaults.py: how a row is judged, and that its table knows the defaults of today."""

import dataclasses
import importlib
import json
import math

import numpy as np
import pytest

from benchmarks import defaults, small_data, small_rows
from benchmarks.searches import SEARCHES, START, Search
from kapps import training

TOY = Search("vae", data=("mnist", "letters"), tried={"batch 32": {"batch_size": 32}})


def row(data, seed, value, **settings):
    return {"recipe": "vae", "data": data, "seed": seed, "value": value, "settings": settings}


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    monkeypatch.setattr(defaults, "RESULTS", tmp_path / "defaults.json")
    monkeypatch.setattr(small_data, "WHERE", tmp_path)

    def write(*rows):
        for each in rows:
            defaults.keep(each)

    return write


def test_gains_are_of_the_same_seed_and_in_percent_where_low_is_good(trainings):
    trainings(
        *(row("mnist", seed, value, batch_size=64) for seed, value in enumerate((100.0, 200.0))),
        *(row("mnist", seed, value, batch_size=32) for seed, value in enumerate((90.0, 190.0))),
        row("letters", 0, 50.0, batch_size=64),
        row("letters", 0, 55.0, batch_size=32),
        row("letters", 1, 1.0, batch_size=32),  # there is no start of this seed
    )
    found = defaults.gains(TOY, "batch 32")
    assert found == {
        "mnist": [pytest.approx(10), pytest.approx(5)],
        "letters": [pytest.approx(-10)],
    }
    high = dataclasses.replace(TOY, figure="val_accuracy:max")
    assert defaults.gains(high, "batch 32")["letters"] == [500.0]  # points


def test_a_default_that_changes_does_not_change_what_was_trained(trainings):
    changed = dataclasses.replace(TOY, start={"batch_size": 16})  # today it is 64
    trainings(row("mnist", 0, 1.0, batch_size=16), row("mnist", 0, 2.0, batch_size=32))
    assert defaults.values(changed, START, "mnist") == {0: 1.0}
    assert defaults.values(changed, "batch 32", "mnist") == {0: 2.0}
    assert defaults.values(TOY, START, "mnist") == {}
    fixed = dataclasses.replace(TOY, fixed={"epochs": 3})
    assert defaults.values(fixed, "batch 32", "mnist") == {}
    assert not changed.is_default(START) and TOY.is_default(START)
    # A row of a field that nobody varied then: it had its default.
    wider = dataclasses.replace(changed, tried={**TOY.tried, "latents 8": {"latent_dim": 8}})
    assert defaults.values(wider, "batch 32", "mnist") == {0: 2.0}
    assert defaults.values(wider, "latents 8", "mnist") == {}


def test_the_error_of_a_mean_gain_by_hand():
    gained = {"a": [1.0, 3.0], "b": [5.0, 5.0, 5.0, 5.0]}
    # Variance of seeds: (2 + 0) / 2 = 1. Means of 2 and of 4: variances 1/2 and 1/4; of their mean
    # (1/2 + 1/4) / 4.
    assert defaults.spread(gained) == pytest.approx(math.sqrt(3 / 16))
    assert math.isnan(defaults.spread({"a": [1.0], "b": [2.0]}))
    # The two seeds of one data set say nothing of what another one's would do.
    assert math.isnan(defaults.spread({"a": [1.0, 3.0], "b": [2.0]}))
    assert math.isnan(defaults.spread({"a": [1.0, 3.0], "b": []}))


@pytest.mark.parametrize(
    ("gained", "words"),
    [
        ({"a": [1.0, 1.2], "b": [2.0, 2.2]}, "better"),
        ({"a": [-1.0, -1.2], "b": [-2.0, -2.2]}, "worse"),
        ({"a": [1.0, -1.0], "b": [2.0, -1.0]}, "no difference seen"),
        ({"a": [1.0], "b": [2.0]}, "better, one seed"),
        ({"a": [1.0], "b": [-2.0]}, "mixed, one seed"),
        ({"a": [1.0, 1.2], "b": [2.0]}, "better, one seed"),
        ({"a": [1.0, 1.2], "b": [-2.0]}, "mixed, one seed"),
    ],
)
def test_better_is_beyond_what_seeds_do(gained, words):
    assert defaults.judged(gained) == words


def test_what_is_there_is_not_trained_again(trainings):
    trainings(row("mnist", 0, 1.0, batch_size=64))
    found = [*defaults.missing(TOY, 1)]
    assert found == [("batch 32", "mnist", 0), (START, "letters", 0), ("batch 32", "letters", 0)]
    assert [*defaults.missing(TOY, 1, data=["mnist"])] == found[:1]
    with pytest.raises(SystemExit, match="no batch 31"):
        list(defaults.missing(TOY, 1, ["batch 31"]))


def test_a_table_ranks_and_marks_the_default(trainings):
    trainings(*(row(data, 0, 2.0, batch_size=64) for data in TOY.data))
    trainings(*(row(data, 0, 1.0, batch_size=32) for data in TOY.data))
    lines = defaults.table("vae", TOY).splitlines()
    assert lines[-2:] == [
        f"| **{START}** | 2 | 2 | 2.0 |  | 1 |  |",
        "| batch 32 | 1 | 1 | 1.0 | +50.00 | 1 | better, one seed |",
    ]


def test_a_figure_is_of_the_seeds_that_all_rows_have_on_its_data_set(trainings):
    """As a second seed of two rows of three on one data set, on which everything is harder."""
    three = dataclasses.replace(TOY, tried={**TOY.tried, "batch 8": {"batch_size": 8}})
    for size, value in ((64, 2.0), (32, 1.0), (8, 4.0)):
        trainings(*(row(data, 0, value, batch_size=size) for data in TOY.data))
    trainings(*(row("mnist", 1, 10.0 * size, batch_size=size) for size in (64, 32)))
    assert defaults.table("vae", three).splitlines()[-3:] == [
        f"| **{START}** | 2 | 2 | 2.0 |  | 1 |  |",
        "| batch 32 | 1 | 1 | 1.0 | +50.00 | 1 | better, one seed |",
        "| batch 8 | 4 | 4 | 3.0 | -100.00 | 1 | worse, one seed |",
    ]
    trainings(row("mnist", 1, 40.0, batch_size=8))
    lines = defaults.table("vae", three).splitlines()
    assert [line.split(" | ")[1] for line in lines[-3:]] == ["321", "160.5", "22"]
    trainings(*(row("letters", 1, 2.0 * size, batch_size=size) for size in (64, 32)))
    assert "| +50.00 ± 0.00 | 2 | better |" in defaults.table("vae", three)


@pytest.mark.parametrize("title", SEARCHES)
def test_searches_are_of_flags_that_go_together_on_data_that_are_not_reported_on(title):
    search = SEARCHES[title]
    module = importlib.import_module(f"recipes.{search.recipe}")
    assert len(search.data) >= 3 and not {"digits", "fashion_mnist", "sine", "xor"} & {*search.data}
    for name in (START, *search.tried):
        fields = {**search.start, **search.fixed, **search.tried.get(name, {})}
        config = module.Config(dataset=search.data[0], **fields)
        training.check(config, names=(config.dataset,))
    of_rows = [json.dumps(search.fields(name, "")) for name in (START, *search.tried)]
    assert len({*of_rows}) == len(of_rows)
    # Who changes a default says by which search: START is what it was, a row what it is.
    assert any(search.is_default(name) for name in (START, *search.tried)), f"{title}: which row?"


def test_emoji_of_one_code_point_and_their_groups():
    table = """# group: Smileys & Emotion
1F600                ; fully-qualified     # x
263A FE0F            ; fully-qualified     # x
263A                 ; unqualified         # x
1F636 200D 1F32B FE0F ; fully-qualified    # x
# group: Flags
1F3C1                ; fully-qualified     # x
"""
    found = [*small_data.emoji_groups(table)]
    assert found == [("\U0001f600", "Smileys & Emotion"), ("☺", "Smileys & Emotion")]


def test_a_test_split_of_arrays(tmp_path):
    path = tmp_path / "x.npz"
    small_data.write(path, np.arange(10), np.arange(10), np.arange(10) >= 0, part=0.2)
    with np.load(path) as found:
        assert sorted(found["x_train"]) == [*range(8)] and [*found["x_test"]] == [8, 9]
        assert [*found["y_train"]] == [*found["x_train"]]


def test_quips_lie_between_percent_signs(tmp_path):
    (tmp_path / "wit").write_text(
        "One that is\nlong enough.\n%\nshort\n%%\nOne that is long enough."
    )
    (tmp_path / "wit.dat").write_text("an index of another program")
    assert small_rows.quips(tmp_path) == {"wit": ["One that is long enough."]}


def test_series_of_other_lengths_become_means_of_their_steps(monkeypatch):
    monkeypatch.setattr(small_rows, "STEPS", 2)
    assert small_rows._resampled(np.array([[1.0], [3], [5], [7]])).tolist() == [[2.0], [6.0]]
