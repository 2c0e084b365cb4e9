"""What the README shows can be run."""

import pathlib
import re

import tyro

from benchmarks import generative_table
from kapps import models, training
from recipes import (
    autoencoder,
    char_rnn,
    gan,
    image_classifier,
    optimizers,
    perceptron,
    sequence_classifier,
    tabular,
    transfer_learning,
    tune,
    tune_cnn,
    vae,
    vq_vae,
    xor_mlp,
)

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```", README, re.S | re.M)
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    accuracy, version = capsys.readouterr().out.split()[-2:]
    assert float(accuracy) > 0.9
    assert (tmp_path / version / "saved_model.pb").exists()


RECIPES = {
    module.__name__.split(".")[-1]: module
    for module in (
        autoencoder,
        char_rnn,
        gan,
        image_classifier,
        optimizers,
        perceptron,
        sequence_classifier,
        tabular,
        transfer_learning,
        tune,
        tune_cnn,
        vae,
        vq_vae,
        xor_mlp,
    )
}


def test_every_recipe_command_parses(tmp_path):
    (tmp_path / "file.csv").write_text("a,COLUMN\n1,2\n3,4\n")
    (tmp_path / "file.txt").write_text("any text")
    (tmp_path / "NAME_TRAIN.ts").write_text("@data\n")
    files = {
        "folder:PATH": "digits",
        "csv:FILE.csv": f"csv:{tmp_path}/file.csv",
        "text:BOOK.txt": f"text:{tmp_path}/file.txt",
        "ts:NAME_TRAIN.ts": f"ts:{tmp_path}/NAME_TRAIN.ts",
    }
    commands = re.findall(r"python recipes/(\w+)\.py([^`#\n]*)", README)
    assert {name for name, _ in commands} == set(RECIPES)
    for name, flags in commands:
        recipe = RECIPES[name]
        for spec, stand_in in files.items():
            flags = flags.replace(spec, stand_in)
        config = tyro.cli(recipe.Config, args=flags.split())
        getattr(recipe, "check", training.check)(config)


def test_the_table_of_generative_models_is_what_the_results_say():
    made = generative_table.table()
    assert generative_table.in_readme(README) == made
    assert (ROOT / "benchmarks/results/generative.md").read_text() == made


def test_every_recipe_is_shown():
    assert {path.stem for path in (ROOT / "recipes").glob("[!_]*.py")} == set(RECIPES)


def test_every_model_is_listed_and_every_listed_model_exists():
    (table,) = re.findall(r"^\| `--model` .*?\n\n", README, re.S | re.M)
    first_column = [row.split("|")[1] for row in table.splitlines()[2:] if row]
    listed = set(re.findall(r"`([a-z0-9_]+)`", " ".join(first_column)))
    assert listed == set(models.classifier_names())


def test_pictures_are_there():
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / name).exists()
