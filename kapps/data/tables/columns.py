"""What the columns of a table hold: told from the cells of the training part, and nothing else.

A column is described by a plain mapping, which `kapps.models.tabular_mlp` takes and JSON can hold:

    {"kind": "number", "mean": ., "std": ., "median": ., "indicator": bool}
    {"kind": "string", "vocabulary": [...], "missing": [...]}
    {"kind": "integer", "vocabulary": [...], "missing": [...]}

`indicator` says that the training part lacks some of the numbers, so that it tells the model where;
`missing` lists what stands for a missing value in a column of categories, in small letters, and is
empty where the training part lacks none. Rare categories are not in the vocabulary.

Where there is reason to, there are further keys. `wide`: the numbers need float64, because float32
would make the same of many of them (milliseconds since 1970). `embedding`: so many numbers stand
for each category, because the categories are too many for one-hot. `reading`: how cells become
what the model takes, for `kapps.data.tables.reading`.
"""

from __future__ import annotations

import collections
import keyword
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kapps.data.alike import alike_notes
from kapps.data.tables import booleans
from kapps.data.tables.cells import MISSING, Cells, shown
from kapps.data.tables.numbers import (
    MOST_WORDS,
    are_codes,
    far_off,
    parse_numbers,
    recognize_numbers,
)
from kapps.errors import UserError

MISSING_INTEGER = -(2**31)  # in columns of whole numbers, which have no NaN
FEW_VALUES = 10  # whole numbers with at most as many values are categories ...
ROWS_PER_VALUE = 20  # ... if each has as many rows on average
MOST_ONE_HOT = 100  # categories; of more, each has an embedding
LARGEST_VOCABULARY = 100_000  # the most frequent categories
RAREST = 2  # rows of the training part that a category needs
NUMERIC = 0.8  # of the cells are numbers in a column of numbers ...
MANY = 0.5  # likewise, if the numbers have fractions or hardly repeat: they are no categories
NEARLY_ALL = 0.95  # ... whose other cells may be as different as they like from here on
ROW_NUMBERS = "it numbers the rows"
_IDENTIFIER = re.compile(r"(^|[\W_])(id|uuid|guid|key)$|^(id|uuid|index|row|nr|no)([\W_]|$)", re.I)
_CAMEL_IDENTIFIER = re.compile(r"[a-z]I[dD]$")
_TIME_NAMES = {"t", "x", "time", "date", "year", "month", "week", "day", "hour", "step", "age"}


def served_name(name: str) -> str:
    """A column's name as the argument of a signature: letters, digits and underscores.

    It is a function of the name alone, so that the order of the columns has no say in it.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")
    if any(character.isalpha() and not _has_ascii(character) for character in name):
        # 年齢 and 収入 stay apart.
        plain = f"{plain or 'column'}_{zlib.crc32(name.encode()):08x}"
    if not plain[:1].isalpha():
        plain = f"column_{plain}".rstrip("_")
    # A signature's arguments are those of a Python function.
    return f"{plain}_" if keyword.iskeyword(plain) else plain


def served_names(names: Sequence[str]) -> list[str]:
    """The served name of each column of a file, all of them different.

    Names that differ in punctuation or case alone are told apart by a number, in alphabetical
    order.
    """
    served: dict[str, str] = {}
    taken: set[str] = set()
    following: dict[str, int] = {}  # the number to go on with: thousands of names may be alike
    for name in sorted(set(names)):
        first = unique = served_name(name)
        number = following.get(first.lower(), 2)
        while unique.lower() in taken:
            unique, number = f"{first}_{number}", number + 1
        taken.add(unique.lower())
        following[first.lower()] = number
        served[name] = unique
    return [served[name] for name in names]


def describe_column(
    name: str,
    cells: Sequence[str] | Cells,
    notes: list[str] | None = None,
    *,
    rows: np.ndarray | None = None,
    delimiter: str = "",
    categories: bool = False,
    keep: bool = False,
) -> dict[str, Any] | str:
    """The kind of a column with its statistics, or the reason why it is of no use.

    Args:
        name: of the column.
        cells: those of the training part, in the order of the file.
        notes: what should be known of how they were read is appended.
        rows: their numbers in the file, from 0.
        delimiter: of the file.
        categories: texts are categories, whatever they look like.
        keep: also if it looks like an identifier.

    Raises:
        UserError: numbers written in several ways or with too much other text among them.
    """
    cells, notes = Cells.of(cells), [] if notes is None else notes
    rows = np.arange(len(cells)) if rows is None else rows
    total, lacking = int(cells.present.sum()), len(cells) > cells.present.sum()
    there = cells.present > 0
    if not total:
        return "it has no values"
    if there.sum() == 1 and not lacking:
        return f"its only value is {cells.most_frequent(there, 1)[0][0]!r}"
    distinct = bool(there.sum() == total > 2)
    if not categories and not are_codes(cells):
        found = recognize_numbers(cells, delimiter)
        numeric = ~np.isnan(found.numbers) & there
        share = cells.present[numeric].sum() / total
        if found.problem and there.sum() > total / 2:
            raise UserError(
                f"column '{name}': {found.problem}. Write all in one way, or leave the column out: "
                f"--drop '{name}'"
            )
        odd = there & ~numeric
        if share == 1 or _are_numbers(name, cells, found.numbers, odd, share, found.problem):
            said = [f"column '{name}': {note}" for note in found.notes]
            if note := far_off(cells, np.where(odd, np.nan, found.numbers)):
                said.append(
                    f"column '{name}' {note}: if the former stands for a missing value, name it "
                    "with --missing-words"
                )
            if share < 1:
                most = cells.most_frequent(odd, 3)
                said.append(
                    f"{int(cells.present[odd].sum()):,} of {total:,} cells of column '{name}' are "
                    f"no numbers and count as missing: {shown(most, int(odd.sum()) - len(most))}; "
                    f"--categories '{name}' would take all as categories"
                )
            numbers = np.where(odd, np.nan, found.numbers)[cells.codes]
            described = _describe_numbers(name, numbers, rows, keep)
            if isinstance(described, dict):
                notes += said
                if found.format:
                    described["reading"] = {"format": found.format}
            return described
        if found.problem:
            notes.append(f"column '{name}' was taken as categories: {found.problem}")
    elif not categories:
        notes.append(f"column '{name}' has leading zeros: its numbers are codes, and categories")
    if distinct and is_identifier_name(name) and not keep:
        return "it is an identifier: every row has a different one"
    if distinct:
        first = cells.texts(cells.codes[:1])[0]
        return (
            f"it is text with as many values as rows, such as {first[:40]!r}: nothing can be "
            "learned from values that occur once"
        )
    return _describe_texts(name, cells, lacking, notes)


def parse_cells(
    cells: Sequence[str] | Cells, column: Mapping[str, Any]
) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """The cells as a model takes them, and those that have no meaning in such a column.

    Args:
        cells: text.
        column: as `describe_column` says.

    Returns:
        number: float32 or float64 `[n]`, NaN where there is none; integer: int32 `[n]`; string:
        `[n]` of str. And texts without a meaning, with their counts, the most frequent first.
    """
    cells = Cells.of(cells)
    if column["kind"] == "string":
        words = np.array(cells.values.to_pylist(), object)
        words[cells.missing] = ""
        spelling = booleans.spelling(column.get("vocabulary", ()))
        if spelling:
            words[:] = [spelling.get(word.lower(), word) for word in words]
        return words[cells.codes], []
    numbers = parse_numbers(cells.values, column.get("reading", {}).get("format"))
    numbers[cells.missing] = np.nan
    if set(column.get("vocabulary", ())) == {0, 1}:
        numbers = booleans.as_numbers(cells, numbers)
    strange = np.isnan(numbers) & ~cells.missing
    odd = cells.most_frequent(strange)
    numbers = numbers[cells.codes]
    if column["kind"] == "number":
        with np.errstate(over="ignore"):
            return numbers.astype(np.float64 if column.get("wide") else np.float32), odd
    # Beyond int32, or with a fraction, it is none of the categories in any case.
    known = np.isfinite(numbers) & (np.abs(numbers) < 2**31) & (numbers == np.floor(numbers))
    unseen = np.where(np.isnan(numbers), MISSING_INTEGER, -MISSING_INTEGER - 1)
    return np.where(known, np.nan_to_num(numbers), unseen).astype(np.int32), odd


def describe_values(values: np.ndarray) -> dict[str, Any] | str:
    """As `describe_column` of numbers that were computed, float64 [n] with NaN for missing ones."""
    present = values[~np.isnan(values)]
    if not len(present):
        return "it has no values"
    if len(present) == len(values) and (present == present[0]).all():
        return f"its only value is {present[0]:g}"
    return _describe_numbers("", values, np.arange(len(values)), keep=True)


def kind_in_words(column: dict[str, Any]) -> str:
    """number, boolean, categories (text), categories (whole numbers)."""
    if column["kind"] == "number":
        return "number"
    if booleans.are_booleans(map(str, column["vocabulary"])):
        return "boolean"
    return f"categories ({'text' if column['kind'] == 'string' else 'whole numbers'})"


def is_identifier_name(name: str) -> bool:
    """Whether a column is called id, key, index, customer_id, PassengerId ..."""
    return bool(_IDENTIFIER.search(name) or _CAMEL_IDENTIFIER.search(name))


def _has_ascii(character: str) -> bool:
    return bool(unicodedata.normalize("NFKD", character).encode("ascii", "ignore"))


def _are_numbers(name, cells: Cells, numbers, odd, share: float, problem: str) -> bool:
    """Whether a column whose cells are not all numbers is one of numbers all the same."""
    numeric = ~np.isnan(numbers) & (cells.present > 0)
    if problem or share < MANY or numeric.sum() <= FEW_VALUES:
        return False
    if share < NUMERIC:
        fractions = (numbers[numeric] != np.floor(numbers[numeric])).any()
        single = numeric.sum() > cells.present[numeric].sum() / 2
        return bool((fractions or single) and odd.sum() <= MOST_WORDS)
    if share >= NEARLY_ALL or odd.sum() <= MOST_WORDS:
        return True
    if (cells.present > 0).sum() <= cells.present.sum() / 2:
        return False  # codes, some with letters
    most = cells.most_frequent(odd, 3)
    raise UserError(
        f"column '{name}' holds numbers, but also {shown(most, int(odd.sum()) - len(most))}. Leave "
        f"cells without a value empty, take all as categories with --categories '{name}', or leave "
        f"the column out: --drop '{name}'"
    )


def _describe_numbers(
    name: str, numbers: np.ndarray, rows: np.ndarray, keep: bool
) -> dict[str, Any] | str:
    there = ~np.isnan(numbers)
    values, lacking = numbers[there], bool(not there.all())
    whole = bool(np.all(values == np.floor(values)) and np.abs(values).max() < 2**31 - 1)
    distinct = np.unique(values)
    if whole and len(distinct) == len(values) > 2 and not keep:
        if is_identifier_name(name):
            return "it is an identifier: every row has a different one"
        counts = len(np.unique(values - rows[there])) == 1 and values[0] - rows[there][0] in (0, 1)
        if counts and len(values) > 20 and name.lower() not in _TIME_NAMES:
            return ROW_NUMBERS
    if whole and len(distinct) <= min(FEW_VALUES, len(values) / ROWS_PER_VALUE):
        counted = collections.Counter(values.astype(int).tolist())
        return _describe_categories("integer", counted, [MISSING_INTEGER] if lacking else [])
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32).astype(np.float64)  # as they are served
    if not np.isfinite(narrow).all():
        raise UserError(f"column '{name}' has numbers beyond 3.4e38, which float32 cannot hold")
    # What float32 leaves out of the values, beside how far they lie apart.
    wide = bool(np.abs(values - narrow).max() > 1e-3 * values.std() > 0)
    values = values if wide else narrow
    return {
        "kind": "number",
        "mean": float(values.mean()),
        # Only missing or not is known of a column of one value.
        "std": float(values.std()) or 1.0,
        "median": float(np.median(values)),
        "indicator": lacking,
        **({"wide": True} if wide else {}),
    }


def _describe_texts(name: str, cells: Cells, lacking: bool, notes: list[str]) -> Any:
    places = np.flatnonzero(cells.present)
    counts = collections.Counter(
        dict(zip(cells.texts(places), cells.present[places].tolist(), strict=True))
    )
    if booleans.are_booleans(counts):
        folded: collections.Counter = collections.Counter()
        spelling = booleans.spelling(counts)
        for word, count in counts.items():
            folded[spelling[word.lower()]] += count
        if len(folded) < len(counts):
            notes.append(
                f"column '{name}' spells true and false in several ways, {shown(counts.items())}: "
                "they were taken together"
            )
        counts = folded
    described = _describe_categories("string", counts, list(MISSING) if lacking else [])
    if isinstance(described, str):
        return described
    notes += alike_notes(described["vocabulary"], f"categories of column '{name}'")
    size = len(described["vocabulary"])
    if "embedding" in described:
        notes.append(
            f"column '{name}' has {size:,} categories: each is learned as "
            f"{described['embedding']} numbers (an embedding) and not as a column of its own"
        )
    lost = counts.total() - sum(counts[word] for word in described["vocabulary"])
    if lost > 0.05 * counts.total():
        notes.append(
            f"{lost:,} of {counts.total():,} training cells of column '{name}' hold a value that "
            "occurs once, from which nothing can be learned: they count as none of the categories"
        )
    return described


def _describe_categories(kind: str, counts: collections.Counter, missing: list) -> Any:
    frequent = sorted(counts, key=lambda value: (-counts[value], value))[:LARGEST_VOCABULARY]
    vocabulary = sorted(value for value in frequent if counts[value] >= RAREST)
    if not vocabulary and not missing:
        return f"none of its {len(counts)} values occurs more than once"
    described = {"kind": kind, "vocabulary": vocabulary, "missing": missing}
    if len(vocabulary) > MOST_ONE_HOT:
        # The rule of thumb of fastai's tabular models.
        described["embedding"] = min(50, round(1.6 * len(vocabulary) ** 0.56))
    return described
