"""Files of columns, as they are: names in the first line, cells as text, nothing guessed.

What cells mean is for others to say; `kapps.data.tables` reads them as numbers, dates and
categories. The cells are read by Apache Arrow; what Arrow reads otherwise than RFC 4180 and
Python's `csv` (a blank before a quote), or refuses, is read by the latter, whose messages name the
line. Parquet and lines of JSON, whose cells have types, are read by `kapps.data.typed`.
"""

from __future__ import annotations

import codecs
import collections
import csv
import functools
import gzip
import io
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kapps.errors import UserError

if TYPE_CHECKING:
    import pyarrow

DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 20  # rows by which the delimiter is told
_LONGEST_CELL = 2**24
_GZIP = b"\x1f\x8b"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # of no width, beside a cell
# What people give for a CSV file, by how it begins.
_FOREIGN = {
    b"PK\x03\x04": "a zip archive: unpack it",
    b"BZh": "compressed by bzip2: unpack it (bunzip2), or compress it by gzip",
    b"\xfd7zXZ": "compressed by xz: unpack it (unxz), or compress it by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard: unpack it (unzstd), or compress it by gzip",
    b"7z\xbc\xaf": "a 7z archive: unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook of before 2007: save the sheet as CSV (UTF-8)",
    b"SQLite format 3": "an SQLite database: export the table as CSV",
    b"%PDF": "a PDF",
    b"ARROW1": "an Arrow (Feather) file: save it as Parquet or CSV",
    b"\x89HDF": "an HDF5 file: save the table as Parquet or CSV",
    b"\x80": "a pickle of Python: save the table as Parquet or CSV",
    b"RDX3\n": "R data: save the table with write.csv(..., row.names = FALSE)",
}
# Not any "<": some columns are called <DATE>.
_MARKUP = re.compile(rb"(?i)\s*<(!doctype|!--|\?xml|html|head|body|table|svg|div)")
_BLANKS = b" \t\v\f\x1c\x1d\x1e\x1f"  # what is trimmed of ASCII, but for the ends of lines
_EXCEL = re.compile(r"sep=(.)\s*$", re.IGNORECASE)  # how Excel is told the separator
_BLANK_BEFORE_QUOTE = re.compile(rb'(?:\A|[,;\t|\r\n]|\xef\xbb\xbf) +"')
_BLANK_BEHIND_QUOTE = re.compile(r'" +(?=[,;\t|\r\n]|$)')
# A quote within a cell that is neither doubled nor at one of its ends.
_ODD_QUOTE = re.compile(rb'[^,;\t|\r\n"]"[^,;\t|\r\n" ]')


@dataclass(frozen=True)
class Delimited:
    """The cells of a file, without the blanks around them.

    Attributes:
        names: of the columns, as the first line has them.
        cells: for each name its cells, one a row: Arrow arrays of text.
        delimiter: what stands between two cells of the file; "" where there was no text file.
        notes: what was left out.
    """

    names: tuple[str, ...]
    cells: tuple[pyarrow.Array, ...]
    delimiter: str = field(default="", compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return len(self.cells[0])

    @property
    def size(self) -> int:
        """Bytes that the cells take in memory."""
        return sum(cells.nbytes for cells in self.cells)

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
    """Read a file of comma-, semicolon-, tab- or bar-separated columns, Parquet or JSON lines.

    Quotes are those of RFC 4180; empty lines are passed over, and so are empty cells beyond the
    last name, as spreadsheets leave them; rows that repeat the names, as in files that were put
    together, are left out and noted. The text is UTF-8, with or without a byte order mark, or
    UTF-16 with one, perhaps compressed (gzip). A first line `sep=;`, as Excel has it, names the
    separator.

    Raises:
        UserError: the file cannot be read, is no text, is empty, has a name only, has the same name
            twice or none, or a row is longer or shorter than the first line.
    """
    path = pathlib.Path(path)
    if (typed := _typed(path)) is not None:
        return typed
    head = _Head(path)
    cells = _read_by_arrow(path, head)
    if cells is None:
        cells = _read_by_python(path, head)
    cells, notes = _without_names(head.names, cells)
    if not len(cells[0]):
        raise UserError(f"'{path}' has a line of names and no rows below it")
    return Delimited(head.names, cells, head.delimiter, notes)


def read_names(path: str | os.PathLike) -> tuple[str, ...]:
    """The names in the first line alone: quick for files of any size.

    Raises:
        UserError: as `read_delimited`, as far as the first lines show it.
    """
    path = pathlib.Path(path)
    typed = _typed(path, names_only=True)
    return _Head(path).names if typed is None else typed.names


def _typed(path: pathlib.Path, names_only: bool = False) -> Delimited | None:
    """The table of a file whose cells have types; None for a text file of columns.

    Raises:
        UserError: the file is neither.
    """
    from kapps.data import typed

    with _messages(path), open_bytes(path) as file:
        start = file.read(4096)
    for magic, what in _FOREIGN.items():
        if start.startswith(magic):
            if b"xl/" in start or b"[Content_Types].xml" in start:
                what = (
                    "an Excel workbook: save the sheet as 'CSV UTF-8', or give the frame of "
                    "pandas.read_excel to kapps.data.load_table"
                )
            raise UserError(f"'{path}' is {what}")
    kind = typed.kind_of(start)
    if kind == "json":
        raise UserError(f"'{path}' is JSON; write an object a line (JSON lines), or CSV")
    if kind:
        with _messages(path):
            return typed.read(path, kind, names_only)
    if _MARKUP.match(start):
        raise UserError(f"'{path}' is HTML or XML, and no CSV: was it downloaded from a page?")
    if b"\0" in start and not start.startswith(_UTF_16):
        raise UserError(f"'{path}' has zero bytes: it is no text; save it as CSV in UTF-8")
    return None


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
            rows, _ = _rows(file, self, most=3)
        if not rows:
            raise UserError(f"'{path}' is empty; its first line must name the columns")
        _refuse_title(path, rows)
        self.width = len(rows[0])
        self.names = _checked_names(path, rows[0])


def _read_by_arrow(path: pathlib.Path, head: _Head) -> tuple[pyarrow.Array, ...] | None:
    """The cells below the names; None where Arrow would read them in another way, or cannot."""
    import pyarrow as pa
    from pyarrow import compute, csv as arrow_csv

    with _messages(path), open_bytes(path) as file:
        content = file.read()
        if content.startswith(_UTF_16):
            content = content.decode("utf-16").encode()
    if b"\0" in content:
        raise UserError(f"'{path}' has zero bytes: it is no text; save it as CSV in UTF-8")
    # Plain searches first: patterns go through 100 MB a second, and few files have quotes.
    quotes = content.count(b'"')
    blank_first = b' "' in content and _BLANK_BEFORE_QUOTE.search(content)
    if len(head.delimiter.encode()) > 1 or blank_first:
        return None
    if quotes % 2 or (quotes and _ODD_QUOTE.search(content)):
        return None  # where it is a mistake, the message names the line
    buffer = pa.py_buffer(content)
    if head.excel:
        buffer = buffer.slice(content.index(b"\n") + 1 if b"\n" in content else len(content))
    columns = [str(i) for i in range(head.width)]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(buffer),
            # The first line is read as a row, and left out below: it may hold line ends.
            read_options=arrow_csv.ReadOptions(
                column_names=columns, block_size=_block(content, quotes > 0)
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=head.delimiter, newlines_in_values=quotes > 0
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if len(columns) == 1:  # of one column, a line of blanks is an empty line
        table = table.filter(compute.not_equal(compute.utf8_trim_whitespace(table["0"]), ""))
    if _names_of([column[0].as_py() for column in table.columns]) != head.names:
        return None
    cells = [column.slice(1).combine_chunks() for column in table.columns]
    trim = _trim(content, quotes > 0, head.delimiter)
    cells = [trim(column) for column in cells]
    unnamed = cells[len(head.names) :]
    if any(compute.any(compute.not_equal(column, "")).as_py() for column in unnamed):
        return None  # whose message names the line
    return tuple(cells[: len(head.names)])


def _trim(content: bytes, quoted: bool = True, delimiter: str = ","):
    """A function that takes away what surrounds a cell: blanks, what has no width, `="..."`.

    Args:
        content: of the file; what is nowhere in it surrounds no cell.
        quoted: whether there are quotes in it.
        delimiter: of cells, which is in none that is not quoted.
    """
    from pyarrow import compute

    plain = content.isascii()
    invisible = not plain and any(content.find(each.encode(), 3) >= 0 for each in _INVISIBLE)
    formulas = quoted and b'="' in content  # so that Excel keeps 0012 as it is
    blanks = _BLANKS + b"\r\n" if quoted else _BLANKS.replace(delimiter.encode(), b"")
    found = [blank for blank in map(bytes, zip(blanks)) if blank in content]

    def trim(cells):
        if invisible:
            cells = compute.utf8_trim(cells, _INVISIBLE)
        if not plain or (found and _any_in(cells, found)):
            cells = compute.utf8_trim_whitespace(cells)
        return compute.replace_substring_regex(cells, '^="(.*)"$', r"\1") if formulas else cells

    return trim


def _any_in(cells: pyarrow.Array, found: Sequence[bytes]) -> bool:
    """Whether the text of a column has one of these in it; perhaps so, if it is part of a table."""
    text = cells.buffers()[2]
    content = b"" if text is None else text.to_pybytes()
    return any(each in content for each in found)


def _block(content: bytes, quoted: bool) -> int:
    """A row must fit into a block; small blocks keep the cores busy."""
    return max(1 << 20, min(len(content) + 1, 1 << 26) if quoted else 1 << 20)


def _read_by_python(path: pathlib.Path, head: _Head) -> tuple[pyarrow.Array, ...]:
    with _messages(path), _open(path) as file:
        rows, lines = _rows(file, head)
    wanted = len(head.names)
    for row, line in zip(rows[1:], lines[1:], strict=True):
        while len(row) > wanted and not row[-1].strip():
            row.pop()
        if len(row) != wanted:
            raise UserError(
                f"'{path}', line {line}: {len(row)} cells, but the first line names "
                f"{wanted} columns. Is a cell with a separator in it not quoted?"
            )
    columns = zip(*rows[1:], strict=True) if len(rows) > 1 else [[] for _ in head.names]
    trim = _trim("".join(map(str, _INVISIBLE)).encode() + b'="')
    return tuple(trim(as_cells(list(column))) for column in columns)


def _without_names(
    names: tuple[str, ...], cells: tuple[pyarrow.Array, ...]
) -> tuple[tuple[pyarrow.Array, ...], tuple[str, ...]]:
    """The cells without rows that are the names once more, and a note on those."""
    from pyarrow import compute

    again = compute.equal(cells[0], names[0])
    for name, column in zip(names[1:], cells[1:], strict=True):
        if not compute.any(again).as_py():
            return cells, ()
        again = compute.and_(again, compute.equal(column, name))
    count = compute.sum(again).as_py() or 0
    if not count or len(names) == 1:
        return cells, ()
    there = compute.invert(again)
    return tuple(column.filter(there) for column in cells), (
        f"{count:,} row{'s' * (count > 1)} with the names of the columns once more left out",
    )


def open_bytes(path: pathlib.Path):
    """A file to be read as bytes, unpacked where gzip packed it, whatever its name."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
    return gzip.open(path, "rb") if packed else path.open("rb")


def _open(path: pathlib.Path):
    with open_bytes(path) as file:
        encoding = "utf-16" if file.read(2) in _UTF_16 else "utf-8-sig"
    return io.TextIOWrapper(open_bytes(path), encoding=encoding, newline="")


class _messages:
    """Turns what the system and the decoders raise into a `UserError` that names the file."""

    def __init__(self, path: pathlib.Path):
        self._path = path

    def __enter__(self) -> None:
        csv.field_size_limit(_LONGEST_CELL)

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, UnicodeDecodeError):
            raise UserError(
                f"'{self._path}' is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8, "
                "or convert it: iconv -f cp1252 -t utf-8"
            ) from error
        if isinstance(error, csv.Error):
            raise UserError(f"'{self._path}' cannot be read as CSV: {error}") from error
        if isinstance(error, (OSError, EOFError)):
            why = getattr(error, "strerror", None) or error
            raise UserError(f"'{self._path}' cannot be read: {why}") from error


def _rows(file, head: _Head, most: int | None = None) -> tuple[list[list[str]], list[int]]:
    """Rows of cells, that of the names first, and the numbers of the lines they end on."""
    try:
        return _rows_of(file, file, head, most)
    except csv.Error:  # blanks behind a quote?
        return _rows_of(file, (_BLANK_BEHIND_QUOTE.sub('"', line) for line in file), head, most)


def _rows_of(file, of_file: Iterable[str], head: _Head, most: int | None):
    file.seek(0)
    if head.excel:
        file.readline()
    reader = csv.reader(of_file, delimiter=head.delimiter, skipinitialspace=True, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row) or len(row) > 1:
                rows.append(row)
                lines.append(reader.line_num + head.excel)
            if len(rows) == most:
                break
    except csv.Error as error:
        raise csv.Error(f"line {reader.line_num + head.excel}: {_in_words(str(error))}") from error
    return rows, lines


def _in_words(problem: str) -> str:
    if "expected after" in problem:
        return (
            'a quote within a quoted cell; double it: "5"" pipe", and not "5" pipe" or "5\\" pipe"'
        )
    return "a quote is not closed" if "unexpected end" in problem else problem


def _delimiter(head: list[str]) -> str:
    """The separator that divides the first lines into the most columns, all of one width."""

    def width(delimiter: str) -> tuple[bool, int]:
        rows = [row for row in csv.reader(head, delimiter=delimiter) if row]
        # The last line may be cut inside a quoted cell.
        widths = {len(row) for row in rows[: max(1, len(rows) - (len(head) == _LOOKED_AT))]}
        return len(widths) == 1 and max(widths) > 1, len(rows[0]) if rows else 0

    return max(DELIMITERS, key=width)  # the first of equals: a comma


def _refuse_title(path: pathlib.Path, rows: list[list[str]]) -> None:
    """UserError where a title or a comment stands above the names."""
    filled = [sum(bool(cell.strip()) for cell in row) for row in rows]
    ruled = [cell.strip() for cell in rows[1]] if len(rows) > 1 else []
    if any(ruled) and all(not cell.strip(":-") for cell in ruled) and max(map(len, ruled)) > 2:
        raise UserError(f"'{path}' is a table of text with rules (Markdown?), and no CSV")
    title = rows[0][0].strip()
    if title and filled[0] == 1 and max(filled) > 1:
        raise UserError(
            f"'{path}': the first line must name the columns, and holds {title[:60]!r} alone; "
            "remove what stands above the names"
        )


def _names_of(row: list[str]) -> tuple[str, ...]:
    """The names in the first line, without the empty ones behind the last."""
    names = [cell.strip().strip(_INVISIBLE).strip() for cell in row]
    while len(names) > 1 and not names[-1]:
        names.pop()
    # Files that pandas wrote with an index have an unnamed first column.
    return tuple("index" if i == 0 and not name else name for i, name in enumerate(names))


def _checked_names(path: pathlib.Path, row: list[str]) -> tuple[str, ...]:
    names = _names_of(row)
    if "" in names:
        raise UserError(f"'{path}': column {names.index('') + 1} has no name in the first line")
    if all(_is_number(name) for name in names):
        raise UserError(
            f"'{path}': the first line holds numbers ({', '.join(names[:3])} ...); it must name "
            "the columns"
        )
    check_twice(str(path), names)
    return names


def check_twice(where: str, names: Sequence[str]) -> None:
    """UserError where two columns have one name."""
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"'{where}': two columns are called '{twice[0]}'")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
