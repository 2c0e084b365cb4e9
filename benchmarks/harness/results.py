"""Results as files: JSON, a plot, and the table that the documentation includes."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

RESULTS = pathlib.Path(__file__).parents[1] / "results"


def write(name: str, result: Mapping[str, Any], directory: pathlib.Path = RESULTS) -> None:
    """Write run_NAME.json and run_NAME.png, and run.md anew from all that are there."""
    from kapps import files
    from kapps.evaluation import plots

    files.write_json(directory / f"run_{name}.json", dict(result))
    plots.save_png(figure(result), directory / f"run_{name}.png")
    every = [json.loads(path.read_text()) for path in sorted(directory.glob("run_*.json"))]
    files.write_text(directory / "run.md", "\n".join(map(table, every)))


def figure(result: Mapping[str, Any]):
    """Medians as bars, quartiles as whiskers."""
    from kapps.evaluation.plots.figure import BLUE, GREY, calm, new_figure

    measured = {n: row for n, row in result["contestants"].items() if "failed" not in row}
    drawn = new_figure(0.6 + 0.3 * len(measured))
    axes = calm(drawn.subplots())
    values = [1000 * row["median"] for row in measured.values()]
    spread = [
        [1000 * abs(row["median"] - row[end]) for row in measured.values()]
        for end in ("low", "high")
    ]
    colors = [BLUE if name.startswith("kapps") else GREY for name in measured]
    axes.barh(list(measured), values, xerr=spread, color=colors)
    axes.invert_yaxis()
    axes.set_xlabel(f"ms {result['unit']}")
    drawn.suptitle(result["title"], x=0.01, ha="left", fontsize=9)  # from the figure's edge
    return drawn


def table(result: Mapping[str, Any]) -> str:
    """A Markdown section: who, median, quartiles, ratio."""
    lines = [
        f"### {result['title']}",
        "",
        f"{machine_in_words(result['machine'])}; medians of {result['repetitions']} turns of "
        f"{result['units']}; `{result['command']}`.",
        "",
        f"| contestant | ms {result['unit']} | quartiles | times the first | remarks |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["contestants"].items():
        if "failed" in row:
            reason = row["failed"].splitlines()[-1] if row["failed"] else "no reason given"
            lines.append(f"| {name} | – | | | not measured: {reason.replace('|', '/')} |")
            continue
        remarks = [row.get("differs", "")]
        if row["others"] > 0.1:
            remarks.append(f"others used {row['others']:.0%} of the cores")
        low, median, high = (1000 * row[part] for part in ("low", "median", "high"))
        lines.append(
            f"| {name} | {digits(median)} | {digits(low)} to {digits(high)} | {row['ratio']:.2f} | "
            f"{'; '.join(filter(None, remarks))} |"
        )
    return "\n".join(lines) + "\n"


def machine_in_words(machine: Mapping[str, Any]) -> str:
    """Processor, cores, and the instructions that matter."""
    units = ", ".join(machine["flags"]) or "no AVX2"
    return f"{machine['cpu']}, {machine['cores']} cores, {units}"


def digits(number: float) -> str:
    """Three digits that count, and no exponent."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
