"""Labels of pictures that no folder says: from a table, from metadata.csv, from names of files."""

from __future__ import annotations

import collections
import os
import pathlib
import unicodedata
from collections.abc import Callable
from typing import Any

from kapps.data.delimited import read_delimited, read_names
from kapps.data.images.files import formats
from kapps.data.images.files.grouping import one_group
from kapps.data.images.targets import SEPARATORS
from kapps.data.split import NAMES as SPLIT_NAMES
from kapps.errors import UserError

# As Hugging Face's imagefolder has it, beside the pictures.
METADATA = ("metadata.csv", "metadata.jsonl")
_SPLITS = ("train", "validation", "test")
_FILES = ("file_name", "filename", "file", "image", "path", "name", "id")
_SPLIT_COLUMNS = ("split", "set", "subset", "partition")
_CLASSES = ("label", "labels", "class", "target", "category", "class_name")

# Name of a picture, relative to the folder -> its class, or what else there is to say of it.
Labeller = Callable[[str], str | None]


def by_table(root: pathlib.Path, file: str | os.PathLike, kind: str = "classes") -> Labeller:
    """Labels by a table: one column names files, another one their class, labels or number.

    The columns are called file_name, filename, file, image, path, name or id, and label, labels,
    class, target, category or class_name; or they are the only two. Or there are several columns
    of 0 and 1, a label each. Files are named by their path from the folder on, or by more or less
    of it, with or without ending, in capitals or not: whatever fits one file alone. A column called
    split, set, subset or partition that says train, validation or test divides them.

    Args:
        root: the folder of the pictures.
        file: the table.
        kind: what is asked for, one of `targets.KINDS` or "auto". With "labels" a file may stand
            in several rows, with a label each.

    Raises:
        UserError: the table cannot be read, has no such columns, or a file twice with two classes.
    """
    table = read_delimited(file)
    which, notes = _columns(table.names), list(table.notes)
    if which and _is_picture_name(table.names[0]):
        raise UserError(
            f"'{file}': the first line must name the columns, and holds {table.names[0]!r}"
        )
    ones = _zero_one_columns(table, file) if kind in ("auto", "labels") and not which else []
    if which:
        names, labels = (table.column(name).to_pylist() for name in which)
    elif ones:
        names = table.column(_file_column(table.names) or "").to_pylist()
        labels = _joined(table, ones)
        if left := [n for n in table.names if n not in (*ones, _file_column(table.names))]:
            notes.append(f"columns of '{file}' that are no labels: {', '.join(left)}")
    else:
        raise UserError(
            f"'{file}' has the columns {', '.join(map(repr, table.names[:10]))}: call the one of "
            "the files file_name, and that of their classes label (or give several labels a "
            "column of 0 and 1 each, and say --target-kind labels)"
        )
    known: dict[str, str] = {}
    for name, label in zip(names, labels, strict=True):
        name = _path_in(name)
        if known.setdefault(name, label) == label:
            continue
        if kind == "labels" and which:
            known[name] = f"{known[name]}{SEPARATORS[0]}{label}"
            continue
        raise UserError(
            f"'{file}': {name} is of two classes, {known[name]} and {label}: a classifier "
            "wants one for each picture (--target-kind labels takes both)"
        )
    return _Table(str(file), known, notes, _read_splits(table, list(map(_path_in, names)), notes))


class _Table:
    """Classes by name of file; remembers which names were asked for.

    Attributes:
        known: by the name of a file in the table its class.
        splits: those that the table divides the files into; none if it does not.
    """

    def __init__(self, file: str, known: dict[str, str], said: list[str], of_file: dict[str, str]):
        self.file, self.known, self.said = file, known, said
        self.taken: dict[str, str] = {}
        self.loose: list[tuple[str, str]] = []
        self.splits = [name for name in _SPLITS if name in of_file.values()]
        self._of_file = of_file
        self._by_stem: dict[str, list[str]] = collections.defaultdict(list)
        for name in known:
            self._by_stem[_plain(name)[-1]].append(name)

    def __call__(self, picture: str) -> str | None:
        name = self._find(picture)
        if name is None:
            return None
        other = self.taken.setdefault(name, picture)
        if other != picture:
            raise UserError(
                f"'{self.file}': {name} may be {other} or {picture}: name files as they lie in the "
                "folder"
            )
        return self.known[name].strip() or None

    def split_of(self, picture: str) -> str | None:
        """The split of a picture, where there are splits."""
        return self._of_file.get(self._find(picture) or "")

    def _find(self, picture: str) -> str | None:
        """The name that the table has for a picture."""
        last = picture.rsplit("/", 1)[-1]
        for name in (picture, picture.rsplit(".", 1)[0], last, last.rsplit(".", 1)[0]):
            if name in self.known:
                return name
        parts = _plain(picture)
        fitting = []
        for name in self._by_stem.get(parts[-1], ()):
            named = _plain(name)
            common = min(len(parts), len(named))
            if parts[-common:] == named[-common:]:
                fitting.append(name)
        if len(fitting) > 1:
            raise UserError(
                f"'{self.file}': {picture} may be {fitting[0]} or {fitting[1]}: name files as they "
                "lie in the folder"
            )
        if fitting:
            self.loose.append((fitting[0], picture))
        return fitting[0] if fitting else None

    def notes(self) -> list[str]:
        """What in the table is no picture."""
        absent = [name for name in self.known if name not in self.taken]
        notes = list(self.said)
        if loose := dict(self.loose):
            name, picture = next(iter(loose.items()))
            notes.append(
                f"{len(loose):,} files have other names in '{self.file}', such as {name} for "
                f"{picture}"
            )
        if absent:
            notes.append(
                f"{len(absent):,} files of '{self.file}' are not there, such as {absent[0]}"
            )
        return notes


def by_pattern(pattern: str) -> Labeller:
    """Classes by a regular expression with one group, searched for in the names of files.

    Raises:
        UserError: it is none, or has not one group.
    """
    expression = one_group(pattern, "label", "the class: ([a-z]+)_[0-9]+")

    def label_of(picture: str) -> str | None:
        found = expression.search(picture)
        return found.group(1) if found else None

    return label_of


def by_metadata(
    root: pathlib.Path, folders: list[pathlib.Path], kind: str = "classes"
) -> Labeller | None:
    """Classes by metadata.csv or .jsonl in the folder itself or in its splits; None without one.

    One that has no column of classes (of captions, for one) does not count.

    Args:
        root: the folder of the pictures.
        folders: those in it.
        kind: as `by_table` has it.

    Raises:
        UserError: as `by_table`.
    """
    found = {}
    for folder in (root, *folders):
        files = [folder / name for name in METADATA if (folder / name).is_file()]
        file = files[0] if files else None
        if file is not None and _columns(read_names(file), alone=False):
            found[folder.relative_to(root).as_posix()] = by_table(folder, file, kind)
    return _Metadata(found) if found else None


class _Metadata:
    """Classes by the tables of several folders."""

    def __init__(self, tables: dict[str, Any]):
        self.tables = tables

    def __call__(self, picture: str) -> str | None:
        top, _, rest = picture.partition("/")
        if top in self.tables:
            return self.tables[top](rest)
        return self.tables["."](picture) if "." in self.tables else None

    def notes(self) -> list[str]:
        """What in the tables is no picture."""
        return [note for table in self.tables.values() for note in table.notes()]


def _path_in(name: str) -> str:
    """A path as it is on this system; of an address what stands before its question mark."""
    name = name.partition("?")[0] if "://" in name else name
    return name.replace("\\", "/").removeprefix("./")


def _plain(name: str) -> list[str]:
    """The parts of a path in small letters, without the ending of a picture."""
    lower = unicodedata.normalize("NFC", name).lower()
    stem, ending = os.path.splitext(lower)
    return (stem if ending in formats.EXTENSIONS else lower).split("/")


def _is_picture_name(name: str) -> bool:
    return os.path.splitext(name.lower())[1] in formats.EXTENSIONS


def _read_splits(table: Any, files: list[str], notes: list[str]) -> dict[str, str]:
    """The split of each file, by its name, where a column says them; else nothing."""
    name = next((n for n in table.names if n.lower() in _SPLIT_COLUMNS), None)
    if name is None:
        return {}
    said = [SPLIT_NAMES.get(cell.lower()) for cell in table.column(name).to_pylist()]
    if None in said or "train" not in said:
        notes.append(f"column '{name}' does not say train, validation or test of every row")
        return {}
    return dict(zip(files, map(str, said), strict=True))


def _file_column(names: tuple[str, ...]) -> str | None:
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in _FILES if name in lower), None)


def _zero_one_columns(table: Any, file: str | os.PathLike) -> list[str]:
    """Names of the columns of 0 and 1, if there is one that names files.

    Raises:
        UserError: a column is nearly one: it has other cells, too, or none.
    """
    which = _file_column(table.names)
    if which is None:
        return []
    found = []
    for name in table.names:
        cells = collections.Counter(cell.strip() for cell in table.column(name).to_pylist())
        cells = collections.Counter({c.removesuffix(".0"): n for c, n in cells.items()})
        odd = {cell: count for cell, count in cells.items() if cell not in ("0", "1")}
        if name == which or not cells["0"] + cells["1"]:
            continue
        if odd and set(odd) <= {"", "-1", "u", "nan"}:
            raise UserError(
                f"'{file}': column {name!r} has 0 and 1, and {sum(odd.values()):,} other cells "
                f"({', '.join(map(repr, odd))}): say 0 or 1 of each, or leave these rows out"
            )
        if not odd:
            found.append(name)
    if any(mark in name for name in found for mark in SEPARATORS):
        raise UserError(f"'{file}': names of labels may not hold {' or '.join(SEPARATORS)}")
    return found if len(found) > 1 else []


def _joined(table: Any, columns: list[str]) -> list[str]:
    """The names of the columns that are 1, of each row; the mark alone, where none is."""
    cells = [table.column(name).to_pylist() for name in columns]
    return [
        SEPARATORS[0].join(
            n for n, cell in zip(columns, row, strict=True) if cell.strip()[0] == "1"
        )
        or SEPARATORS[0]
        for row in zip(*cells, strict=True)
    ]


def _columns(names: tuple[str, ...], alone: bool = True) -> tuple[str, str] | None:
    lower = {name.lower(): name for name in names}
    file = _file_column(names)
    label = next((lower[name] for name in _CLASSES if name in lower), None)
    if file and label:
        return file, label
    return (names[0], names[1]) if alone and len(names) == 2 else None
