"""Cells become what a model takes, in training and afterwards in the same way.

A column's description holds, under `reading`, how: `title` (the name in the file), `format` (of
numbers), `date` and `part` (of dates), `words` (those that stand for a missing value, where they
are not the usual ones).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kapps.data.delimited import Delimited
from kapps.data.tables import columns as kinds
from kapps.data.tables.cells import MISSING, Cells, shown
from kapps.data.tables.dates import date_part, far_off, offsets_note, parse_dates, recognize_dates
from kapps.data.tables.numbers import recognize_numbers
from kapps.errors import UserError

_SHOWN = 3


def read_column(
    cells: Cells, column: Mapping[str, Any], notes: list[str] | None = None
) -> np.ndarray:
    """What a model takes of the cells of a column, [n].

    Args:
        cells: of the column in the file.
        column: as `describe_columns` says.
        notes: what had no meaning is appended.
    """
    reading = column.get("reading", {})
    notes = [] if notes is None else notes
    if "part" in reading:
        days, _ = parse_dates(cells.values, reading["date"])
        odd = cells.most_frequent(np.isnan(days) & ~cells.missing)
        what = "no dates"
        values = date_part(days, reading["part"])[cells.codes]
        if column["kind"] == "integer":
            gone = np.isnan(values)
            values = np.where(gone, kinds.MISSING_INTEGER, np.nan_to_num(values)).astype(np.int32)
        else:
            values = values.astype(np.float64 if column.get("wide") else np.float32)
    else:
        values, odd = kinds.parse_cells(cells, column)
        what = "no numbers"
    if odd and reading.get("part", "days") == "days":
        count = sum(count for _, count in odd)
        notes.append(
            f"{count:,} cells of column '{reading.get('title', '')}' are {what} and count as "
            f"missing: {shown(odd[:_SHOWN], len(odd) - _SHOWN)}"
        )
    return values


def describe_columns(
    name: str,
    served: str,
    cells: Cells,
    notes: list[str],
    *,
    rows: np.ndarray,
    delimiter: str = "",
    categories: bool = False,
    keep: bool = False,
    words: Sequence[str] = MISSING,
) -> dict[str, dict[str, Any]] | str:
    """What a model is told of a column, by served name (several for dates), or why it is of no use.

    Args:
        name: of the column in the file.
        served: its served name.
        cells: of all rows.
        notes: what should be known is appended.
        rows: those of the training part.
        delimiter: of the file.
        categories: texts are categories, whatever they look like.
        keep: also if it looks like an identifier.
        words: that stand for a missing value.

    Raises:
        UserError: the column cannot be used.
    """
    train = cells.take(rows)
    about: dict[str, Any] = {"title": name}
    if tuple(words) != MISSING:
        about["words"] = list(words)
    order, problem = ("", "") if categories else recognize_dates(train)
    if problem:
        raise UserError(f"column '{name}': {problem}, or leave the column out: --drop '{name}'")
    if not order:
        found = kinds.describe_column(
            name, train, notes, rows=rows, delimiter=delimiter, categories=categories, keep=keep
        )
        if isinstance(found, str):
            return found
        if found["kind"] == "string" and found["missing"]:
            found["missing"] = list(words)
        return {served: {**found, "reading": {**about, **found.get("reading", {})}}}
    days, timed = parse_dates(cells.values, order)
    described = {}
    for part in kinds_of_parts(timed):
        column = kinds.describe_values(date_part(days, part)[train.codes])
        if isinstance(column, dict):
            reading = {**about, "date": order, "part": part}
            described[f"{served}_{part}"] = {**column, "reading": reading}
    if timed.any() and (note := offsets_note(train)):
        notes.append(f"column '{name}' {note}: times are those that the clock showed")
    if note := far_off(train, days):
        notes.append(
            f"column '{name}' {note}: if the former stands for a missing value, name it with "
            "--missing-words"
        )
    notes.append(
        f"column '{name}' holds dates ({order}): the model sees "
        + ", ".join(column["reading"]["part"] for column in described.values())
    )
    return described or f"all its dates are the same or missing, such as {cells.texts([0])[0]!r}"


def kinds_of_parts(timed: np.ndarray) -> tuple[str, ...]:
    """The parts of dates: an hour only where any of them has one."""
    parts = ("days", "month", "day", "weekday")
    return (*parts, "hour") if timed.any() else parts


def read_file(
    table: Delimited, columns: Mapping[str, Mapping[str, Any]], where: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The rows of a file as a model takes them, and what should be known of how they were read.

    Args:
        table: its cells.
        columns: by served name, as `describe_columns` says.
        where: the file, for messages.

    Raises:
        UserError: a column is missing, or its cells have nothing to do with those of training.
    """
    found = _find(table, columns, where)
    encoded: dict[str, Cells] = {}
    inputs, notes = {}, []
    for served, column in columns.items():
        name = found[served]
        reading = dict(column.get("reading", {}))
        if name not in encoded:
            encoded[name] = Cells.of(table.column(name), reading.get("words", MISSING))
        cells = encoded[name]
        reading["title"] = name
        inputs[served] = read_column(
            cells, _as_written(cells, column, reading, table, notes), notes
        )
        refuse_strangers(cells, inputs[served], column, name, where)
        notes += unknown_categories(inputs[served], column, name)
    return inputs, list(dict.fromkeys(notes))


def _find(table: Delimited, columns: Mapping[str, Mapping], where: str) -> dict[str, str]:
    """The name in the file of each served column: as in training, or as it is served."""
    served_here: dict[str, list[str]] = {}
    for name in table.names:
        served_here.setdefault(kinds.served_name(name).lower(), []).append(name)
    names, found, absent = set(table.names), {}, []
    for served, column in columns.items():
        reading = column.get("reading", {})
        title, part = reading.get("title"), reading.get("part")
        plain = served.removesuffix(f"_{part}") if part else served
        like = served_here.get(kinds.served_name(title or plain).lower(), [])
        # A name to the letter comes first: training may have had it beside another like it.
        if title in names or plain in names:
            found[served] = title if title in names else plain
        elif len(like) == 1:
            found[served] = like[0]
        elif like:
            raise UserError(
                f"{where}: column '{title or plain}' may be {' or '.join(map(repr, like))}; write "
                "its name as the training data have it"
            )
        else:
            absent.append(title or plain)
    if absent:
        absent = list(dict.fromkeys(absent))
        raise UserError(f"{where}: there is no column {', '.join(map(repr, absent))}")
    return found


def _as_written(cells: Cells, column, reading, table: Delimited, notes: list[str]) -> dict:
    """The description of a column, with the format of this file where the training's does not fit.

    A file may write the same numbers in another way: 12,5 for 12.5.
    """
    column = {**column, "reading": reading}
    if column["kind"] == "string" or "part" in reading:
        if "part" in reading:
            order, _ = recognize_dates(cells)
            days, _ = parse_dates(cells.values, reading["date"])
            if order and np.isnan(days[~cells.missing]).mean() > 0.5:
                reading["date"] = order
        return column
    _, odd = kinds.parse_cells(cells, column)
    if odd:
        here = recognize_numbers(cells, table.delimiter)
        unit = (reading.get("format") or {}).get("unit", "")
        same = here.format is None or here.format["unit"] in ("", unit)
        if here.problem:
            raise UserError(f"column '{reading['title']}': {here.problem}")
        if same and np.isnan(here.numbers[~cells.missing]).sum() < len(odd):
            reading["format"] = here.format
            notes += [f"column '{reading['title']}': {note}" for note in here.notes]
    return column


def refuse_strangers(
    cells: Cells, values: np.ndarray, column: Mapping[str, Any], name: str, where: str
) -> None:
    """A column whose every cell is nothing that the model knows is another column.

    Args:
        cells: of the column in a file.
        values: what was read of them, [n].
        column: as `describe_columns` says.
        name: of the column in the file.
        where: the file, for messages.

    Raises:
        UserError: it is such a column.
    """
    if column["kind"] == "string" or not cells.present.sum():
        return
    gone = np.isnan(values) if values.dtype.kind == "f" else values == kinds.MISSING_INTEGER
    if gone.all():
        most = cells.most_frequent(~cells.missing, 3)
        what = "date" if "date" in column.get("reading", {}) else "number"
        raise UserError(
            f"{where}: no cell of column '{name}' is a {what} as in the training data: "
            f"{shown(most)}"
        )


def unknown_categories(values: np.ndarray, column: Mapping[str, Any], name: str) -> list[str]:
    """Categories that the training data did not have."""
    known = column.get("vocabulary")
    if not known or column.get("reading", {}).get("part"):
        return []
    words, counts = np.unique(values.astype(str), return_counts=True)
    gone = {"", str(kinds.MISSING_INTEGER)}
    names = set(map(str, known)) | gone
    odd = [(w, int(n)) for w, n in zip(words.tolist(), counts, strict=True) if w not in names]
    if not odd:
        return []
    odd.sort(key=lambda item: (-item[1], item[0]))
    count = sum(n for _, n in odd)
    return [
        f"{count:,} cells of column '{name}' have values that are unknown from training and count "
        f"as none of the categories: {shown(odd[:_SHOWN], len(odd) - _SHOWN)}"
    ]
