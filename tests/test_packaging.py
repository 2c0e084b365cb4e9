"""The wheel has every package and every file."""

import pathlib
import sys

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = pathlib.Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {"kapps": ROOT / "kapps", "kapps.recipes": ROOT / "recipes"}


def files(directory: pathlib.Path) -> list[pathlib.Path]:
    return [
        path
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    ]


def test_every_folder_with_code_is_a_package():
    """`find_packages` in setup.py passes over a folder without an `__init__.py`."""
    for directory in PACKAGES.values():
        for path in files(directory):
            if path.suffix == ".py":
                assert (path.parent / "__init__.py").exists(), path


def test_every_other_file_is_package_data():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]
    for package, directory in PACKAGES.items():
        named = {path for pattern in patterns[package] for path in directory.glob(pattern)}
        left_out = [path for path in files(directory) if path.suffix != ".py"]
        assert set(left_out) <= named
        for pattern in patterns[package]:
            assert any(directory.glob(pattern)), f"{pattern} names nothing"


def test_stubs_stand_beside_the_packages_they_describe():
    for stub in (ROOT / "kapps").rglob("*.pyi"):
        assert stub.name == "__init__.pyi" and stub.with_suffix(".py").exists()
