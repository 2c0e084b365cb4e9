"""Arrays of a .npz file by what they are called: examples and targets of each split."""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections.abc import Sequence

import numpy as np

from kapps.data.split import NAMES
from kapps.errors import UserError
from kapps.files import in_words

CLASS_NAMES = "class_names"
_X = ("x", "images", "image", "imgs", "data", "series", "sequences", "pixels")
_Y = ("y", "labels", "label", "targets", "target", "classes")
WANTED = (
    "x_train and y_train (perhaps x_val, y_val, x_test, y_test), or train_images and train_labels "
    "(perhaps val_..., test_...), or images and labels, or x and y"
)


def read_arrays(
    path: str | os.PathLike, memory_limit: int | None = None
) -> tuple[dict[str, tuple[str, str]], dict[str, np.ndarray], list[str]]:
    """The arrays of a .npz file.

    Args:
        path: of the file.
        memory_limit: bytes that its arrays may take; None: as many as there are.

    Returns:
        For each split the names of its examples and of its targets; the arrays by name; notes on
        arrays that were not read.

    Raises:
        UserError: the file is no such archive, its arrays are not called as `WANTED` says, or they
            are larger than the limit; that is found before they are read.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            layout, others = find_layout(str(path), archive.files)
            names = [key for pair in layout.values() for key in pair]
            if CLASS_NAMES in archive.files:
                names.append(CLASS_NAMES)
            size = sum(_size(path, key) for key in names)
            if memory_limit is not None and size > memory_limit:
                raise UserError(
                    f"'{path}' holds {in_words(size)} of arrays, and {in_words(memory_limit)} of "
                    "memory are allowed for them (--memory-limit, in GiB): allow more, or save the "
                    "pictures as files in a folder for each class, which are read from the disk"
                )
            arrays = {key: archive[key] for key in names}
    except (OSError, EOFError, zipfile.BadZipFile, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"'{path}' cannot be read as arrays without pickle: {error}") from error
    notes = [f"arrays of '{path}' that were not read: {', '.join(others[:10])}"] if others else []
    return layout, arrays, notes


def _size(path: str | os.PathLike, key: str) -> int:
    """Bytes of an array in memory, by its header."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{key}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0}
        shape, _, kind = read.get(version, np.lib.format.read_array_header_2_0)(file)
    return math.prod(shape) * kind.itemsize


def find_layout(path: str, keys: Sequence[str]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """The names of examples and targets of each split, and the names of what is neither.

    Raises:
        UserError: there are none, or two for one, or targets are missing.
    """
    found: dict[str, dict[str, str]] = {}
    others = []
    for key in keys:
        role, split = _role(key)
        if not role:
            others += [key] * (key != CLASS_NAMES)
        elif role in found.setdefault(split, {}):
            raise UserError(f"'{path}': {found[split][role]} or {key}? Wanted are {WANTED}")
        else:
            found[split][role] = key
    if "" in found and len(found) > 1:
        if len(found[""]) == 2:
            shown = ", ".join(found[""].values())
            raise UserError(f"'{path}' has {shown} beside arrays of splits; wanted are {WANTED}")
        others += found.pop("").values()
    if "" in found:
        found["train"] = found.pop("")
    listed = ", ".join(sorted(keys)) or "(none)"
    if "train" not in found:
        raise UserError(f"'{path}' has the keys {listed}; wanted are {WANTED}")
    for split, pair in found.items():
        for role, what in (("x", "examples"), ("y", "labels")):
            if role not in pair:
                raise UserError(f"'{path}' lacks the {what} of {split}; it has {listed}")
    order = [split for split in ("train", "validation", "test") if split in found]
    return {split: (found[split]["x"], found[split]["y"]) for split in order}, others


def _role(key: str) -> tuple[str, str]:
    """Role, x or y, and split, by the words of a name; "" for what is neither, or not said."""
    words = [word for word in re.split(r"[_\W]+", key.lower()) if word]
    splits = [NAMES[word] for word in words if word in NAMES]
    rest = [word for word in words if word not in NAMES]
    if len(rest) != 1 or len(splits) > 1:
        return "", ""
    role = "x" if rest[0] in _X else "y" if rest[0] in _Y else ""
    return role, splits[0] if splits else ""


def as_labels(path: str, key: str, labels: np.ndarray) -> np.ndarray:
    """Labels as a vector: [n, 1] becomes [n].

    Raises:
        UserError: they have another shape.
    """
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1:
        hint = f" (one-hot? use numpy.argmax({key}, 1))" if flat.ndim == 2 else ""
        raise UserError(f"'{path}': {key} has shape {labels.shape}; wanted is [n]{hint}")
    return flat
