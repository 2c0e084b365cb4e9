"""Where tables come from: files of columns, and those that come with scikit-learn."""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from kapps.data import typed
from kapps.data.delimited import Delimited, as_cells, read_delimited, read_names
from kapps.data.limits import check_file
from kapps.data.spec import parse
from kapps.data.tables import columns as kinds
from kapps.data.tables.totals import without_totals
from kapps.errors import UserError

TABLES = ("breast_cancer", "diabetes", "iris", "wine")  # come with scikit-learn
_RAW = {"diabetes": {"scaled": False}}  # otherwise all rows would have had a say in the scaling
_SHOWN = 5


def read_table(
    spec: Any, target: str | None = None, memory_limit: int | None = None
) -> tuple[Delimited, str]:
    """The cells of a table, and the name of its target.

    Args:
        spec: as `load_table`, or a frame.
        target: as `load_table`.
        memory_limit: as `load_table`.

    Raises:
        UserError: the file cannot be read as a table or is too large, or no target is named for it.
    """
    if typed.is_frame(spec):
        table = typed.from_frame(spec)
        if target is None:
            raise UserError(f"which column is the target? There are {_listed(table.names)}")
        return table, target
    parsed = parse(spec, ("csv",), TABLES)
    check_target(spec, target)  # of a file there has to be one
    if parsed.kind == "csv" and target is not None:
        check_file(parsed.path, memory_limit)
        return read_file(parsed.path), target
    table = from_scikit_learn(parsed.kind)
    return table, target or table.names[-1]


def read_file(path: str | os.PathLike) -> Delimited:
    """The cells of a file, without rows of totals at its end.

    Raises:
        UserError: as `read_delimited`.
    """
    return without_totals(read_delimited(path))


def with_test_file(
    table: Delimited, test_file: str | os.PathLike | None, memory_limit: int | None = None
) -> tuple[Delimited, dict[str, np.ndarray]]:
    """A table with the rows of a test file below its own, and the rows of the splits given so.

    Raises:
        UserError: the test file cannot be read, or lacks a column.
    """
    rows = {"train": np.arange(len(table))}
    if test_file is None:
        return table, rows
    import pyarrow as pa

    check_file(test_file, memory_limit)
    other = read_file(test_file)
    own = dict(zip(other.names, other.cells, strict=True))
    absent = [name for name in table.names if name not in own]
    if absent:
        raise UserError(
            f"'{test_file}' lacks columns of the training data: {_listed(absent)}; it has "
            f"{_listed(other.names)}"
        )
    joined = tuple(
        pa.concat_arrays([cells, own[name]])
        for name, cells in zip(table.names, table.cells, strict=True)
    )
    rows["test"] = np.arange(len(table), len(table) + len(other))
    notes = (*table.notes, *(f"'{test_file}': {note}" for note in other.notes))
    return Delimited(table.names, joined, table.delimiter, notes), rows


def check_target(spec: str, target: str | None, others: Sequence[str | None] = ()) -> None:
    """Finds missing or mistyped columns at once, by the first line of the file.

    Args:
        spec: as `load_table`.
        target: as `load_table`.
        others: further columns that flags name (to drop, to group by ...); None is passed over.

    Raises:
        UserError: no target for a file, or a column that the file does not have.
    """
    parsed = parse(spec, ("csv",), TABLES)
    if parsed.kind != "csv":
        return
    names = read_names(parsed.path)
    if target is None:
        raise UserError(
            f"{spec}: which column is to be predicted? Name it with --target; there are "
            f"{_listed(names)}"
        )
    for name in (target, *others):
        if name is not None:
            find_column(spec, names, name)


def find_column(spec: str, names: Sequence[str], name: str) -> str:
    """A column's name as the file has it; the name it is served by will do, too.

    Raises:
        UserError: there is no such column; the nearest name is told.
    """
    if name in names:
        return name
    # Two ways to write an accented letter look the same.
    plain = unicodedata.normalize("NFC", name)
    same = [known for known in names if unicodedata.normalize("NFC", known) == plain]
    if len(same) == 1:
        return same[0]
    served = dict(zip(kinds.served_names(names), names, strict=True))
    if name in served:
        return served[name]
    near = difflib.get_close_matches(name, names, 1, cutoff=0.5)
    # Case matters little to who types, and much to a measure of likeness.
    near = [known for known in names if known.lower() == name.lower()] or near
    hint = f" (perhaps '{near[0]}'?)" if near else ""
    if len(names) == 1:
        hint = " (cells are parted by a comma, semicolon, tab or bar)"
    raise UserError(f"{spec} has no column '{name}'{hint}; there are {_listed(names)}")


def from_scikit_learn(name: str) -> Delimited:
    """One of scikit-learn's tables, as a file would hold it; the target is the last column."""
    import sklearn.datasets  # takes a second to import

    found = getattr(sklearn.datasets, f"load_{name}")(**_RAW.get(name, {}))
    names = getattr(found, "target_names", None)
    targets = found.target if names is None else np.asarray(names)[found.target]
    columns = [[repr(float(value)) for value in column] for column in found.data.T]
    if name == "diabetes":  # 1 and 2 in the data's own units
        sex = found.feature_names.index("sex")
        columns[sex] = [str(int(float(value))) for value in columns[sex]]
    title = {"breast_cancer": "diagnosis", "diabetes": "progression"}.get(name, "class")
    return Delimited(
        (*map(str, found.feature_names), title),
        tuple(map(as_cells, (*columns, [str(value) for value in targets]))),
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
