"""What is wrong with the flags is said before anything is written."""

import importlib
import pathlib
import sys

import pytest

from kapps import command_line, training

RECIPES = sorted(
    path.stem
    for path in pathlib.Path(__file__).parents[1].joinpath("recipes").glob("*.py")
    if path.stem != "__init__"
)
SEARCHES = ("tune", "tune_cnn")


def refused(name, *argv):
    """The message; nothing may be there afterwards, and TensorFlow is not needed."""
    recipe = importlib.import_module(f"kapps.recipes.{name}")
    extra = {"is_done": recipe.is_done} if hasattr(recipe, "is_done") else {}
    if hasattr(recipe, "instead"):
        extra["instead"] = recipe.instead
    with pytest.raises(SystemExit) as ended:
        command_line.run(
            recipe.main, recipe.Config, getattr(recipe, "check", training.check), argv, **extra
        )
    assert ended.value.code == 2
    assert list(pathlib.Path().iterdir()) == []


@pytest.fixture(autouse=True)
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["recipe"])


@pytest.mark.parametrize("name", RECIPES)
def test_an_unknown_flag(name, capsys):
    refused(name, "--no-such-flag", "1")
    assert "no-such-flag" in capsys.readouterr().err


@pytest.mark.parametrize("name", RECIPES)
def test_a_seed_out_of_range(name, capsys):
    refused(name, "--seed", "-1")
    assert "--seed -1" in capsys.readouterr().err


@pytest.mark.parametrize("name", RECIPES)
def test_a_place_for_no_tracker(name, capsys):
    refused(name, "--tracking-uri", "http://127.0.0.1:1")
    assert "--track mlflow" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in ("xor_mlp", "tune")])
def test_a_dataset_that_is_not_there(name, capsys):
    kind = {"tabular": "csv", "char_rnn": "text", "text_classifier": "csv"}.get(name, "npz")
    refused(name, "--dataset", f"{kind}:nowhere/at.all")
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--algorithm", "guessing"), "algorithm"),
        (("--max-trials", "0"), "--max-trials 0"),
        (("--workers", "-1"), "--workers -1"),
    ],
)
def test_a_search_that_cannot_begin(name, flags, words, capsys):
    refused(name, *flags)
    assert words in capsys.readouterr().err
