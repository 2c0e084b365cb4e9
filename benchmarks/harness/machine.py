"""The machine: what it is, and whether anything else runs on it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Iterable

BUSY = 0.1  # part of all cores that others may use


def jiffies() -> tuple[int, int]:
    """Clock ticks of all cores together so far, and those in which they worked; Linux only."""
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    ticks = [int(field) for field in fields]
    return sum(ticks), sum(ticks) - ticks[3] - ticks[4]  # less idle and waiting for disks


def used_by(processes: Iterable[int]) -> int:
    """Clock ticks that these processes have worked, their ended children included."""
    total = 0
    for number in processes:
        with contextlib.suppress(OSError):
            text = pathlib.Path(f"/proc/{number}/stat").read_text()
            total += sum(int(field) for field in text.rpartition(")")[2].split()[11:15])
    return total


class Others:
    """The part of all cores, 0 to 1, that other processes used while the context lasted.

    Args:
        processes: ours.
    """

    def __init__(self, processes: Iterable[int] = ()):
        self.processes, self.part = [os.getpid(), *processes], 0.0

    def __enter__(self) -> Others:
        self._before = (*jiffies(), used_by(self.processes))
        return self

    def __exit__(self, *exception: object) -> None:
        everything, worked = jiffies()
        everything, worked = everything - self._before[0], worked - self._before[1]
        ours = used_by(self.processes) - self._before[2]
        self.part = max(0.0, worked - ours) / max(everything, 1)


def others_now(seconds: float = 3.0) -> float:
    """The part of all cores that other processes use, watched for some seconds."""
    with Others() as found:
        time.sleep(seconds)
    return found.part
