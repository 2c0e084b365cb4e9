"""Series of all files and their labels, checked and padded to one array."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from kapps.data.alike import alike_notes
from kapps.data.series.ragged import Ragged, pack
from kapps.errors import UserError

_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_GONE = ("", "?", "na", "n/a", "nan", "null", "none")  # no value, as a number


@dataclass(frozen=True, eq=False)
class Series:
    """All series of a dataset under common row numbers, before it is divided.

    Attributes:
        values: float32 [n, steps, features], padded with NaN at the end, or `Ragged`.
        labels: class numbers int32 [n], or numbers float32 [n].
        class_names: one name per class number; none with numbers.
        given: row numbers of the splits that come with the data; always train.
        notes: what the user should know.
        groups: group number int [n] of each series; None: each is alone.
        feature_names: of the features, in their order; none where they have no names.
    """

    values: np.ndarray | Ragged
    labels: np.ndarray
    class_names: tuple[str, ...]
    given: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    feature_names: tuple[str, ...] = ()


def with_numbers(path, series, texts, given, origins, groups=None, note=False, said=()) -> Series:
    """Series with a number each; arguments as `with_classes`, and whether to note that they are."""
    found = _labelled(path, series, texts, given, origins, groups, ("", "?", "nan", "na", "null"))
    series, texts, given, origins, groups, notes = found
    notes = (*said, *notes)
    labels = to_numbers(path, texts)
    if note:
        notes = (
            *notes,
            f"{len(np.unique(labels))} different whole numbers as labels are quantities, not "
            "classes; class_names in the file make them classes",
        )
    return _assemble(path, series, labels, (), given, origins, notes, groups)


def with_classes(path, series, texts, given, origins, groups=None, names=(), said=()) -> Series:
    """Series with classes: those of names, numbered, or the texts that there are.

    Args:
        path: of the file, for messages.
        series: [steps, features] each.
        texts: their labels, as the file has them.
        given: row numbers of the splits that come with the data.
        origins: where in the file each series stands, for messages.
        groups: group of each series, or None.
        names: of the classes; labels are then their numbers.
        said: notes so far.

    Raises:
        UserError: the series contradict one another, or cannot be learned from.
    """
    found = _labelled(path, series, texts, given, origins, groups, ("", "?", "nan"))
    series, texts, given, origins, groups, notes = found
    notes = (*said, *notes)
    if names:
        labels = np.asarray([int(text) for text in texts], np.int32)
    else:
        names = sorted(set(texts), key=_order)
        notes = (*notes, *alike_notes(names, "classes"))
        numbers = {name: i for i, name in enumerate(names)}
        labels = np.asarray([numbers[text] for text in texts], np.int32)
    return _assemble(path, series, labels, tuple(names), given, origins, notes, groups)


def _labelled(path, series, texts, given, origins, groups, missing) -> tuple:
    """The series that have a label, and a note on those that have none."""
    kept = [i for i, text in enumerate(texts) if text.strip().lower() not in missing]
    if not kept:
        raise UserError(f"'{path}': no series has a label")
    lost = len(texts) - len(kept)
    if not lost:
        return series, texts, given, origins, groups, ()
    place = np.full(len(texts), -1)
    place[kept] = np.arange(len(kept))
    given = {name: place[at][place[at] >= 0] for name, at in given.items()}
    for name, at in given.items():
        if not len(at):
            raise UserError(f"'{path}': no series of the {name} split has a label")
    pick = [None if each is None else [each[i] for i in kept] for each in (origins, groups)]
    note = f"{lost:,} of {len(texts):,} series have no label and were left out"
    return [series[i] for i in kept], [texts[i] for i in kept], given, *pick, (note,)


def _order(name: str) -> tuple[bool, int, str]:
    """Whole numbers by their value, then all else by its letters."""
    number = name.isdecimal()
    return not number, int(name) if number else 0, name


def _assemble(path, series, labels, class_names, given, origins, notes=(), groups=None) -> Series:
    """One padded array, after the checks that are the same for all files."""
    if not series:
        raise UserError(f"'{path}' holds no series")
    widths = [rows.shape[1] if rows.ndim == 2 else 0 for rows in series]
    for rows, width, origin in zip(series, widths, origins, strict=True):
        if len(rows) == 0 or width == 0:
            raise UserError(f"{origin}: it has no steps")
        if width != widths[0]:
            raise UserError(
                f"{origin}: it has {width} features, but {origins[0]} has {widths[0]}; all series "
                "of a dataset have the same ones"
            )
        if not np.isfinite(rows).all():
            step = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0]) + 1
            raise UserError(
                f"{origin}: a value is missing or not finite at step {step}; fill gaps in before "
                "(NaN stands for padding, at the end of a series alone)"
            )
    if class_names:
        present = np.unique(labels[given["train"]])
        if len(present) < 2:
            raise UserError(
                f"'{path}': all training series are of class '{class_names[present[0]]}'; at least "
                "two classes are needed"
            )
        missing = [name for i, name in enumerate(class_names) if i not in present]
        if missing:
            raise UserError(
                f"'{path}': no training series is of class {', '.join(missing[:5])}, which occurs "
                "in another split"
            )
    elif not np.isfinite(labels).all():
        raise UserError(f"'{path}': a target is missing or not finite")
    values = pack(series)
    if groups is not None:
        groups = np.unique(groups, return_inverse=True)[1]
    return Series(values, labels, class_names, given, tuple(notes), groups)


def last_step(rows: np.ndarray) -> int:
    """Steps up to the last one that is not NaN throughout."""
    there = np.flatnonzero(~np.isnan(rows).all(axis=1))
    return int(there[-1]) + 1 if len(there) else 0


def to_numbers(
    path, texts, column="the label", dtype: type[np.floating] = np.float32, delimiter: str = ";"
) -> np.ndarray:
    """Texts as numbers [n], NaN where there is none.

    Args:
        path: the file, for messages.
        texts: the cells.
        column: their column, for messages.
        dtype: of the numbers.
        delimiter: of the file: where a semicolon parts the cells, commas are decimal ones.

    Raises:
        UserError: one is neither a number nor a word for a missing one, or a comma may stand before
            a fraction or between thousands.
    """
    hint = "" if column == "the label" else "; each further column is a feature, of numbers"
    # A comma is a decimal one where no number has a point.
    comma = not any("." in text for text in texts)
    if delimiter != ";":
        refuse_thousands(path, texts, column)
    found = []
    for i, text in enumerate(texts, 1):
        try:
            plain = text.replace(",", ".", 1) if comma else text
            found.append(float("nan") if text.lower() in _GONE else float(plain))
        except ValueError:
            raise UserError(
                f"'{path}': '{text}' in {column} (place {i}) is not a number{hint}"
            ) from None
    return np.asarray(found, dtype)


def refuse_thousands(path, texts, column: str) -> None:
    """Refuses numbers such as 850 and 1,200, where nothing says what the comma is.

    Raises:
        UserError: no number has a point, and all commas have three digits behind them.
    """
    commas = {text for text in texts if "," in text}
    unclear = commas and all(_GROUPED.fullmatch(text) for text in commas)
    if unclear and not any("." in text for text in texts):
        raise UserError(
            f"'{path}': the comma of {min(commas)!r} in {column} may group thousands or stand "
            "before a fraction: write 1200 or 1.2"
        )
