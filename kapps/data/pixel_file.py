"""Decoded pictures in a file, which is mapped into memory: as quick as memory, and shared.

The file holds the rows, uint8 without any header, and at its end a digest that says what it was
made of. It is written beside and renamed, so that there is all of it or nothing. Its room is taken
before the first row is decoded: writing to a mapping of a full disk ends the process (SIGBUS).
"""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import pathlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import tensorflow as tf

from kapps import files
from kapps.errors import UserError

DIGEST = 32  # bytes
_PAUSE, _STEP = 0.02, 2**22  # seconds and bytes after which the disk is asked to write
Put = Callable[[int, np.ndarray], None]
# Nobody writes to the mapping. Without this flag Linux would count its size as memory that may be
# written, and refuse a file larger than the memory of the machine. Python names it from 3.13 on.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


class NoRoom(UserError):
    """The disk has no room for a file of pictures."""


def write_pixels(
    path: pathlib.Path, shape: tuple[int, ...], fill: Callable[[Put], bytes], instead: str
) -> None:
    """Writes a file of pictures; who calls it holds a lock of that file.

    Args:
        path: of the file; its directory is there.
        shape: (n, H, W, C).
        fill: calls `put(row, pictures)` for all rows, one picture or several in succession at a
            time, from any thread, and returns the digest of 32 bytes.
        instead: what one may do where there is no room, for the message.

    Raises:
        NoRoom: saying how much is needed and free. Nothing is left of the file.
        OSError: it cannot be written.
    """
    for left in path.parent.glob(f".{path.name}.*.tmp"):  # of a process that was killed
        left.unlink(missing_ok=True)
    rows, size = shape[0], math.prod(shape[1:])
    needed, lock, written = rows * size + DIGEST, threading.Lock(), 0

    def write(file):
        _allocate(file, needed)

        def put(row, pictures):
            nonlocal written
            pixels = np.ascontiguousarray(pictures, np.uint8)
            with lock:
                file.seek(row * size)
                file.write(pixels.data)
                written += pixels.size

        with _flushing(file, lambda: written):
            digest = fill(put)
        file.seek(rows * size)
        file.write(digest)

    free = shutil.disk_usage(path.parent).free
    try:
        files.write_atomically(path, write)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise NoRoom(
            f"the decoded pictures take {files.in_words(needed)}, and '{path.parent}' has "
            f"{files.in_words(free)} free: {instead}"
        ) from error


@contextlib.contextmanager
def _flushing(file: BinaryIO, written: Callable[[], int]) -> Iterator[None]:
    """Has the disk write what is there while the rest is made, so that little is left at the end.

    Args:
        file: to be flushed.
        written: bytes so far.

    Raises:
        OSError: it could not be written; the system says so once.
    """
    flush = getattr(os, "fdatasync", os.fsync)
    ended, errors = threading.Event(), []

    def work():
        done = 0
        while not ended.wait(_PAUSE):
            if (now := written()) >= done + _STEP:
                done = now
                try:
                    flush(file.fileno())
                except OSError as error:
                    errors.append(error)
                    return

    flusher = threading.Thread(target=work, daemon=True)
    flusher.start()
    try:
        yield
    finally:
        ended.set()
        flusher.join()
    if errors:
        raise errors[0]


def open_pixels(path: pathlib.Path, shape: tuple[int, ...]) -> tuple[tf.Tensor, bytes] | None:
    """The pictures of a file, uint8 of `shape`, mapped into memory, and its digest.

    None if there is no such file, or it is not of that size.
    """
    size = math.prod(shape)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size + DIGEST:
                return None
            file.seek(size)
            digest = file.read(DIGEST)
            pixels = _mapped(file, size)
    except OSError:
        return None
    # Handed over without a copy. TensorFlow's own ImmutableConst copies the whole file in 2.21.
    return tf.experimental.dlpack.from_dlpack(pixels.reshape(shape).__dlpack__()), digest


def _mapped(file: BinaryIO, size: int) -> np.ndarray:
    """The first bytes of a file, uint8 [size], read when they are used.

    The mapping keeps what it was made of, even when another file has taken its place.
    """
    if os.name != "posix":
        return np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY), np.uint8)
    # Writable, since DLPack hands over nothing else; private, so that the file cannot be changed.
    how = {"flags": mmap.MAP_PRIVATE | _NO_RESERVE, "prot": mmap.PROT_READ | mmap.PROT_WRITE}
    return np.frombuffer(mmap.mmap(file.fileno(), size, **how), np.uint8)


def _allocate(file, size: int) -> None:
    """Takes the room on the disk.

    Raises:
        OSError: there is not so much.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    if shutil.disk_usage(os.path.dirname(file.name)).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
