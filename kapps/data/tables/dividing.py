"""Which rows of a table are in which split, and which columns say that rows belong together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from kapps.data import split
from kapps.data.alike import alike_notes
from kapps.data.delimited import Delimited
from kapps.data.tables import columns as kinds
from kapps.data.tables.cells import Cells, shown
from kapps.data.tables.dates import instants, recognize_dates
from kapps.data.tables.numbers import recognize_numbers
from kapps.data.tables.targets import Target
from kapps.errors import UserError

# Whose rows tend to be alike; several words in one name are parted by _, blanks or capitals.
_OWNERS = re.compile(
    r"(^|[\W_]|(?<=[a-z]))(patient|subject|participant|person|user|customer|client|member|session|"
    r"household|family|animal|speaker|group|scene|case|visitor|device|recording)(s|[\W_]|[A-Z]|\d|$)",
    re.IGNORECASE,
)
_CODES = r"^[A-Za-z]{1,12}[-_ ]?[0-9]+$"
_FEWEST_GROUPS = 10
_FEWEST_EFFECTIVE = 0.1  # of the rows
_SPLIT_NAMES = ("split", "set", "subset", "partition", "fold")


def divide_rows(
    table: Delimited,
    target: Target,
    use: Mapping[str, str],
    given: dict[str, np.ndarray],
    fold: tuple[int, int] | None,
    validation_fraction: float,
    seed: int,
    notes: list[str],
) -> dict[str, np.ndarray]:
    """Positions among the rows with a target of train, validation and test.

    Args:
        table: all rows.
        target: which rows have a target, and which.
        use: names of columns by what they are for: group, time, split.
        given: rows of the splits that come as files.
        fold: (i, K), as `kapps.data.split.divide` takes it.
        validation_fraction: the part of train kept for validation.
        seed: of the validation split.
        notes: what should be known is appended.

    Raises:
        UserError: a column does not say what it should, or a split would be empty.
    """
    classes = target.task == "classification"
    labels = target.values if classes else np.zeros(len(target.rows), np.int32)
    if "split" in use:
        if "test" in given:
            raise UserError("a test file and a column of splits: give one of them")
        given = _read_splits(table, use["split"], target.rows)
    else:
        given = {name: np.flatnonzero(np.isin(target.rows, at)) for name, at in given.items()}
    for name in given:
        if not len(given[name]):
            raise UserError(f"no {name} row has a target")
    notes += split.joined_note(given, fold)
    groups = times = None
    if "group" in use:
        groups = _read_groups(table, use["group"], target.rows, notes)
    if "time" in use:
        times = _read_times(table, use["time"], target.rows)
    return split.divide(
        labels, given, validation_fraction, seed, groups=groups, times=times, fold=fold
    )


def read_weights(table: Delimited, name: str | None, rows: np.ndarray) -> np.ndarray | None:
    """What each of some rows counts, float32 [n]; None without such a column.

    Raises:
        UserError: a weight is missing, no number or negative, or all are zero.
    """
    if name is None:
        return None
    cells = Cells.of(table.column(name)).take(rows)
    weights = recognize_numbers(cells, table.delimiter).numbers[cells.codes]
    if not (weights >= 0).all() or not weights.any():
        bad = int((~(weights >= 0)).sum())
        raise UserError(
            f"column '{name}' holds weights: each must be a number of at least 0, and one above; "
            + (f"{bad:,} rows have none" if bad else "all rows have 0")
        )
    return weights.astype(np.float32)


def weight_notes(weights: np.ndarray, target: Target, train: np.ndarray) -> list[str]:
    """Notes on weights by which hardly any row, or no row of a class, counts.

    Args:
        weights: of the rows with a target, float32 [n].
        target: their targets.
        train: positions of the training part.
    """
    of_train, notes = weights[train].astype(np.float64), []
    if not of_train.any():
        raise UserError("all training rows have the weight 0: there is nothing to learn from")
    if target.task == "classification":
        counted = np.bincount(target.values[train], of_train, len(target.class_names))
        gone = [n for n, total in zip(target.class_names, counted, strict=True) if not total]
        if gone:
            notes.append(
                "all training rows of class "
                f"{', '.join(map(repr, gone[:5]))} have the weight 0: it is never learned"
            )
    if not weights.all():
        notes.append(f"{int((weights == 0).sum()):,} rows have the weight 0 and do not count")
    alike = of_train.sum() ** 2 / (of_train**2).sum()  # Kish's effective number
    if alike < _FEWEST_EFFECTIVE * (of_train > 0).sum():
        notes.append(
            f"{len(train):,} training rows count as {alike:.3g} of equal weight: a few have nearly "
            "all of it"
        )
    return notes


def split_column(table: Delimited, names: Sequence[str]) -> str | None:
    """The column that says train and test of each row, where one is called split, set or so."""
    for name in names:
        if name.lower() not in _SPLIT_NAMES:
            continue
        said = {text.strip().lower() for text in table.column(name).unique().to_pylist()}
        if len(said) > 1 and {split.NAMES.get(text) for text in said} >= {"train"}:
            if all(text in split.NAMES for text in said):
                return name
    return None


def group_notes(cells: Mapping[str, Cells], train: np.ndarray) -> list[str]:
    """Names columns that look like a repeating identifier, with the flag to use."""
    notes = []
    for name, column in cells.items():
        part = column.take(train)
        distinct, total = int((part.present > 0).sum()), int(part.present.sum())
        if not _FEWEST_GROUPS <= distinct <= total / 2:
            continue
        named = kinds.is_identifier_name(name) or bool(_OWNERS.search(name))
        if named or _are_codes(part):
            notes.append(
                f"column '{name}' looks like an identifier that repeats ({distinct:,} values in "
                f"{total:,} training rows): rows of one may be in both train and test, which makes "
                f"results look better than they are. --group '{name}' keeps them together, "
                f"--drop '{name}' leaves the column out"
            )
    return notes


def _are_codes(cells: Cells) -> bool:
    """Texts such as P001, subj_12: a word and a number."""
    from pyarrow import compute

    found = compute.match_substring_regex(cells.values, _CODES).to_numpy(zero_copy_only=False)
    return bool(cells.present[found.astype(bool)].sum() > 0.9 * cells.present.sum())


def _read_groups(table: Delimited, name: str, rows: np.ndarray, notes: list[str]) -> np.ndarray:
    cells = Cells.of(table.column(name), ("",)).take(rows)
    groups = cells.codes.astype(np.int64)
    alone = cells.missing[cells.codes]
    if alone.any():
        groups[alone] = len(cells.values) + np.arange(int(alone.sum()))
        notes.append(f"{int(alone.sum()):,} rows have no '{name}': each is a group of its own")
    count = len(np.unique(groups))
    if count < 3:
        raise UserError(
            f"column '{name}' has {count} groups: train, validation and test need one each at least"
        )
    notes.append(f"{count:,} groups by '{name}': all rows of one are in the same split")
    names = cells.texts(np.flatnonzero(cells.present))
    notes += alike_notes(names, f"groups of column '{name}'")
    return groups


def _read_times(table: Delimited, name: str, rows: np.ndarray) -> np.ndarray:
    cells = Cells.of(table.column(name)).take(rows)
    order, problem = recognize_dates(cells)
    if problem:
        raise UserError(f"column '{name}': {problem}")
    if order:
        values, problem = instants(cells, order)
        if problem:
            raise UserError(f"column '{name}': {problem}")
    else:
        values = recognize_numbers(cells, table.delimiter).numbers
    times = values[cells.codes]
    if np.isnan(times).any():
        odd = np.isnan(values)
        raise UserError(
            f"column '{name}': {int(np.isnan(times).sum()):,} rows have no date or number there, "
            f"such as {shown(cells.most_frequent(odd, 1))}: they are neither earlier nor later"
        )
    return times


def _read_splits(table: Delimited, name: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    cells = Cells.of(table.column(name), ("",)).take(rows)
    named = [split.NAMES.get(text.lower()) for text in cells.values.to_pylist()]
    odd = np.array([each is None for each in named])
    if (odd & (cells.counts > 0)).any():
        raise UserError(
            f"column '{name}' must say train, validation or test, and says also "
            f"{shown(cells.most_frequent(odd, 3))}"
        )
    of_row = np.array([each or "" for each in named], object)[cells.codes]
    given = {each: np.flatnonzero(of_row == each) for each in ("train", "validation", "test")}
    if not len(given["train"]):
        raise UserError(f"column '{name}' says train of no row")
    return {each: at for each, at in given.items() if len(at)}
