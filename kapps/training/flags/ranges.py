"""Types of flags with a range, and what refuses a value outside of it."""

from __future__ import annotations

import math
import typing
from typing import Annotated, Any, NamedTuple

from kapps.errors import UserError


class Range(NamedTuple):
    """Where a flag has to lie.

    Attributes:
        low: lower end.
        high: upper end.
        words: the range in words, for the message.
        ends: whether `low` and a finite `high` belong to it.
    """

    low: float
    high: float
    words: str
    ends: bool = True

    def __contains__(self, value: float) -> bool:
        if value in (self.low, self.high):
            return self.ends and value < math.inf
        return self.low < value < self.high


Positive = Annotated[float, Range(0, math.inf, "above 0", ends=False)]
PositiveInt = Annotated[int, Range(0, math.inf, "1 or more", ends=False)]
NonNegative = Annotated[float, Range(0, math.inf, "0 or more")]
NonNegativeInt = Annotated[int, Range(0, math.inf, "0 or more")]
Fraction = Annotated[float, Range(0, 1, "between 0 and 1")]
OpenFraction = Annotated[float, Range(0, 1, "between 0 and 1, ends excluded", ends=False)]
Rate = Annotated[float, Range(0, 0.999, "between 0 and 0.999")]
Decay = Annotated[float, Range(0, 0.999999, "between 0 and 0.999999")]
Degrees = Annotated[float, Range(0, 180, "between 0 and 180")]


def check_ranges(config: Any) -> None:
    """Refuse a flag outside the range in its type; None passes.

    Raises:
        UserError: naming the flag.
    """
    for name, hint in typing.get_type_hints(type(config), include_extras=True).items():
        span, value = _range_of(hint), getattr(config, name)
        values = value if isinstance(value, tuple) else (value,)
        if span and any(each is not None and each not in span for each in values):
            shown = " ".join(map(str, values))
            raise UserError(f"--{name.replace('_', '-')} {shown}: it must be {span.words}")


def _range_of(hint: Any) -> Range | None:
    """The range in a type: of `Positive`, `Positive | None` and `tuple[PositiveInt, ...]`."""
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Range):
            return extra
    return next(filter(None, map(_range_of, typing.get_args(hint))), None)
