"""The runs below a directory, in a table and in one picture. TensorFlow is not needed here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kapps import training
from kapps.errors import UserError
from kapps.evaluation.metrics.history import column, read_history
from kapps.evaluation.report.comparing import comparison_page
from kapps.evaluation.report.measures import best_validation, headline

if TYPE_CHECKING:
    from rich.table import Table


def find_runs(root: str | Path) -> list[dict[str, Any]]:
    """The run directories at or below `root`, sorted by path; a dict each.

    A run directory is one whose config.json names a recipe. The keys: `name` (path from `root`),
    `path`, `recipe`, `config`, `metrics` (of metrics.json, {} without), `epochs` (rows of
    metrics.csv), `best_val_accuracy`, `lowest_val_loss` (None without), `validation` (the figure of
    the validation split that it is known by, in words), `state` ("finished" with a metrics.json,
    else "unfinished", or "broken") and `problem` (what is broken, else None). A file that cannot be
    read makes its own run broken and no other.

    Raises:
        UserError: there is no directory `root`.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such directory")
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        run = _read_run(root, Path(folder)) if "config.json" in files else None
        if run:
            found.append(run)
            folders.clear()  # a run holds no runs
    return found


def runs_table(runs: Sequence[dict[str, Any]]) -> Table:
    """What `find_runs` found, a line per run."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", overflow="fold")
    table.add_column("state")
    for name in ("epochs", "validation", "test", "test loss", "parameters", "time"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for run in runs:
        metrics = run["metrics"]
        cells = (
            run["name"],
            run["state"],
            _epochs(run),
            run["validation"],
            headline(metrics),
            _number(metrics.get("test_loss"), ".4f"),
            _number(metrics.get("parameters"), ","),
            _time(metrics.get("train_seconds")),
            run["problem"] or str(metrics.get("verdict") or ""),
        )
        # As Text, so that brackets in a path are not read as markup.
        table.add_row(*(Text(cell) for cell in cells))
    return table


def compare(run_paths: Iterable[str | Path], output: str | Path) -> Path:
    """Runs beside one another: curves, figures, settings that differ, and paired tests.

    Args:
        run_paths: their directories, two at least.
        output: a page; a name that ends in .png gets the curves alone, as a picture.

    Raises:
        UserError: fewer than two runs, or one without a metrics.csv that holds an epoch.
    """
    from kapps.evaluation.plots import compare_runs, save_png

    paths = [Path(path) for path in run_paths]
    if len(paths) < 2:
        raise UserError("A comparison needs two runs at least.")
    names, output = _names(paths), Path(output)
    paths = [training.trained_in(path) for path in paths]  # of a search, the winner's
    histories = [read_history(path) for path in paths]
    for path, history in zip(paths, histories, strict=True):
        if not history:
            raise UserError(
                f"{path}: no metrics.csv with an epoch in it; name the directories of runs, "
                "as `kapps runs` lists them."
            )
    if output.suffix.lower() == ".png":
        return save_png(compare_runs(list(zip(names, histories, strict=True))), output)
    return comparison_page(paths, names, output)


def _read_run(root: Path, path: Path) -> dict[str, Any] | None:
    problems = []
    facts = _read_json(path / "config.json", problems)
    if not problems and "recipe" not in facts:
        return None  # some other program's config.json
    finished = (path / "metrics.json").is_file()
    metrics = _read_json(path / "metrics.json", problems) if finished else {}
    history = read_history(training.trained_in(path))
    accuracy, loss = (column(history, f"val_{name}") for name in ("accuracy", "loss"))
    config = facts.get("config")
    if isinstance(config, dict):  # what its flags left open, and the data decided
        settled = facts.get("settled") or {}
        config = {**config, **{k: v for k, v in settled.items() if k in config}}
    return {
        "name": os.path.relpath(path, root) if path != root else path.resolve().name,
        "path": path,
        "recipe": facts.get("recipe"),
        "config": config if isinstance(config, dict) else {},
        "metrics": metrics,
        "epochs": len(history),
        "best_val_accuracy": _best(accuracy, np.max),
        "lowest_val_loss": _best(loss, np.min),
        "validation": best_validation(history),
        "state": "broken" if problems else "finished" if finished else "unfinished",
        "problem": "; ".join(problems) or None,
    }


def _read_json(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not JSON"
        problems.append(f"{path.name}: {reason}")
        return {}
    if not isinstance(content, dict):
        problems.append(f"{path.name}: is not an object")
        return {}
    return content


def _best(values: np.ndarray, choose) -> float | None:
    values = values[np.isfinite(values)]
    return float(choose(values)) if len(values) else None


def _names(paths: list[Path]) -> list[str]:
    """Each path from the deepest directory that holds them all."""
    whole = [path.resolve() for path in paths]
    common = os.path.commonpath([path.parent for path in whole])
    return [os.path.relpath(path, common) for path in whole]


def _epochs(run: dict[str, Any]) -> str:
    wanted = run["config"].get("epochs")
    if run["state"] == "unfinished" and isinstance(wanted, int):
        return f"{run['epochs']} of {wanted}"
    kept = run["metrics"].get("best_epoch")
    return f"{run['epochs']}, {kept} kept" if isinstance(kept, int) else str(run["epochs"])


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else ""


def _time(seconds: Any) -> str:
    if not isinstance(seconds, int | float):
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
