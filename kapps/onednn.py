"""TensorFlow's oneDNN kernels on processors where TensorFlow leaves them off.

On x86, TensorFlow 2.21 uses them of its own accord only with AVX-512 VNNI or newer units. On
processors with AVX2 alone (AMD before Zen 4, Intel before Cascade Lake and Alder Lake) it trains
with Eigen's convolutions, which are slower there, too: `benchmarks/onednn.py` has by how much.

TensorFlow looks at the variable once, while it is imported.
"""

from __future__ import annotations

import os
import pathlib
import sys

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
NEEDED = "avx2"
CPUINFO = pathlib.Path("/proc/cpuinfo")


def turn_on(cpuinfo: pathlib.Path = CPUINFO) -> bool:
    """Have TensorFlow use oneDNN; not where the environment says anything about that.

    Args:
        cpuinfo: Linux' description of the processor.

    Returns:
        Whether the variable was set. Not without AVX2, and not after TensorFlow was imported:
        `import kapps` before `import keras`, or set TF_ENABLE_ONEDNN_OPTS=1 yourself.
    """
    if VARIABLE in os.environ or "tensorflow" in sys.modules or not _has(NEEDED, cpuinfo):
        return False
    os.environ[VARIABLE] = "1"
    return True


def is_on() -> bool:
    """Whether TensorFlow uses oneDNN. Imports TensorFlow."""
    from tensorflow.python.util import _pywrap_util_port

    return _pywrap_util_port.IsMklEnabled()


def _has(flag: str, cpuinfo: pathlib.Path) -> bool:
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="ignore").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "")
    return flag in flags.split()
