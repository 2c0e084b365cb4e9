"""Checkpoint files: arrays and plain values in one file that is whole or not used.

An uncompressed NumPy archive is a zip file, which carries a checksum per member and its directory
at the end: a truncated or damaged file cannot be read by mistake. It is written beside, flushed
and renamed, and the one before it is kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import zipfile
from typing import Any, NamedTuple

import numpy as np

from kapps import files

KEPT = 2
_META = "meta.json"


class State(NamedTuple):
    """Arrays by name, and everything else as plain JSON values."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


def save(directory: str | os.PathLike, number: int, state: State) -> pathlib.Path:
    """Write `state-<number>.npz`, then remove all but the newest two.

    Args:
        directory: where checkpoints are kept.
        number: rises with every checkpoint of a run (its count of steps does).
        state: what to keep.

    Raises:
        OSError: the disk is full or read-only; the checkpoints that were there still are.
    """
    directory = pathlib.Path(directory)
    path = directory / f"state-{number:012d}.npz"
    write(path, state)
    for old in sorted(directory.glob("state-*.npz"))[:-KEPT]:
        with contextlib.suppress(OSError):
            old.unlink()
    return path


def write(path: str | os.PathLike, state: State) -> None:
    """Write one state file atomically.

    Raises:
        OSError: as `save`.
    """
    meta = np.frombuffer(json.dumps(state.meta).encode(), np.uint8)
    arrays: dict[str, Any] = {_META: meta, **state.arrays}
    files.write_atomically(path, lambda file: np.savez(file, **arrays))


def numbers(directory: str | os.PathLike) -> list[int]:
    """Of the states that can be read whole, in order."""
    paths = sorted(pathlib.Path(directory).glob("state-*.npz"))
    return [int(path.stem.removeprefix("state-")) for path in paths if read(path) is not None]


def load(directory: str | os.PathLike, number: int) -> State | None:
    """The state of that number, or None if it cannot be read."""
    return read(pathlib.Path(directory) / f"state-{number:012d}.npz")


def load_newest(directory: str | os.PathLike) -> tuple[State | None, list[str]]:
    """The newest state that can be read whole, and the names of those that could not."""
    damaged = []
    for path in sorted(pathlib.Path(directory).glob("state-*.npz"), reverse=True):
        state = read(path)
        if state is not None:
            return state, damaged
        damaged.append(path.name)
    return None, damaged


def read(path: str | os.PathLike) -> State | None:
    """One state file, or None if it is missing, truncated or damaged."""
    try:
        # Opened here: on a damaged file, np.load would leave it open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return State(arrays, json.loads(bytes(arrays.pop(_META))))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, RuntimeError):
        return None
