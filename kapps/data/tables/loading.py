"""A table becomes train, validation and test, with what the training part says of its columns.

Nothing here imports TensorFlow.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kapps.data.delimited import Delimited, read_delimited, read_names
from kapps.data.spec import parse
from kapps.data.split import divide
from kapps.data.tables import columns as kinds
from kapps.errors import UserError

TABLES = ("breast_cancer", "diabetes", "iris", "wine")  # come with scikit-learn
TASKS = ("classification", "regression")
SPLITS = ("train", "validation", "test")
MOST_CLASSES = 20  # of a target of whole numbers; with more of them it is a quantity
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class TableSplit:
    """Rows of a table.

    Attributes:
        inputs: by the served name of a column its cells: float32 [n] with NaN where there is none,
            int32 [n] with -2147483648 there, or str [n] with "".
        targets: class numbers int32 [n], or numbers float32 [n].
        rows: numbers of the rows in the file, from 0, ascending.
    """

    inputs: dict[str, np.ndarray]
    targets: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class TableData:
    """A table in three splits.

    Attributes:
        spec: the spec it was loaded from.
        target: the column that is to be predicted.
        task: classification or regression.
        class_names: one per class number; empty for regression.
        columns: by its served name what the training part says of each column, as
            `kapps.data.tables.columns` describes it; sorted.
        titles: by the served name of a column its name in the file.
        dropped: by the name of a column in the file why it is of no use.
        splits: `TableSplit` by name: train, validation, test.
        fingerprint: sha256 over cells, names, target and who is in which split.
        notes: what the user should know.
    """

    spec: str
    target: str
    task: str
    class_names: tuple[str, ...]
    columns: dict[str, dict[str, Any]]
    titles: dict[str, str]
    dropped: dict[str, str]
    splits: dict[str, TableSplit]
    fingerprint: str
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows in each split."""
        return {name: len(split) for name, split in self.splits.items()}

    @property
    def summary(self) -> str:
        """What this is, in one line."""
        classes = f", {len(self.class_names)} classes" if self.class_names else ""
        return (
            f"{self.spec}: {self.counts}, {len(self.columns)} columns; {self.task} of "
            f"'{self.target}'{classes}"
        )

    @property
    def target_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of a regression's training targets."""
        targets = self.splits["train"].targets.astype(np.float64)
        return float(targets.mean()), float(targets.std())


def load_table(
    spec: str,
    *,
    target: str | None = None,
    task: str = "auto",
    drop: Sequence[str] = (),
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> TableData:
    """Loads a table, and describes its columns by the training part.

    A fifth of the rows is the test split, always the same ones; a part of the others is the
    validation split, which moves with `seed`. Both are stratified by class.

    Args:
        spec: csv:PATH, or breast_cancer, diabetes, iris, wine.
        target: the column to predict, by its name in the file; those of scikit-learn have one.
        task: classification, regression, or auto: text, truth values and up to 20 whole numbers
            are classes.
        drop: columns to leave out.
        validation_fraction: the part of the rows outside test that is kept for validation.
        seed: of the validation split.

    Raises:
        UserError: the file cannot be read as a table, there is no such column, the target is
            constant or does not fit the task, a column cannot be used, or none is left.
    """
    table, target = read_table(spec, target)
    # Names in the file are known to the user, those that are served to who calls the model.
    target = find_column(spec, table.names, target)
    drop = [find_column(spec, table.names, name) for name in drop]
    if target in drop:
        raise UserError(f"column '{target}' is the target: it cannot be dropped")
    cells = dict(zip(table.names, table.columns, strict=True))
    kept = [i for i, cell in enumerate(cells[target]) if not kinds.is_missing(cell)]
    notes = []
    if len(kept) < len(table):
        notes.append(f"{len(table) - len(kept)} rows have no '{target}' and were left out")
    task, class_names, targets = _read_targets(spec, target, [cells[target][i] for i in kept], task)
    rows = _divide(targets, task, validation_fraction, seed)
    splits = {name: np.array(kept)[rows[name]] for name in SPLITS}

    described, titles, dropped = {}, {}, {}
    # Those left out have a name, too, so that a file to predict, with all columns, has the same.
    for name, served in zip(table.names, kinds.served_names(table.names), strict=True):
        if name == target or name in drop:
            continue
        found = kinds.describe_column(name, [cells[name][i] for i in splits["train"]])
        if isinstance(found, str):
            dropped[name] = found
        else:
            described[served], titles[served] = found, name
    if not described:
        reasons = "; ".join(f"'{name}': {reason}" for name, reason in dropped.items())
        raise UserError(f"{spec}: no column is left to learn from. {reasons}".rstrip(". "))
    described = dict(sorted(described.items()))  # their order in the file has no meaning
    notes += [f"column '{name}' was left out: {reason}" for name, reason in dropped.items()]
    parsed = {}
    for served, column in described.items():
        text = cells[titles[served]]
        parsed[served], strange = kinds.parse_cells(text, column)
        if strange:
            notes.append(
                f"{strange} cells of column '{titles[served]}' are no numbers and count as missing"
            )
    data = TableData(
        spec=spec,
        target=target,
        task=task,
        class_names=class_names,
        columns=described,
        titles={served: titles[served] for served in described},
        dropped=dropped,
        splits={
            name: TableSplit(
                {served: values[splits[name]] for served, values in parsed.items()},
                targets[rows[name]],
                splits[name],
            )
            for name in SPLITS
        },
        fingerprint=_fingerprint(table, target, splits),
    )
    notes += _duplicate_notes(data)
    if task == "regression" and data.target_statistics[1] == 0:
        raise UserError(f"column '{target}' has one value in the training part: nothing to predict")
    return TableData(**{**data.__dict__, "notes": tuple(notes)})


def read_table(spec: str, target: str | None = None) -> tuple[Delimited, str]:
    """The cells of a table, and the name of its target.

    Raises:
        UserError: the file cannot be read as a table, or no target is named for it.
    """
    parsed = parse(spec, ("csv",), TABLES)
    if parsed.kind == "csv":
        check_target(spec, target)
        return read_delimited(parsed.path), target
    table = _from_scikit_learn(parsed.kind)
    return table, target or table.names[-1]


def check_target(spec: str, target: str | None, drop: Sequence[str] = ()) -> None:
    """Finds missing or mistyped columns at once, by the first line of the file.

    Args:
        spec: as `load_table`.
        target: as `load_table`.
        drop: as `load_table`.

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
    for name in (target, *drop):
        find_column(spec, names, name)


def find_column(spec: str, names: Sequence[str], name: str) -> str:
    """A column's name as the file has it; the name it is served by will do, too.

    Raises:
        UserError: there is no such column; the nearest name is told.
    """
    if name in names:
        return name
    served = dict(zip(kinds.served_names(names), names, strict=True))
    if name in served:
        return served[name]
    near = difflib.get_close_matches(name, names, 1, cutoff=0.5)
    # Case matters little to who types, and much to a measure of likeness.
    near = [known for known in names if known.lower() == name.lower()] or near
    hint = f" (perhaps '{near[0]}'?)" if near else ""
    raise UserError(f"{spec} has no column '{name}'{hint}; there are {_listed(names)}")


def describe_table(spec: str, target: str | None = None) -> dict[str, Any]:
    """What `kapps data describe csv:PATH` says, as valid JSON.

    Keys: spec, rows, duplicates (rows that repeat an earlier one), target, columns (by name: kind,
    missing, distinct and an example; or why it is refused or of no use).

    Raises:
        UserError: the file cannot be read as a table, or has no such target.
    """
    parsed = parse(spec, ("csv",), TABLES)
    table = read_delimited(parsed.path) if parsed.kind == "csv" else _from_scikit_learn(parsed.kind)
    if target is not None:
        target = find_column(spec, table.names, target)
    described = {}
    for name, cells in zip(table.names, table.columns, strict=True):
        present = [cell for cell in cells if not kinds.is_missing(cell)]
        facts = {
            "kind": "",
            "missing": len(cells) - len(present),
            "distinct": len(set(present)),
            "example": present[0] if present else "",
            "problem": "",
        }
        try:
            found = kinds.describe_column(name, cells)
            facts |= {"problem": found} if isinstance(found, str) else {}
            facts["kind"] = "" if isinstance(found, str) else kinds.kind_in_words(found)
        except UserError as error:
            facts["problem"] = str(error)
        described[name] = facts
    rows = list(zip(*table.columns, strict=True))
    return {
        "spec": spec,
        "rows": len(rows),
        "duplicates": len(rows) - len(set(rows)),
        "target": target,
        "columns": described,
    }


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
        ]
    )


def _from_scikit_learn(name: str) -> Delimited:
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
        (*map(str, found.feature_names), title), (*columns, [str(value) for value in targets])
    )


_RAW = {"diabetes": {"scaled": False}}  # otherwise all rows would have had a say in the scaling


def _read_targets(spec, target, cells, task) -> tuple[str, tuple[str, ...], np.ndarray]:
    if not cells:
        raise UserError(f"{spec}: column '{target}' has no values")
    numeric = [kinds.is_number(cell) for cell in cells]
    whole = all(numeric) and all(float(cell).is_integer() for cell in cells)
    names = [str(int(float(cell))) if whole else cell for cell in cells]
    distinct = set(names)
    if task == "auto":
        few = not all(numeric) or (whole and len(distinct) <= MOST_CLASSES)
        task = "classification" if few else "regression"
    if len(distinct) == 1:
        what = "one class only" if task == "classification" else "the same value in every row"
        raise UserError(f"{spec}: column '{target}' has {what} ({cells[0]}): nothing to predict")
    if task == "regression":
        if not all(numeric):
            odd = cells[numeric.index(False)]
            raise UserError(
                f"{spec}: column '{target}' holds {odd!r}, which is no number: that is a "
                "classification"
            )
        return task, (), np.array(cells, np.float32)
    if len(distinct) > len(cells) / 2:
        raise UserError(
            f"{spec}: column '{target}' has {len(distinct)} values in {len(cells)} rows: too many "
            "to be classes. "
            + ("Use --task regression." if all(numeric) else "Is it the right column?")
        )
    class_names = tuple(sorted(distinct, key=lambda name: (float(name) if whole else 0.0, name)))
    number = {name: i for i, name in enumerate(class_names)}
    return task, class_names, np.array([number[name] for name in names], np.int32)


def _divide(targets, task, validation_fraction, seed) -> dict[str, np.ndarray]:
    labels = targets if task == "classification" else np.zeros(len(targets), np.int32)
    return divide(labels, {"train": np.arange(len(targets))}, validation_fraction, seed)


def _duplicate_notes(data: TableData) -> list[str]:
    """Rows that are in two splits: what a model has seen is no test of it."""
    seen: dict[str, set] = {}
    rows = {}
    for name, split in data.splits.items():
        values = [
            [repr(value) for value in column.tolist()]  # of NaN, too, there is one text
            for column in (*split.inputs.values(), split.targets)
        ]
        rows[name] = list(zip(*values, strict=True))
        seen[name] = set(rows[name])
    notes = []
    for first, second in itertools.combinations(SPLITS, 2):
        shared = sum(row in seen[first] for row in rows[second])
        if shared:
            notes.append(
                f"{shared} of {len(rows[second])} {second} rows are the same as a row of {first}, "
                "target included"
            )
    return notes


def _fingerprint(table: Delimited, target: str, splits: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps([table.names, target]).encode())
    for column in table.columns:
        digest.update(json.dumps(column).encode())
    for name in SPLITS:
        digest.update(f"{name} {len(splits[name])} ".encode())
        digest.update(splits[name].astype("<i8").tobytes())
    return digest.hexdigest()


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
