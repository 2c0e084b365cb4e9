"""Files here and elsewhere: found, looked at, and read from any place in them.

A path is on this machine; gs:// is read by TensorFlow's own file system; s3://, http(s)://,
memory:// and whatever else fsspec knows, by fsspec where it is installed. No TensorFlow is
imported but for gs://.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

from kapps.errors import UserError

# Size in bytes, and times of change in ns, or what else moves with the content.
Stamp = tuple[int, int, int]

# By scheme: the module without which fsspec does not read it, and how to get it.
_NEEDS = {
    "s3": ("s3fs", "pip install fsspec s3fs"),
    "s3a": ("s3fs", "pip install fsspec s3fs"),
    "http": ("aiohttp", "pip install fsspec aiohttp"),
    "https": ("aiohttp", "pip install fsspec aiohttp"),
    "az": ("adlfs", "pip install fsspec adlfs"),
    "abfs": ("adlfs", "pip install fsspec adlfs"),
    "hf": ("huggingface_hub", "pip install fsspec huggingface_hub"),
    "memory": ("fsspec", "pip install fsspec"),
}
_BY_TENSORFLOW = ("gs",)
_TRIES, _PAUSE = 3, 1.0  # of a read elsewhere, and seconds before the second one


class Files(Protocol):
    """Files of one kind of place. All raise `UserError` where a file cannot be had."""

    at_once: int  # reads that are worth while at the same time

    def is_directory(self, path: str) -> bool:
        """Whether it is one; False where that is not to be known."""
        ...

    def exists(self, path: str) -> bool:
        """Whether there is a file."""
        ...

    def find(self, pattern: str) -> list[str]:
        """The files that match a pattern, sorted."""
        ...

    def stamp(self, path: str) -> Stamp:
        """Another one when the content has changed."""
        ...

    def open(self, path: str) -> BinaryIO:
        """To be read from the beginning, or after `seek`."""
        ...

    def read(self, path: str, offset: int, length: int) -> bytes:
        """A part; an `OSError` where that fails. From any thread."""
        ...


def scheme(path: str) -> str:
    """What stands before "://"; "" for a path on this machine."""
    before, found, _ = path.partition("://")
    return before.lower() if found else ""


def is_local(path: str) -> bool:
    """Whether it is a path on this machine."""
    return not scheme(path)


def absolute(path: str) -> str:
    """A path that does not depend on the working directory; an address as it is."""
    return path if scheme(path) else os.path.abspath(os.path.expanduser(path))


def check(path: str) -> None:
    """Finds at once that there is nothing to read such an address with.

    Raises:
        UserError: what is missing, and how to get it.
    """
    kind = scheme(path)
    if not kind or kind in _BY_TENSORFLOW:
        return
    module, line = _NEEDS.get(kind, ("fsspec", "pip install fsspec"))
    for needed in ("fsspec", module):
        if importlib.util.find_spec(needed) is None:
            raise UserError(
                f"'{path}' is read by fsspec with {module}, and {needed} is not installed: {line}"
            )


def of(path: str) -> Files:
    """What reads such a path.

    Raises:
        UserError: nothing does, or it is not installed.
    """
    kind = scheme(path)
    if not kind:
        return _Local()
    check(path)
    if kind in _BY_TENSORFLOW:
        return _TensorFlow()
    return _elsewhere(kind)


class _Local:
    """Files on this machine."""

    at_once = 1

    def is_directory(self, path: str) -> bool:
        return os.path.isdir(path)

    def exists(self, path: str) -> bool:
        return os.path.isfile(path)

    def find(self, pattern: str) -> list[str]:
        return sorted(filter(os.path.isfile, glob.glob(pattern, recursive=True)))

    def stamp(self, path: str) -> Stamp:
        found = _or_user_error(path, lambda: os.stat(path))
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def open(self, path: str) -> BinaryIO:
        return _or_user_error(path, lambda: open(path, "rb"))

    def read(self, path: str, offset: int, length: int) -> bytes:
        with open(path, "rb", buffering=0) as file:
            return _whole(os.pread(file.fileno(), length, offset), length)


class _TensorFlow:
    """Files that TensorFlow's own file systems read."""

    at_once = 16

    def __init__(self):
        import tensorflow as tf

        self._gfile = tf.io.gfile

    def is_directory(self, path: str) -> bool:
        return _or_user_error(path, lambda: self._gfile.isdir(path))

    def exists(self, path: str) -> bool:
        return _or_user_error(path, lambda: self._gfile.exists(path))

    def find(self, pattern: str) -> list[str]:
        found = _or_user_error(pattern, lambda: self._gfile.glob(pattern))
        return sorted(path for path in found if not path.endswith("/"))

    def stamp(self, path: str) -> Stamp:
        found = _or_user_error(path, lambda: self._gfile.stat(path))
        return int(found.length), int(found.mtime_nsec), 0

    def open(self, path: str) -> Any:
        return _or_user_error(path, lambda: self._gfile.GFile(path, "rb"))

    def read(self, path: str, offset: int, length: int) -> bytes:
        def part():
            with self._gfile.GFile(path, "rb") as file:
                file.seek(offset)
                return file.read(length)

        return _whole(_again(path, part), length)


class _Elsewhere:
    """Files that fsspec reads."""

    at_once = 16

    def __init__(self, kind: str):
        import fsspec

        self._kind = kind
        self._files = _or_user_error(f"{kind}://", lambda: fsspec.filesystem(kind))

    def is_directory(self, path: str) -> bool:
        # An address of the web is what it looks like: asking would fetch it.
        if self._kind.startswith("http"):
            return False
        return bool(_or_user_error(path, lambda: self._files.isdir(path)))

    def exists(self, path: str) -> bool:
        return bool(_or_user_error(path, lambda: self._files.exists(path)))

    def find(self, pattern: str) -> list[str]:
        found = _or_user_error(pattern, lambda: self._files.glob(pattern))
        return sorted(self._files.unstrip_protocol(path) for path in found)

    def stamp(self, path: str) -> Stamp:
        found = _or_user_error(path, lambda: self._files.info(path))
        names = ("mtime", "LastModified", "last_modified", "created", "ETag", "etag", "md5")
        said = repr([str(found.get(name)) for name in names]).encode()
        # As small as a time, since that is what others have in this place.
        digest = hashlib.sha256(said).digest()
        return int(found.get("size") or 0), int.from_bytes(digest[:5], "big"), 0

    def open(self, path: str) -> Any:
        return _or_user_error(path, lambda: self._files.open(path, "rb"))

    def read(self, path: str, offset: int, length: int) -> bytes:
        part = _again(path, lambda: self._files.cat_file(path, offset, offset + length))
        return _whole(part, length)


@functools.cache
def _elsewhere(kind: str) -> Files:
    return _Elsewhere(kind)


def _or_user_error(path: str, ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception as error:  # clients of stores raise errors of their own kinds
        raise UserError(f"'{path}' cannot be read: {_first_line(error)}") from error


def _again(path: str, part: Callable[[], bytes]) -> bytes:
    """What `part` gives, at the third try at the latest: networks have moments of their own."""
    for left in reversed(range(_TRIES)):
        try:
            return part()
        except FileNotFoundError:
            raise
        except Exception as error:
            if not left:
                raise OSError(f"'{path}' cannot be read: {_first_line(error)}") from error
            time.sleep(_PAUSE * (_TRIES - left))
    raise AssertionError  # pragma: no cover


def _whole(part: bytes, length: int) -> bytes:
    if len(part) != length:
        raise OSError(f"{len(part):,} bytes were read where {length:,} should be")
    return part


def _first_line(error: Exception) -> str:
    text = (getattr(error, "strerror", None) or str(error)).strip()
    return text.splitlines()[0] if text else type(error).__name__
