import json
import sys

import keras_tuner as kt
import pytest

from kapps import tuning
from kapps.errors import UserError

ENTRIES = [
    {"name": "optimizer", "kind": "choice", "values": ["adamw", "sgd"], "default": "sgd"},
    {"name": "rate", "kind": "float", "min": 1e-4, "max": 1, "sampling": "log"},
    {"name": "layers", "kind": "int", "min": 1, "max": 5, "step": 2},
    {"name": "flip", "kind": "bool", "default": True},
    {"name": "seed", "kind": "fixed", "value": 4},
    {
        "name": "decay",
        "kind": "float",
        "min": 0.0,
        "max": 0.1,
        "when": {"optimizer": "adamw"},
    },
    {"name": "masked", "kind": "bool", "when": {"decay": [0.0, 0.05]}},
]


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_json_file_becomes_a_space(tmp_path):
    entries = tuning.read_space(written(tmp_path / "s.json", {"parameters": ENTRIES}))
    hp = kt.HyperParameters()
    found = tuning.declare(hp, entries)
    assert found == {"optimizer": "sgd", "rate": 1e-4, "layers": 1, "flip": True, "seed": 4}
    assert [p.name for p in hp.space] == [e["name"] for e in ENTRIES]
    assert list(hp.space[2].values) == [1, 3, 5]
    hp = kt.HyperParameters()
    hp.values = {"optimizer": "adamw", "decay": 0.05, "masked": True}
    found = tuning.declare(hp, entries)
    assert found["decay"] == 0.05 and found["masked"] is True
    hp = kt.HyperParameters()
    hp.values = {"optimizer": "adamw", "decay": 0.04}
    assert "masked" not in tuning.declare(hp, entries)


def test_toml_says_the_same(tmp_path):
    text = """
[[parameters]]
name = "rate"
kind = "float"
min = 1e-4
max = 1e-1
sampling = "log"
"""
    path = written(tmp_path / "s.toml", text)
    if sys.version_info < (3, 11):
        with pytest.raises(UserError, match="JSON"):
            tuning.read_space(path)
        return
    entry = {"name": "rate", "kind": "float", "min": 1e-4, "max": 0.1, "sampling": "log"}
    assert tuning.read_space(path) == [entry]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "complex"}, "x: kind 'complex'"),
        ({"max": None}, "max None is not a number"),
        ({"min": 2.0}, "min 2.0 has to be below max 1"),
        ({"default": 3}, "outside 0.5 .. 1"),
        ({"sampling": "cubic"}, "linear, log or reverse_log"),
        ({"sampling": "log", "min": 0}, "above 0"),
        ({"step": -1}, "step has to be above 0"),
        ({"steps": 2}, "has no 'steps'"),
        ({"when": {"y": 1}}, "y has to stand before it"),
        ({"when": 3}, "when is a table"),
        ({"when": {"y": 1, "z": 2}}, "one other parameter"),
        ({"kind": "int"}, "min 0.5 is not a whole number"),
        ({"name": 3}, "parameter 1 has no name"),
    ],
)
def test_mistakes_are_named(tmp_path, changes, words):
    entry = {"name": "x", "kind": "float", "min": 0.5, "max": 1} | changes
    with pytest.raises(UserError, match=words):
        tuning.read_space(written(tmp_path / "s.json", [entry]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Expecting"),
        ([], "no parameters"),
        ([{"name": "x", "kind": "float", "min": 1}], "needs max"),
        ([{"name": "x", "kind": "choice", "values": []}], "something in it"),
        ([{"name": "x", "kind": "choice", "values": [1, "a"]}], "all text"),
        ([{"name": "x", "kind": "choice", "values": [1], "default": 2}], "not one of"),
        ([{"name": "x", "kind": "bool"}, {"name": "x", "kind": "bool"}], "there twice"),
        (
            [
                {"name": "a", "kind": "choice", "values": ["p"]},
                {"name": "x", "kind": "bool", "when": {"a": "q"}},
            ],
            "a is never 'q'",
        ),
    ],
)
def test_further_mistakes(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        tuning.read_space(written(tmp_path / "s.json", content))


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        tuning.read_space(tmp_path / "none.toml")
