"""Dates in a table, and the numbers a model sees of them.

A column of dates becomes several: days since 1970-01-01, month (1 to 12), day of the month, weekday
(1 is Monday) and, where the cells have times, the hour with its fraction. The days stand for the
distance to any other date. Times are taken as the clock showed them: an offset is not added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kapps.data.tables.cells import Cells, shown
from kapps.data.tables.numbers import FEW, MOST_WORDS, PLAIN, matches

if TYPE_CHECKING:
    import pyarrow

PARTS = ("days", "month", "day", "weekday", "hour")
_LOOKED_AT = 64  # texts that say whether to look at all
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = (
    r"(?:(?:[T ]|, ?| at )(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    r"(?:[.,][0-9]+)?)? ?(?P<half>(?:[AaPp]\.?[Mm]\.?)?) ?(?:Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})?)?$"
)
_PATTERNS = {
    "ymd": r"^(?P<y>[0-9]{4})[-/.](?P<m>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})" + _TIME,
    "dmy": r"^(?P<d>[0-9]{1,2})[-/.] ?(?P<m>[0-9]{1,2})[-/.] ?(?P<y>[0-9]{4}|[0-9]{2})" + _TIME,
    "mdy": r"^(?P<m>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})[-/.](?P<y>[0-9]{4}|[0-9]{2})" + _TIME,
    "d month y": r"^(?:[A-Za-z]{3,9}\.?,? )?(?P<d>[0-9]{1,2})(?:st|nd|rd|th|\.)?[ -]"
    r"(?P<m>[A-Za-z]{3,9})\.?,?[ -](?P<y>[0-9]{4}|[0-9]{2})" + _TIME,
    "month d y": r"^(?:[A-Za-z]{3,9}\.?,? )?(?P<m>[A-Za-z]{3,9})\.? (?P<d>[0-9]{1,2})"
    r"(?:st|nd|rd|th)?,? (?P<y>[0-9]{4})" + _TIME,
    "ym": r"^(?P<y>[0-9]{4})[-/](?P<m>[0-9]{2})(?P<d>)" + _TIME,  # the first of the month
}


def recognize_dates(cells: Cells) -> tuple[str, str]:
    """The order of a column's dates, and what is wrong with them.

    Args:
        cells: of the column.

    Returns:
        Order: a key of the patterns above, or "" where these are no dates. Problem: why dates
        cannot be read, or "".
    """
    counts, total = cells.present, int(cells.present.sum())
    if not total:
        return "", ""
    first = cells.values.take(np.flatnonzero(counts)[:_LOOKED_AT])
    if matches(first, PLAIN).mean() > 0.5:
        return "", ""
    if all(np.isnan(parse_dates(first, order)[0]).mean() > 0.5 for order in _PATTERNS):
        return "", ""
    read = {}
    for order in _PATTERNS:
        days, _ = parse_dates(cells.values, order)
        read[order] = int(counts[~np.isnan(days)].sum())
    most = max(read.values())
    order = max(read, key=read.__getitem__)
    odd = np.isnan(parse_dates(cells.values, order)[0]) & (counts > 0)
    if (problem := _several_ways(cells, order, odd, total)) is not None:
        return "", problem
    # As with numbers: some words for "unknown" do not make it anything else.
    if most < 0.8 * total or (most < (1 - FEW) * total and odd.sum() > MOST_WORDS):
        return "", ""
    orders = [order for order, count in read.items() if count == most]
    if orders == ["dmy", "mdy"]:
        text = cells.most_frequent(~cells.missing, 1)[0][0]
        if "." in text:  # who writes points begins with the day
            return "dmy", ""
        days, _ = parse_dates(cells.values, "dmy")
        other, _ = parse_dates(cells.values, "mdy")
        if np.array_equal(days[counts > 0], other[counts > 0], equal_nan=True):
            return "dmy", ""
        return "", f"whether day or month comes first in {text!r} cannot be told; write 2024-12-31"
    return orders[0], ""


def _several_ways(cells: Cells, order: str, odd: np.ndarray, total: int) -> str | None:
    """What is wrong where some dates can be read in another order alone; None if nothing is."""
    other = odd & ~cells.missing
    found = np.zeros(len(odd), bool)
    for way in _PATTERNS:
        found |= other & ~np.isnan(parse_dates(cells.values, way)[0])
    dates = cells.present[found | ~odd].sum()
    if cells.present[found].sum() <= FEW * total or dates < 0.8 * total:
        return None
    first, second = (cells.most_frequent(mask & ~cells.missing, 1) for mask in (~odd, found))
    return (
        f"its dates are written in several ways, {shown(first)} and {shown(second)}: write "
        "all as 2024-12-31"
    )


def offsets_note(cells: Cells) -> str:
    """A note on times with several offsets from UTC, which are not added; "" without."""
    from pyarrow import compute

    texts = cells.values.take(np.flatnonzero(cells.present))
    found = compute.extract_regex(texts, r"[0-9] ?(?P<offset>Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2})$")
    offsets = compute.struct_field(found, ["offset"]).drop_null().unique().to_pylist()
    # A date such as 2024-05-01 ends like an offset, but has none before an hour.
    timed = compute.any(compute.match_substring(texts, ":")).as_py()
    if len(offsets) < 2 or not timed:
        return ""
    return f"has times of several offsets ({', '.join(sorted(offsets)[:3])}), which were not added"


def parse_dates(values: pyarrow.Array, order: str) -> tuple[np.ndarray, np.ndarray]:
    """Days since 1970-01-01, float64 [d], NaN for what is no date; and which texts have a time.

    Args:
        values: texts.
        order: of the parts, as `recognize_dates` finds it.
    """
    import pyarrow as pa
    from pyarrow import compute

    found = compute.extract_regex(values, _PATTERNS[order])
    valid = compute.is_valid(found).to_numpy(zero_copy_only=False)

    def part(name: str) -> np.ndarray:
        texts = compute.fill_null(compute.struct_field(found, [name]), "")
        if name == "m" and "month" in order:
            return np.array([_month(text) for text in texts.to_pylist()], np.int64)
        digits = compute.if_else(compute.equal(texts, ""), "0", texts)
        return compute.cast(digits, pa.int64()).to_numpy(zero_copy_only=False)

    year, month, day = part("y"), part("m"), part("d")
    two_digits = compute.equal(compute.utf8_length(compute.struct_field(found, ["y"])), 2)
    two_digits = compute.fill_null(two_digits, False).to_numpy(zero_copy_only=False)
    if order == "ym":
        day = np.ones_like(day)
    year = np.where(two_digits, np.where(year < 69, 2000 + year, 1900 + year), year)  # as POSIX
    hour, minute, second = part("hour"), part("minute"), part("second")
    half = compute.utf8_lower(compute.fill_null(compute.struct_field(found, ["half"]), ""))
    afternoon = compute.starts_with(half, "p").to_numpy(zero_copy_only=False)
    noon_based = compute.not_equal(half, "").to_numpy(zero_copy_only=False)
    hour = np.where(noon_based, hour % 12 + 12 * afternoon, hour)
    valid &= (month >= 1) & (month <= 12) & (day >= 1) & (year >= 1) & (year <= 9999)
    valid &= (hour <= 24) & (minute < 60) & (second <= 60)
    months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    dates = months.astype("datetime64[D]") + np.where(valid, day - 1, 0)
    valid &= dates.astype("datetime64[M]") == months  # no 31st of February
    days = dates.astype(np.int64) + (hour + minute / 60 + second / 3600) / 24
    timed = compute.fill_null(
        compute.not_equal(compute.struct_field(found, ["hour"]), ""), False
    ).to_numpy(zero_copy_only=False)
    return np.where(valid, days, np.nan), timed & valid


def date_part(days: np.ndarray, part: str) -> np.ndarray:
    """A part of dates, float64 [n]: days, month, day, weekday or hour; NaN stays."""
    if part == "days":
        return days
    there = ~np.isnan(days)
    whole = np.floor(np.where(there, days, 0))
    date = whole.astype(np.int64).astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    found = {
        "month": month.astype(np.int64) % 12 + 1,
        "day": (date - month.astype("datetime64[D]")).astype(np.int64) + 1,
        "weekday": (whole.astype(np.int64) + 3) % 7 + 1,
        "hour": (np.where(there, days, 0) - whole) * 24,
    }[part]
    return np.where(there, found.astype(np.float64), np.nan)


def _month(text: str) -> int:
    short = text[:3].lower()
    return _MONTHS.index(short) + 1 if short in _MONTHS else 0
