"""Text files of columns, as they are: names in the first line, cells as text, nothing guessed.

What cells mean is for others to say; `kapps.data.tables` reads them as numbers, dates and
categories. The cells are read by Apache Arrow; what Arrow reads otherwise than RFC 4180 and
Python's `csv` (a blank before a quote), or refuses, is read by the latter, whose messages name the
line.
"""

from __future__ import annotations

import collections
import csv
import functools
import gzip
import os
import pathlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kapps.errors import UserError

if TYPE_CHECKING:
    import pyarrow

DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 20  # rows by which the delimiter is told
_LONGEST_CELL = 2**24
_EXCEL = re.compile(r"sep=(.)\s*$", re.IGNORECASE)  # how Excel is told the separator
_BLANK_BEFORE_QUOTE = re.compile(rb'(?:\A|[,;\t|\r\n]|\xef\xbb\xbf) +"')


@dataclass(frozen=True)
class Delimited:
    """The cells of a file, without the blanks around them.

    Attributes:
        names: of the columns, as the first line has them.
        cells: for each name its cells, one a row: Arrow arrays of text.
        delimiter: what stands between two cells of the file; "" where there was no file.
    """

    names: tuple[str, ...]
    cells: tuple[pyarrow.Array, ...]
    delimiter: str = field(default="", compare=False)

    def __len__(self) -> int:
        return len(self.cells[0])

    @property
    def columns(self) -> tuple[list[str], ...]:
        """The cells of each column as a list of str: for small tables."""
        return tuple(cells.to_pylist() for cells in self.cells)

    def column(self, name: str) -> pyarrow.Array:
        """The cells of one column."""
        return self.cells[self._places[name]]

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


def as_cells(cells: Any) -> pyarrow.Array:
    """Cells, texts or an Arrow array of them, as one Arrow array of text."""
    import pyarrow as pa

    if isinstance(cells, pa.ChunkedArray):
        return cells.combine_chunks()
    return cells if isinstance(cells, pa.Array) else pa.array(cells, pa.string())


def read_delimited(path: str | os.PathLike) -> Delimited:
    """Read a file of comma-, semicolon-, tab- or bar-separated columns.

    Quotes are those of RFC 4180; empty lines are passed over; the text is UTF-8, with or without a
    byte order mark, perhaps compressed (.gz). A first line `sep=;`, as Excel has it, names the
    separator.

    Raises:
        UserError: the file cannot be read, is no text, is empty, has a name only, has the same name
            twice or none, or a row is longer or shorter than the first line.
    """
    path = pathlib.Path(path)
    head = _Head(path)
    cells = _read_by_arrow(path, head)
    if cells is None:
        cells = _read_by_python(path, head)
    if not len(cells[0]):
        raise UserError(f"'{path}' has a line of names and no rows below it")
    return Delimited(head.names, cells, head.delimiter)


def read_names(path: str | os.PathLike) -> tuple[str, ...]:
    """The names in the first line alone: quick for files of any size.

    Raises:
        UserError: as `read_delimited`, as far as the first lines show it.
    """
    return _Head(pathlib.Path(path)).names


class _Head:
    """What the first lines say: separator, names, and whether the first line is Excel's."""

    def __init__(self, path: pathlib.Path):
        with _messages(path), _open(path) as file:
            lines = [line for _, line in zip(range(_LOOKED_AT + 1), file, strict=False)]
            named = _EXCEL.match(lines[0]) if lines else None
            self.excel = named is not None
            if self.excel:
                lines = lines[1:]
            self.delimiter = named.group(1) if named else _delimiter(lines[:_LOOKED_AT])
            file.seek(0)
            rows, _ = _rows(file, self, most=1)
        if not rows:
            raise UserError(f"'{path}' is empty; its first line must name the columns")
        self.names = _checked_names(path, rows[0])


def _read_by_arrow(path: pathlib.Path, head: _Head) -> tuple[pyarrow.Array, ...] | None:
    """The cells below the names; None where Arrow would read them in another way, or cannot."""
    import pyarrow as pa
    from pyarrow import compute, csv as arrow_csv

    with _messages(path):
        content = gzip.decompress(path.read_bytes()) if _is_packed(path) else path.read_bytes()
    if len(head.delimiter.encode()) > 1 or _BLANK_BEFORE_QUOTE.search(content):
        return None
    buffer = pa.py_buffer(content)
    if head.excel:
        buffer = buffer.slice(content.index(b"\n") + 1 if b"\n" in content else len(content))
    names = [str(i) for i in range(len(head.names))]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(buffer),
            # The first line is read as a row, and left out below: it may hold line ends.
            read_options=arrow_csv.ReadOptions(column_names=names, block_size=_block(content)),
            parse_options=arrow_csv.ParseOptions(
                delimiter=head.delimiter, newlines_in_values=b'"' in content
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if len(names) == 1:  # of one column, a line of blanks is an empty line
        table = table.filter(compute.not_equal(compute.utf8_trim_whitespace(table["0"]), ""))
    first = [column[0].as_py().strip().lstrip("\ufeff") for column in table.columns]
    if ["index" if not i and not name else name for i, name in enumerate(first)] != list(
        head.names
    ):
        return None
    return tuple(
        compute.utf8_trim_whitespace(column.slice(1)).combine_chunks() for column in table.columns
    )


def _block(content: bytes) -> int:
    """A row must fit into a block; small blocks keep the cores busy."""
    return max(1 << 20, min(len(content) + 1, 1 << 26) if b'"' in content else 1 << 20)


def _read_by_python(path: pathlib.Path, head: _Head) -> tuple[pyarrow.Array, ...]:
    with _messages(path), _open(path) as file:
        rows, lines = _rows(file, head)
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) != len(head.names):
            raise UserError(
                f"'{path}', line {line}: {len(row)} cells, but the first line names "
                f"{len(head.names)} columns. Is a cell with a separator in it not quoted?"
            )
    columns = zip(*rows[1:], strict=True) if len(rows) > 1 else [[] for _ in head.names]
    return tuple(as_cells([cell.strip() for cell in column]) for column in columns)


def _open(path: pathlib.Path):
    if _is_packed(path):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(newline="", encoding="utf-8-sig")


def _is_packed(path: pathlib.Path) -> bool:
    return path.suffix.lower() == ".gz"


class _messages:
    """Turns what the system and the decoders raise into a `UserError` that names the file."""

    def __init__(self, path: pathlib.Path):
        self._path = path

    def __enter__(self) -> None:
        csv.field_size_limit(_LONGEST_CELL)

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, UnicodeDecodeError):
            raise UserError(
                f"'{self._path}' is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8"
            ) from error
        if isinstance(error, csv.Error):
            raise UserError(f"'{self._path}' cannot be read as CSV: {error}") from error
        if isinstance(error, (OSError, EOFError)):
            why = getattr(error, "strerror", None) or error
            raise UserError(f"'{self._path}' cannot be read: {why}") from error


def _rows(file, head: _Head, most: int | None = None) -> tuple[list[list[str]], list[int]]:
    """Rows of cells, that of the names first, and the numbers of the lines they end on."""
    if head.excel:
        file.readline()
    reader = csv.reader(file, delimiter=head.delimiter, skipinitialspace=True)
    rows, lines = [], []
    for row in reader:
        if any(cell.strip() for cell in row) or len(row) > 1:
            rows.append(row)
            lines.append(reader.line_num + head.excel)
        if len(rows) == most:
            break
    return rows, lines


def _delimiter(head: list[str]) -> str:
    """The separator that divides the first lines into the most columns, all of one width."""

    def width(delimiter: str) -> tuple[bool, int]:
        rows = [row for row in csv.reader(head, delimiter=delimiter) if row]
        # The last line may be cut inside a quoted cell.
        widths = {len(row) for row in rows[: max(1, len(rows) - (len(head) == _LOOKED_AT))]}
        return len(widths) == 1 and max(widths) > 1, len(rows[0]) if rows else 0

    return max(DELIMITERS, key=width)  # the first of equals: a comma


def _checked_names(path: pathlib.Path, row: list[str]) -> tuple[str, ...]:
    names = tuple(cell.strip() for cell in row)
    # Files that pandas wrote with an index have an unnamed first column.
    names = tuple("index" if i == 0 and not name else name for i, name in enumerate(names))
    if "" in names:
        raise UserError(f"'{path}': column {names.index('') + 1} has no name in the first line")
    if all(_is_number(name) for name in names):
        raise UserError(
            f"'{path}': the first line holds numbers ({', '.join(names[:3])} ...); it must name "
            "the columns"
        )
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"'{path}': two columns are called '{twice[0]}'")
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
