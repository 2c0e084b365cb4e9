"""The column that is to be predicted: classes or a quantity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kapps.data.alike import alike_notes, one_spelling
from kapps.data.tables import booleans
from kapps.data.tables.cells import Cells, shown
from kapps.data.tables.dates import recognize_dates
from kapps.data.tables.numbers import MOST_WORDS, are_codes, far_off, recognize_numbers
from kapps.errors import UserError

MOST_CLASSES = 20  # of a target of whole numbers; with more of them it is a quantity
_NUMERIC = 0.8  # of the cells are numbers where the others are words for "unknown"


@dataclass(frozen=True)
class Target:
    """What is to be predicted.

    Attributes:
        task: classification or regression.
        class_names: one per class number; none for a regression.
        values: class numbers int32 or numbers float32, one for each of the rows that have a target.
        rows: their numbers in the file.
        notes: what the user should know.
    """

    task: str
    class_names: tuple[str, ...]
    values: np.ndarray
    rows: np.ndarray
    notes: tuple[str, ...]


def read_target(spec: str, name: str, cells: Cells, task: str, delimiter: str = "") -> Target:
    """Tells classes from a quantity.

    Empty cells have no target. Words such as NA and none are classes, unless nearly all other cells
    are numbers.

    Raises:
        UserError: there is nothing to predict, or it does not fit the task.
    """
    blank = np.array([text == "" for text in cells.values.to_pylist()], bool)
    # Words for "missing" are missing beside numbers alone: there may be a class called none.
    found = recognize_numbers(cells, delimiter)
    there = (cells.counts > 0) & ~blank
    if not there.any() or (there.sum() == 1 and cells.missing[there].all()):
        raise UserError(f"{spec}: column '{name}' has no values")
    numeric = there & ~np.isnan(found.numbers)
    odd = there & ~numeric
    share = cells.counts[numeric].sum() / cells.counts[there].sum()
    numbers = numeric.any() and not are_codes(cells) and not found.problem
    mostly = numeric.sum() > MOST_CLASSES and share >= _NUMERIC and odd.sum() <= MOST_WORDS
    only_missing = not (odd & ~cells.missing).any() and share >= 0.5
    quantity = bool(numbers and (not odd.any() or mostly or only_missing))
    if task == "classification" and odd.any():
        quantity = False
    if found.problem and there.sum() > 2 * MOST_CLASSES:
        raise UserError(f"{spec}: column '{name}': {found.problem}. Write all in one way")
    order, _ = recognize_dates(cells) if task != "classification" else ("", "")
    if order:
        raise UserError(
            f"{spec}: column '{name}' holds dates ({order}), which cannot be predicted as they "
            "are: write a number of days, or take each date as a class with --task classification"
        )
    notes = []
    lost = blank | odd if quantity else blank
    kept = np.flatnonzero(~lost[cells.codes])
    if blank[cells.codes].any():
        notes.append(f"{int(cells.counts[blank].sum()):,} rows have no '{name}' and were left out")
    if quantity and odd.any():
        notes.append(
            f"{int(cells.counts[odd].sum()):,} rows have no number as '{name}' and were left out: "
            f"{shown(cells.most_frequent(odd, 3), int(odd.sum()) - 3)}; if these are classes, "
            "--task classification"
        )
    if quantity:
        notes += [f"column '{name}': {note}" for note in found.notes]
        if note := far_off(cells, np.where(lost, np.nan, found.numbers)):
            notes.append(
                f"column '{name}' {note}: if the former stands for no value, leave its cells empty"
            )
        return _quantity(spec, name, found.numbers[cells.codes[kept]], kept, task, notes)
    words = [(t, n) for t, n in cells.most_frequent(there & cells.missing & ~blank)]
    if words:
        notes.append(
            f"{shown(words)} in column '{name}' is a class of its own; rows without a target have "
            "an empty cell"
        )
    if task == "regression":
        text = cells.most_frequent(odd, 1)[0][0]
        raise UserError(
            f"{spec}: column '{name}' holds {text!r}, which is not a number: that is classification"
        )
    return _classes(spec, name, cells, kept, notes)


def _quantity(spec, name, numbers, kept, task, notes) -> Target:
    whole = bool((numbers == np.floor(numbers)).all())
    distinct = np.unique(numbers)
    if task == "auto":
        task = "classification" if whole and len(distinct) <= MOST_CLASSES else "regression"
    _refuse_constant(spec, name, len(distinct), f"{distinct[0]:g}", task)
    if task == "regression":
        if np.abs(distinct).max() > np.finfo(np.float32).max:
            raise UserError(
                f"{spec}: column '{name}' has numbers beyond 3.4e38, which float32 cannot hold: "
                "write them in a larger unit"
            )
        return Target(task, (), numbers.astype(np.float32), kept, tuple(notes))
    _refuse_many(spec, name, len(distinct), len(numbers), "Use --task regression.")
    names = tuple(str(int(value)) if whole else repr(float(value)) for value in distinct)
    places = np.searchsorted(distinct, numbers).astype(np.int32)
    return Target(task, names, places, kept, tuple(notes))


def _classes(spec, name, cells: Cells, kept, notes) -> Target:
    texts = np.array(cells.values.to_pylist(), object)
    counts = {text: int(count) for text, count in zip(texts, cells.counts, strict=True) if count}
    counts.pop("", None)
    spelling = booleans.spelling(counts)
    if spelling and len({spelling[text.lower()] for text in counts}) < len(counts):
        notes.append(
            f"column '{name}' spells true and false in several ways, {shown(counts.items())}: "
            "they were taken together"
        )
        texts = np.array([spelling.get(text.lower(), text) for text in texts], object)
    said = {text for text, count in zip(texts, cells.counts, strict=True) if count} - {""}
    texts = np.array([one_spelling(text) for text in texts], object)
    names = sorted({text for text, count in zip(texts, cells.counts, strict=True) if count} - {""})
    if len(names) < len(said):
        odd = sorted(text for text in said if one_spelling(text) != text)
        notes.append(
            f"classes of column '{name}' that look the same (blanks, accents) were taken together: "
            f"{', '.join(map(repr, odd[:5]))}"
        )
    _refuse_constant(spec, name, len(names), names[0], "classification")
    _refuse_many(spec, name, len(names), len(kept), "Is it the right column?")
    notes += alike_notes(names, f"classes of column '{name}'")
    number = {text: i for i, text in enumerate(names)}
    of_text = np.array([number.get(text, -1) for text in texts], np.int32)
    return Target("classification", tuple(names), of_text[cells.codes[kept]], kept, tuple(notes))


def _refuse_constant(spec, name, distinct, value, task) -> None:
    if distinct == 1:
        what = "one class only" if task == "classification" else "the same value in every row"
        raise UserError(f"{spec}: column '{name}' has {what} ({value}): nothing to predict")


def _refuse_many(spec, name, distinct, rows, hint) -> None:
    if distinct > rows / 2:
        raise UserError(
            f"{spec}: column '{name}' has {distinct} values in {rows} rows: too many to be "
            f"classes. {hint}"
        )
