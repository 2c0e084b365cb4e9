"""What there is to say of a picture: one class, several labels, or a number.

Tables and patterns give a text for each picture, "cat", "cat|dog" or "3.5"; here all of them
together become classes, labels or numbers.
"""

from __future__ import annotations

import collections
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kapps.errors import UserError

KINDS = ("classes", "labels", "number")
SEPARATORS = ("|", ";")  # between the labels of a picture
MOST_CLASSES = 20  # whole numbers; more of them are a quantity, as in tables
_BINS = 10
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
# 12,5  $20,000  5 %  1.5-  nan: not as int() and float() alone would have it.
_LIKE_A_NUMBER = re.compile(
    r"[($€£¥+\-\u2212 ]*\d[\d.,' \u00a0\u202f]*(e[+-]?\d+)?[\s%$€£¥)\-]*"
    r"|[+-]?(nan|inf|infinity)",
    re.IGNORECASE,
)
_GONE = {"?", "-", "na", "n/a", "nan", "none", "null", "nil"}


class Targets(NamedTuple):
    """The targets of pictures.

    Attributes:
        kind: one of KINDS.
        names: of the classes or labels; none of numbers.
        values: class numbers int32 [n]; 0 and 1 for each label float32 [n, labels]; or numbers
            float32 [n].
        notes: what the user should know.
    """

    kind: str
    names: tuple[str, ...]
    values: np.ndarray
    notes: tuple[str, ...] = ()


def targets_of(texts: Sequence[str], asked: str = "auto", numbered: bool = False) -> Targets:
    """Reads the targets of all pictures together.

    Args:
        texts: one for each picture.
        asked: a kind, or "auto": labels, if some texts hold "|" or ";"; a number, if all are
            numbers that are no class numbers; else classes.
        numbered: texts are whole numbers, by which classes are ordered.

    Raises:
        UserError: a text is not of the kind that is asked for, or all are the same.
    """
    if asked not in ("auto", *KINDS):
        raise UserError(f"target kind {asked!r}: it is one of auto, {', '.join(KINDS)}")
    if asked == "labels" or (asked == "auto" and _separator(texts)):
        return _labels(texts, asked)
    if asked == "number" or (asked == "auto" and _are_quantities(texts)):
        return _numbers(texts, asked)
    if asked == "auto":
        _refuse_unclear_numbers(texts)
    names = tuple(sorted(set(texts), key=int if numbered else None))
    number = {name: i for i, name in enumerate(names)}
    notes = () if asked == "classes" else _notes_on_classes(texts)
    return Targets("classes", names, np.array([number[text] for text in texts], np.int32), notes)


def strata(kind: str, values: np.ndarray) -> np.ndarray:
    """Numbers by which pictures are divided in proportion, int [n].

    Classes as they are; of labels the rarest that a picture has; of numbers the tenth that they
    belong to.
    """
    if kind == "classes":
        return values
    if kind == "number":
        bins = max(1, min(_BINS, len(values) // _BINS))
        edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
        return np.searchsorted(edges, values, side="right")
    counts = values.sum(axis=0)
    rarity = np.where(values > 0, counts, np.inf)
    return np.where(values.any(axis=1), rarity.argmin(axis=1), values.shape[1])


def _separator(texts: Sequence[str]) -> str | None:
    return next((mark for mark in SEPARATORS if any(mark in text for text in texts)), None)


def _refuse_unclear_numbers(texts: Sequence[str]) -> None:
    """UserError where most labels are numbers as people write them, but not all are plain ones.

    As classes, each quantity would be one of its own.
    """
    alike = [text for text in texts if _LIKE_A_NUMBER.fullmatch(text.strip())]
    if len(set(alike)) <= MOST_CLASSES / 2 or len(alike) <= len(texts) / 2:
        return
    plain = {text for text in alike if _number(text) is not None}
    if all(text in plain and float(text) == int(float(text)) for text in alike):
        if len(set(alike)) <= MOST_CLASSES:
            return  # classes 0 to 15, and one called unknown
    written = sorted(set(alike) - plain)
    if len(alike) == len(texts) and not written:
        return  # whole numbers without a gap
    odd = collections.Counter(text for text in texts if text not in plain)
    word, count = (written[0], odd[written[0]]) if written else odd.most_common(1)[0]
    raise UserError(
        f"labels look like numbers, but {sum(odd.values()):,} of {len(texts):,} are no plain ones, "
        f"such as {word!r} ({count:,}): write 1234.5 for a quantity and leave it empty where it is "
        "unknown, or say --target-kind classes"
    )


def _notes_on_classes(texts: Sequence[str]) -> tuple[str, ...]:
    """Labels that say that there is none, and such as look like several."""
    counts, notes = collections.Counter(texts), []
    gone = {text: n for text, n in counts.items() if text.strip().lower() in _GONE}
    if gone:
        said = ", ".join(f"{text!r} ({n:,} pictures)" for text, n in gone.items())
        notes.append(f"{said} is a class of its own; pictures without a label have an empty cell")
    for mark in (",", "/", "+", "&", " "):
        joined = {text: [p.strip(" '\"") for p in text.strip("[]").split(mark)] for text in counts}
        joined = {text: parts for text, parts in joined.items() if len(parts) > 1}
        parts = {part for each in joined.values() for part in each}
        alone = {text.strip("[]'\"") for text in counts if text not in joined}
        if joined and parts <= alone and len(alone) < len(counts):
            pair = SEPARATORS[0].join(sorted(parts)[:2])
            notes.append(
                f"labels such as {next(iter(joined))!r} look like several, each of which occurs "
                f"alone, too: each combination is a class; write {pair} for a picture of several"
            )
            break
    return tuple(notes)


def _labels(texts: Sequence[str], asked: str) -> Targets:
    if all(any(mark in text for text in texts) for mark in SEPARATORS):
        first, second = (next(t for t in texts if mark in t) for mark in SEPARATORS)
        raise UserError(
            f"labels are parted in two ways, {first!r} and {second!r}: write all with "
            f"{SEPARATORS[0]!r}"
        )
    mark = _separator(texts) or SEPARATORS[0]
    sets = [
        {unicodedata.normalize("NFC", part.strip()) for part in text.split(mark)} - {""}
        for text in texts
    ]
    names = tuple(sorted(set().union(*sets)))
    if len(names) < 2:
        what = f"the label {names[0]!r} alone" if names else "no label"
        raise UserError(f"the pictures have {what}; several labels are two or more")
    values = np.array([[name in found for name in names] for found in sets], np.float32)
    counts = values.sum(axis=0).astype(int)
    constant = [name for name, n in zip(names, counts, strict=True) if n in (0, len(texts))]
    if constant:
        raise UserError(
            f"all pictures have the label {constant[0]!r}: there is nothing to learn about it; "
            "leave it out"
        )
    notes = []
    if asked == "auto":
        notes.append(
            f"labels hold {mark!r}: several for each picture, of {', '.join(names[:5])}"
            f"{' ...' if len(names) > 5 else ''} (--target-kind classes takes them as they are)"
        )
    if none := int((~values.any(axis=1)).sum()):
        notes.append(f"{none:,} of {len(texts):,} pictures have none of the labels")
    if few := [f"{name} ({n})" for name, n in zip(names, counts, strict=True) if n < 10]:
        notes.append(f"labels of fewer than ten pictures: {', '.join(few[:10])}")
    return Targets("labels", names, values, tuple(notes))


def _are_quantities(texts: Sequence[str]) -> bool:
    values = [_number(text) for text in texts]
    if not texts or any(value is None for value in values):
        return False
    numbers = np.array(values, np.float64)
    distinct, counts = np.unique(numbers, return_counts=True)
    if (numbers != np.floor(numbers)).any():
        return len(distinct) > 2
    # 0, 1, 2 ... without a gap, each several times: numbers of classes, however many.
    in_a_row = distinct[0] in (0, 1) and distinct[-1] - distinct[0] + 1 == len(distinct)
    return len(distinct) > MOST_CLASSES and not (in_a_row and counts.min() > 1)


def _numbers(texts: Sequence[str], asked: str) -> Targets:
    values = [_number(text) for text in texts]
    bad = [text for text, value in zip(texts, values, strict=True) if value is None]
    if bad:
        hint = ": write a decimal point" if _DECIMAL_COMMA.fullmatch(bad[0]) else ""
        raise UserError(
            f"{len(bad):,} of {len(texts):,} labels are no numbers, such as {bad[0]!r}{hint}"
        )
    numbers = np.array(values, np.float64)
    if np.abs(numbers).max() > np.finfo(np.float32).max:
        raise UserError("labels are numbers beyond 3.4e38, which float32 cannot hold")
    numbers = numbers.astype(np.float32)
    if len(np.unique(numbers)) < 2:
        raise UserError(f"all pictures have the number {texts[0]}: there is nothing to learn")
    notes = []
    if asked == "auto":
        notes.append(
            f"labels are numbers, from {numbers.min():g} to {numbers.max():g}: a quantity to be "
            "predicted (--target-kind classes makes each of them a class)"
        )
    return Targets("number", (), numbers, tuple(notes))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
