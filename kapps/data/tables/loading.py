"""A table becomes train, validation and test, with what the training part says of its columns.

Nothing here imports TensorFlow.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kapps.data.delimited import Delimited
from kapps.data.limits import check_held
from kapps.data.tables import columns as kinds, dividing
from kapps.data.tables.cells import MISSING, Cells, shown
from kapps.data.tables.leaks import leaks
from kapps.data.tables.reading import (
    describe_columns,
    read_column,
    refuse_strangers,
    unknown_categories,
)
from kapps.data.tables.source import find_column, read_table, with_test_file
from kapps.data.tables.targets import read_target
from kapps.errors import UserError

SPLITS = ("train", "validation", "test")
_TOGETHER = 2**16  # texts that are joined at a time
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class TableSplit:
    """Rows of a table.

    Attributes:
        inputs: by the served name of a column its cells: float32 or float64 [n] with NaN where
            there is none, int32 [n] with -2147483648 there, or str [n] with "".
        targets: class numbers int32 [n], or numbers float32 [n].
        rows: numbers of the rows in the file, from 0, ascending; those of a test file follow.
        weights: what each row counts, float32 [n]; None: all the same.
    """

    inputs: dict[str, np.ndarray]
    targets: np.ndarray
    rows: np.ndarray
    weights: np.ndarray | None = None

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
    spec: Any,
    *,
    target: str | None = None,
    task: str = "auto",
    drop: Sequence[str] = (),
    keep: Sequence[str] = (),
    categories: Sequence[str] = (),
    missing_words: Sequence[str] = MISSING,
    group: str | None = None,
    time: str | None = None,
    split_column: str | None = None,
    test_file: str | os.PathLike | None = None,
    fold: tuple[int, int] | None = None,
    weight: str | None = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
    memory_limit: int | None = None,
) -> TableData:
    """Loads a table, and describes its columns by the training part.

    A fifth of the rows is the test split, always the same ones; a part of the others is the
    validation split, which moves with `seed`. Both are stratified by class.

    Args:
        spec: csv:PATH, a file of columns, Parquet or lines of JSON; or breast_cancer, diabetes,
            iris, wine; or a frame of pandas or polars, or a table of pyarrow.
        target: the column to predict, by its name in the file; those of scikit-learn have one.
        task: classification, regression, or auto: text, truth values and up to 20 whole numbers
            are classes.
        drop: columns to leave out.
        keep: columns to keep although they look like identifiers.
        categories: columns whose texts are categories, whatever they look like.
        missing_words: what stands for a missing value in a feature, whatever the case, beside an
            empty cell.
        group: a column (patient, customer ...): all rows with the same value are in one split. It
            is no feature.
        time: a column of dates or numbers: validation is later than train, test later than both.
            It is no feature.
        split_column: a column that says train, validation or test. It is no feature.
        test_file: another file with the same columns: the test split.
        fold: (i, K): the test split is number i, from 0, of K folds of all rows.
        weight: a column of numbers, what each row counts. It is no feature.
        validation_fraction: the part of the rows outside test that is kept for validation.
        seed: of the validation split.
        memory_limit: bytes that the cells may take, which are held in memory; None: as many as
            there are.

    Raises:
        UserError: the file cannot be read as a table, it takes too much memory, there is no such
            column, the target is constant or does not fit the task, a column cannot be used, or
            none is left.
    """
    table, target = read_table(spec, target, memory_limit)
    spec = spec if isinstance(spec, str) else "frame"
    missing_words = tuple(dict.fromkeys(("", *missing_words)))
    table, given = with_test_file(table, test_file, memory_limit)
    check_held(f"the table of {spec}", table.size, memory_limit)
    # Names in the file are known to the user, those that are served to who calls the model.
    target = find_column(spec, table.names, target)
    drop, keep, categories = (
        [find_column(spec, table.names, name) for name in names]
        for names in (drop, keep, categories)
    )
    use = {
        role: find_column(spec, table.names, name)
        for role, name in (
            ("group", group), ("time", time), ("split", split_column), ("weight", weight)
        )
        if name is not None
    }  # fmt: skip
    for role, name in [*((f"the {role} column", name) for role, name in use.items())]:
        if name == target:
            raise UserError(f"column '{target}' is the target: it cannot be {role}")
    if target in drop:
        raise UserError(f"column '{target}' is the target: it cannot be dropped")
    found = read_target(spec, target, Cells.of(table.column(target)), task, table.delimiter)
    notes = [*table.notes, *found.notes]
    rows = dividing.divide_rows(table, found, use, given, fold, validation_fraction, seed, notes)
    splits = {name: found.rows[rows[name]] for name in SPLITS}
    weights = dividing.read_weights(table, use.get("weight"), found.rows)
    if weights is not None:
        notes += dividing.weight_notes(weights, found, rows["train"])

    candidates = [n for n in table.names if n not in (target, *drop, *use.values())]
    says_split = dividing.split_column(table, [n for n in candidates if n not in keep])
    if says_split:
        candidates.remove(says_split)
        notes.append(
            f"column '{says_split}' says which row is for training and which for the test, and was "
            f"left out: --split-column '{says_split}' divides the rows by it, "
            f"--keep '{says_split}' takes it as a feature"
        )
    described, cells, dropped = _describe_all(
        table, candidates, splits["train"], notes, keep, categories, missing_words
    )
    if not described:
        reasons = "; ".join(f"'{name}': {reason}" for name, reason in dropped.items())
        raise UserError(f"{spec}: no column is left to learn from. {reasons}".rstrip(". "))
    described = dict(sorted(described.items()))  # their order in the file has no meaning
    inputs = {
        served: read_column(cells[column["reading"]["title"]], column, notes)
        for served, column in described.items()
    }
    notes += _missing_notes(cells, tuple(missing_words) == MISSING)
    if test_file is not None:
        notes += _strangers(str(test_file), cells, described, inputs, given["test"])
    if "group" not in use:
        dates = {c["reading"]["title"] for c in described.values() if "date" in c["reading"]}
        others = {name: column for name, column in cells.items() if name not in dates}
        notes += dividing.group_notes(others, splits["train"])
    data = TableData(
        spec=spec,
        target=target,
        task=found.task,
        class_names=found.class_names,
        columns=described,
        titles={served: _title(column) for served, column in described.items()},
        dropped=dropped,
        splits={
            name: TableSplit(
                {served: values[splits[name]] for served, values in inputs.items()},
                found.values[rows[name]],
                splits[name],
                None if weights is None else weights[rows[name]],
            )
            for name in SPLITS
        },
        fingerprint=_fingerprint(table, [target, *sorted(use.items())], splits),
    )
    notes += [*_split_notes(data), *leaks(data)]
    if found.task == "regression" and data.target_statistics[1] == 0:
        raise UserError(f"column '{target}' has one value in the training part: nothing to predict")
    return TableData(**{**data.__dict__, "notes": tuple(dict.fromkeys(notes))})


def _describe_all(
    table: Delimited,
    names: Sequence[str],
    train: np.ndarray,
    notes: list[str],
    keep: Sequence[str],
    categories: Sequence[str],
    words: Sequence[str],
) -> tuple[dict[str, dict[str, Any]], dict[str, Cells], dict[str, str]]:
    """Descriptions by served name, cells by name, and why columns are of no use by name.

    Raises:
        UserError: one message on all columns that cannot be used.
    """
    # Those left out have a name, too, so that a file to predict, with all columns, has the same.
    served = dict(zip(table.names, kinds.served_names(table.names), strict=True))
    to_keep, as_categories, wanted = set(keep), set(categories), set(names)
    described, cells, dropped, errors = {}, {}, {}, []

    def describe(name: str, kept: bool) -> None:
        try:
            found = describe_columns(
                name,
                served[name],
                cells[name],
                notes,
                rows=train,
                delimiter=table.delimiter,
                categories=name in as_categories,
                keep=kept,
                words=words,
            )
        except UserError as error:
            errors.append(str(error))
            return
        if isinstance(found, str):
            dropped[name] = found
        else:
            described.update(found)

    for name, column in zip(table.names, table.cells, strict=True):
        if name in wanted:
            cells[name] = Cells.of(column, words)
            describe(name, name in to_keep)
    if errors:
        raise UserError("\n".join(errors))
    if not described:  # a column of 1, 2, 3 ... is better than none
        for name in [name for name, reason in dropped.items() if reason == kinds.ROW_NUMBERS]:
            del dropped[name]
            describe(name, True)
    for name, reason in dropped.items():
        kept = reason == kinds.ROW_NUMBERS or "identifier" in reason
        hint = f"; --keep '{name}' keeps it" if kept else ""
        notes.append(f"column '{name}' was left out: {reason}{hint}")
        del cells[name]
    return described, cells, dropped


def _title(column: dict[str, Any]) -> str:
    reading = column["reading"]
    return f"{reading['title']}: {reading['part']}" if "part" in reading else reading["title"]


def _missing_notes(cells: dict[str, Cells], usual: bool) -> list[str]:
    """Which words count as missing, and how often: each might have been a value."""
    said = []
    for name, column in cells.items():
        words = [(w, n) for w, n in column.most_frequent(column.missing) if w.strip()]
        if words:
            said.append(f"'{name}' {shown(words[:3], len(words) - 3)}")
    if not said:
        return []
    more = f"; and {len(said) - _SHOWN} more columns" if len(said) > _SHOWN else ""
    hint = "; where they are a value, name the words that are not: --missing-words ? NaN"
    return [f"words that count as missing: {'; '.join(said[:_SHOWN])}{more}{hint if usual else ''}"]


def _strangers(where: str, cells, columns, inputs, rows: np.ndarray) -> list[str]:
    """What a test file has that training does not know.

    Raises:
        UserError: a column of numbers or dates has none in it that is written as in training.
    """
    notes = []
    for served, column in columns.items():
        name = column["reading"]["title"]
        here, values = cells[name].take(rows), inputs[served][rows]
        refuse_strangers(here, values, column, name, f"'{where}'")
        notes += [f"'{where}': {note}" for note in unknown_categories(values, column, name)]
    return notes


def _split_notes(data: TableData) -> list[str]:
    """Rows that are in two splits, or twice with different targets, and classes without rows."""
    keys = {name: _row_keys(split.inputs) for name, split in data.splits.items()}
    whole = {
        name: _row_keys({**split.inputs, "": split.targets}) for name, split in data.splits.items()
    }
    notes = []
    for first, second in itertools.combinations(SPLITS, 2):
        shared = int(np.isin(whole[second], whole[first]).sum())
        if shared:
            notes.append(
                f"{shared:,} of {len(whole[second]):,} {second} rows are the same as a row of "
                f"{first}, target included: a model has seen them; leave repeated rows out, or use "
                "--group"
            )
    if data.task == "classification":
        every, targets = (
            np.concatenate(list(keys.values())),
            np.concatenate([split.targets for split in data.splits.values()]),
        )
        _, place, counts = np.unique(every, return_inverse=True, return_counts=True)
        pairs = np.unique(np.stack([place, targets.astype(np.int64)]), axis=1)
        differing = np.bincount(pairs[0], minlength=len(counts)) > 1
        if differing.any():
            notes.append(
                f"{int(counts[differing].sum()):,} rows have the same features as another row and "
                "a different target: no model can tell them apart"
            )
        for name in SPLITS:
            there = set(data.splits[name].targets.tolist())
            absent = [c for i, c in enumerate(data.class_names) if i not in there]
            if absent:
                more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
                notes.append(
                    f"no {name} row is of class {', '.join(map(repr, absent[:_SHOWN]))}{more}"
                )
    return notes


def _row_keys(columns: dict[str, np.ndarray]) -> np.ndarray:
    """A number for each row, the same for the same row: a 64-bit hash of all columns."""
    keys = np.zeros(len(next(iter(columns.values()))), np.uint64)
    with np.errstate(over="ignore"):
        for values in columns.values():
            if values.dtype == object:
                part = np.fromiter((hash(v) for v in values), np.int64, len(values))
            else:
                part = values.astype(np.float64)
                part = np.where(np.isnan(part), np.pi * 1e300, part + 0.0).view(np.int64)
            # splitmix64, so that equal differences of two columns do not cancel.
            keys = (keys ^ part.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
            keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            keys ^= keys >> np.uint64(31)
    return keys


def _fingerprint(table: Delimited, about: list, splits: dict[str, np.ndarray]) -> str:
    import pyarrow as pa
    from pyarrow import compute

    digest = hashlib.sha256(json.dumps([table.names, about]).encode())
    for column in table.cells:
        encoded = column.dictionary_encode()
        words = encoded.dictionary
        for begin in range(0, len(words), _TOGETHER):
            some = words[begin : begin + _TOGETHER]
            joined = compute.binary_join(pa.ListArray.from_arrays([0, len(some)], some), "\0")
            digest.update(b"\0" if begin else b"")
            digest.update(joined[0].as_buffer())
        digest.update(encoded.indices.to_numpy(zero_copy_only=False).astype("<i4").tobytes())
    for name in SPLITS:
        digest.update(f"{name} {len(splits[name])} ".encode())
        digest.update(splits[name].astype("<i8").tobytes())
    return digest.hexdigest()
