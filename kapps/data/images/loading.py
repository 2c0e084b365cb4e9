"""`load` and `prepare`: from a spec to data."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from kapps.data.images.dataset import ImageData, Source, assemble
from kapps.data.images.files import folder
from kapps.data.images.files.grouping import picture_groups
from kapps.data.images.files.index import cache_directory, folder_directory
from kapps.data.images.files.labels import Labeller, by_pattern, by_table
from kapps.data.sources import arrays, fashion, tfds
from kapps.data.spec import Spec, check, parse
from kapps.data.split import divide, joined_note
from kapps.errors import UserError

_MEMORY_LIMIT = 4 * 2**30
# Flags of a recipe that decide what is loaded, beside its dataset: arguments of `load`.
_FLAGS = (
    "data_dir",
    "image_size",
    "validation_fraction",
    "seed",
    "skip_broken",
    "group_pattern",
    "group_level",
    "resize",
    "labels",
    "label_pattern",
    "target_kind",
    "decoded",
)


def load(
    spec: str,
    *,
    data_dir: str | os.PathLike | None = None,
    image_size: int | tuple[int, int] | Callable[[int], int] | None = None,
    channels: int | None = None,
    validation_fraction: float = 0.1,
    seed: int = 0,
    skip_broken: bool = False,
    memory_limit: int = _MEMORY_LIMIT,
    group_pattern: str | None = None,
    group_level: int | None = None,
    fold: tuple[int, int] | None = None,
    resize: str = "stretch",
    labels: str | os.PathLike | None = None,
    label_pattern: str | None = None,
    target_kind: str = "classes",
    decoded: str = "auto",
) -> ImageData:
    """Loads a dataset of labelled pictures.

    A test split that does not come with the data is a stratified fifth of it, always the same one;
    a missing validation split is a stratified part of train that moves with `seed`.

    Args:
        spec: digits, fashion_mnist, tfds:NAME, folder:PATH or npz:PATH.
        data_dir: where prepared datasets live; TFDS's directory by default. What is kept of a
            folder is in kapps_cache in it; by default in the user's cache directory.
        image_size: side or (height, width) in pixels; that of the data by default. Or a function
            from their longer side, of a folder its median, to the side that they are resized to.
        channels: 1 (grey) or 3 (colour); those of the data by default.
        validation_fraction: the part of train kept for validation.
        seed: of the validation split.
        skip_broken: leave out unreadable files of a folder instead of raising.
        memory_limit: bytes of decoded pictures kept in memory. Twice as much is needed for a moment
            while loading. More of a folder or of tfds:NAME are read from the disk, and an npz file
            with more is refused before it is read.
        group_pattern: of a folder: a regular expression with one group, which is searched for in
            the name of each file below the folder, such as "(patient[0-9]+)"; all pictures for
            which the group has the same value are in one split.
        group_level: of a folder: the same by the folders below the class folder, 1 is the first.
        resize: of a folder: what becomes of pictures of another aspect ratio: "stretch", "fit"
            (black bars) or "crop"; "auto": fit, if more than a tenth of them are a quarter off,
            else stretch.
        labels: of a folder: a table of the classes of its pictures, see `labels.by_table`. Without
            one, metadata.csv in the folder is read, if it names classes.
        label_pattern: of a folder: a regular expression with one group, the class, which is
            searched for in the name of each file.
        target_kind: of a folder with such a table or pattern: "classes", one for each picture;
            "labels", any number of them ("cat|dog", or columns of 0 and 1); "number"; or "auto",
            which goes by what the labels look like and notes it.
        decoded: of a folder: where decoded pictures are kept. "disk": in a file that later starts
            and other processes use, too; "memory"; "none": nowhere, each is decoded whenever it is
            used, and nothing is written; "auto": see `decode_pictures`.
        fold: (i, K): the test split is number i, from 0, of K folds of all pictures.

    Raises:
        UserError: the spec, its path or the data are not as they should be, or there is no room.
    """
    parsed = parse(spec)
    check(spec, data_dir, labelled=labels is not None or label_pattern is not None)
    label_of = _labeller(parsed, labels, label_pattern, target_kind)
    source, _ = read(
        parsed,
        data_dir,
        image_size,
        channels,
        skip_broken,
        memory_limit,
        resize,
        label_of,
        target_kind,
        decoded,
    )
    groups, notes = picture_groups(spec, source, group_pattern, group_level)
    rows = divide(source.strata, source.given, validation_fraction, seed, groups=groups, fold=fold)
    return assemble(
        spec,
        dataclasses.replace(
            source, notes=(*source.notes, *notes, *joined_note(source.given, fold))
        ),
        rows,
    )


def load_as_configured(config: Mapping[str, Any], **settings: Any) -> ImageData:
    """The pictures that a recipe's flags ask for: the same splits whenever they are loaded again.

    Args:
        config: the flags by name, as config.json of a run holds them; those it lacks have the
            defaults of `load`.
        **settings: arguments of `load` that go before the flags.

    Raises:
        UserError: as `load`.
    """
    flags = {name: config[name] for name in _FLAGS if name in config}
    if config.get("memory_limit") is not None:
        flags["memory_limit"] = int(config["memory_limit"] * 2**30)  # the flag is in GiB
    if config.get("fold") is not None:
        flags["fold"] = (config["fold"], config["folds"])
    return load(config["dataset"], **{**flags, **settings})


def read(
    spec: Spec,
    data_dir=None,
    image_size: Any = None,
    channels=None,
    skip_broken=False,
    memory_limit=_MEMORY_LIMIT,
    resize="stretch",
    label_of=None,
    target_kind="classes",
    decoded="auto",
) -> tuple[Source, folder.Report]:
    """All pictures of a dataset before they are divided, and what else a folder holds."""
    if callable(image_size) and spec.kind != "folder":
        own, _ = read(spec, data_dir, None, channels, memory_limit=memory_limit)
        image_size = image_size(max(own.image_shape[:2]))
    if spec.kind == "folder":
        return folder.read_folder(
            spec.path,
            image_size,
            channels,
            skip_broken,
            memory_limit,
            resize,
            label_of,
            target_kind,
            decoded,
            None if decoded == "none" else cache_directory(data_dir),
        )
    if target_kind not in ("auto", "classes"):
        raise UserError(f"--target-kind {target_kind} is for folder:PATH with --labels")
    if resize not in ("auto", "stretch"):
        raise UserError(f"--resize {resize} is for folder:PATH")
    if spec.kind == "npz":
        source = arrays.read_npz(spec.path, image_size, channels, memory_limit)
    elif spec.kind == "tfds":
        source = tfds.read_tfds(spec.argument, data_dir, image_size, channels, memory_limit)
    elif spec.kind == "fashion_mnist":
        source = fashion.read_fashion(data_dir, image_size, channels)
    else:
        source = arrays.read_digits(image_size, channels)
    return source, folder.Report()


def _labeller(spec: Spec, labels, pattern, kind) -> Labeller | None:
    if labels is not None and pattern is not None:
        raise UserError("labels by a table or by a pattern, not by both")
    if spec.kind != "folder" and not (labels is None and pattern is None):
        raise UserError("--labels and --label-pattern are for folder:PATH")
    if labels is not None:
        return by_table(pathlib.Path(spec.path or ""), labels, kind)
    return None if pattern is None else by_pattern(pattern)


def prepare(spec: str, data_dir: str | os.PathLike | None = None, **settings: Any) -> str:
    """Does ahead of time what can be done once: downloading, converting, decoding every file.

    Returns a sentence that says what was done.

    Args:
        spec: of the dataset.
        data_dir: where it is kept.
        **settings: further arguments of `load`, those of the training: pictures of another size
            are other pictures.

    Raises:
        UserError: as `load`.
    """
    parsed = parse(spec)
    if parsed.kind == "fashion_mnist":
        check(spec, data_dir)
        return fashion.prepare_fashion(data_dir)
    if parsed.kind == "tfds":
        check(spec, data_dir)
        builder = tfds.fetch(parsed.argument, data_dir)
        return f"{spec} is prepared in '{pathlib.Path(builder.data_dir)}'"
    data = load(spec, data_dir=data_dir, **settings)
    counts = ", ".join(f"{count:,} {name}" for name, count in data.counts.items())
    notes = "".join(f"\n- {note}" for note in data.notes)
    if parsed.kind == "folder":
        shape = "x".join(map(str, data.image_shape))
        where = folder_directory(parsed.path, cache_directory(data_dir))
        return f"{spec} is decoded to {shape}, and kept in '{where}': {counts}{notes}"
    return f"{spec} needs no preparation and is readable: {counts}{notes}"
