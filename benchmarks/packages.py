"""Files of packages that need not be installed."""

from __future__ import annotations

import pathlib
import subprocess
import sys

HELD = pathlib.Path(__file__).parents[1] / "runs" / "defaults" / "packages"


def debian(*packages: str) -> pathlib.Path:
    """What is in these packages of Debian, each unpacked in a folder of its name."""
    for package in packages:
        folder = HELD / package
        if not folder.exists():
            held = folder.with_suffix(".deb")
            held.mkdir(parents=True, exist_ok=True)
            subprocess.run(("apt-get", "download", "-q", package), cwd=held, check=True)
            (archive,) = held.glob("*.deb")
            subprocess.run(("dpkg-deb", "-x", str(archive), str(folder)), check=True)
    return HELD


def pypi(package: str, version: str) -> pathlib.Path:
    """The archive of a package of PyPI."""
    held = HELD / f"{package}-{version}"
    if not held.exists() or not [*held.iterdir()]:
        words = (sys.executable, "-m", "pip", "download", "-q", "--no-deps")
        subprocess.run((*words, "-d", str(held), f"{package}=={version}"), check=True)
    (archive,) = held.iterdir()
    return archive
