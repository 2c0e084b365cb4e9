"""Every supervised recipe with its defaults, beside the simple models that it is compared with.

    python benchmarks/peers_table.py                    every data set that is here
    python benchmarks/peers_table.py GunPoint penguins  these

One run each, seed 0; the test split is used once. Nothing was chosen by these test figures, and
those marked `unseen` were not looked at while the defaults were chosen. A data set has its result
in benchmarks/results/simple_peers.json when it is done; the same command goes on where it was
stopped, inside a training, too. The files come from packages, which need not be imported: those of
the series from `pip install aeon`, of two tables from `pip install palmerpenguins vega_datasets`,
of the drawings from Debian's openclipart-png. What is not installed is left out, and said.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib
import importlib.util
import json
import pathlib
import shutil
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tyro

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # recipes are no package

from kapps import data, files, training  # noqa: E402
from kapps.command_line import call  # noqa: E402

RESULT = pathlib.Path(__file__).parent / "results" / "simple_peers.json"
KINDS = (
    "animals buildings computer food people plants recreation signs_and_symbols tools "
    "transportation"
).split()
DRAWINGS = 50  # of each kind
PEERS = {
    "sequence_classifier": ("minirocket", "nearest_neighbour"),
    "transfer_learning": ("features_linear", "pixels_linear"),
    "image_classifier": ("features_linear", "pixels_linear"),
    "tabular": ("gradient_boosting", "linear"),
    "text_classifier": ("tfidf_linear",),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which data sets, and where what is needed lies."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """data sets of the table; all of them if none is named"""
    work: pathlib.Path = pathlib.Path("runs/simple_peers")
    """where the runs go"""
    clipart: pathlib.Path = pathlib.Path("/usr/share/openclipart/png")
    """the drawings of openclipart-png"""
    again: bool = False
    """also those that have a result"""


class Row(NamedTuple):
    """A data set: its recipe, and its flags from where things are; None if it is not here."""

    recipe: str
    flags: Callable[[Config], dict[str, Any] | None]
    source: str
    unseen: bool = False


def main(config: Config) -> None:
    """Measure, print, write."""
    for name in config.names or ROWS:
        if name in results()["rows"] and not config.again:
            print(f"{name}: has a result")
            continue
        flags = ROWS[name].flags(config)
        if flags is None:
            print(f"{name}: left out, it is not here ({ROWS[name].source})")
            continue
        found, known = measure(name, flags, config.work / name), results()
        known["rows"][name] = found
        known |= {
            "measured_alone": False,
            "machine": training.machine(),
            "versions": training.versions(),
        }
        files.write_json(RESULT, known)
        print(f"{name}: {found['score']:.4f}, {found['peers']}", flush=True)


def results() -> dict[str, Any]:
    """What is measured so far."""
    return json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": {}}


def measure(name: str, flags: dict[str, Any], run_dir: pathlib.Path) -> dict[str, Any]:
    """The recipe's defaults on one data set, and what its simple models do there."""
    row = ROWS[name]
    recipe = importlib.import_module(f"recipes.{row.recipe}")
    shown = recipe.Config(**flags)
    metrics = call(recipe, dataclasses.replace(shown, run_dir=str(run_dir), export=False))
    facts = training.read_json(run_dir / "config.json")
    kind = "accuracy" if "test_accuracy" in metrics else "r2"
    return {
        "recipe": row.recipe,
        "source": row.source,
        "unseen": row.unseen,
        "network": facts.get("settled", {}).get("model") or getattr(shown, "network", None),
        "why": facts.get("settled", {}).get("why"),
        "epochs": facts.get("settled", {}).get("epochs"),
        "measure": kind,
        "score": metrics[f"test_{kind}"],
        "low": metrics[f"test_{kind}_low"],
        "high": metrics[f"test_{kind}_high"],
        "test_examples": metrics["test_examples"],
        "peers": {
            peer: {
                "score": metrics[f"{peer}_{kind}"],
                **{
                    end: metrics[f"ahead_of_{peer}_{key}"]
                    for end, key in (("ahead", kind), ("low", "low"), ("high", "high"))
                },
            }
            for peer in PEERS[row.recipe]
            if f"{peer}_{kind}" in metrics
        },
        "verdict": metrics["verdict"],
        "train_seconds": metrics["train_seconds"],
    }


def packaged(package: str, *parts: str) -> pathlib.Path | None:
    """A file that comes with a package, which is not imported; None if that is not installed."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        return None
    path = pathlib.Path(found.submodule_search_locations[0], *parts)
    return path if path.exists() else None


def archive(name: str) -> Row:
    """A set of the UCR and UEA archives."""

    def flags(config: Config) -> dict[str, Any] | None:
        there = packaged("aeon", "datasets", "data", name, f"{name}_TRAIN.ts")
        if there is None:
            return None
        return {"dataset": name if name in data.PACKAGED_SERIES else f"ts:{there}"}

    source = "UCR and UEA archives (timeseriesclassification.com), in aeon (BSD-3-Clause)"
    return Row("sequence_classifier", flags, source, unseen=name not in data.PACKAGED_SERIES)


def table(
    package: str, path: tuple[str, ...], target: str, licence: str, unseen: bool = True
) -> Row:
    """A CSV file of a package."""

    def flags(config: Config) -> dict[str, Any] | None:
        found = packaged(package, *path)
        return None if found is None else {"dataset": f"csv:{found}", "target": target}

    return Row("tabular", flags, f"{package} ({licence})", unseen=unseen)


def embedded(recipe: str, dataset: str, source: str = "scikit-learn (BSD-3-Clause)") -> Row:
    """Data that need no package of their own."""
    return Row(recipe, lambda config: {"dataset": dataset}, source)


def digits_table(config: Config) -> dict[str, Any]:
    """scikit-learn's digits, a column for each of the 64 pixels."""
    from sklearn.datasets import load_digits

    found, path = load_digits(), config.work / "digits.csv"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*found.feature_names, "digit"])
            rows = zip(found.data.astype(int).tolist(), found.target.tolist(), strict=True)
            writer.writerows([*pixels, f"d{digit}"] for pixels, digit in rows)
    return {"dataset": f"csv:{path}", "target": "digit"}


def drawings(config: Config) -> dict[str, Any] | None:
    """500 drawings in ten classes: 50 of each of ten folders of openclipart, drawn with a seed."""
    if not config.clipart.is_dir():
        return None
    folder = config.work / "drawings-pictures"  # the run has the other name
    if not folder.exists():
        random, making = np.random.default_rng(0), folder.with_suffix(".part")
        shutil.rmtree(making, ignore_errors=True)
        for kind in KINDS:
            found = sorted((config.clipart / kind).rglob("*.png"))
            (making / kind).mkdir(parents=True)
            for i in random.choice(len(found), DRAWINGS, replace=False):
                shutil.copy(found[i], making / kind / f"{i:04d}.png")
        making.rename(folder)
    return {"dataset": f"folder:{folder}"}


WEATHER = ("_data", "seattle-weather.csv")
ROWS = {
    **{name: archive(name) for name in (*data.PACKAGED_SERIES, "Covid3Month_disc")},
    "drawings": Row("transfer_learning", drawings, "Debian's openclipart-png (public domain)"),
    "digits": embedded("image_classifier", "digits"),
    "docstrings": embedded("text_classifier", "python_docstrings", "Python's own docstrings (PSF)"),
    **{name: embedded("tabular", name) for name in ("iris", "wine", "breast_cancer", "diabetes")},
    "digits_table": Row("tabular", digits_table, "scikit-learn (BSD-3-Clause)"),
    "penguins": table("palmerpenguins", ("data", "penguins.csv"), "species", "data: CC0-1.0"),
    # That boosting won here was the reason to look for better defaults, on other tables.
    "seattle_weather": table(
        "vega_datasets", WEATHER, "weather", "BSD-3-Clause; data of NOAA", unseen=False
    ),
}


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
