"""Rows at the end of a table that sum up the others."""

from __future__ import annotations

import dataclasses

from kapps.data.delimited import Delimited

_TOTALS = "^(sub-?|grand )?totals?:?$"
_MOST = 10  # rows at the end that are looked at
_WORDS = {
    "total", "totals", "grand total", "subtotal", "sum", "sums", "average", "avg", "mean", "count",
    "gesamt", "gesamtsumme", "summe", "durchschnitt", "mittelwert", "total général", "somme",
    "moyenne", "suma", "total general", "promedio", "somma", "totale", "media", "totaal",
}  # fmt: skip


def without_totals(table: Delimited) -> Delimited:
    """A table without the rows of totals and averages at its end, and a note on them.

    Such a row has a cell that says so, in a column where nobody else does.
    """
    from pyarrow import compute

    end, words = len(table), []
    for row in range(len(table) - 1, max(len(table) - 1 - _MOST, 0), -1):
        cells = [column[row].as_py() for column in table.cells]
        said = [(place, cell) for place, cell in enumerate(cells) if _sums_up(cell)]
        alone = [
            cell
            for place, cell in said
            if compute.sum(compute.equal(table.cells[place], cell)).as_py() == 1
        ]
        if alone:
            end, words = row, [*words, alone[0]]
        elif any(cells):
            break
    table = dataclasses.replace(table, notes=(*table.notes, *_within(table, end)))
    if not words:
        return table
    many = len(words) > 1
    note = (
        f"{len(words)} row{'s' * many} at the end ({', '.join(map(repr, reversed(words)))}) sum"
        f"{'s' * (not many)} up the others and {'were' if many else 'was'} left out"
    )
    cells = tuple(column.slice(0, end) for column in table.cells)
    return dataclasses.replace(table, cells=cells, notes=(*table.notes, note))


def _within(table: Delimited, end: int) -> list[str]:
    """Notes on rows of totals among the others."""
    from pyarrow import compute

    notes = []
    for name, column in zip(table.names, table.cells, strict=True):
        lower = compute.utf8_lower(column.slice(0, end))
        count = compute.sum(compute.match_substring_regex(lower, _TOTALS)).as_py() or 0
        if count:
            notes.append(
                f"column '{name}' says total or subtotal in {count:,} rows: if they sum up others, "
                "leave them out"
            )
    return notes


def _sums_up(cell: str) -> bool:
    return cell.casefold().rstrip(":").strip() in _WORDS
