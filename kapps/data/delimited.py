"""Text files of columns, as they are: names in the first line, cells as text, nothing guessed.

What cells mean is for others to say; `kapps.data.tables.loading` reads them as numbers and
categories.
"""

from __future__ import annotations

import csv
import os
import pathlib
from dataclasses import dataclass

from kapps.errors import UserError

DELIMITERS = (",", ";", "\t", "|")
_LOOKED_AT = 20  # rows by which the delimiter is told
_LONGEST_CELL = 2**24


@dataclass(frozen=True)
class Delimited:
    """The cells of a file, without the blanks around them.

    Attributes:
        names: of the columns, as the first line has them.
        columns: for each name its cells, one a row.
    """

    names: tuple[str, ...]
    columns: tuple[list[str], ...]

    def __len__(self) -> int:
        return len(self.columns[0])


def read_delimited(path: str | os.PathLike) -> Delimited:
    """Read a file of comma-, semicolon-, tab- or bar-separated columns.

    Quotes are those of RFC 4180; empty lines are passed over; the text is UTF-8, with or without a
    byte order mark.

    Raises:
        UserError: the file cannot be read, is no text, is empty, has a name only, has the same name
            twice or none, or a row is longer or shorter than the first line.
    """
    path = pathlib.Path(path)
    rows, lines = _rows(path)
    names = _checked_names(path, rows[0])
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) != len(names):
            raise UserError(
                f"'{path}', line {line}: {len(row)} cells, but the first line names {len(names)} "
                "columns. Is a cell with a separator in it not quoted?"
            )
    if len(rows) == 1:
        raise UserError(f"'{path}' has a line of names and no rows below it")
    columns = tuple([cell.strip() for cell in column] for column in zip(*rows[1:], strict=True))
    return Delimited(names, columns)


def read_names(path: str | os.PathLike) -> tuple[str, ...]:
    """The names in the first line alone: quick for files of any size.

    Raises:
        UserError: as `read_delimited`, as far as the first lines show it.
    """
    path = pathlib.Path(path)
    rows, _ = _rows(path, most=_LOOKED_AT)
    return _checked_names(path, rows[0])


def _rows(path: pathlib.Path, most: int | None = None) -> tuple[list[list[str]], list[int]]:
    """Rows of cells and the numbers of the lines they end on; at least one row."""
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = [line for _, line in zip(range(_LOOKED_AT), file, strict=False)]
            file.seek(0)
            reader = csv.reader(file, delimiter=_delimiter(head), skipinitialspace=True)
            rows, lines = [], []
            for row in reader:
                if any(cell.strip() for cell in row) or len(row) > 1:
                    rows.append(row)
                    lines.append(reader.line_num)
                if len(rows) == most:
                    break
    except UnicodeDecodeError as error:
        raise UserError(
            f"'{path}' is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8"
        ) from error
    except csv.Error as error:
        raise UserError(f"'{path}' cannot be read as CSV: {error}") from error
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}") from error
    if not rows:
        raise UserError(f"'{path}' is empty; its first line must name the columns")
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
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"'{path}': two columns are called '{name}'")
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
