"""Imports point down, and what answers --help does not load TensorFlow."""

import ast
import importlib
import importlib.util
import inspect
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# From the ground up. A module imports from its own floor or from floors below.
FLOORS = (
    {"deferred", "errors", "files", "invocation", "processor", "replicas"},
    {"keras_setup"},
    {"layers", "losses"},
    {"blocks"},
    {"data", "models"},
    {"training"},
    {"evaluation"},
    {"serving"},
    {"tuning"},
    {"command_line", "launch"},
    {"cli", "recipes"},
    {"__main__"},
)
RANK = {name: rank for rank, names in enumerate(FLOORS) for name in names}
FAMILIES = {"images", "pretrained", "tables", "series", "text", "generative", "classic"}

SOURCES = sorted([*(ROOT / "kapps").rglob("*.py"), *(ROOT / "recipes").rglob("*.py")])


def part(module: str) -> str | None:
    """The floor a dotted module name belongs to: "kapps.data.spec" -> "data"."""
    names = module.split(".")
    if names[0] == "recipes":
        return "recipes"
    return names[1] if names[0] == "kapps" and len(names) > 1 else None


def imports(tree: ast.AST, package: str) -> set[str]:
    """Dotted names of all that is imported, in functions and under TYPE_CHECKING, too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def names_of(path: pathlib.Path) -> tuple[str, str]:
    """The dotted names of a module and of its package."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return module, module if path.name == "__init__.py" else module.rpartition(".")[0]


def upward_imports(path: pathlib.Path, tree: ast.AST) -> list[str]:
    module, package = names_of(path)
    own = part(module)
    parts = {part(name): name for name in imports(tree, package)}
    return [
        name
        for to, name in parts.items()
        # `from kapps import __version__` and the like name no floor.
        if to is not None and not to.startswith("__") and to != own and RANK[to] >= RANK[own]
    ]


def family(module: str) -> tuple[str, str] | None:
    """Floor and family of a dotted name: "kapps.data.tables.columns" -> ("data", "tables").

    Plots are rooms by family on a floor of their own.
    """
    names = module.removeprefix("kapps.").replace("evaluation.plots.", "plots.").split(".")
    return (names[0], names[1]) if len(names) > 1 and names[1] in FAMILIES else None


def sideways_imports(path: pathlib.Path, tree: ast.AST) -> list[str]:
    """What a family imports from another one of its floor."""
    module, package = names_of(path)
    own = family(module)
    if own is None:
        return []
    return [
        name
        for name in imports(tree, package)
        if (other := family(name)) and other[0] == own[0] and other[1] != own[1]
    ]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    if path == ROOT / "kapps" / "__init__.py":
        return  # lists the modules for lazy loading
    assert upward_imports(path, ast.parse(path.read_text())) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_family_does_not_import_another(path):
    assert sideways_imports(path, ast.parse(path.read_text())) == []


@pytest.mark.parametrize(
    "module, statement, sideways",
    [
        ("kapps/data/series/loading.py", "from kapps.data.images import folder", True),
        ("kapps/data/series/loading.py", "from kapps.data import delimited", False),
        ("kapps/models/text/char_rnn.py", "from kapps.models.series.rnn_fcn import rnn_fcn", True),
        ("kapps/evaluation/text/explain.py", "from kapps.models.text import char_rnn", False),
        ("kapps/data/images/loading.py", "from ..tables import columns", True),
    ],
)
def test_the_rule_of_families(module, statement, sideways):
    assert bool(sideways_imports(ROOT / module, ast.parse(statement))) == sideways


@pytest.mark.parametrize(
    "module, statement, upward",
    [
        ("kapps/blocks.py", "from kapps import models", True),
        ("kapps/blocks.py", "from kapps.layers import BatchNormalization", False),
        ("kapps/data/spec.py", "def f():\n    import kapps.models.images.cnn", True),
        ("kapps/data/spec.py", "from .. import training", True),
        ("kapps/data/spec.py", "from . import split", False),
        ("kapps/data/__init__.py", "from .split import Split", False),
        ("kapps/training/run_directory/run.py", "import recipes.image_classifier", True),
        ("recipes/vae.py", "from kapps import cli, data", True),
        ("recipes/vae.py", "from kapps import data, training", False),
    ],
)
def test_the_rule_itself(module, statement, upward):
    assert bool(upward_imports(ROOT / module, ast.parse(statement))) == upward


def python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.slow
def test_importing_is_cheap():
    heavy = ("tensorflow", "keras", "sklearn", "matplotlib")
    code = (
        "import sys, kapps, kapps.data, kapps.training, kapps.evaluation, kapps.serving, "
        "kapps.models, kapps.cli\n"
        "kapps.models.classifier_names()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert python(code).strip() == "[]"


def test_no_function_is_named_like_its_module():
    """Importing `x.py` sets `x` of its package to the module, over a function of that name."""
    for init in (ROOT / "kapps").glob("*/__init__.py"):
        package = importlib.import_module(f"kapps.{init.parent.name}")
        modules = {path.stem for path in init.parent.glob("*.py")}
        for name in modules & set(getattr(package, "__all__", ())):
            assert inspect.ismodule(getattr(package, name)), f"{package.__name__}.{name}"
