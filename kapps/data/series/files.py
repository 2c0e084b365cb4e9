"""Series from files: the archive's .ts format, CSV, and NumPy's .npz.

ts:PATH   the format of the UCR and UEA archives (a class label at the end of each line). A file
          NAME_TRAIN.ts brings its NAME_TEST.ts, if that is beside it, as the test split.
csv:PATH  a row per step: columns `series` (which one), `label` (its class) or `target` (its
          number), perhaps `time` (by which the steps are ordered, else as they stand) and `split`
          (train, validation or test); every other column is a feature. Rows without any value
          at the end of a series are padding.
npz:PATH  x_train and y_train, perhaps x_val, y_val, x_test, y_test, perhaps class_names: values
          [n, steps, features] or [n, steps], NaN at the end of shorter ones; labels [n]: whole
          numbers or text for classes, numbers with a fraction, or more than 20 different whole
          numbers without class_names, for a number to predict.

A series without a label (an empty one, ? or NaN) is left out, and noted.
"""

from __future__ import annotations

import importlib.util
import pathlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kapps.data.delimited import read_delimited
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
_NPZ = {"train": ("x_train", "y_train"), "validation": ("x_val", "y_val")}
_NPZ["test"] = ("x_test", "y_test")
MOST_CLASSES = 20  # of whole numbers without names; with more of them they are quantities
_ABOUT = ("series", "label", "target", "time", "split")


@dataclass(frozen=True, eq=False)
class Series:
    """All series of a dataset under common row numbers, before it is divided.

    Attributes:
        values: float32 [n, steps, features], padded with NaN at the end.
        labels: class numbers int32 [n], or numbers float32 [n].
        class_names: one name per class number; none with numbers.
        given: row numbers of the splits that come with the data; always train.
        notes: what the user should know.
        groups: group number int [n] of each series; None: each is alone.
    """

    values: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    given: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()
    groups: np.ndarray | None = None


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
        return _with_numbers(path, series, texts, given, origins)
    return _with_classes(path, series, texts, given, origins)


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
        series.append(values[: _last(values)])  # a series of the archive may be padded
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


def read_csv(path: pathlib.Path, group: str | None = None) -> Series:
    """Reads a CSV file with a row per step, as this module's docstring says.

    Args:
        path: the file.
        group: a column (patient, recording ...) with one value for each series; it is no feature.

    Raises:
        UserError: columns are missing, or a series contradicts itself.
    """
    table = read_delimited(path)
    columns = dict(zip(table.names, table.columns, strict=True))
    if group is not None and group not in columns:
        raise UserError(f"'{path}' has no column '{group}' to keep series together by")
    target = "target" if "target" in columns else "label"
    for name in ("series", target):
        if name not in columns:
            raise UserError(
                f"'{path}' has no column '{name}'; a row is a step, and needs 'series', 'label' "
                "(a class) or 'target' (a number), and its values"
            )
    features = [name for name in table.names if name not in (*_ABOUT, group)]
    if not features:
        raise UserError(f"'{path}' has no values: every column but {', '.join(_ABOUT)} is one")
    values = np.stack([_numbers(path, columns[name], name) for name in features], axis=1)
    names = list(dict.fromkeys(columns["series"]))
    which = {name: i for i, name in enumerate(names)}
    rows: list[list[int]] = [[] for _ in names]
    for row, name in enumerate(columns["series"]):
        rows[which[name]].append(row)
    if "time" in columns:
        time = _numbers(path, columns["time"], "time", np.float64)
        rows = [sorted(at, key=lambda row: time[row]) for at in rows]
    origins = [f"'{path}', series {name}" for name in names]
    texts = _one_per_series(columns[target], rows, target, origins)
    given = {"train": np.arange(len(names))}
    if "split" in columns:
        given = _given(path, _one_per_series(columns["split"], rows, "split", origins))
    series = [values[at] for at in rows]
    series = [one[: _last(one)] for one in series]
    groups = None
    if group is not None:
        groups = _one_per_series(columns[group], rows, group, origins)
    if target == "target":
        return _with_numbers(path, series, texts, given, origins, groups)
    return _with_classes(path, series, texts, given, origins, groups)


def _one_per_series(cells, rows, column, origins) -> list[str]:
    found = []
    for at, origin in zip(rows, origins, strict=True):
        values = {cells[row] for row in at}
        if len(values) > 1:
            shown = ", ".join(sorted(values)[:3])
            raise UserError(f"{origin}: it has several values of '{column}': {shown}")
        found.append(values.pop())
    return found


def _given(path, splits: Sequence[str]) -> dict[str, np.ndarray]:
    known = ("train", "validation", "test")
    for split in splits:
        if split not in known:
            raise UserError(f"'{path}': split '{split}' is none of {', '.join(known)}")
    given = {split: np.flatnonzero(np.asarray(splits) == split) for split in known}
    given = {split: at for split, at in given.items() if len(at)}
    if "train" not in given:
        raise UserError(f"'{path}': no series has the split 'train'")
    return given


def read_npz(path: pathlib.Path) -> Series:
    """Reads a file written by numpy.savez, as this module's docstring says.

    Raises:
        UserError: keys, shapes or types are others than these.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {key: archive[key] for key in archive.files}
    except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
        raise UserError(f"'{path}' cannot be read as arrays without pickle: {error}") from error
    series, labels, origins, given = [], [], [], {}
    for split, (x, y) in _NPZ.items():
        if x not in held and y not in held and split != "train":
            continue
        for key in (x, y):
            if key not in held:
                shown = ", ".join(sorted(held)) or "nothing"
                raise UserError(f"'{path}' has no {key}; there is {shown}")
        values = held[x][..., None] if held[x].ndim == 2 else held[x]
        if values.ndim != 3 or values.dtype.kind not in "fiu":
            raise UserError(
                f"'{path}': {x} is {held[x].dtype} {held[x].shape}; numbers [n, steps, features] "
                "or [n, steps] are wanted"
            )
        if held[y].shape != (len(values),):
            raise UserError(f"'{path}': {x} holds {len(values)} series, {y} is {held[y].shape}")
        given[split] = np.arange(len(series), len(series) + len(values))
        # Padding is cut here and put back for all splits together.
        values = values.astype(np.float32)
        series += [row[: _last(row)] for row in values]
        labels.append(held[y])
        origins += [f"'{path}', {x}[{i}]" for i in range(len(values))]
    targets = np.concatenate(labels)
    if targets.dtype.kind not in "buifSU":
        raise UserError(f"'{path}': labels of type {targets.dtype}; numbers or texts are wanted")
    if targets.dtype.kind in "SU":
        texts = [t.decode() if isinstance(t, bytes) else str(t) for t in targets]
        return _with_classes(path, series, texts, given, origins)
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
        return _with_numbers(path, series, texts, given, origins, note=whole)
    return _with_classes(path, series, texts, given, origins, names=names)


READERS = {"ts": read_ts, "csv": read_csv, "npz": read_npz}


def _with_numbers(path, series, texts, given, origins, groups=None, note=False) -> Series:
    found = _labelled(path, series, texts, given, origins, groups, ("", "?", "nan", "na", "null"))
    series, texts, given, origins, groups, notes = found
    labels = _numbers(path, texts)
    if note:
        notes = (
            *notes,
            f"{len(np.unique(labels))} different whole numbers as labels are quantities, not "
            "classes; class_names in the file make them classes",
        )
    return _assemble(path, series, labels, (), given, origins, notes, groups)


def _with_classes(path, series, texts, given, origins, groups=None, names=()) -> Series:
    """Series with classes: those of names, numbered, or the texts that there are."""
    found = _labelled(path, series, texts, given, origins, groups, ("", "?", "nan"))
    series, texts, given, origins, groups, notes = found
    if names:
        labels = np.asarray([int(text) for text in texts], np.int32)
    else:
        names = sorted(set(texts), key=_order)
        numbers = {name: i for i, name in enumerate(names)}
        labels = np.asarray([numbers[text] for text in texts], np.int32)
    return _assemble(path, series, labels, tuple(names), given, origins, notes, groups)


def _labelled(path, series, texts, given, origins, groups, missing) -> tuple:
    """The series that have a label, and a note on those that have none."""
    kept = [i for i, text in enumerate(texts) if text.strip().lower() not in missing]
    if not kept:
        raise UserError(f"'{path}': no series has a label")
    lost = len(texts) - len(kept)
    if not lost:
        return series, texts, given, origins, groups, ()
    place = np.full(len(texts), -1)
    place[kept] = np.arange(len(kept))
    given = {name: place[at][place[at] >= 0] for name, at in given.items()}
    for name, at in given.items():
        if not len(at):
            raise UserError(f"'{path}': no series of the {name} split has a label")
    pick = [None if each is None else [each[i] for i in kept] for each in (origins, groups)]
    note = f"{lost:,} of {len(texts):,} series have no label and were left out"
    return [series[i] for i in kept], [texts[i] for i in kept], given, *pick, (note,)


def _order(name: str) -> tuple[bool, int, str]:
    """Whole numbers by their value, then all else by its letters."""
    number = name.isdecimal()
    return not number, int(name) if number else 0, name


def _assemble(path, series, labels, class_names, given, origins, notes=(), groups=None) -> Series:
    """One padded array, after the checks that are the same for all files."""
    if not series:
        raise UserError(f"'{path}' holds no series")
    widths = [rows.shape[1] if rows.ndim == 2 else 0 for rows in series]
    for rows, width, origin in zip(series, widths, origins, strict=True):
        if len(rows) == 0 or width == 0:
            raise UserError(f"{origin}: it has no steps")
        if width != widths[0]:
            raise UserError(
                f"{origin}: it has {width} features, but {origins[0]} has {widths[0]}; all series "
                "of a dataset have the same ones"
            )
        if not np.isfinite(rows).all():
            step = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0]) + 1
            raise UserError(
                f"{origin}: a value is missing or not finite at step {step}; fill gaps in before "
                "(NaN stands for padding, at the end of a series alone)"
            )
    if class_names:
        present = np.unique(labels[given["train"]])
        if len(present) < 2:
            raise UserError(
                f"'{path}': all training series are of class '{class_names[present[0]]}'; at least "
                "two classes are needed"
            )
        missing = [name for i, name in enumerate(class_names) if i not in present]
        if missing:
            raise UserError(
                f"'{path}': no training series is of class {', '.join(missing[:5])}, which occurs "
                "in another split"
            )
    elif not np.isfinite(labels).all():
        raise UserError(f"'{path}': a target is missing or not finite")
    values = np.full((len(series), max(map(len, series)), widths[0]), np.nan, np.float32)
    for i, rows in enumerate(series):
        values[i, : len(rows)] = rows
    if groups is not None:
        groups = np.unique(groups, return_inverse=True)[1]
    return Series(values, labels, class_names, given, tuple(notes), groups)


def _last(rows: np.ndarray) -> int:
    """Steps up to the last one that is not NaN throughout."""
    there = np.flatnonzero(~np.isnan(rows).all(axis=1))
    return int(there[-1]) + 1 if len(there) else 0


def _numbers(path, texts, column="the label", dtype: type[np.floating] = np.float32) -> np.ndarray:
    found = []
    for i, text in enumerate(texts, 1):
        try:
            found.append(float(text) if text else float("nan"))
        except ValueError:
            raise UserError(f"'{path}': '{text}' in {column} (place {i}) is not a number") from None
    return np.asarray(found, dtype)
