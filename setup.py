"""What pyproject.toml cannot say: all packages of kapps, and the recipes among them."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["kapps", "kapps.*"]), "kapps.recipes"],
    package_dir={"kapps.recipes": "recipes"},
)
