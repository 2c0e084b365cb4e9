r"""Numbers as people write them: 1.234,50 or 1,234.50, $20,000, 5 %, 1e3 kg, (12), 12-, 02139.

How a column writes its numbers is told from all of its cells together, and only what they all agree
with is a number. A format is a plain mapping, which JSON can hold:

    {"decimal": ",", "unit": "kg"}      1.234,5 kg and 1 234,5 kg are 1234.5

`decimal` is the sign before the fraction; the other of point and comma, a blank and an apostrophe
group thousands. `unit` is a currency, a percent sign (5 % is 5) or a unit; "" is none. Columns of
plain numbers, as programs write them, have no format.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kapps.data.tables.cells import Cells, shown

if TYPE_CHECKING:
    import pyarrow

FEW = 0.05  # the share of cells that may differ from all others and count as missing
MOST_WORDS = 20  # different words among them
_MOST_UNITS = 10  # of more of them, what stands behind the digits is part of a code
# Written with nines (eights, sevens) alone.
_SENTINELS = {
    float(sign + digit * count)
    for sign in ("", "-")
    for digit, least in (("9", 2), ("8", 3), ("7", 3))
    for count in range(least, 7)
}
# As JSON and Python write them; a leading zero makes a code.
PLAIN = r"^[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_PLAIN = re.compile(PLAIN)
_PADDED = r"^0[0-9]+$"
_BLANKS = " \u00a0\u2007\u2009\u202f'\u2019"
_SIGNS = "+\\-\u2212\u2013"
_SYMBOLS = "$€£¥₹₽₩₺₴₫₪฿¢"
_CURRENCY = (
    rf"(?:US|A|C|HK|R|NZ)?\$|[{_SYMBOLS}]|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|CZK"
    r"|BRL|MXN|Fr\.|kr\.?|zł|Rs\.?"
)
_WRITTEN = (
    rf"^(?P<open>\(?)[ ]?(?P<sign>[{_SIGNS}]?)[ ]?(?P<prefix>(?:{_CURRENCY})?)[{_BLANKS}]?"
    rf"(?P<inner>[{_SIGNS}]?)(?P<core>[0-9](?:[0-9.,{_BLANKS}]*[0-9])?[.,]?|[.,][0-9]+)"
    rf"(?P<exponent>(?:[eE][+-]?[0-9]+)?)(?:(?P<behind>-)|[{_BLANKS}]?"
    rf"(?P<suffix>(?:[\p{{L}}%‰°{_SYMBOLS}][\p{{L}}0-9%²³/·.°]{{0,11}}(?: \p{{L}}{{1,8}})?)?))"
    r"(?P<close>\)?)$"
)
_GROUPS = ("open", "sign", "prefix", "inner", "core", "exponent", "behind", "suffix", "close")
# What a core looks like, with G the sign that groups and D the decimal one.
_ENGLISH = {"D": r"\.", "G": rf"[,{_BLANKS}]"}
_GERMAN = {"D": ",", "G": rf"[.{_BLANKS}]"}
# Thousands in threes, or as in India: 12,34,567.
_CORE = (
    r"^(?:(?:[0-9]+|[1-9][0-9]{0,2}(?:G[0-9]{3})+|[1-9][0-9]?(?:G[0-9]{2})+G[0-9]{3})"
    r"(?:D[0-9]*)?|D[0-9]+)$"
)
# With one sign alone, and three digits behind it: 1,234 is a thousand, or 1.234.
_AMBIGUOUS = r"^[1-9][0-9]{0,2}[.,][0-9]{3}$"
_OTHER_DIGITS = r"[^\P{Nd}0-9]"  # ١٢, １２: those of other scripts, and of full width
_OTHER_SIGNS = {"\u066b": ".", "\u066c": ",", "\uff0e": ".", "\uff0c": ",", "\uff0d": "-"}
_MAGNITUDES = {"k", "K", "M", "m", "B", "bn", "mn", "Mio", "Mio.", "Mrd", "Mrd."}


@dataclass(frozen=True)
class Recognized:
    """How the cells of a column are numbers.

    Attributes:
        numbers: of each distinct text its number, float64 [d]; NaN for what is none.
        format: as this module's docstring says; None for plain numbers.
        problem: why cells that look like numbers are none; "" if there is no such reason.
        notes: what should be known of how they were read.
    """

    numbers: np.ndarray
    format: dict[str, Any] | None = None
    problem: str = ""
    notes: tuple[str, ...] = ()


def is_number(cell: str) -> bool:
    """Whether a cell is a number as JSON or Python write it; a leading zero makes it a code."""
    return bool(_PLAIN.fullmatch(cell))


def are_codes(cells: Cells) -> bool:
    """Whether whole numbers with leading zeros, such as 02139, say that these are codes."""
    padded = matches(cells.values, _PADDED) & (cells.present > 0)
    if not padded.any():
        return False
    digits = matches(cells.values, r"^[0-9]+$") & (cells.present > 0)
    if cells.present[digits].sum() < 0.8 * cells.present.sum():
        return False
    lengths = _lengths(cells.values)
    usual = np.bincount(lengths[digits], weights=cells.present[digits]).argmax()
    share = cells.present[padded].sum() / cells.present.sum()
    return bool(share >= FEW or (lengths[padded] == usual).all())


def parse_numbers(values: pyarrow.Array, format: dict[str, Any] | None = None) -> np.ndarray:
    """Texts [d] as float64 [d]; NaN for what is no number in such a format.

    Plain numbers are read in any format, unless their point groups thousands.
    """
    if format is None:
        fits = matches(values, PLAIN)
        if not fits.all() and (western := _western(values)) is not values:
            return _to_float(western, matches(western, PLAIN))
        return _to_float(values, fits)
    parts = _Parts(values)
    decimal, unit = format["decimal"], format.get("unit", "")
    fits = parts.there & matches(parts.core, _core(decimal))
    fits &= _fitting_units(parts.units, unit)
    return parts.numbers(decimal, fits)


def recognize_numbers(cells: Cells, delimiter: str = "") -> Recognized:
    """Finds how a column writes its numbers.

    Args:
        cells: of the column.
        delimiter: of the file: where a semicolon parts the cells, commas are for something else.
    """
    counts, total = cells.present, int(cells.present.sum())
    plain = parse_numbers(cells.values)
    plain[cells.missing] = np.nan
    whole = counts[~np.isnan(plain)].sum()
    if whole == total and not _grouping_points(cells):
        return Recognized(plain, notes=_notes_on_digits(cells, plain))
    parts = _Parts(cells.values)
    there = parts.there & (counts > 0)
    if counts[there].sum() < 0.5 * total:
        return Recognized(plain)
    unit, problem = _common_unit(parts.units, counts, there)
    if problem:
        return Recognized(plain, problem=problem)
    there &= _fitting_units(parts.units, unit)
    english, german = (matches(parts.core, _core(sign)) & there for sign in ".,")
    needs_point, needs_comma = english & ~german, german & ~english
    either = english & german & matches(parts.core, _AMBIGUOUS)
    notes: list[str] = []
    if needs_point.any() and needs_comma.any():
        few, many = sorted((needs_point, needs_comma), key=lambda mask: counts[mask].sum())
        return Recognized(
            plain,
            problem=f"its numbers are written in two ways, {shown(cells.most_frequent(many, 1))} "
            f"and {shown(cells.most_frequent(few, 1))}",
        )
    if needs_comma.any():
        decimal = ","
    elif needs_point.any() or not either.any():
        decimal = "."
    else:
        decimal, notes = _guess(cells, parts, there, either, delimiter)
    numbers = parts.numbers(decimal, english if decimal == "." else german)
    numbers[cells.missing] = np.nan
    if np.array_equal(numbers, plain, equal_nan=True):
        return Recognized(plain, notes=tuple(notes))
    format = {"decimal": decimal, "unit": unit}
    other = np.flatnonzero(~np.isnan(numbers) & (numbers != plain) & (numbers != 0) & (counts > 0))
    if len(other):
        text = cells.texts(other[:1])[0]
        notes.append(f"{text!r} is read as {numbers[other[0]]:.12g}")
    return Recognized(numbers, format, notes=tuple(notes))


def far_off(cells: Cells, numbers: np.ndarray) -> str:
    """A note on a number such as -999, which may stand for a missing value; "" without one.

    It is written with nines (eights, sevens) alone, and lies farther from all others than these
    lie apart.

    Args:
        cells: of a column.
        numbers: of each distinct text its number, float64 [d]; NaN for what is none.
    """
    there = np.flatnonzero(~np.isnan(numbers) & (cells.present > 0))
    values = numbers[there]
    for extreme in (values.min(initial=np.inf), values.max(initial=-np.inf)):
        if extreme not in _SENTINELS:  # nearly all columns
            continue
        others = values[values != extreme]
        if len(np.unique(others)) < 3 or np.ptp(others) >= np.abs(others - extreme).min():
            continue
        same = np.zeros(len(numbers), bool)
        same[there[values == extreme]] = True
        return (
            f"holds {shown(cells.most_frequent(same))}, and else numbers from "
            f"{others.min():g} to {others.max():g}"
        )
    return ""


def _western(values: pyarrow.Array) -> pyarrow.Array:
    """Texts with the digits of other scripts as 0 to 9; the very array where there are none."""
    if not matches(values, _OTHER_DIGITS).any():
        return values
    import pyarrow as pa

    texts = values.to_pylist()
    digits = {c: str(unicodedata.decimal(c)) for c in set("".join(texts)) if c.isdecimal()}
    table = str.maketrans({**digits, **_OTHER_SIGNS})
    return pa.array([text.translate(table) for text in texts], pa.string())


def _notes_on_digits(cells: Cells, numbers: np.ndarray) -> tuple[str, ...]:
    if matches(cells.values, "^[ -~]*$").all():
        return ()
    other = matches(cells.values, _OTHER_DIGITS) & ~np.isnan(numbers) & (cells.counts > 0)
    first = np.flatnonzero(other)[:1]
    return tuple(f"{cells.texts([i])[0]!r} is read as {numbers[i]:.12g}" for i in first)


class _Parts:
    """Distinct texts taken apart."""

    def __init__(self, values: pyarrow.Array):
        from pyarrow import compute

        values = _western(values)
        found = compute.extract_regex(values, _WRITTEN)
        self.there = compute.is_valid(found).to_numpy(zero_copy_only=False)
        part = {
            name: compute.fill_null(compute.struct_field(found, [name]), "") for name in _GROUPS
        }
        self.core, self._exponent = part["core"], part["exponent"]
        minus = [matches(part[n], "^[\\-\u2212\u2013]$") for n in ("sign", "inner", "behind")]
        brackets = matches(part["open"], r"^\($"), matches(part["close"], r"^\)$")
        self.there &= brackets[0] == brackets[1]
        # Accounting programs write 12.50- for -12.50.
        self.there &= ~minus[2] | ~(matches(part["sign"], ".") | matches(part["inner"], "."))
        self._negative = minus[0] | minus[1] | minus[2] | brackets[0]
        self.units = compute.binary_join_element_wise(part["prefix"], part["suffix"], "")

    def numbers(self, decimal: str, fits: np.ndarray) -> np.ndarray:
        from pyarrow import compute

        grouping = f"[{'.' if decimal == ',' else ','}{_BLANKS}]"
        text = compute.replace_substring_regex(self.core, grouping, "")
        if decimal == ",":
            text = compute.replace_substring(text, ",", ".")
        text = compute.binary_join_element_wise(text, self._exponent, "")
        numbers = _to_float(text, fits)
        return np.where(self._negative, -numbers, numbers)


def _common_unit(units: pyarrow.Array, counts: np.ndarray, there: np.ndarray) -> tuple[str, str]:
    """The unit that (nearly) all numbers have, and what is wrong if there is none."""
    from pyarrow import compute

    encoded = units.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    codes = compute.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
    weights = np.bincount(codes, weights=np.where(there, counts, 0), minlength=len(names))
    by_name = {name: int(n) for name, n in zip(names, weights, strict=True) if n}
    total = sum(by_name.values())
    unit = max((name for name in by_name if name), key=by_name.__getitem__, default="")
    without = by_name.pop("", 0)
    if not unit or sum(by_name.values()) <= FEW * total or len(by_name) > _MOST_UNITS:
        return "", ""
    others = sum(by_name.values()) - by_name[unit]
    mixed = without if not _is_currency(unit) else 0
    if others > FEW * total or mixed > FEW * total:
        ways = sorted({**by_name, "no unit": without}.items(), key=lambda item: -item[1])
        return "", (
            "its numbers have several units: "
            + ", ".join(f"{name} ({count:,} cells)" for name, count in ways[:4] if count)
        )
    return unit, ""


def _is_currency(unit: str) -> bool:
    return bool(re.fullmatch(_CURRENCY, unit))


def _fitting_units(units: pyarrow.Array, unit: str) -> np.ndarray:
    """Which numbers have this unit; a currency may be left out, no other unit may."""
    from pyarrow import compute

    def equal(text):
        return compute.equal(units, text).to_numpy(zero_copy_only=False).astype(bool)

    return equal(unit) | equal("") if _is_currency(unit) else equal(unit)


def _guess(cells, parts, there, either, delimiter) -> tuple[str, list[str]]:
    """The decimal sign where all numbers with a sign are like 1,234 or like 1.234."""
    counts = cells.present
    comma = either & matches(parts.core, ",")
    point = either & ~comma
    example = cells.most_frequent(either, 1)[0][0]
    whole = there & matches(parts.core, "^[0-9]+$")
    if comma.any() and point.any():  # a comma groups, a point does not: as in English
        return ".", [f"{example!r} may be a thousand or a fraction; a comma counts as the former"]
    if comma.any():
        fractions = delimiter == ";" and not counts[whole].sum()
        kind = "a number with a fraction" if fractions else "a number of thousands"
        note = f"{example!r} counts as {kind}; if it is not, write it without grouping"
        return ("," if fractions else "."), [note]
    return ("," if _grouping_points(cells) else "."), []


def _grouping_points(cells: Cells) -> bool:
    """Whether 850, 1.200 and 12.000 are whole numbers with points that group thousands.

    A program writes the same number of decimals everywhere, or leaves out zeros at the end; a
    column that has no other numbers than whole ones below 1,000 and some with three digits behind a
    point, of which some end with a zero, was written by neither.
    """
    there = cells.present > 0
    point = matches(cells.values, r"^[+-]?[1-9][0-9]{0,2}\.[0-9]{3}$") & there
    if not point.any():
        return False
    small = matches(cells.values, r"^[+-]?[0-9]{1,3}$") & there
    number = matches(cells.values, PLAIN) & there & ~cells.missing
    zero = matches(cells.values, "0$") & point
    return bool(zero.any() and small.any() and (point | small)[number].all())


def _core(decimal: str) -> str:
    signs = _ENGLISH if decimal == "." else _GERMAN
    return _CORE.replace("D", signs["D"]).replace("G", signs["G"])


def matches(values: pyarrow.Array, pattern: str) -> np.ndarray:
    """Which texts a regular expression of RE2 is found in, bool [d]."""
    from pyarrow import compute

    found = compute.match_substring_regex(values, pattern)
    if found.null_count:
        found = compute.fill_null(found, False)
    return found.to_numpy(zero_copy_only=False)


def _lengths(values: pyarrow.Array) -> np.ndarray:
    from pyarrow import compute

    return compute.utf8_length(values).to_numpy(zero_copy_only=False)


def _to_float(values: pyarrow.Array, fits: np.ndarray) -> np.ndarray:
    """float64 [d] of the texts that fit, NaN of the others."""
    import pyarrow as pa
    from pyarrow import compute

    numbers = np.full(len(values), np.nan)
    chosen = values.filter(pa.array(fits))
    try:
        numbers[fits] = compute.cast(chosen, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:  # beyond what float64 holds
        numbers[fits] = [float(text) for text in chosen.to_pylist()]
    return numbers
