"""Which pictures belong together, by their names: those of a patient, a scene, a day."""

from __future__ import annotations

import re

import numpy as np

from kapps.data.images.dataset import Source
from kapps.data.split import NAMES
from kapps.errors import UserError


def picture_groups(
    spec: str, source: Source, pattern: str | None, level: int | None
) -> tuple[np.ndarray | None, list[str]]:
    """The group number of each picture, int [n], or None; and what should be known of it.

    Args:
        spec: of the dataset, for messages.
        source: its pictures.
        pattern: a regular expression with one group, searched for in the names of the files.
        level: of the folders below the class folder, 1 is the first.

    Raises:
        UserError: both are given, there are no files, the expression is none or has not one group,
            or a picture has no group.
    """
    if pattern is None and level is None:
        return None, _unused(source)
    if pattern is not None and level is not None:
        raise UserError("groups of pictures by a pattern or by a folder level, not by both")
    if source.origins is None:
        raise UserError(f"groups of pictures are told from names of files, and {spec} has none")
    if pattern is not None:
        expression = one_group(pattern, "group", "what names the group: (patient[0-9]+)")
        found = [expression.search(name) for name in source.origins]
        groups = [match.group(1) if match else None for match in found]
        what = f"do not match the group pattern {pattern!r}"
    else:
        if level is None or level < 1:
            raise UserError(f"group level {level}: 1 is the first folder below the class folder")
        folders = [_below_class(source, row) for row in range(len(source.labels))]
        groups = ["/".join(path[:level]) if len(path) >= level else None for path in folders]
        # Folders of one name in two classes are two groups: what they share, nobody said.
        groups = [
            None if group is None else f"{label}/{group}"
            for group, label in zip(groups, _class_numbers(source), strict=True)
        ]
        what = f"lie in no folder {level} below the class folder"
    without = [name for name, group in zip(source.origins, groups, strict=True) if group is None]
    if without:
        raise UserError(
            f"{spec}: {len(without):,} of {len(groups):,} pictures {what}, such as '{without[0]}'"
        )
    names, numbers = np.unique(np.array(groups, object).astype(str), return_inverse=True)
    if len(names) < 3:
        raise UserError(f"{spec}: {len(names)} groups of pictures; a split needs one at least")
    return numbers, [f"{len(names):,} groups of pictures: all of one are in the same split"]


def one_group(pattern: str, what: str, around: str) -> re.Pattern:
    """A regular expression with one group.

    Args:
        pattern: as the user wrote it.
        what: what it is for, for messages.
        around: what its brackets stand around, with an example.

    Raises:
        UserError: it is no regular expression, or has not one group.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(f"{what} pattern {pattern!r} is no regular expression: {error}") from error
    if expression.groups != 1:
        raise UserError(
            f"{what} pattern {pattern!r} has {expression.groups} groups; it needs one pair of "
            f"brackets, around {around}"
        )
    return expression


def _below_class(source: Source, row: int) -> list[str]:
    """The folders between the class folder and the picture."""
    if source.origins is None:
        return []
    folders = source.origins[row].split("/")[:-1]
    if source.kind != "classes":
        return folders
    name = source.class_names[source.labels[row]]
    below = folders[folders.index(name) + 1 :] if name in folders else []
    return below[1:] if below and below[0].lower() in NAMES else below


def _class_numbers(source: Source) -> list[int]:
    """Class numbers; all the same where there are no class folders."""
    return source.labels.tolist() if source.kind == "classes" else [0] * len(source.labels)


def _unused(source: Source) -> list[str]:
    """A hint where the class folders have folders of their own."""
    if source.origins is None or max(name.count("/") for name in source.origins) < 2:
        return []
    folders = {
        "/".join((str(label), below[0]))
        for row, label in enumerate(_class_numbers(source))
        if (below := _below_class(source, row))
    }
    if len(folders) < 3:
        return []
    return [
        f"the class folders hold {len(folders):,} folders: if each is of one patient, scene or "
        "day, --group-level 1 keeps its pictures in one split"
    ]
