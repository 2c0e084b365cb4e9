"""Numbers in the sentences of verdicts."""

from __future__ import annotations


def percent(share: float) -> str:
    """A share with one digit after the point."""
    return minus(f"{100 * share:.1f} %")


def points(share: float, interval: tuple[float, float], unit: str = "points") -> str:
    """A difference of shares with its 95 % interval."""
    low, high = (100 * end for end in interval)
    return minus(f"{100 * share:.1f} {unit} (95 % interval {low:.1f} to {high:.1f})")


def loss(value: float) -> str:
    """A loss with three digits or so."""
    if value >= 1000:
        return f"{value:,.0f}" if value < 1e6 else f"{value:.2g}"
    return f"{value:.3f}" if abs(value) >= 0.01 else f"{value:.2g}"


def count(number: int, noun: str) -> str:
    """A number and its noun in the plural, or "one" and the singular."""
    return f"one {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: list[str]) -> str:
    """Names with commas, and an "and" before the last."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def minus(text: str) -> str:
    """With a minus sign in the place of a hyphen before a digit."""
    return "".join(
        "\N{MINUS SIGN}" if c == "-" and text[i + 1 : i + 2].isdigit() else c
        for i, c in enumerate(text)
    )
