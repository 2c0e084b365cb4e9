"""`kapps data describe csv:PATH`: what is in a table, as a dict and to be read."""

from __future__ import annotations

from typing import Any

import numpy as np

from kapps.data.spec import parse
from kapps.data.tables import columns as kinds
from kapps.data.tables.cells import Cells
from kapps.data.tables.dividing import group_notes
from kapps.data.tables.reading import describe_columns
from kapps.data.tables.source import TABLES, find_column, from_scikit_learn, read_file
from kapps.errors import UserError


def describe_table(spec: str, target: str | None = None) -> dict[str, Any]:
    """What `kapps data describe csv:PATH` says, as valid JSON.

    Keys: spec, rows, duplicates (rows that repeat an earlier one), target, columns (by name: kind,
    missing, distinct and an example; or why it is refused or of no use), notes.

    Raises:
        UserError: the file cannot be read as a table, or has no such target.
    """
    parsed = parse(spec, ("csv",), TABLES)
    table = read_file(parsed.path) if parsed.kind == "csv" else from_scikit_learn(parsed.kind)
    if target is not None:
        target = find_column(spec, table.names, target)
    described, notes, everything = {}, [*table.notes], {}
    served = kinds.served_names(table.names)
    for name, column, plain in zip(table.names, table.cells, served, strict=True):
        cells = everything[name] = Cells.of(column)
        facts = {
            "kind": "",
            "missing": int(len(cells) - cells.present.sum()),
            "distinct": int((cells.present > 0).sum()),
            "example": next(iter(cells.texts(np.flatnonzero(cells.present)[:1])), ""),
            "problem": "",
        }
        rows, about = np.arange(len(cells)), [] if name == target else notes
        try:
            found = describe_columns(
                name, plain, cells, about, rows=rows, delimiter=table.delimiter
            )
            facts |= {"problem": found} if isinstance(found, str) else {"kind": _kind(found)}
        except UserError as error:
            facts["problem"] = str(error)
        described[name] = facts
    rows = np.stack([cells.codes for cells in everything.values()], axis=1).astype(np.int32)
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, 4 * rows.shape[1])))
    everything.pop(target, None)
    return {
        "spec": spec,
        "rows": len(rows),
        "duplicates": len(rows) - len(np.unique(whole)),
        "target": target,
        "columns": described,
        "notes": [*notes, *group_notes(everything, np.arange(len(rows)))],
    }


def _kind(found: dict[str, dict[str, Any]]) -> str:
    column = next(iter(found.values()))
    return "date" if "part" in column["reading"] else kinds.kind_in_words(column)


def describe_table_text(report: dict[str, Any]) -> str:
    """The result of `describe_table` as lines to be read."""
    head = ("column", "kind", "missing", "distinct", "example")
    rows = [head] + [
        (
            name + " (target)" * (name == report["target"]),
            facts["kind"] or "-",
            str(facts["missing"]),
            str(facts["distinct"]),
            facts["example"][:30],
        )
        for name, facts in report["columns"].items()
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    problems = [
        f"column '{name}': {facts['problem']}"
        for name, facts in report["columns"].items()
        if facts["problem"] and name != report["target"]
    ]
    return "\n".join(
        [
            f"{report['spec']}: {report['rows']:,} rows, {len(report['columns'])} columns, "
            f"{report['duplicates']:,} rows repeat an earlier one",
            "",
            *(
                "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
                for row in rows
            ),
            *([""] if problems else []),
            *problems,
            *(f"note: {note}" for note in report["notes"]),
        ]
    )
