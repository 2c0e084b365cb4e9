"""What a folder that is taken for a class must not be: a dataset of its own."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable

from kapps.data.hidden import HIDDEN
from kapps.data.split import NAMES
from kapps.errors import UserError

_SPELLED = [(each, split) for name, split in NAMES.items() for each in (name, name.capitalize())]


def refuse_datasets(root: str | os.PathLike, folders: Iterable[pathlib.Path]) -> None:
    """Refuses folders that would be classes, but hold train/ and test/ with the classes in them.

    Such are several datasets or versions of one beside each other, or a copy beside the classes.

    Args:
        root: the folder that was given.
        folders: in it, a class each.

    Raises:
        UserError: one of them holds a dataset.
    """
    found = {path: names for path in folders if (names := _classes_in(path))}
    if not found:
        return
    path, names = next(iter(found.items()))
    all_of_them = ", ".join(f"{path.name}/" for path in list(found)[:3])
    raise UserError(
        f"'{root}': {all_of_them}{' ...' if len(found) > 3 else ''} would be taken for a class, "
        f"but {path.name}/ holds splits with the folders {', '.join(names[:3])} in each: give one "
        f"dataset alone, such as folder:{path}, and move what is no class elsewhere"
    )


def _classes_in(folder: pathlib.Path) -> list[str]:
    """Names of the folders that train/ and another split of a folder both hold, two at least."""
    inside: dict[str, set[str]] = {}
    for name, split in _SPELLED:  # asked one by one: a class may have a million files
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            with os.scandir(path) as entries:
                inside[split] = {e.name for e in entries if e.is_dir() and e.name[0] != "."}
    train = inside.pop("train", set())
    shared = [
        sorted(n for n in train & names if n.lower() not in HIDDEN) for names in inside.values()
    ]
    return max(shared, key=len, default=[]) if any(len(names) > 1 for names in shared) else []
