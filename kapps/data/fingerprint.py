"""Have the data changed? Told from paths, sizes and times alone, in a moment."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterable

from kapps.data.shards import patterns, storage
from kapps.data.spec import ALIASES, ARGUMENTS
from kapps.errors import UserError


def quick_fingerprint(spec: str, *files: str | os.PathLike | None) -> str:
    """A digest of the names, sizes and times of change of all files of a dataset, in hex.

    Another one says that the data may have changed, and are to be loaded to know (`fingerprint` of
    what `load` and its like return); the same one, that they have not. Data without files have a
    digest of their spec, and so have those that are elsewhere: nothing is fetched.

    Args:
        spec: as `--dataset` has it. Of ts:PATH, the file of the other half belongs to it.
        files: further files: a test file, labels.
    """
    kind, _, argument = spec.partition(":")
    kind = ALIASES.get(kind, kind)
    digest = hashlib.sha256(kind.encode())
    paths = [pathlib.Path(file).expanduser() for file in files if file is not None]
    if ARGUMENTS.get(kind) == "PATH" and argument:
        path = pathlib.Path(argument).expanduser()
        paths.append(path)
        if path.stem.endswith("_TRAIN"):
            paths.append(path.with_name(path.name.replace("_TRAIN", "_TEST")))
    elif kind in patterns.KINDS and argument and storage.is_local(argument):
        with contextlib.suppress(UserError):  # said when they are loaded
            paths += map(pathlib.Path, patterns.find_shards(kind, argument))
    else:
        digest.update(argument.encode())
    for path in paths:
        for name, size, changed in sorted(_listed(path)):
            digest.update(f"{name}\0{size}\0{changed}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _listed(path: pathlib.Path) -> Iterable[tuple[str, int, int]]:
    """(name below the path, size, time in ns) of a file, or of all files of a folder."""
    if not path.is_dir():
        try:
            found = path.stat()
        except OSError:
            return [(path.name, -1, -1)]
        return [(path.name, found.st_size, found.st_mtime_ns)]
    files, folders, visited = [], [str(path)], set()
    while folders:
        folder = folders.pop()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir():
                        folders.append(entry.path)
                        continue
                    name = os.path.relpath(entry.path, path)
                    try:
                        found = entry.stat()
                        files.append((name, found.st_size, found.st_mtime_ns))
                    except OSError:  # a link to nothing
                        files.append((name, -1, -1))
        except OSError:
            files.append((os.path.relpath(folder, path), -1, -1))
    return files
