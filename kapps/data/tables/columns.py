"""What the columns of a table hold: told from the cells of the training part, and nothing else.

A column is described by a plain mapping, which `kapps.models.tabular_mlp` takes and JSON can hold:

    {"kind": "number", "mean": ., "std": ., "median": ., "indicator": bool}
    {"kind": "string", "vocabulary": [...], "missing": [...]}
    {"kind": "integer", "vocabulary": [...], "missing": [...]}

`indicator` says that the training part lacks some of the numbers, so that it tells the model where;
`missing` lists what stands for a missing value in a column of categories, in small letters, and is
empty where the training part lacks none. Rare categories are not in the vocabulary.
"""

from __future__ import annotations

import collections
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from kapps.errors import UserError

# Cells that say that there is no value, whatever the case of their letters.
MISSING = ("", "?", "-", "--", ".", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nil")
MISSING_INTEGER = -(2**31)  # in columns of whole numbers, which have no NaN
FEW_VALUES = 10  # whole numbers with at most as many values are categories ...
ROWS_PER_VALUE = 20  # ... if each has as many rows on average
LARGEST_VOCABULARY = 100  # the most frequent categories
RAREST = 2  # rows of the training part that a category needs
BOOLEANS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"})
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([T ]\d{1,2}:\d{2}.*)?"
)
_IDENTIFIER = re.compile(r"(^|[\W_])(id|uuid|guid|key|index)$|^(id|uuid)([\W_]|$)", re.IGNORECASE)
_CAMEL_IDENTIFIER = re.compile(r"[a-z]I[dD]$")


def is_missing(cell: str) -> bool:
    """Whether a cell says that there is no value; infinite numbers are none."""
    word = cell.strip().lower()
    return word in MISSING or word.lstrip("+-") in ("inf", "infinity")


def is_number(cell: str) -> bool:
    """Whether a cell is a number as JSON or Python write it; a leading zero makes it a code."""
    return bool(_NUMBER.fullmatch(cell)) and not re.match(r"[+-]?0\d", cell)


def served_name(name: str, taken: Sequence[str] = ()) -> str:
    """A column's name as the argument of a signature: letters, digits and underscores.

    Args:
        name: as the file has it.
        taken: names that are used already, whatever the case of their letters.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9]+", "_", plain).strip("_")
    if not plain[:1].isalpha():
        plain = f"column_{plain}".rstrip("_")
    taken, number, unique = {word.lower() for word in taken}, 2, plain
    while unique.lower() in taken:
        unique, number = f"{plain}_{number}", number + 1
    return unique


def served_names(names: Sequence[str]) -> list[str]:
    """The served name of each column of a file, all of them different."""
    served: list[str] = []
    for name in names:
        served.append(served_name(name, served))
    return served


def describe_column(name: str, cells: Sequence[str]) -> dict[str, Any] | str:
    """The kind of a column with its statistics, or the reason why it is of no use.

    Args:
        name: of the column.
        cells: those of the training part, in the order of the file.

    Raises:
        UserError: dates, free text, or numbers with other text among them.
    """
    present = [cell for cell in cells if not is_missing(cell)]
    if not present:
        return "it has no values"
    counts = collections.Counter(present)
    lacking = len(present) < len(cells)
    if len(counts) == 1 and not lacking:
        return f"its only value is {present[0]!r}"
    numeric = sum(is_number(value) * count for value, count in counts.items())
    if numeric == len(present):
        return _describe_numbers(name, present, lacking)
    _refuse_dates(name, present)
    distinct = len(counts) == len(present) > 2
    if distinct and is_identifier_name(name):
        return "it is an identifier: every row has another one"
    if numeric > 0.9 * len(present) and len(counts) > 20:
        odd = next(value for value in counts if not is_number(value))
        raise UserError(
            f"column '{name}' holds numbers, but also {odd!r}. Leave cells without a value empty, "
            f"write numbers with a decimal point, or leave the column out: --drop '{name}'"
        )
    if distinct:
        raise UserError(
            f"column '{name}' is text with as many values as rows, such as {present[0][:40]!r}: "
            "there is nothing to learn from a category that comes once. Is it free text, or are "
            f"they numbers with a decimal comma? Leave the column out: --drop '{name}'"
        )
    return _describe_categories("string", counts, list(MISSING) if lacking else [])


def parse_cells(cells: Sequence[str], column: dict[str, Any]) -> tuple[np.ndarray, int]:
    """The cells as a model takes them, and how many have no meaning in such a column.

    Args:
        cells: text.
        column: as `describe_column` says.

    Returns:
        number: float32 `[n]`, NaN where there is none; integer: int32 `[n]`; string: `[n]` of str.
    """
    missing = [is_missing(cell) for cell in cells]
    if column["kind"] == "string":
        values = ["" if gone else cell for cell, gone in zip(cells, missing, strict=True)]
        return np.array(values, object), 0
    strange = [not gone and not is_number(cell) for cell, gone in zip(cells, missing, strict=True)]
    absent = np.array(missing, bool) | np.array(strange, bool)
    numbers = np.array(
        [math.nan if gone else float(cell) for cell, gone in zip(cells, absent, strict=True)]
    )
    if column["kind"] == "number":
        return numbers.astype(np.float32), sum(strange)
    # Beyond int32, or with a fraction, it is none of the categories in any case.
    known = np.isfinite(numbers) & (np.abs(numbers) < 2**31) & (numbers == np.floor(numbers))
    unseen = np.where(np.isnan(numbers), MISSING_INTEGER, -MISSING_INTEGER - 1)
    return np.where(known, np.nan_to_num(numbers), unseen).astype(np.int32), sum(strange)


def kind_in_words(column: dict[str, Any]) -> str:
    """number, boolean, categories (text), categories (whole numbers)."""
    if column["kind"] == "number":
        return "number"
    words = {str(value).lower() for value in column["vocabulary"]}
    if words in BOOLEANS or words == {"0", "1"}:
        return "boolean"
    return f"categories ({'text' if column['kind'] == 'string' else 'whole numbers'})"


def is_identifier_name(name: str) -> bool:
    """Whether a column is called id, key, customer_id, PassengerId ..."""
    return bool(_IDENTIFIER.search(name) or _CAMEL_IDENTIFIER.search(name))


def _describe_numbers(name: str, present: list[str], lacking: bool) -> dict[str, Any] | str:
    values = np.array(present, np.float64)
    whole = bool(np.all(values == np.floor(values)) and np.abs(values).max() < 2**31 - 1)
    distinct = np.unique(values)
    if whole and len(distinct) == len(values) > 2:
        rows = len(values)
        ascending = bool(np.all(np.diff(values) > 0)) and np.ptp(values) <= 2 * rows > 40
        if is_identifier_name(name) or ascending:
            return "it is an identifier: every row has another one"
    if whole and len(distinct) <= min(FEW_VALUES, len(values) / ROWS_PER_VALUE):
        counts = collections.Counter(values.astype(int).tolist())
        return _describe_categories("integer", counts, [MISSING_INTEGER] if lacking else [])
    with np.errstate(over="ignore"):
        values = values.astype(np.float32).astype(np.float64)  # as they are served
    if not np.isfinite(values).all():
        raise UserError(f"column '{name}' has numbers beyond 3.4e38, which float32 cannot hold")
    return {
        "kind": "number",
        "mean": float(values.mean()),
        # Only missing or not is known of a column of one value.
        "std": float(values.std()) or 1.0,
        "median": float(np.median(values)),
        "indicator": lacking,
    }


def _describe_categories(kind: str, counts: collections.Counter, missing: list) -> Any:
    frequent = sorted(counts, key=lambda value: (-counts[value], value))[:LARGEST_VOCABULARY]
    vocabulary = sorted(value for value in frequent if counts[value] >= RAREST)
    if not vocabulary and not missing:
        return f"none of its {len(counts)} values comes more than once"
    return {"kind": kind, "vocabulary": vocabulary, "missing": missing}


def _refuse_dates(name: str, present: list[str]) -> None:
    dates = [cell for cell in present if _DATE.fullmatch(cell)]
    if len(dates) >= 0.9 * len(present):
        raise UserError(
            f"column '{name}' holds dates, such as {dates[0]!r}. What of a date matters is for you "
            "to say: write year, month, weekday or an age into columns of their own, or leave the "
            f"column out: --drop '{name}'"
        )
