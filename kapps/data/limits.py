"""Data that are held in memory, tables and series, may be too large for that: said beforehand."""

from __future__ import annotations

import os

from kapps.errors import UserError
from kapps.files import in_words


def check_file(path: str | os.PathLike, limit: int | None) -> None:
    """Looks at the size of a file before it is read; what it holds takes about as much.

    Args:
        path: of the file; one that is not there is for others to find.
        limit: bytes; None: as many as there are.

    Raises:
        UserError: it is larger.
    """
    if limit is not None and os.path.isfile(path):
        check_held(f"'{path}'", os.path.getsize(path), limit)


def check_held(what: str, size: int, limit: int | None) -> None:
    """Compares bytes that are held with what is allowed.

    Args:
        what: is held, for the message.
        size: bytes.
        limit: bytes; None: as many as there are.

    Raises:
        UserError: there are more.
    """
    if limit is not None and size > limit:
        raise UserError(
            f"{what} takes {in_words(size)}, and tables and series are held in memory, of which "
            f"{in_words(limit)} are allowed for them: raise --memory-limit (in GiB), or take a "
            "part of the rows"
        )
