"""The README is short, its example runs, and its commands and figures are those of the code."""

import json
import pathlib
import re

import pytest

import pages

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_it_is_read_in_two_minutes():
    assert len(README.split()) <= 750


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    accuracy, version = capsys.readouterr().out.split()[-2:]
    assert float(accuracy) > 0.9
    assert (tmp_path / version / "saved_model.pb").exists()


def test_each_of_the_two_commands_stands_alone():
    """It makes the environment, installs, and says which command of that environment to run."""
    lines = [line.strip() for line in README.splitlines() if "python3 -m venv" in line]
    assert len(lines) == 2
    for line in lines:
        steps = line.split(" && ")
        assert steps[0] == "python3 -m venv .venv"
        assert all(step.startswith(".venv/bin/") for step in steps[1:])
        assert any("pip install" in step and "-qqe" in step for step in steps)
    assert lines[0].endswith("/kapps train image_classifier")
    assert '/pytest -m "not slow"' in lines[1] and "'.[dev]'" in lines[1]


def test_every_recipe_is_in_the_table():
    shown = {words[1] for words in pages.commands(README) if words[0] == "train"}
    assert shown == set(pages.recipe_names())


def test_figures_of_fashion_mnist_are_those_of_the_results():
    """The command stands in a file of results, and what is measured rounds to what is in bold."""
    results = [
        json.loads(path.read_text()) for path in (ROOT / "benchmarks/results").glob("*.json")
    ]
    known = {
        " ".join(sorted(pages.commands(f"    {each['command']}")[0])): each["metrics"]
        for each in results
        if each.get("command", "").startswith("python recipes/")
    }
    clock = json.loads((ROOT / "benchmarks/results/fast_clock.json").read_text())
    for row in clock["rows"]:
        words = f"train image_classifier --dataset {clock['dataset']} {row['flags']}".split()
        known[" ".join(sorted(words))] = row
    rows = re.findall(
        r"^\|[^|]*\| `(kapps train .*fashion_mnist.*?)` \| .*?\*\*([0-9.]+)", README, re.M
    )
    assert len(rows) == 3
    for command, shown in rows:
        metrics = known[" ".join(sorted(command.split()[1:]))]
        figures = [value for value in metrics.values() if isinstance(value, float)]
        digits = len(shown.partition(".")[2])
        assert shown in {f"{scale * figure:.{digits}f}" for figure in figures for scale in (1, 100)}


def test_the_gan_is_compared_with_one_that_was_trained_as_many_epochs():
    found = re.search(r"gan .*--epochs 2` .*DCGAN: ([0-9.]+)\), after two epochs each", README)
    path = ROOT / "benchmarks/results/gan_dcgan_seed0.json"
    assert found and found[1] == f"{json.loads(path.read_text())['epochs'][1]['test_frechet']:.2f}"


def test_links_and_pictures_are_there():
    assert not pages.broken_links(ROOT / "README.md")
