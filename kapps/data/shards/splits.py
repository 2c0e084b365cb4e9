"""Which split each shard is of, by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from kapps.data.split import NAMES
from kapps.errors import UserError


def short_names(shards: Sequence[str]) -> list[str]:
    """Names below the directory that all of them are in: data that were moved are the same."""
    folders = [shard.rpartition("/")[0].split("/") for shard in shards]
    depth = len(os.path.commonprefix(folders))
    return ["/".join(shard.split("/")[depth:]) for shard in shards]


def splits_of(names: Sequence[str]) -> list[str | None]:
    """The split of each shard, by the words of its name: train-00000-of-00010, val/000.tar.

    Args:
        names: `short_names`.

    Returns:
        train, validation or test for each; None for all where their names do not tell them apart.

    Raises:
        UserError: names tell it of some and not of others, or none is for training.
    """
    found = [_split(name) for name in names]
    distinct = set(found)
    if len(distinct) < 2:
        return [None] * len(names)
    if None in distinct:
        without = names[found.index(None)]
        named = next(name for name, split in zip(names, found, strict=True) if split)
        raise UserError(
            f"'{named}' says of which split it is, and '{without}' does not: call all shards "
            "train-*, validation-* or test-*, or none"
        )
    if "train" not in distinct:
        raise UserError(
            f"the shards are of {' and '.join(sorted(map(str, distinct)))}; none is called train-*"
        )
    return found


def _split(name: str) -> str | None:
    """What the last part of a name that says a split says; of a file's name the first word."""
    for part in reversed(name.split("/")):
        words = re.split(r"[\W_]+", part.lower())
        named = [NAMES[word] for word in words if word in NAMES]
        if named:
            return named[0]
    return None
