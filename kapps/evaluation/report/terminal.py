"""What a recipe says when it is done: a few aligned lines for the terminal."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from kapps.evaluation.report.measures import measured_lines

SHARES = ("test_accuracy", "test_balanced_accuracy", "test_ece")


def summary(metrics: Mapping[str, Any], run: str | os.PathLike) -> str:
    """The key figures of a finished run and where to look next.

    Args:
        metrics: what metrics.json holds.
        run: the run directory.
    """
    lines = []
    for name in SHARES:
        if isinstance(metrics.get(name), int | float):
            line = f"{_words(name):<24}{metrics[name]:.2%}"
            if f"{name}_low" in metrics:
                low, high = metrics[f"{name}_low"], metrics[f"{name}_high"]
                line += f"  (95 % interval {low:.2%} to {high:.2%})"
            lines.append(line)
    lines += [f"{name:<24}{value}" for name, value in measured_lines(metrics)]
    for name in ("test_loss", "best_epoch", "train_seconds", "verdict"):
        value = metrics.get(name)
        if value is not None:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            lines.append(f"{_words(name):<24}{shown}")
    lines.append(f"{'report':<24}{pathlib.Path(run) / 'report.html'}")
    if metrics.get("exported"):
        lines.append(f"{'saved model':<24}{metrics['exported']}")
    return "\n".join(lines)


def file_name(title: str) -> str:
    """A title as the name of a file: lower case, words joined by underscores."""
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")


def _words(name: str) -> str:
    return name.replace("_", " ").replace(" ece", " calibration error")
