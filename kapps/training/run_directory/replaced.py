"""What `--overwrite` replaces: it stays until the new run has a checkpoint.

Nothing here imports TensorFlow.
"""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kapps.training.run_directory.run import Run

REPLACED = ".replaced"  # what --overwrite replaces, until the new run has a checkpoint
WORKERS = "workers"  # what all but the chief of several machines write, each by itself
KEPT_BY_CLEAR = (".lock", REPLACED, WORKERS)


def is_ours(path: pathlib.Path) -> bool:
    """Whether a directory is empty or a run's: nobody's files are replaced by mistake."""
    names = {entry.name for entry in path.iterdir()}
    if not names - {".lock", WORKERS} or REPLACED in names:
        return True
    if {"config.json", "checkpoints", ".lock"} <= names:
        return True  # also when config.json is damaged
    try:
        facts = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # What a killed `open_run` leaves before it has a config.json.
        return all(name == ".lock" or name.startswith(".config.json.") for name in names)
    return isinstance(facts, dict) and {"recipe", "config", "versions"} <= set(facts)


def set_aside(path: pathlib.Path) -> None:
    """Move what is there out of the way, until there is something in its place."""
    entries = [entry for entry in path.iterdir() if entry.name not in KEPT_BY_CLEAR]
    if entries:
        (path / REPLACED).mkdir(exist_ok=True)
    for entry in entries:
        entry.rename(path / REPLACED / entry.name)


def settle_replaced(run: Run) -> None:
    """Drop what was set aside if the new run has results, or else put it back."""
    aside = run.path / REPLACED
    if not aside.exists():
        return
    if run.has_results:
        shutil.rmtree(aside, ignore_errors=True)
        return
    clear(run.path)
    for entry in aside.iterdir():
        entry.rename(run.path / entry.name)
    aside.rmdir()


def clear(path: pathlib.Path, keep: tuple[str, ...] = ()) -> None:
    """Remove what a run has left.

    Args:
        path: of the run.
        keep: names that stay, beside those that every run has.
    """
    for entry in path.iterdir():
        if entry.name in (*KEPT_BY_CLEAR, *keep):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
