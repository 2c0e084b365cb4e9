"""`kapps recipes`, `kapps train` and `kapps launch`: scripts that come with kapps, and running one.

What follows a recipe's name belongs to the recipe: `cli.main` hands it on as it is.
"""

import ast
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg, subcommand

from kapps import files, invocation
from kapps.cli import console
from kapps.errors import UserError


@dataclass(frozen=True)
class Train:
    """Run a recipe: kapps train vae --epochs 5; kapps train vae --help shows its flags."""

    recipe: Positional[str]
    """One of those that `kapps recipes` lists."""
    flags: Annotated[Positional[tuple[str, ...]], arg(metavar="FLAGS...", help_behavior_hint="")]
    """The recipe's own."""

    def run(self) -> None:
        """Does what the recipe's script does, and ends as that does."""
        if self.recipe.startswith("-"):
            raise UserError(f"the recipe comes first: kapps train RECIPE {self.recipe} ...")
        run_recipe(self.recipe, self.flags)


@dataclass(frozen=True)
class List:
    """The recipes, one line each."""

    def run(self) -> None:
        """Writes the list."""
        width = max(map(len, names()))
        for name in names():
            console.write(f"{name:<{width}}  {first_line(path_of(name))}")


@dataclass(frozen=True)
class Copy:
    """A recipe as a script of your own."""

    recipe: Positional[str]
    """One of those that `kapps recipes` lists."""
    path: Positional[Path | None] = None
    """The new file, or a directory for it; default: RECIPE.py in this directory."""

    def run(self) -> None:
        """Writes the file, and says how to run it."""
        source = path_of(self.recipe)
        target = self.path or Path(source.name)
        if target.is_dir():
            target = target / source.name
        if target.suffix != ".py":
            raise UserError(f"{target}: a script's name ends in .py")
        console.check_directory(target.parent)
        if target.exists():
            raise UserError(f"{target} exists already: give another path")
        text = source.read_text(encoding="utf-8")
        text = text.replace(f"python recipes/{source.name}", f"python {target.name}")
        files.write_text(target, text)
        console.write(f"{target}; run it: {invocation.python()} {target}")


@dataclass(frozen=True)
class Recipes:
    """List the recipes, or copy one."""

    command: Annotated[List, subcommand("list")] | Annotated[Copy, subcommand("copy")] = List()

    def run(self) -> None:
        """Runs the command that was given, `list` if none was."""
        self.command.run()


@dataclass(frozen=True)
class Launch:
    """Run a command as several workers here: kapps launch --workers 2 -- kapps train gan."""

    command: Annotated[Positional[tuple[str, ...]], arg(metavar="COMMAND...")]
    """The program and its arguments, after `--`."""
    workers: int = 2
    """How many."""

    def run(self) -> None:
        """Writes the lines of all workers, and ends with the exit code of the first that failed."""
        from kapps.launch import launch

        raise SystemExit(launch(self.command, self.workers))


def names() -> list[str]:
    """The names of all recipes."""
    found = invocation.recipes_directory().glob("[!_]*.py")
    return sorted(path.stem for path in found)


def path_of(name: str) -> Path:
    """The file of a recipe.

    Raises:
        UserError: there is none of that name.
    """
    if name not in names():
        raise UserError(f"there is no recipe {name!r}; there are {', '.join(names())}")
    return invocation.recipes_directory() / f"{name}.py"


def first_line(path: Path) -> str:
    """What a recipe says of itself, read without importing it."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].rstrip(".")


def run_recipe(name: str, flags: Sequence[str]) -> None:
    """Run a recipe as its script runs: as `__main__`, with these flags.

    A search starts its workers from there, as it does under `python -m`.

    Raises:
        UserError: there is none of that name.
        SystemExit: as the recipe ends.
    """
    path, argv = path_of(name), sys.argv
    sys.argv = [str(path), *flags]
    try:
        if importlib.util.find_spec("kapps.recipes") is not None:
            runpy.run_module(f"kapps.recipes.{name}", run_name="__main__", alter_sys=True)
        else:  # a checkout that is on the path and not installed
            runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = argv
