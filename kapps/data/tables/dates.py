"""Dates in a table, and the numbers a model sees of them.

A column of dates becomes several: days since 1970-01-01, month (1 to 12), day of the month, weekday
(1 is Monday) and, where the cells have times, the hour with its fraction. The days stand for the
distance to any other date. Times are taken as the clock showed them: an offset is not added.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

import numpy as np

from kapps.data.tables.cells import Cells, shown
from kapps.data.tables.numbers import FEW, MOST_WORDS, PLAIN, matches

if TYPE_CHECKING:
    import pyarrow

PARTS = ("days", "month", "day", "weekday", "hour")
_LOOKED_AT = 64  # texts that say whether to look at all
# How the names of months begin, without accents, in English, German, French, Spanish, Italian,
# Portuguese and Dutch.
_MONTHS = (
    ("jan", "ene", "gen"), ("feb", "fev"), ("mar", "mrz", "maa", "mrt"), ("apr", "abr", "avr"),
    ("may", "mai", "mag", "mei"), ("jun", "juin", "giu"), ("jul", "juil", "lug"),
    ("aug", "aou", "ago"), ("sep", "set"), ("oct", "okt", "ott", "out"), ("nov",),
    ("dec", "dez", "dic"),
)  # fmt: skip
_BEGINNINGS = {word: month for month, words in enumerate(_MONTHS, 1) for word in words}
_TIME = (
    r"(?:(?:[T ]|, ?| at )(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})"
    r"(?:[.,][0-9]+)?)? ?(?P<half>(?:[AaPp]\.?[Mm]\.?)?)"
    r"(?: ?(?P<zone>Z|[A-Z]{3,4}|[+-][0-9]{2}:?[0-9]{2}))?(?:\[[A-Za-z_/+-]+\])?)?$"
)
_MONTH = r"(?P<m>\p{L}{3,10})"
_PATTERNS = {
    "ymd": r"^(?P<y>[0-9]{4})[-/.](?P<m>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})" + _TIME,
    "dmy": r"^(?P<d>[0-9]{1,2})[-/.] ?(?P<m>[0-9]{1,2})[-/.] ?(?P<y>[0-9]{4}|[0-9]{2})" + _TIME,
    "mdy": r"^(?P<m>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})[-/.](?P<y>[0-9]{4}|[0-9]{2})" + _TIME,
    "d month y": r"^(?:\p{L}{2,10}\.?,? )?(?P<d>[0-9]{1,2})(?:st|nd|rd|th|\.)?[ -](?:de )?"
    + _MONTH
    + r"\.?,?[ -](?:de )?(?P<y>[0-9]{4}|[0-9]{2})"
    + _TIME,
    "month d y": r"^(?:\p{L}{2,10}\.?,? )?"
    + _MONTH
    + r"\.? (?P<d>[0-9]{1,2})(?:st|nd|rd|th)?,? (?P<y>[0-9]{4})"
    + _TIME,
    "ym": r"^(?P<y>[0-9]{4})[-/](?P<m>[0-9]{2})(?P<d>)" + _TIME,  # the first of the month
    "my": r"^(?P<m>[0-9]{1,2})[-/](?P<d>)(?P<y>[0-9]{4})" + _TIME,
    "month y": "^"
    + _MONTH
    + r"\.?(?P<d>)(?: (?:de )?(?P<y>[0-9]{4})|-(?P<y2>[0-9]{4}|[0-9]{2}))"
    + _TIME,
    "yymd": r"^(?P<y>[0-9]{2})[-/.](?P<m>[0-9]{1,2})[-/.](?P<d>[0-9]{1,2})" + _TIME,
    "yyyymmdd": r"^(?P<y>(?:19|20)[0-9]{2})(?P<m>[0-9]{2})(?P<d>[0-9]{2})" + _TIME,
}
_OF_MONTHS = ("ym", "my", "month y")
_OFFSET = r"[0-9] ?(?P<offset>Z|[A-Z]{3,4}|[+-][0-9]{2}:?[0-9]{2})(?:\[[A-Za-z_/+-]+\])?$"
# Dates that stand for "none" or "for ever" in data bases and programs.
_SENTINELS = (
    "0001-01-01", "1600-12-31", "1601-01-01", "1753-01-01", "1800-01-01", "1899-12-30",
    "1899-12-31", "1900-01-01", "1970-01-01", "2099-12-31", "2100-01-01", "2199-12-31",
    "2262-04-11", "2999-12-31", "3000-01-01", "4712-12-31", "9999-01-01", "9999-12-31",
)  # fmt: skip


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
        return ("yyyymmdd" if _compact(cells) else ""), ""
    if matches(first, "[0-9]{2}").mean() <= 0.5:  # no year; the patterns take 50 ms to compile
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
    if "yymd" in orders and len(orders) > 1:
        orders, problem = _with_two_digits(cells, orders)
        if problem:
            return "", problem
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


def _compact(cells: Cells) -> bool:
    """Whether whole numbers are dates such as 20240531: no other numbers are all of them days."""
    there = cells.present > 0
    if there.sum() < 3 or not (matches(cells.values, "^(19|20)[0-9]{6}$") | ~there).all():
        return False
    return not np.isnan(parse_dates(cells.values, "yyyymmdd")[0][there]).any()


def _with_two_digits(cells: Cells, orders: list[str]) -> tuple[list[str], str]:
    """The orders that may be meant where 24-05-17 may be of 2024 or of 2017, and the problem.

    The dates of a table lie together; with year and day exchanged, they lie all over 31 years.
    """
    there = cells.present > 0
    span = {}
    for order in orders:
        span[order] = float(np.ptp(parse_dates(cells.values, order)[0][there])) + 1
    year_first, others = span.pop("yymd"), list(span)
    last = min(span.values())
    if 3 * year_first < last:
        return ["yymd"], ""
    text = cells.most_frequent(~cells.missing, 1)[0][0]
    if 3 * last < year_first or "-" not in text:  # with / and ., the year rarely comes first
        return others, ""
    return [], f"whether year or day comes first in {text!r} cannot be told; write 2024-12-31"


def far_off(cells: Cells, days: np.ndarray) -> str:
    """A note on a date such as 9999-12-31, which may stand for none; "" without one.

    Args:
        cells: of a column.
        days: of each distinct text, NaN for what is no date.
    """
    there = np.flatnonzero(~np.isnan(days) & (cells.present > 0))
    dates = np.floor(days[there])
    known = np.array(_SENTINELS, "datetime64[D]").astype(np.int64)
    for extreme in (dates.min(initial=np.inf), dates.max(initial=-np.inf)):
        others = dates[dates != extreme]
        if extreme not in known or len(np.unique(others)) < 3:
            continue
        if np.ptp(others) >= np.abs(others - extreme).min():
            continue
        same = np.zeros(len(days), bool)
        same[there[dates == extreme]] = True
        ends = np.array([others.min(), others.max()]).astype(np.int64).astype("datetime64[D]")
        return (
            f"holds {shown(cells.most_frequent(same))}, and else dates from {ends[0]} to {ends[1]}"
        )
    return ""


def instants(cells: Cells, order: str) -> tuple[np.ndarray, str]:
    """Days since 1970-01-01 of each distinct text [d], offsets from UTC taken off; and a problem.

    Days by the clock would have 10:00-05:00 before 12:00+02:00, which is five hours earlier.
    """
    from pyarrow import compute

    days, timed = parse_dates(cells.values, order)
    found = compute.struct_field(compute.extract_regex(cells.values, _PATTERNS[order]), ["zone"])
    zones = compute.fill_null(found, "").to_pylist()
    here = np.flatnonzero(timed & (cells.present > 0))
    different = {"Z" if zones[i] in ("UTC", "GMT") else zones[i] for i in here}
    named = sorted(zone for zone in different if zone.isalpha() and zone != "Z")
    if len(different) > 1 and (named or "" in different):
        shown_ = ", ".join(repr(zone) for zone in sorted(different)[:3])
        return days, f"times of several zones ({shown_}) have no order; write offsets as +01:00"
    for i in here if len(different) > 1 else ():
        if zones[i][0] in "+-":
            digits = zones[i][1:].replace(":", "")
            hours = int(digits[:2]) + int(digits[2:]) / 60
            days[i] -= (hours if zones[i][0] == "+" else -hours) / 24
    return days, ""


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
    found = compute.extract_regex(texts, _OFFSET)
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
    years = compute.struct_field(found, ["y"])
    if order == "month y":
        short = compute.fill_null(compute.struct_field(found, ["y2"]), "")
        years = compute.if_else(compute.equal(short, ""), years, short)
        digits = compute.fill_null(compute.if_else(compute.equal(years, ""), "0", years), "0")
        year = compute.cast(digits, pa.int64()).to_numpy(zero_copy_only=False)
    two_digits = compute.equal(compute.utf8_length(years), 2)
    two_digits = compute.fill_null(two_digits, False).to_numpy(zero_copy_only=False)
    if order in _OF_MONTHS:
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
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _BEGINNINGS.get(plain[:4]) or _BEGINNINGS.get(plain[:3], 0)
