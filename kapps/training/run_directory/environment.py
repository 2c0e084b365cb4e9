"""What the figures of a run depend on beside its settings: versions, machine, revision.

Nothing here imports TensorFlow.
"""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

from kapps import processor

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "numpy", "kapps")


def versions() -> dict[str, str]:
    """Versions of what decides about the numbers, read without importing it."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What seconds depend on: processor, cores, instructions for wide and 16-bit arithmetic."""
    model = platform.processor()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    flags = [name for name in wanted if name in processor.instructions()]
    return {"cpu": model, "cores": os.cpu_count(), "flags": flags}


def revision() -> str | None:
    """The git revision kapps runs from, with a mark if the tree differs; None outside git."""
    here = pathlib.Path(__file__).parent
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        answer = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None
