"""The memory of a search: a file that only grows, a checked line for each thing that happened.

A line is eight hexadecimal digits of its CRC-32, a space, a JSON object and a newline. What a
search must not forget is flushed to the disk before anything is done about it, so that a process
that is killed at any moment leaves a journal that tells where it was. A last line that was cut off
is dropped; damage anywhere else is refused.
"""

from __future__ import annotations

import os
import pathlib
import zlib
from typing import Any

from kapps import files
from kapps.errors import UserError


class Journal:
    """A journal, opened for appending by one process.

    Args:
        path: the file; it is made if there is none.

    Attributes:
        entries: what was in the file when it was opened, in its order.

    Raises:
        UserError: a line before the last one is damaged.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.entries, whole = read(self.path)
        self._file = open(self.path, "ab")
        self._file.truncate(whole)

    def append(self, entry: dict[str, Any], *, flush: bool = True) -> None:
        """Write one entry.

        Args:
            entry: plain values.
            flush: return when the disk has it; without, it survives the end of this process and
                perhaps not that of the machine.

        Raises:
            OSError: the disk is full.
        """
        text = files.to_json(entry).encode()
        self._file.write(b"%08x %s\n" % (zlib.crc32(text), text))
        self._file.flush()
        if flush:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def read(path: str | os.PathLike) -> tuple[list[dict[str, Any]], int]:
    """The entries of a journal, and how many bytes of the file they take.

    Raises:
        UserError: a line before the last one is damaged.
    """
    try:
        content = pathlib.Path(path).read_bytes()
    except FileNotFoundError:
        return [], 0
    entries, position = [], 0
    lines = content.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last newline is cut off
        entry = _entry(line)
        if entry is None:
            if number == len(lines) - 1 and not lines[-1]:
                break
            raise UserError(
                f"{path}: line {number} is damaged, and {len(lines) - 1 - number} follow it. "
                "Restore the file, use another --run-dir, or start afresh with --overwrite."
            )
        entries.append(entry)
        position += len(line) + 1
    return entries, position


def _entry(line: bytes) -> dict[str, Any] | None:
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    return files.from_json(text)
