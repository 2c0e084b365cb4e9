"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import uuid
from collections.abc import Callable
from typing import Any, BinaryIO


def write_atomically(path: str | os.PathLike, write: Callable[[BinaryIO], Any]) -> None:
    """Call `write(file)` on a temporary neighbour, flush it to the disk, rename it into place.

    Raises:
        OSError: the disk is full, the directory is read-only ...; the old file is untouched and
            the temporary one is gone.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno and error.filename is None:
            error.filename = str(path)  # a failed write does not know where it was going
        raise


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON atomically, indented, so that two runs can be compared with `diff`.

    Numbers that are not finite become null: JSON knows no NaN and no Infinity, and what reads such
    a file elsewhere would stumble over them.
    """
    write_text(path, json.dumps(finite(value), indent=2, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The same value with None for every float in it that is not finite."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def to_json(value: Any) -> str:
    """JSON on one line for what is read again by `from_json`, to the last bit.

    A number that is not finite, of which JSON knows none, is written as `{"float": "nan"}`; NumPy's
    numbers become Python's.

    Raises:
        TypeError: a value that JSON cannot hold.
    """
    return json.dumps(_tagged(value), separators=(",", ":"), allow_nan=False)


def from_json(text: str | bytes) -> Any:
    """The value that `to_json` has written.

    Raises:
        ValueError: it is no JSON.
    """
    return json.loads(text, object_hook=_untagged)


def _tagged(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tagged(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_tagged(one) for one in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def _untagged(found: dict[str, Any]) -> Any:
    if found.keys() == {"float"} and isinstance(found["float"], str):
        return float(found["float"])
    return found


def user_cache() -> pathlib.Path:
    """Where things are kept that can be made again.

    $KAPPS_CACHE; without it `kapps` in $XDG_CACHE_HOME, or in ~/.cache.
    """
    if os.environ.get("KAPPS_CACHE"):
        return pathlib.Path(os.environ["KAPPS_CACHE"]).expanduser()
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kapps"


def in_words(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 2**30:.1f} GiB" if size >= 0.1 * 2**30 else f"{size / 2**20:.1f} MiB"


def remove_leftovers(directory: str | os.PathLike) -> None:
    """Delete the temporary files of killed writers in `directory` (not below it)."""
    for path in pathlib.Path(directory).glob(".*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()
