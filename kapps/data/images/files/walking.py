"""What lies in folders and below them; nothing is read of the files."""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
from collections.abc import Callable, Iterator

from kapps.data.hidden import HIDDEN
from kapps.errors import UserError

_AHEAD = 256  # files that the system may read while others are looked at

Expect = Callable[[list[str]], None]  # paths of files that are going to be looked at


def folders_above(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folder itself and all that it lies in, links resolved and as they are."""
    real, plain = pathlib.Path(os.path.realpath(folder)), pathlib.Path(os.path.abspath(folder))
    return [real, *real.parents, *(pathlib.Path(os.path.realpath(p)) for p in plain.parents)]


def walk(
    folder: pathlib.Path, visited: set[str], notes: list[str], root: pathlib.Path
) -> Iterator[str]:
    """The paths of the files of a folder and below it; folders that were visited are noted.

    Args:
        folder: where to begin.
        visited: real paths of folders; what is visited is added.
        notes: what should be known is appended.
        root: below which all lies.
    """
    real = os.path.realpath(folder)
    if real in visited:
        notes.append(
            f"{name_below(folder, root)} is a link to a folder that it lies in, or was listed "
            "already: it was not followed"
        )
        return
    visited.add(real)
    folders, files = scan(folder)
    top = "" if str(folder) == "." else os.path.join(folder, "")
    for name in files:
        yield top + name
    for name in folders:
        yield from walk(folder / name, visited, notes, root)


def expected(paths: Iterator[str], expect: Expect | None) -> Iterator[str]:
    """The same paths, each told to `expect` some time before."""
    while some := list(itertools.islice(paths, _AHEAD)):
        if expect is not None:
            expect(some)
        yield from some


def entries(folder: pathlib.Path) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """(folders, everything else) without what is hidden, in the order of the names."""
    folders, files = scan(folder)
    return [folder / name for name in folders], [folder / name for name in files]


def scan(folder: pathlib.Path) -> tuple[list[str], list[str]]:
    """The names of `entries`: there may be a million, and a path of each takes its time."""
    try:
        with os.scandir(folder) as inside:  # tells files from folders without asking for each
            found = sorted((entry.name, _is_folder(entry)) for entry in inside)
    except OSError as error:
        raise UserError(f"folder '{folder}' cannot be read: {error.strerror}") from error
    shown = [each for each in found if each[0][0] != "." and each[0].lower() not in HIDDEN]
    folders, files = ([name for name, d in shown if d is kind] for kind in (True, False))
    return folders, files


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links that lead to each other
        return False


def name_below(path: str | pathlib.Path, root: pathlib.Path) -> str:
    """The name of what lies below `root`, with slashes."""
    return text_of(str(path).removeprefix(_prefix(root)).replace(os.sep, "/"))


@functools.lru_cache(maxsize=8)
def _prefix(root: pathlib.Path) -> str:
    """Of the paths of all that lies below a folder."""
    return "" if str(root) == "." else os.path.join(root, "")


def text_of(name: str) -> str:
    """A name as text: what is no UTF-8 in it is replaced."""
    # File names are bytes; those that are not UTF-8 could be neither printed nor written as JSON.
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "replace")
