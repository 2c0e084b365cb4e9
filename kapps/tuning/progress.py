"""A line on the terminal for every trial."""

from __future__ import annotations

import sys
from typing import TextIO

from kapps.tuning.results import Record, Results


def print_trial(record: Record, results: Results, out: TextIO | None = None) -> None:
    """Say how a trial went and which is the best so far; for `run_search`'s `progress`.

    Args:
        record: of the trial.
        results: of the search so far.
        out: where to; standard output by default.
    """
    if record.score is not None:
        said = f"{shown(record.score, results.objective)}  {record.epochs} epochs"
        said += f"  {record.seconds:.1f} s" if record.seconds is not None else ""
        said += "  pruned" if record.status == "pruned" else ""
    else:
        said = f"failed: {record.reason}"
    if record.past is not None:
        said += f"  (goes on with trial {record.past})"
    best = results.best_first()
    if best:
        said += f"  best {shown(best[0].known_score, results.objective)} (trial {best[0].number})"
    (out or sys.stdout).write(f"trial {record.number:<5}{said}\n")
    (out or sys.stdout).flush()


def shown(value: float, name: str) -> str:
    """A value of the objective for people."""
    return f"{value:.2%}" if name.endswith("accuracy") else f"{value:.5g}"
