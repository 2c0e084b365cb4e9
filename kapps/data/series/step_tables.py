"""Series of a table with a row per step; `kapps.data.series.files` says which columns it has."""

from __future__ import annotations

import dataclasses
import pathlib
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kapps.data.delimited import check_twice, read_delimited
from kapps.data.series.assembling import (
    Series,
    last_step,
    refuse_thousands,
    to_numbers,
    with_classes,
    with_numbers,
)
from kapps.data.split import NAMES
from kapps.errors import UserError

_ABOUT = ("series", "label", "target", "time", "split")
_UNEVEN = 1.5  # times as long as another step


class Steps(NamedTuple):
    """A table with a row per step.

    Attributes:
        columns: its cells by name; those of what is said of a series in small letters.
        names: of the series, in the order of the file.
        rows: the rows of each, in the order of time.
        series: its values, float32 [steps, features], without padding at the end.
        notes: what should be known.
        features: names of the columns that are features, in the order of the values.
        delimiter: of the file.
    """

    columns: dict[str, list[str]]
    names: list[str]
    rows: list[list[int]]
    series: list[np.ndarray]
    notes: list[str]
    features: tuple[str, ...] = ()
    delimiter: str = ""


def read_steps(
    path: pathlib.Path,
    group: str | None = None,
    labelled: bool = False,
    wanted: Sequence[str] = (),
) -> Steps:
    """Reads the steps of a table.

    Args:
        path: the file. Without a column `series` it is one.
        group: a column that is no feature.
        labelled: whether there must be a column `series`, and one `label` or `target`.
        wanted: names of the features, in the order of the values; none: every column that says
            nothing else, in the order of the file.

    Raises:
        UserError: columns are missing, or a cell is no number or no time.
    """
    table = read_delimited(path)
    # Series, LABEL and Time are meant, too.
    called = [n.lower() if n.lower() in _ABOUT and n != group else n for n in table.names]
    check_twice(str(path), called)
    columns = dict(zip(called, table.columns, strict=True))
    if group is not None and group not in columns:
        raise UserError(f"'{path}' has no column '{group}' to keep series together by")
    for name in ("series", "target" if "target" in columns else "label") if labelled else ():
        if name not in columns:
            raise UserError(
                f"'{path}' has no column '{name}'; a row is a step, and needs 'series', 'label' "
                "(a class) or 'target' (a number), and its values"
            )
    features = [name for name in called if name not in (*_ABOUT, group)]
    notes = list(table.notes)
    if wanted:
        features, left = _by_name(path, features, wanted)
        notes += left
    if not features:
        raise UserError(f"'{path}' has no values: every column but {', '.join(_ABOUT)} is one")
    values = np.stack(
        [to_numbers(path, columns[n], n, delimiter=table.delimiter) for n in features], axis=1
    )
    of_row = columns.get("series", [path.stem] * len(values))
    names = list(dict.fromkeys(of_row))
    which = {name: i for i, name in enumerate(names)}
    rows: list[list[int]] = [[] for _ in names]
    for row, name in enumerate(of_row):
        rows[which[name]].append(row)
    if unnamed := len(rows[which[""]]) if "" in which else 0:
        raise UserError(f"'{path}': {unnamed:,} rows do not say which series they are of")
    if "time" in columns:
        time = _times(path, columns["time"])
        rows = [sorted(at, key=lambda row: time[row]) for at in rows]
        notes += _uneven([time[at] for at in rows])
    series = [values[at] for at in rows]
    return Steps(
        columns,
        names,
        rows,
        [one[: last_step(one)] for one in series],
        notes,
        tuple(features),
        table.delimiter,
    )


def read_csv(path: pathlib.Path, group: str | None = None) -> Series:
    """Reads a table with a row per step and a label for each series.

    Args:
        path: the file.
        group: a column (patient, recording ...) with one value for each series; it is no feature.

    Raises:
        UserError: columns are missing, or a series contradicts itself.
    """
    steps = read_steps(path, group, labelled=True)
    columns, names, rows, series, notes, features = steps[:6]
    origins = [f"'{path}', series {name}" for name in names]
    target = "target" if "target" in columns else "label"
    texts = _one_per_series(columns[target], rows, target, origins)
    if target == "target" and steps.delimiter != ";":
        refuse_thousands(path, texts, target)
    given = {"train": np.arange(len(names))}
    if "split" in columns:
        given = _given(path, _one_per_series(columns["split"], rows, "split", origins))
    groups = None
    if group is not None:
        groups = _one_per_series(columns[group], rows, group, origins)
    made = with_numbers if target == "target" else with_classes
    if group is None:
        notes += _constant_notes(features, series)
    found = made(path, series, texts, given, origins, groups, said=notes)
    return dataclasses.replace(found, feature_names=features)


def _constant_notes(features: Sequence[str], series: Sequence[np.ndarray]) -> list[str]:
    """Notes on features that tell groups of series apart, as the number of a patient does."""
    notes = []
    for place, name in enumerate(features):
        values = [one[:, place] for one in series if len(one)]
        if not all((of_one == of_one[0]).all() for of_one in values):
            continue
        groups = {float(of_one[0]) for of_one in values}
        if 1 < len(groups) <= len(values) / 2:
            notes.append(
                f"column '{name}' has one value in each series, {len(groups):,} in all: if it "
                f"numbers patients or recordings, --group '{name}' keeps each in one split, and it "
                "is no feature"
            )
    return notes


def _by_name(
    path: pathlib.Path, features: list[str], wanted: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The columns that are wanted, in their order, and a note on others.

    Raises:
        UserError: one is missing.
    """
    absent = [name for name in wanted if name not in features]
    others = [name for name in features if name not in wanted]
    if absent:
        raise UserError(
            f"'{path}' lacks the column{'s' * (len(absent) > 1)} {', '.join(map(repr, absent))} "
            f"that the model was trained on; it has {', '.join(map(repr, features)) or 'no values'}"
        )
    if not others:
        return list(wanted), []
    return list(wanted), [f"'{path}': the model knows no {', '.join(map(repr, others))}: left out"]


def _times(path: pathlib.Path, cells: Sequence[str]) -> np.ndarray:
    """Numbers, or dates and times as ISO 8601 has them, float64 [rows]."""
    try:
        times = np.array([float(cell or "nan") for cell in cells])
    except ValueError:
        try:
            with warnings.catch_warnings():  # NumPy takes offsets off, and says so
                warnings.simplefilter("ignore", UserWarning)
                stamps = np.array([cell.removesuffix("Z") for cell in cells], "datetime64[us]")
        except ValueError:
            odd = next((cell for cell in cells if not _is_number(cell)), "")
            raise UserError(
                f"'{path}': '{odd}' in time is neither a number nor a date such as "
                "2024-12-31T23:59:00"
            ) from None
        times = np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e6)
    if gone := int(np.isnan(times).sum()):
        raise UserError(f"'{path}': {gone:,} rows have no time: they are neither before nor after")
    return times


def _uneven(times: list[np.ndarray]) -> list[str]:
    """Notes on steps at the same time, or at uneven distances, float64 [steps] of each series."""
    steps = [np.diff(of_one) for of_one in times if len(of_one) > 1]
    twice = sum(bool((step == 0).any()) for step in steps)
    odd = sum(bool(step.max() > _UNEVEN * step.min() > 0) for step in steps)
    return [
        f"{count:,} of {len(times):,} series have {what}"
        for count, what in (
            (twice, "steps at the same time: they stay in the order of the file"),
            (odd, "steps at uneven distances in time: they are taken as even"),
        )
        if count
    ]


def _is_number(text: str) -> bool:
    try:
        return bool(float(text or "nan")) or True
    except ValueError:
        return False


def _one_per_series(cells, rows, column, origins) -> list[str]:
    found = []
    for at, origin in zip(rows, origins, strict=True):
        values = {cells[row] for row in at}
        if len(values) > 1:
            shown = ", ".join(sorted(values)[:3])
            raise UserError(f"{origin}: it has several values of '{column}': {shown}")
        found.append(values.pop())
    return found


def _given(path, splits: Sequence[str]) -> dict[str, np.ndarray]:
    known = ("train", "validation", "test")
    for split in splits:
        if split.lower() not in NAMES:
            raise UserError(f"'{path}': split '{split}' is none of {', '.join(known)}")
    splits = [NAMES[split.lower()] for split in splits]
    given = {split: np.flatnonzero(np.asarray(splits) == split) for split in known}
    given = {split: at for split, at in given.items() if len(at)}
    if "train" not in given:
        raise UserError(f"'{path}': no series has the split 'train'")
    return given
