"""The environments of those that kapps is compared with, made when they are first needed."""

from __future__ import annotations

import hashlib
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
REQUIREMENTS = ROOT / "benchmarks" / "peers" / "requirements.txt"


class NoPeers(Exception):
    """The environment cannot be made, with the reason."""


def made(requirements: pathlib.Path = REQUIREMENTS) -> bool:
    """Whether the environment for these requirements is there."""
    return (_directory(requirements) / "complete").exists()


def _directory(requirements: pathlib.Path) -> pathlib.Path:
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:10]
    return requirements.parent / f"environment-{digest}"


def python(requirements: pathlib.Path = REQUIREMENTS) -> pathlib.Path:
    """The interpreter of the environment for these requirements.

    It is kept in benchmarks/peers, one for each content of the file.

    Raises:
        NoPeers: pip cannot install something.
    """
    directory = _directory(requirements)
    found = directory / "bin" / "python"
    if made(requirements):
        return found
    print(f"  making {directory.name} from {requirements.name}")
    pip = ("-m", "pip", "install", "--quiet", "-r", str(requirements))
    for command in ((sys.executable, "-m", "venv", "--clear", str(directory)), (str(found), *pip)):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise NoPeers(f"{requirements}: {done.stderr.strip()[-1000:]}")
    (directory / "complete").touch()
    return found
