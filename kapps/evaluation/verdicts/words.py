"""Numbers in the sentences of verdicts."""

from __future__ import annotations


def percent(share: float) -> str:
    """A share with one digit after the point."""
    return minus(f"{_tenths(share)} %")


def points(share: float, interval: tuple[float, float], unit: str = "points") -> str:
    """A difference of shares with its 95 % interval."""
    low, high = map(_tenths, interval)
    return minus(f"{_tenths(share)} {unit} (95 % interval {low} to {high})")


def loss(value: float) -> str:
    """A loss with three digits or so."""
    size = abs(value)
    if size >= 100:
        return minus(f"{value:,.{0 if size >= 1000 else 1}f}" if size < 1e6 else f"{value:.2g}")
    return minus(f"{value:.3f}" if size >= 0.01 else f"{value:.2g}")


def count(number: int, noun: str) -> str:
    """A number and its noun in the plural, or "one" and the singular."""
    return f"one {noun}" if number == 1 else f"{number:,} {noun}s"


def _tenths(share: float) -> str:
    """In percent; what rounds to nothing has no sign."""
    return f"{round(100 * share, 1) + 0.0:.1f}"


def listed(names: list[str]) -> str:
    """Names with commas, and an "and" before the last."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def minus(text: str) -> str:
    """With a minus sign in the place of a hyphen before a digit."""
    return "".join(
        "\N{MINUS SIGN}" if c == "-" and text[i + 1 : i + 2].isdigit() else c
        for i, c in enumerate(text)
    )
