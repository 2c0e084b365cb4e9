"""`kapps doctor`: what is here, what is missing, and how to get it.

Each look gives findings, and none of them fails: that TensorFlow cannot be imported is a finding.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from kapps import __version__, command_line, training
from kapps.cli import console

LITTLE_DISK = 2.0  # GB: a run of the recipes leaves some tens of MB, TFDS's datasets need more
OLDEST, NEWEST = (3, 10), (3, 13)  # tested Pythons
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # as `kapps.data.sources.fashion` has it
VARIABLES = ("TF_CONFIG", "CUDA_VISIBLE_DEVICES", "KERAS_BACKEND", "KERAS_HOME", "TFDS_DATA_DIR")


@dataclass(frozen=True)
class Finding:
    """One line of the answer."""

    level: Literal["ok", "note", "missing"]
    """missing is what kapps cannot do without."""
    what: str
    told: str
    remedy: str = ""
    """What to type or to change."""


@dataclass(frozen=True)
class Doctor:
    """Versions, devices and disk; what is missing, and how to get it."""

    devices: bool = True
    """Import TensorFlow and ask for its devices, which takes some seconds."""
    json: bool = False
    """Machine-readable."""

    def run(self) -> None:
        """Writes the findings; ends with 1 if something is missing that kapps needs."""
        found = [*about_python(), *about_packages(), *about_extras(), *about_disk()]
        found += [*about_data(), *about_environment(os.environ), *about_machine()]
        if self.devices:
            found += about_devices()
        if self.json:
            console.write(json.dumps([asdict(finding) for finding in found], indent=2))
        else:
            _write(found)
        if any(finding.level == "missing" for finding in found):
            raise SystemExit(1)


def about_python(version: tuple[int, int] = sys.version_info[:2]) -> Iterator[Finding]:
    """The interpreter, and kapps itself."""
    told = f"{platform.python_version()}, {sys.executable}"
    if version < OLDEST:
        yield Finding("missing", "python", told, "install Python 3.10 to 3.13")
    elif version > NEWEST:
        yield Finding("note", "python", f"{told}; newer than what was tested", "use 3.10 to 3.13")
    else:
        yield Finding("ok", "python", told)
    yield Finding("ok", "kapps", f"{__version__}, {Path(__file__).parents[1]}")


def about_packages(requirements: Iterable[str] | None = None) -> Iterator[Finding]:
    """What kapps depends on: installed, and new enough.

    Args:
        requirements: as in a package's metadata; those of kapps by default.
    """
    for requirement in _declared() if requirements is None else map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        wanted = f"pip install '{requirement.name}{requirement.specifier}'"
        if version is None and requirement.name == "tensorflow":
            version = _version("tensorflow-cpu")
        if version is None:
            yield Finding("missing", requirement.name, "not installed", wanted)
        elif not requirement.specifier.contains(version, prereleases=True):
            told = f"{version}; kapps needs {requirement.specifier}"
            yield Finding("missing", requirement.name, told, wanted)
        else:
            yield Finding("ok", requirement.name, version)


def about_extras(requirements: Iterable[str] | None = None) -> Iterator[Finding]:
    """What kapps can do with further packages; arguments as of `about_packages`."""
    declared = _declared() if requirements is None else [*map(Requirement, requirements)]
    extras: dict[str, list[str]] = {}
    for requirement in declared:
        for extra in _extras_of(requirement):
            extras.setdefault(extra, []).append(requirement.name)
    for extra, names in sorted(extras.items()):
        absent = [name for name in names if _version(name) is None]
        if absent:
            told = f"without {', '.join(absent)}"
            yield Finding("note", f"extra {extra}", told, f"pip install 'kapps[{extra}]'")
        else:
            yield Finding("ok", f"extra {extra}", ", ".join(names))


def about_disk(places: Iterable[Path] | None = None) -> Iterator[Finding]:
    """Free space where runs, datasets and temporary files go, and whether one may write there."""
    chosen = places or (Path.cwd(), Path.home(), Path(tempfile.gettempdir()))
    for place in dict.fromkeys(chosen):
        if not place.is_dir() or not os.access(place, os.W_OK):
            remedy = "give --run-dir, --export-dir or --data-dir another place"
            yield Finding("note", "disk", f"{place}: cannot be written to", remedy)
            continue
        free = shutil.disk_usage(place).free / 1e9
        told = f"{place}: {free:.1f} GB free"
        if free < LITTLE_DISK:
            yield Finding("note", "disk", told, "free some space: kapps runs lists old runs")
        else:
            yield Finding("ok", "disk", told)


def about_data() -> Iterator[Finding]:
    """Whether Fashion-MNIST is there; all other datasets of the recipes come with kapps."""
    prepared = Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
    for place in (DEBIAN, prepared / "fashion_mnist"):
        if place.is_dir():
            yield Finding("ok", "fashion_mnist", str(place))
            return
    remedy = "apt-get install dataset-fashion-mnist, or kapps data prepare fashion_mnist"
    yield Finding("note", "fashion_mnist", "not prepared; only needed if you name it", remedy)


def about_environment(environment: os._Environ | dict[str, str]) -> Iterator[Finding]:
    """Variables that change what happens."""
    for name in VARIABLES:
        value = environment.get(name)
        if value is None:
            continue
        if name == "KERAS_BACKEND" and value != "tensorflow":
            told = f"{name}={value}; kapps runs on TensorFlow, and overrides this"
            yield Finding("note", "environment", told, f"unset {name}")
        else:
            yield Finding("note", "environment", f"{name}={value}")


def about_machine() -> Iterator[Finding]:
    """Processor, cores, and the instructions that make bfloat16 pay."""
    found = training.machine()
    told = f"{found['cpu'] or platform.machine()}, {found['cores']} cores"
    yield Finding("ok", "processor", ", ".join((told, *found["flags"])))


def about_devices() -> list[Finding]:
    """What TensorFlow sees."""
    try:
        command_line.import_tensorflow()
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        named = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
    except Exception as error:  # whatever is broken in an installation is what is asked for
        told = f"cannot be imported: {type(error).__name__}: {error}".splitlines()[0]
        remedy = "pip install --force-reinstall tensorflow"
        return [Finding("missing", "devices", told, remedy)]
    if gpus:
        names = ", ".join(name or gpu.name for name, gpu in zip(named, gpus, strict=True))
        return [Finding("ok", "devices", f"{len(gpus)} GPU: {names}")]
    if shutil.which("nvidia-smi"):
        told = "no GPU, although nvidia-smi is installed"
        return [Finding("note", "devices", told, "pip install 'tensorflow[and-cuda]'")]
    return [Finding("ok", "devices", "no GPU; none is needed")]


def _declared() -> list[Requirement]:
    try:
        return [*map(Requirement, importlib.metadata.requires("kapps") or ())]
    except importlib.metadata.PackageNotFoundError:
        return []  # run from a checkout that was never installed


def _extras_of(requirement: Requirement) -> list[str]:
    """The extras that ask for it, of those that a user may want."""
    marker = requirement.marker
    if marker is None or marker.evaluate({"extra": ""}):
        return []
    names = importlib.metadata.metadata("kapps").get_all("Provides-Extra") or ()
    return [name for name in names if name != "dev" and marker.evaluate({"extra": name})]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _write(found: list[Finding]) -> None:
    width = max(len(finding.what) for finding in found)
    for finding in found:
        mark = {"ok": " ", "note": "-", "missing": "!"}[finding.level]
        remedy = f"  ->  {finding.remedy}" if finding.remedy else ""
        console.write(f"{mark} {finding.what:<{width}}  {finding.told}{remedy}")
    missing = [finding.what for finding in found if finding.level == "missing"]
    console.write(f"missing: {', '.join(missing)}" if missing else "nothing is missing")
