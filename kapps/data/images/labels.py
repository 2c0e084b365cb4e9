"""Labels of pictures that no folder says: from a table, from metadata.csv, from names of files."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

from kapps.data.delimited import read_delimited, read_names
from kapps.data.images.grouping import one_group
from kapps.errors import UserError

METADATA = "metadata.csv"  # as Hugging Face's imagefolder has it, beside the pictures
_FILES = ("file_name", "filename", "file", "image", "path", "name", "id")
_CLASSES = ("label", "class", "target", "category", "class_name")

Labeller = Callable[[str], str | None]  # name of a picture, relative to the folder -> its class


def by_table(root: pathlib.Path, file: str | os.PathLike) -> Labeller:
    """Classes by a table: one column names files, another one their class.

    The columns are called file_name, filename, file, image, path, name or id, and label, class,
    target, category or class_name; or they are the only two. Files are named from the folder on,
    or by their last part, with or without ending.

    Args:
        root: the folder of the pictures.
        file: the table.

    Raises:
        UserError: the table cannot be read, has no such columns, or a file twice with two classes.
    """
    table = read_delimited(file)
    which = _columns(table.names)
    if which is None:
        raise UserError(
            f"'{file}' has the columns {', '.join(map(repr, table.names[:10]))}: call the one of "
            "the files file_name, and that of their classes label"
        )
    known: dict[str, str] = {}
    columns = [table.column(name).to_pylist() for name in which]
    for name, label in zip(*columns, strict=True):
        name = name.replace("\\", "/").removeprefix("./")
        if known.setdefault(name, label) != label:
            raise UserError(
                f"'{file}': {name} is of two classes, {known[name]} and {label}: a classifier "
                "wants one for each picture"
            )
    return _Table(str(file), known)


class _Table:
    """Classes by name of file; remembers which names were asked for."""

    def __init__(self, file: str, known: dict[str, str]):
        self.file, self.known = file, known
        self.taken: dict[str, str] = {}

    def __call__(self, picture: str) -> str | None:
        last = picture.rsplit("/", 1)[-1]
        for name in (picture, picture.rsplit(".", 1)[0], last, last.rsplit(".", 1)[0]):
            if name in self.known:
                other = self.taken.setdefault(name, picture)
                if other != picture:
                    raise UserError(
                        f"'{self.file}': {name} may be {other} or {picture}: name files as they "
                        "lie in the folder"
                    )
                return self.known[name].strip() or None
        return None

    def notes(self) -> list[str]:
        """What in the table is no picture."""
        absent = [name for name in self.known if name not in self.taken]
        if not absent:
            return []
        return [f"{len(absent):,} files of '{self.file}' are not there, such as {absent[0]}"]


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


def by_metadata(root: pathlib.Path, folders: list[pathlib.Path]) -> Labeller | None:
    """Classes by metadata.csv in the folder itself or in its splits; None without such a table.

    One that has no column of classes (of captions, for one) does not count.

    Args:
        root: the folder of the pictures.
        folders: those in it.

    Raises:
        UserError: as `by_table`.
    """
    found = {}
    for folder in (root, *folders):
        file = folder / METADATA
        if file.is_file() and _columns(read_names(file), alone=False):
            found[folder.relative_to(root).as_posix()] = by_table(folder, file)
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


def _columns(names: tuple[str, ...], alone: bool = True) -> tuple[str, str] | None:
    lower = {name.lower(): name for name in names}
    file = next((lower[name] for name in _FILES if name in lower), None)
    label = next((lower[name] for name in _CLASSES if name in lower), None)
    if file and label:
        return file, label
    return (names[0], names[1]) if alone and len(names) == 2 else None
