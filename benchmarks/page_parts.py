"""Pieces that the page of benchmarks is put together from."""

from __future__ import annotations

import json
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

RESULTS = pathlib.Path(__file__).parent / "results"


def section(title: str, words: str, rows: Iterable[Sequence[str]]) -> str:
    """A heading, a paragraph and a table whose first row is its head."""
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"## {title}\n\n{words.strip()}\n\n{table}"


def result(name: str) -> dict[str, Any]:
    """A file of results."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def percent(value: float, digits: int = 1) -> str:
    """0.123 is 12.3 %."""
    return f"{100 * value:.{digits}f} %"


def between(values: Sequence[float]) -> str:
    """The mean, and the lowest and the highest."""
    low, high = percent(min(values)), percent(max(values))
    return f"{percent(statistics.mean(values))} ({low} to {high})"
