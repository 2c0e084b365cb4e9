"""The environment of PyTorch and the others, made when it is first needed."""

from __future__ import annotations

import hashlib
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
REQUIREMENTS = ROOT / "benchmarks" / "peers" / "requirements.txt"


class NoPeers(Exception):
    """The environment cannot be made, with the reason."""


def python() -> pathlib.Path:
    """The interpreter of the environment for these requirements.

    It is kept in benchmarks/peers, one for each content of requirements.txt.

    Raises:
        NoPeers: pip cannot install something.
    """
    digest = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:10]
    directory = REQUIREMENTS.parent / f"environment-{digest}"
    found = directory / "bin" / "python"
    if (directory / "complete").exists():
        return found
    print(f"  making {directory.name} from {REQUIREMENTS.name}")
    pip = ("-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS))
    for command in ((sys.executable, "-m", "venv", "--clear", str(directory)), (str(found), *pip)):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise NoPeers(f"{REQUIREMENTS}: {done.stderr.strip()[-1000:]}")
    (directory / "complete").touch()
    return found
