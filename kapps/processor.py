"""What this machine's processor can do."""

import functools
import pathlib


@functools.cache
def instructions() -> frozenset[str]:
    """Linux' names of its instruction sets, such as "avx2"; empty where they are not told."""
    try:
        told = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return frozenset()
    flags = (line for line in told.splitlines() if line.startswith("flags"))
    return frozenset(next(flags, "").partition(":")[2].split())
