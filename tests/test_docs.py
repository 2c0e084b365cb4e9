"""Pages of the site: commands parse, links lead somewhere, code and figures are those there are."""

import ast
import functools
import importlib
import json
import os
import pathlib
import re
import sys
import types

import numpy as np
import pytest

import pages
import programs
from benchmarks import generative_table, page as benchmarks_page
from docs import hooks, make_gallery
from kapps import cli, models, training

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted(
    [*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]
)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PACKAGES = ("blocks", "data", "evaluation", "evaluation/plots", "layers", "losses", "models")
PACKAGES = tuple(f"kapps/{name}" for name in (*PACKAGES, "serving", "training", "tuning"))


def name_of(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """Files in the places of those that a reader has."""
    folder = tmp_path_factory.mktemp("stand_ins")
    texts = {
        "FILE.csv": "a,COLUMN,series,label\n1,2,1,a\n3,4,2,b\n",
        "BOOK.txt": "any text",
        "kjv.txt": "any text",
        "NAME_TRAIN.ts": "@data\n",
        "NAME_TEST.ts": "@data\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    np.savez(folder / "FILE.npz", x_train=np.zeros((2, 3)), y_train=[0, 1])
    texts["FILE.npz"] = ""
    # CONTRIBUTING shows how a model of this name is made.
    return {
        "folder:PATH": "digits",
        "tfrecord:PATTERN": "digits",
        "webdataset:PATTERN": "digits",
        "allconv": "cnn",
        **{name: str(folder / name) for name in texts},
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_command_parses(path, stand_ins, monkeypatch):
    parse = cli.command_line.parse
    nothing = types.SimpleNamespace(run=lambda: None)
    monkeypatch.setattr(  # a config made of values goes on to the check of its recipe
        cli.command_line,
        "parse",
        lambda *given, **named: parse(*given, **named) if named else parse(*given) and nothing,
    )
    for words in pages.commands(path.read_text()):
        for name, stand_in in stand_ins.items():
            words = [word.replace(name, stand_in) for word in words]
        if words[0] == "train" and len(words) > 1 and words[1] not in ("RECIPE", "NAME"):
            check_recipe(words[1], [word for word in words[2:] if word != "--help"])
        elif words[0] != "train":
            cli.main(words)


def check_recipe(name: str, flags: list[str]) -> None:
    recipe = importlib.import_module(f"recipes.{name}")
    if name == "text_classifier":  # a folder of texts
        flags = [flag.replace("digits", "python_docstrings") for flag in flags]
    config = cli.command_line.parse(recipe.Config, argv=flags)
    if flags == ["--padding", "valid", "--strides", "2"]:
        return  # is refused, says its page; by the geometry, when the data are known
    getattr(recipe, "check", training.check)(config)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_lead_somewhere(path):
    assert not pages.broken_links(path)


def test_every_page_is_in_the_menu():
    menu = set(re.findall(r"^\s+- (?:.+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    assert menu == {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}


def test_code_on_the_pages_is_there_and_short():
    """A name that has gone stops the build; a page shows some twenty lines, not a module."""
    for path in (ROOT / "docs").rglob("*.md"):
        text = path.read_text()
        made = hooks.on_page_markdown(text)
        assert "{{" not in made, path
        for block in re.findall(r"```python title=.*?\n(.*?)```", made, re.S):
            assert len(block.splitlines()) <= 60, path
            ast.parse(block)


def test_code_is_taken_without_its_docstring_and_dedented(tmp_path, monkeypatch):
    method = ["    @property", "    def f(self):", "        'More.'", "        return 1"]
    (tmp_path / "a.py").write_text("\n".join(["class A:", "    'Words.'", "", *method]))
    monkeypatch.setattr(hooks, "ROOT", tmp_path)
    assert hooks.source("a.py", "A.f") == "@property\ndef f(self):\n    return 1"
    with pytest.raises(KeyError, match="no A.g"):
        hooks.source("a.py", "A.g")


def test_formulas_become_mathml():
    made = hooks.on_page_content(r'<p><span class="arithmatex">\(x_1 &lt; 2\)</span></p>')
    assert made.startswith("<p><math") and "<mi>x</mi>" in made and "arithmatex" not in made


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "docs/course").glob("[!i]*.md")])
def test_each_part_of_the_course_has_all_its_parts(name):
    text = (ROOT / "docs/course" / f"{name}.md").read_text()
    headings = ("## The idea", "## The code", "## Run it", "## What goes wrong", "## Exercise")
    places = [text.find(heading) for heading in headings]
    assert -1 not in places and places == sorted(places)
    assert "$$" in text and "{{ source(" in text and "![" in text and '??? success "Answer"' in text
    assert pages.commands(text)


def test_the_benchmarks_are_what_the_results_say():
    made = generative_table.table()
    assert (ROOT / "benchmarks/results/generative.md").read_text() == made
    assert (ROOT / "docs/benchmarks.md").read_text() == benchmarks_page.page()
    assert made in benchmarks_page.page()


def test_every_model_is_listed_and_every_listed_model_exists():
    text = (ROOT / "docs/recipes.md").read_text()
    (table,) = re.findall(r"^\| `--model` .*?\n\n", text, re.S | re.M)
    first_column = [row.split("|")[1] for row in table.splitlines()[2:] if row]
    listed = set(re.findall(r"`([a-z0-9_]+)`", " ".join(first_column)))
    assert listed == set(models.classifier_names())


def test_every_recipe_is_in_the_table_of_recipes():
    text = (ROOT / "docs/recipes.md").read_text()
    assert {words[1] for words in pages.commands(text) if words[0] == "train"} >= set(
        pages.recipe_names()
    )


def test_the_gallery_is_what_its_table_says_and_small():
    assert (ROOT / "docs/gallery.md").read_text() == make_gallery.page()
    named = {here for _, pictures in make_gallery.RUNS.values() for here, _, _ in pictures}
    there = {path.stem: path.stat().st_size for path in (ROOT / "docs/gallery").glob("*.webp")}
    assert set(there) == named and len(named) >= 24
    assert sum(there.values()) < 3e6 and max(there.values()) < 2e5


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_docstring(package):
    """So does every public method of a public class, but those that Keras documents."""
    lacking = []
    for name, dotted in hooks.public_names(package).items():
        node = definition(dotted)
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue  # a constant
        if not ast.get_docstring(node):
            lacking.append(name)
        if isinstance(node, ast.ClassDef):
            lacking += [
                f"{name}.{method.name}"
                for method in node.body
                if isinstance(method, ast.FunctionDef)
                and not method.name.startswith("_")
                and not ast.get_docstring(method)
                and not overrides(method)
            ]
    assert not lacking


# Methods that Keras calls and documents.
OF_KERAS = {"build", "call", "compute_mask", "compute_output_shape", "compute_output_spec"}
OF_KERAS |= {"compile", "compile_from_config", "from_config", "get_config", "metrics", "test_step"}
OF_KERAS |= {"get_compile_config", "input_shape", "output_shape", "update_step"}


def overrides(method: ast.FunctionDef) -> bool:
    return method.name in OF_KERAS or method.name.startswith("on_")


@functools.cache
def definition(dotted: str) -> ast.AST | None:
    """Where a name is defined, followed through what a package imports."""
    path = ROOT / dotted.replace(".", "/")
    for module in (path.with_suffix(".py"), path / "__init__.py"):
        if module.exists():
            return ast.parse(module.read_text())
    parent, _, name = dotted.rpartition(".")
    tree = definition(parent)
    for node in reversed(getattr(tree, "body", ())):  # overloads stand before their function
        if getattr(node, "name", None) == name:
            return node
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return definition(f"{node.module}.{alias.name}")
    return None


def test_there_are_three_notebooks_with_their_pictures():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text())["cells"]
        outputs = [each for cell in cells for each in cell.get("outputs", ())]
        assert outputs and not [each for each in outputs if each["output_type"] == "error"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebooks_run(path, tmp_path):
    cells = json.loads(path.read_text())["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    script = tmp_path / "notebook.py"
    script.write_text(code)
    done = programs.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT)},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
