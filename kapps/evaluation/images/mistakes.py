"""The pictures that a network is most wrong about, by name: where they lie, and what was said."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from kapps.evaluation.verdicts.caveats import picture_name

if TYPE_CHECKING:
    from kapps.data import ImageData

WORST = 16  # that are shown
BY_NAME = "Worst mistakes, by name"


def picture_file(images: ImageData, split: str, row: int) -> pathlib.Path | str:
    """The file of a picture, where it has one: the page links to it.

    Args:
        images: the data.
        split: name of its part.
        row: in that part.
    """
    name = picture_name(images.splits[split], split, row)
    kind, _, folder = images.spec.partition(":")
    path = pathlib.Path(folder).expanduser().absolute() / name
    return path if kind == "folder" and path.is_file() else name


def mistakes_by_name(
    images: ImageData,
    worst: np.ndarray,
    true: Callable[[int], Any],
    said: Callable[[int], Any],
    **further: Callable[[int], Any],
) -> tuple[str, tuple[str, ...], list[tuple]]:
    """A table of test pictures.

    Args:
        images: the data.
        worst: int [n], their rows in the test split.
        true: row -> what holds.
        said: row -> what the network says.
        **further: more of the kind, by column; an underscore is a blank.
    """
    columns = ("image", "true", "predicted", *(name.replace("_", " ") for name in further))
    rows = [
        (
            picture_file(images, "test", i),
            *(told(i) for told in (true, said, *further.values())),
        )
        for i in map(int, worst)
    ]
    return BY_NAME, columns, rows
