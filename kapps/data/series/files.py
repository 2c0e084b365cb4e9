"""Series from files: the archive's .ts format, CSV, and NumPy's .npz.

ts:PATH   the format of the UCR and UEA archives (a class label at the end of each line). A file
          NAME_TRAIN.ts brings its NAME_TEST.ts, if that is beside it, as the test split.
csv:PATH  a row per step: columns `series` (which one), `label` (its class) or `target` (its
          number), perhaps `time` (by which the steps are ordered, else as they stand) and `split`
          (train, validation or test); every other column is a feature. Rows without any value
          at the end of a series are padding.
npz:PATH  x_train and y_train, perhaps x_val, y_val, x_test, y_test, or x and y, perhaps
          class_names: values [n, steps, features] or [n, steps], NaN at the end of shorter
          ones; labels [n]: whole numbers or text for classes, numbers with a fraction, or more
          than 20 different whole numbers without class_names, for a number to predict.

A series without a label (an empty one, ? or NaN) is left out, and noted.
"""

from __future__ import annotations

import importlib.util
import pathlib

import numpy as np

from kapps.data.series.assembling import Series, last_step, with_classes, with_numbers
from kapps.data.series.step_tables import read_csv
from kapps.data.sources.archive import as_labels, read_arrays
from kapps.errors import UserError

# What aeon brings with it, of those of one archive and a size to learn from.
PACKAGED_SERIES = (
    "ACSF1",
    "ArrowHead",
    "BasicMotions",
    "GunPoint",
    "ItalyPowerDemand",
    "JapaneseVowels",
    "OSULeaf",
    "PickupGestureWiimoteZ",
)
_PADDED = 0.1  # of the series end with zeros
MOST_CLASSES = 20  # of whole numbers without names; with more of them they are quantities


def packaged_path(name: str) -> pathlib.Path:
    """The training file of a set that comes with aeon, found without importing it.

    Raises:
        UserError: aeon is not installed, or comes without that set.
    """
    found = importlib.util.find_spec("aeon")
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"dataset '{name}' comes with aeon, which is not installed: pip install "
            f"'kapps[timeseries]', or give its file as ts:PATH/{name}_TRAIN.ts"
        )
    root = pathlib.Path(found.submodule_search_locations[0], "datasets", "data", name)
    path = root / f"{name}_TRAIN.ts"
    if not path.exists():
        raise UserError(f"the aeon that is installed comes without {name}: no {path.name} in it")
    return path


def read_ts(path: pathlib.Path) -> Series:
    """Reads a .ts file, with its other half if it is one of NAME_TRAIN.ts and NAME_TEST.ts.

    Raises:
        UserError: it is no such file, has time stamps or missing values, or its halves disagree.
    """
    parts = {"train": path}
    if path.stem.endswith("_TRAIN"):
        other = path.with_name(path.name.replace("_TRAIN", "_TEST"))
        if other.exists():
            parts["test"] = other
    series, texts, origins, given = [], [], [], {}
    classes = True
    for split, file in parts.items():
        some, labels, classes = _read_ts_file(file)
        given[split] = np.arange(len(series), len(series) + len(some))
        series += some
        texts += labels
        origins += [f"'{file}', series {i}" for i in range(1, len(some) + 1)]
    if not classes:
        return with_numbers(path, series, texts, given, origins)
    return with_classes(path, series, texts, given, origins)


def _read_ts_file(path: pathlib.Path) -> tuple[list[np.ndarray], list[str], bool]:
    """Series [steps, features], their labels, and whether these are classes."""
    lines = _lines(path)
    header: dict[str, str] = {}
    start = None
    for i, line in enumerate(lines):
        words = line.strip().split(None, 1)
        if not words or words[0].startswith("#"):
            continue
        if words[0].lower() == "@data":
            start = i + 1
            break
        if not words[0].startswith("@"):
            break
        header[words[0][1:].lower()] = words[1].strip().lower() if len(words) > 1 else ""
    if start is None:
        raise UserError(f"'{path}' is no .ts file: a line '@data' must stand before the series")
    if header.get("timestamps", "false") == "true":
        raise UserError(f"'{path}' has time stamps; write the values alone, at even distances")
    numbers = header.get("targetlabel", "false").startswith("true")
    if not numbers and not header.get("classlabel", "false").startswith("true"):
        raise UserError(
            f"'{path}' has no labels ('@classLabel true ...'): there is nothing to learn"
        )
    series, labels = [], []
    for i, line in enumerate(lines[start:], start + 1):
        if not line.strip() or line.startswith("#"):
            continue
        *features, label = line.strip().split(":")
        try:
            columns = [[_value(v) for v in f.split(",")] if f.strip() else [] for f in features]
        except ValueError as error:
            raise UserError(f"'{path}', line {i}: {error}") from error
        if len({len(column) for column in columns}) != 1:
            raise UserError(f"'{path}', line {i}: the features of a series differ in length")
        values = np.asarray(columns, np.float32).T
        series.append(values[: last_step(values)])  # a series of the archive may be padded
        labels.append(label.strip())
    return series, labels, not numbers


def _lines(path: pathlib.Path) -> list[str]:
    """Lines of a text; what is no UTF-8 is cp1252, as in comments of the archives' files."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"'{path}' is in UTF-16; save it as UTF-8")
    if b"\0" in content:
        raise UserError(f"'{path}' cannot be read as text: it has zero bytes")
    try:
        return content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace").splitlines()


def _value(text: str) -> float:
    text = text.strip()
    return float("nan") if text in ("?", "") else float(text)


def read_npz(path: pathlib.Path) -> Series:
    """Reads a file written by numpy.savez, as this module's docstring says.

    Raises:
        UserError: keys, shapes or types are others than these.
    """
    layout, held, notes = read_arrays(path)
    series, labels, origins, given = [], [], [], {}
    for split, (x, y) in layout.items():
        values = held[x][..., None] if held[x].ndim == 2 else held[x]
        if values.ndim != 3 or values.dtype.kind not in "fiu":
            raise UserError(
                f"'{path}': {x} is {held[x].dtype} {held[x].shape}; numbers [n, steps, features] "
                "or [n, steps] are wanted"
            )
        held[y] = as_labels(str(path), y, held[y])
        if len(held[y]) != len(values):
            raise UserError(f"'{path}': {x} holds {len(values)} series, {y} is {held[y].shape}")
        notes += _odd_shape(x, values)
        given[split] = np.arange(len(series), len(series) + len(values))
        # Padding is cut here and put back for all splits together.
        values = values.astype(np.float32)
        series += [row[: last_step(row)] for row in values]
        labels.append(held[y])
        origins += [f"'{path}', {x}[{i}]" for i in range(len(values))]
    targets = np.concatenate(labels)
    if targets.dtype.kind not in "buifSU":
        raise UserError(f"'{path}': labels of type {targets.dtype}; numbers or texts are wanted")
    if targets.dtype.kind in "SU":
        texts = [t.decode() if isinstance(t, bytes) else str(t) for t in targets]
        return with_classes(path, series, texts, given, origins, said=notes)
    there = targets[np.isfinite(targets)]
    whole = bool(len(there)) and bool((there == np.round(there)).all())
    names = tuple(map(str, held["class_names"])) if "class_names" in held else ()
    if names and not whole:
        raise UserError(
            f"'{path}': there are class_names, so labels must be whole numbers; there are others"
        )
    if names and (there.min() < 0 or there.max() >= len(names)):
        raise UserError(f"'{path}': labels must lie between 0 and {len(names) - 1}")
    numbers = not names and (not whole or len(np.unique(there)) > MOST_CLASSES)
    # Whole numbers as classes are; a number without a value as a missing one is written.
    texts = [
        "" if not np.isfinite(t) else repr(float(t)) if numbers else str(int(t)) for t in targets
    ]
    if numbers:
        return with_numbers(path, series, texts, given, origins, note=whole, said=notes)
    return with_classes(path, series, texts, given, origins, names=names, said=notes)


def _odd_shape(name: str, values: np.ndarray) -> list[str]:
    """Notes on series [n, steps, features] that may not be as they seem."""
    notes = []
    _, steps, features = values.shape
    if features > 2 * steps:
        notes.append(
            f"{name} has {steps} steps of {features} features each: if features come first, as "
            f"aeon has them, use numpy.moveaxis({name}, 1, -1)"
        )
    zero = (values == 0).all(axis=2)[:, ::-1]
    ends = np.where(zero.all(axis=1), 0, zero.argmin(axis=1))  # zeros at the end of each
    if (ends > 0).mean() > _PADDED and len(np.unique(ends)) > 2:
        notes.append(
            f"{int((ends > 0).sum()):,} of {len(ends):,} series of {name} end with zeros: if these "
            "are padding, write NaN there"
        )
    return notes


READERS = {"ts": read_ts, "csv": read_csv, "npz": read_npz}
