"""Tables whose cells have types: Parquet, lines of JSON, data frames. Their cells become text.

So that all tables are read in one way, whatever they come from: a number is written as Python
writes it, a date as 2024-05-01, a missing value as an empty cell.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

from kapps.data.delimited import Delimited, check_twice, open_bytes
from kapps.errors import UserError

if TYPE_CHECKING:
    import pyarrow

_FRAMES = ("pandas", "polars", "pyarrow")


def kind_of(start: bytes) -> str:
    """By the first bytes of a file: parquet, jsonl, or json, which is not read; "" otherwise."""
    if start.startswith(b"PAR1"):
        return "parquet"
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start[:1] == b"[" and start[1:].lstrip()[:1] == b"{":
        return "json"
    if start[:1] != b"{":
        return ""
    first, end, _ = start.partition(b"\n")
    try:
        return "jsonl" if not end or isinstance(json.loads(first), dict) else ""
    except ValueError:
        return "json" if first.strip() == b"{" else ""


def read(path: str | os.PathLike, kind: str, names_only: bool = False) -> Delimited:
    """A Parquet file, or a file with a JSON object a line.

    Args:
        path: of the file; lines of JSON may be compressed (gzip).
        kind: as `kind_of` says.
        names_only: of Parquet, read no cells.

    Raises:
        UserError: the file is broken, or has no rows.
    """
    import pyarrow as pa

    path = pathlib.Path(path)
    try:
        if kind == "jsonl":
            from pyarrow import json as arrow_json

            with open_bytes(path) as file:
                table = arrow_json.read_json(file)
        else:
            from pyarrow import parquet

            if names_only:
                table = parquet.read_schema(path).empty_table()
            else:
                table = parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"'{path}' cannot be read as {kind}: {error}") from error
    if not len(table) and not names_only:
        raise UserError(f"'{path}' has no rows")
    return as_text(table, str(path))


def is_frame(data: Any) -> bool:
    """Whether this is a table of pandas, polars or pyarrow; none of them is imported."""
    return type(data).__module__.partition(".")[0] in _FRAMES


def from_frame(frame: Any) -> Delimited:
    """A table of pandas, polars or pyarrow. An index of pandas is left out, unless it has a name.

    Raises:
        UserError: it has no rows or no columns, or columns of several levels.
    """
    import pyarrow as pa

    if isinstance(frame, pa.Table):
        table = frame
    elif hasattr(frame, "to_arrow"):
        table = frame.to_arrow()
    else:
        if getattr(frame.columns, "nlevels", 1) > 1:
            raise UserError("the columns of the frame have several levels: give each one name")
        names = [name for name in frame.index.names if name is not None]
        frame = frame.reset_index(names) if names else frame
        columns = [str(name) for name in frame.columns]
        check_twice("the frame", columns)
        table = pa.table({c: _series(frame.iloc[:, i]) for i, c in enumerate(columns)})
    if not table.num_rows or not table.num_columns:
        raise UserError(f"the frame has {table.num_rows} rows and {table.num_columns} columns")
    return as_text(table, "the frame")


def _series(column: Any) -> pyarrow.Array:
    import pyarrow as pa

    try:
        found = pa.Array.from_pandas(column)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # objects of several types
        gone = column.isna()
        found = pa.array([None if g else str(v) for v, g in zip(column, gone, strict=True)])
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def as_text(table: pyarrow.Table, where: str) -> Delimited:
    """The cells of an Arrow table as text; columns of lists and objects are left out, and noted.

    Raises:
        UserError: a column has no name, or two have one, or none is left.
    """
    names, cells, left = [], [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        found = _text(column)
        if found is None:
            left.append(f"'{name}' ({column.type})")
        else:
            names.append(name.strip())
            cells.append(found)
    if "" in names:
        raise UserError(f"'{where}': column {names.index('') + 1} has no name")
    check_twice(where, names)
    if not names:
        raise UserError(f"'{where}' has no column of numbers, texts or dates")
    notes = (f"columns of no single values left out: {', '.join(left[:5])}",) if left else ()
    return Delimited(tuple(names), tuple(cells), notes=notes)


def _text(column: pyarrow.ChunkedArray) -> pyarrow.Array | None:
    import pyarrow as pa
    from pyarrow import compute, types

    kind = column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_null(kind):
        return pa.array([""] * len(column), pa.string())
    if types.is_timestamp(kind):
        pattern = "%Y-%m-%d" if _no_times(column) else "%Y-%m-%d %H:%M:%S"
        column = compute.strftime(column, pattern)
    elif types.is_duration(kind):
        column = column.cast(pa.int64())
    elif types.is_nested(kind):
        return None
    try:
        text = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # bytes that are no text
        return None
    if types.is_floating(kind):
        # NaN is how pandas and NumPy write a missing number.
        text = compute.if_else(compute.is_nan(column), "", text)
    text = text.combine_chunks()
    return compute.utf8_trim_whitespace(compute.fill_null(text, ""))


def _no_times(column: pyarrow.ChunkedArray) -> bool:
    """Whether all times are midnight."""
    from pyarrow import compute

    whole = compute.equal(column, compute.floor_temporal(column, unit="day"))
    return bool(compute.all(whole).as_py())
