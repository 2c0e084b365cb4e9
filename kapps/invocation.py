"""The words that run a recipe from where the user is: reports and messages print them.

recipe_command     the Config of a recipe -> `kapps train vae`, `python recipes/vae.py`
localized          a text with those words where it says `python recipes/NAME.py`
python             what starts this Python from the user's shell
recipes_directory  where the recipes of kapps lie
"""

from __future__ import annotations

import importlib.util
import inspect
import pathlib
import re
import shlex
import shutil
import sys


def recipe_command(config_class: type) -> str:
    """What runs the recipe of this Config, quoted for a shell; flags follow.

    A recipe that was started as a script is that script, and so are those beside it (a search
    runs another recipe). A recipe of kapps is `kapps train NAME` everywhere else: under that
    command, under `python -m`, in a notebook.

    Args:
        config_class: the dataclass of its flags, defined in the recipe itself.
    """
    script = _file_of(config_class)
    if script is None:  # typed into a notebook
        return f"{python()} {shlex.quote(sys.argv[0])}"
    started = _started_script()
    as_script = started is not None and started.parent == script.parent
    if script.parent == recipes_directory() and not as_script:
        return f"{_kapps()} train {script.stem}"
    here = pathlib.Path.cwd()
    shown = script.relative_to(here) if script.is_relative_to(here) else script
    return f"{python()} {shlex.quote(str(shown))}"


def localized(text: str, config_class: type) -> str:
    """A text of a recipe, in which `python recipes/NAME.py` are the words that work here."""
    script = _file_of(config_class)
    if script is None:
        return text
    name = re.escape(script.stem)
    return re.sub(rf"python recipes/{name}\.py", lambda _: recipe_command(config_class), text)


def recipes_directory() -> pathlib.Path:
    """Where the recipes of kapps lie: those installed as `kapps.recipes`, or a checkout's."""
    spec = importlib.util.find_spec("kapps.recipes")
    if spec is not None and spec.submodule_search_locations:
        return pathlib.Path(spec.submodule_search_locations[0]).resolve()
    return pathlib.Path(__file__).resolve().parents[1] / "recipes"


def python() -> str:
    """`python` where a shell finds this one by that name, or else its path."""
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and pathlib.Path(found).absolute() == pathlib.Path(sys.executable).absolute():
            return name
    return shlex.quote(sys.executable)


def _file_of(config_class: type) -> pathlib.Path | None:
    try:
        return pathlib.Path(inspect.getfile(config_class)).resolve()
    except (TypeError, OSError):
        return None


def _started_script() -> pathlib.Path | None:
    """The file given to Python; None after `-m`, `-c`, `kapps` or in a notebook."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) is not None or file is None:
        return None
    return pathlib.Path(file).resolve()


def _kapps() -> str:
    """`kapps` where a shell finds that of this environment, or else `python -m kapps`."""
    found = shutil.which("kapps")
    if (
        found
        and pathlib.Path(found).resolve().parent == pathlib.Path(sys.executable).parent.resolve()
    ):
        return "kapps"
    return f"{python()} -m kapps"
