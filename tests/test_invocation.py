"""The command that is printed is one that works, from where the user is."""

import os
import pathlib
import shlex
import subprocess
import sys

import pytest

from kapps import invocation
from recipes import tune, vae

BIN = os.path.dirname(sys.executable)
RECIPE = """
import dataclasses, sys
from kapps import invocation

@dataclasses.dataclass
class Config:
    epochs: int = 1

if __name__ == "__main__":
    print("ran" if sys.argv[1:] else invocation.recipe_command(Config))
"""


def shell(command: str, cwd: pathlib.Path, path: str = f"{BIN}{os.pathsep}{os.environ['PATH']}"):
    """What a shell prints, in which this environment is activated."""
    done = subprocess.run(
        command,
        shell=True,
        cwd=cwd,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("started", "expected"),
    [
        ("python one.py", "python one.py"),
        ("python 'a b/two.py'", "python 'a b/two.py'"),
        ("python -X dev ./one.py", "python one.py"),
        ("cd 'a b' && python ../one.py", "python {above}/one.py"),
        (
            "python -c 'import one; print(one.invocation.recipe_command(one.Config))'",
            "python one.py",
        ),
    ],
)
def test_a_script_of_ones_own(tmp_path, started, expected):
    (tmp_path / "a b").mkdir()
    for name in ("one.py", "a b/two.py"):
        (tmp_path / name).write_text(RECIPE)
    printed = shell(started, tmp_path)
    assert printed == expected.format(above=tmp_path)
    place = tmp_path / "a b" if started.startswith("cd") else tmp_path
    assert shell(f"{printed} --epochs 3", place) == "ran"


def test_an_environment_that_is_not_activated(tmp_path):
    (tmp_path / "one.py").write_text(RECIPE)
    printed = shell(f"{shlex.quote(sys.executable)} one.py", tmp_path, os.defpath)
    assert shlex.split(printed) == [sys.executable, "one.py"]


@pytest.mark.slow
def test_a_recipe_of_kapps_is_kapps_train(tmp_path, monkeypatch):
    """Also where `kapps` itself is not on the path."""
    monkeypatch.setenv("PATH", os.defpath)
    for recipe, name in ((vae, "vae"), (tune, "tune")):
        printed = invocation.recipe_command(recipe.Config)
        assert printed.endswith(f"kapps train {name}")
        assert "usage: " in shell(f"{printed} --help", tmp_path, os.defpath)


def test_a_recipe_started_as_a_script_is_that_and_so_are_those_beside_it(monkeypatch):
    script = pathlib.Path(vae.__file__).with_name("tune.py")
    main = type(sys)("__main__")
    main.__file__, main.__spec__ = str(script), None
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.chdir(script.parents[1])
    assert invocation.recipe_command(vae.Config).endswith(" recipes/vae.py")
    monkeypatch.chdir(script.parents[1] / "tests")
    assert invocation.recipe_command(vae.Config).endswith(f" {script.with_name('vae.py')}")
    main.__file__ = str(script.parents[1] / "benchmarks" / "vae.py")
    assert invocation.recipe_command(vae.Config).endswith("kapps train vae")


def test_a_text_says_what_works_here():
    text = "    python recipes/vae.py --epochs 3\nas python recipes/vae_two.py does"
    own = invocation.recipe_command(vae.Config)
    assert invocation.localized(text, vae.Config) == text.replace("python recipes/vae.py", own)
