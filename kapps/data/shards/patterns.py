"""Which files a pattern names. Nothing here takes long to import."""

from __future__ import annotations

import itertools
import re

from kapps.data.shards import storage
from kapps.errors import UserError

KINDS = ("tfrecord", "webdataset")
MOST = 100_000  # files that braces may name
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MAGIC = re.compile(r"[*?\[]")
_ENDINGS = {"tfrecord": "*tfrecord*", "webdataset": "*.tar*"}  # in a directory


def expand_braces(pattern: str) -> list[str]:
    """The names that braces stand for: `{000..010}` counts, `{a,b}` lists.

    Numbers are as wide as the first one is written.

    Raises:
        UserError: braces hold neither, or stand for too many names.
    """
    pieces = _BRACES.split(pattern)
    choices = [
        [piece] if place % 2 == 0 else _choices(piece, pattern)
        for place, piece in enumerate(pieces)
    ]
    count = 1
    for each in choices:
        count *= len(each)
    if count > MOST:
        raise UserError(f"'{pattern}' stands for {count:,} files; {MOST:,} are read at most")
    return ["".join(parts) for parts in itertools.product(*choices)]


def _choices(inside: str, pattern: str) -> list[str]:
    found = _RANGE.fullmatch(inside)
    if found:
        first, last = found.groups()
        if int(last) < int(first):
            raise UserError(f"'{pattern}': {{{inside}}} counts backwards")
        if int(last) - int(first) >= MOST:
            raise UserError(f"'{pattern}': {{{inside}}} stands for more than {MOST:,} files")
        return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    if "," not in inside:
        raise UserError(f"'{pattern}': {{{inside}}} is neither a range {{000..010}} nor a list")
    return inside.split(",")


def find_shards(kind: str, pattern: str) -> list[str]:
    """The files that a pattern names, each once, in the order of the pattern and of the names.

    Args:
        kind: one of KINDS.
        pattern: a path or an address with `*`, `?`, `[...]` and braces, or a directory.

    Raises:
        UserError: there are none, one that is named without `*` is missing, or they cannot be
            listed.
    """
    found: dict[str, None] = {}
    for one in expand_braces(storage.absolute(pattern)):
        files = storage.of(one)
        if files.is_directory(one):
            one = f"{one.rstrip('/')}/{_ENDINGS[kind]}"
        named = storage.is_local(one) and files.exists(one)  # whatever is in its name
        if named or not _MAGIC.search(one):
            if not named and not files.exists(one):
                raise UserError(f"no file '{one}'; {kind}:PATTERN wants the shards to be there")
            found[one] = None
            continue
        found |= dict.fromkeys(files.find(one))
    if not found:
        raise UserError(
            f"no files match '{pattern}'; {kind}:PATTERN takes *, {{000..010}} and directories"
        )
    return list(found)


def check_shards(kind: str, pattern: str) -> None:
    """Finds a mistyped pattern at once: files elsewhere are not looked for.

    Raises:
        UserError: no files match, or what reads from there is not installed.
    """
    absolute = storage.absolute(pattern)
    expand_braces(absolute)
    storage.check(absolute)
    if storage.is_local(absolute):
        find_shards(kind, pattern)


def identity(kind: str, pattern: str) -> str:
    """A name for what a pattern names that does not depend on the working directory."""
    return f"{kind}:{storage.absolute(pattern)}"
