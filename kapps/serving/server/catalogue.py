"""The models under a root: which versions are there, which are served, which one a request means.

Of each model the highest version is served, and those that `version_labels.json` names:
`{"stable": 3, "canary": 5}` beside the versions. A version takes requests when it is loaded and
warmed up; only then the one before is drained. A version that cannot be loaded replaces nothing,
and is tried again when its files change: somebody may be copying it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kapps.errors import UserError
from kapps.serving.savedmodel.versions import versions as published_versions
from kapps.serving.server import served
from kapps.serving.server.refusals import Refused
from kapps.serving.server.served import Version

LABELS = "version_labels.json"
_KEPT_ENDED = 3  # versions whose end is still told
_log = logging.getLogger("kapps.serve")
MakeVersion = Callable[[str, int, Path], Version]


class Model:
    """The versions of one model."""

    def __init__(self, name: str, directory: Path, make: MakeVersion):
        self.name, self.directory = name, directory
        self.versions: dict[int, Version] = {}
        self.labels: dict[str, int] = {}
        self._make = make
        self._tried: dict[int, Any] = {}  # what the files of a version were
        self._tasks: set[asyncio.Task] = set()
        self.settled = False  # nothing is being loaded for the first time

    def find(self, number: int | None = None, label: str | None = None) -> Version:
        """The version that a request means.

        Raises:
            Refused: it is not served.
        """
        if label is not None:
            if label not in self.labels:
                raise Refused("NOT_FOUND", f"Unrecognized servable version label: {label}")
            number = self.labels[label]
        if number is not None:
            version = self.versions.get(number)
            if version is None or version.state != served.AVAILABLE:
                raise Refused(
                    "NOT_FOUND", f"Servable not found for request: Specific({self.name}, {number})"
                )
            return version
        available = [n for n, v in self.versions.items() if v.state == served.AVAILABLE]
        if not available:
            raise Refused("NOT_FOUND", f"Servable not found for request: Latest({self.name})")
        return self.versions[max(available)]

    def refresh(self, found: dict[int, Path]) -> None:
        """Brings what is served to what is there.

        Args:
            found: versions on the disk.
        """
        self.labels = _labels(self.directory, found)
        wanted = {*self.labels.values(), *([max(found)] if found else [])}
        for number in sorted(wanted):
            current = self.versions.get(number)
            if current is None or current.state == served.END:
                files = _fingerprint(found[number])
                if self._tried.get(number) == files:
                    continue  # it could not be loaded, and nothing has changed
                self._tried[number] = files
                version = self._make(self.name, number, found[number])
                self.versions[number] = version
                self._spawn(version.load())
        latest = self.versions.get(max(found)) if found else None
        if latest is None or latest.state == served.AVAILABLE:
            for number, version in self.versions.items():
                if number not in wanted and version.state in (served.AVAILABLE, served.LOADING):
                    version.state = served.UNLOADING
                    self._tried.pop(number, None)
                    self._spawn(version.drain())
        ended = [
            number
            for number, version in self.versions.items()
            if version.state == served.END and number not in wanted
        ]
        for number in sorted(ended)[:-_KEPT_ENDED]:
            del self.versions[number]
        self.settled = all(v.state != served.LOADING for v in self.versions.values())

    async def close(self) -> None:
        """Drains every version."""
        await asyncio.gather(*(version.drain() for version in self.versions.values()))

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Catalogue:
    """All models under a root."""

    def __init__(self, root: Path, make: MakeVersion, every: float = 1.0):
        self.root = root.resolve()
        self.models: dict[str, Model] = {}
        self._make, self._every = make, every
        self._gone: list[asyncio.Task] = []
        self.refreshed = False

    def find(self, name: str) -> Model:
        """A model by its name.

        Raises:
            Refused: there is none.
        """
        if name not in self.models:
            raise Refused("NOT_FOUND", f"Could not find any versions of model {name}")
        return self.models[name]

    @property
    def ready(self) -> bool:
        """Whether each model has been tried and one at least is served."""
        models = self.models.values()
        states = [v.state for model in models for v in model.versions.values()]
        return (
            self.refreshed
            and served.AVAILABLE in states
            and all(
                any(v.state != served.LOADING for v in model.versions.values()) for model in models
            )
        )

    def states(self) -> Iterator[Version]:
        """Every version that is known."""
        for model in self.models.values():
            yield from model.versions.values()

    async def watch(self) -> None:
        """Looks at the root again and again."""
        while True:
            try:
                found = await asyncio.to_thread(find_models, self.root)
                self.refresh(found)
            except OSError as error:  # a disk that is away for a while takes nothing away here
                _log.error(
                    "cannot read", extra={"facts": {"event": "cannot read", "error": str(error)}}
                )
            await asyncio.sleep(self._every)

    def refresh(self, found: dict[str, tuple[Path, dict[int, Path]]]) -> None:
        """Brings what is served to what is there."""
        for name, (directory, versions) in found.items():
            if name not in self.models:
                self.models[name] = Model(name, directory, self._make)
            self.models[name].refresh(versions)
        for name in self.models.keys() - found.keys():
            model = self.models.pop(name)
            self._gone.append(asyncio.create_task(model.close()))
        self.refreshed = True

    async def close(self) -> None:
        """Drains all models."""
        await asyncio.gather(*(model.close() for model in self.models.values()), *self._gone)


def find_models(root: Path) -> dict[str, tuple[Path, dict[int, Path]]]:
    """Models under a root: name -> directory, and its versions by number.

    A root that holds versions is one model of the root's own name. A version counts when its
    `saved_model.pb` is there, and when no link leads out of the root.
    """
    own = _versions(root, root)
    if own:
        return {root.name: (root, own)}
    found = {}
    for entry in sorted(os.listdir(root)):
        directory = root / entry
        if entry.startswith(".") or not directory.is_dir() or not _inside(directory, root):
            continue
        versions = _versions(directory, root)
        if versions:
            found[entry] = (directory, versions)
    return found


def check_root(root: Path) -> None:
    """Refuses a root without models.

    Raises:
        UserError: there is no such directory, or no version in it.
    """
    if not root.is_dir():
        raise UserError(f"{root}: there is no such directory; recipes publish below saved_models")
    if not find_models(root.resolve()):
        raise UserError(
            f"{root}: no model below it. A model is a directory NAME/VERSION/ with a "
            "saved_model.pb, VERSION a number; `kapps publish RUN` makes one of a run"
        )


def _versions(directory: Path, root: Path) -> dict[int, Path]:
    return {
        number: path
        for number, path in published_versions(directory).items()
        if (path / "saved_model.pb").is_file() and _inside(path, root)
    }


def _inside(path: Path, root: Path) -> bool:
    """Whether a path, and all that links in it lead to, is under the root."""
    return path.resolve().is_relative_to(root) and all(
        entry.resolve().is_relative_to(root) for entry in _links(path)
    )


def _links(path: Path) -> Iterator[Path]:
    """Links in a version; of a model's directory only itself is looked at."""
    if not (path / "saved_model.pb").is_file():
        return
    for parent, directories, files in os.walk(path):
        for name in (*directories, *files):
            entry = Path(parent, name)
            if entry.is_symlink():
                yield entry


def _labels(directory: Path, found: dict[int, Path]) -> dict[str, int]:
    """Labels of versions that are there."""
    try:
        said = json.loads((directory / LABELS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(said, dict):
        return {}
    return {
        label: number for label, number in said.items() if type(number) is int and number in found
    }


def _fingerprint(directory: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files of a version."""
    found = []
    for parent, _, files in os.walk(directory):
        for name in files:
            with contextlib.suppress(OSError):
                status = os.stat(os.path.join(parent, name))
                found.append((os.path.join(parent, name), status.st_size, status.st_mtime_ns))
    return sorted(found)
