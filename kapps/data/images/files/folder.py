"""`folder:PATH`: a folder of pictures per class, as users have them; and what is listed alike."""

import collections
import hashlib
import os
import pathlib
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from kapps.data.alike import alike_notes
from kapps.data.images.dataset import Source
from kapps.data.images.files import formats
from kapps.data.images.files.decode import RESIZES, Reading, decode_image, sixteen_bits
from kapps.data.images.files.decoded import decode_pictures
from kapps.data.images.files.headers import (
    Header,
    ImageSize,
    asked_channels,
    asked_size,
    common_size,
    median_side,
)
from kapps.data.images.files.index import FolderIndex, Reader, folder_index
from kapps.data.images.files.labels import Labeller
from kapps.data.images.files.listing import Listing, Picture, list_folder
from kapps.data.images.files.transcoding import NoPicture, decodable, read_picture
from kapps.data.images.targets import Targets, targets_of
from kapps.errors import UserError

_NAMED = 10  # files named in a message
_LOPSIDED, _SOME = 1.25, 0.1  # aspect ratios that differ by so much, of so many pictures
_MOST_BITS = 14  # of a sensor whose levels stand in the lower bits of 16


@dataclass(frozen=True)
class Report:
    """What was found in a folder, beside the pictures themselves."""

    headers: dict[str, Header] = field(default_factory=dict)  # of broken files too
    broken: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()


def read_folder(
    root: pathlib.Path,
    image_size: ImageSize,
    channels: int | None,
    skip_broken: bool,
    memory_limit: int,
    resize: str = "stretch",
    label_of: Labeller | None = None,
    target_kind: str = "classes",
    place: str = "auto",
    cache: pathlib.Path | None = None,
) -> tuple[Source, Report]:
    """Reads a folder of pictures; every picture is decoded once, so that broken ones are found.

    What was found is kept in the cache directory: only new and changed files are decoded then.

    Args:
        root: the folder.
        image_size: as `load` has it, and so have those that follow.
        channels: likewise.
        skip_broken: likewise.
        memory_limit: likewise.
        resize: likewise.
        label_of: as `list_folder` has it.
        target_kind: as `load` has it.
        place: where decoded pictures are kept, see `decode_pictures`.
        cache: the cache directory; None keeps nothing on the disk.

    Raises:
        UserError: there are broken files (unless `skip_broken`), no pictures, fewer than two
            classes, or classes in val/ or test/ that train/ lacks; or decoded pictures have no room
            where they are to be kept.
    """
    with folder_index(root, cache, needed=place == "disk") as index:
        listing = list_folder(root, label_of, index.start, target_kind, index.expect)
        return read_listed(
            root,
            listing,
            index,
            image_size,
            channels,
            skip_broken,
            memory_limit,
            resize,
            place,
            target_kind,
        )


def read_listed(
    root: pathlib.Path | str,
    listing: Listing,
    index: FolderIndex,
    image_size: ImageSize,
    channels,
    skip_broken: bool,
    memory_limit: int,
    resize: str,
    place: str,
    target_kind: str,
) -> tuple[Source, Report]:
    """Reads what was listed: `read_folder` says how, and what its arguments are."""
    pictures = listing.pictures
    targets_asked = _targets(root, listing, pictures, target_kind)
    headers = index.headers(pictures)
    image_shape, shape_notes = _choose_shape(pictures, headers, image_size, channels)
    resize, resize_notes = _choose_resize(resize, headers, image_shape)
    white, white_notes = _find_white(pictures, index)
    webp = any(picture.format == formats.WEBP for picture in pictures)
    reading = Reading(white, resize, webp)

    def decoded(pictures):
        return decode_pictures(
            pictures, image_shape, reading, index, place=place, memory_limit=memory_limit
        )

    images, digests, decoding_notes = decoded(pictures)
    failures = {
        picture.name: digest
        for picture, digest in zip(pictures, digests, strict=True)
        if isinstance(digest, str)
    }
    broken = dict(sorted((listing.broken | failures).items()))
    if broken and not skip_broken:
        raise UserError(
            f"{_count(broken, 'file')} in '{root}' cannot be read: {_some(broken)}. Repair or "
            "remove them, or leave them out with --skip-broken (skip_broken=True)"
        )
    if targets_asked.kind == "classes":
        _check_broken(root, listing, broken)
    good = [row for row, picture in enumerate(pictures) if picture.name not in failures]
    kept = [pictures[row] for row in good]
    targets = _targets(root, listing, kept, target_kind)
    if failures:  # they had their say in the common shape, and must not
        first_shape = image_shape
        image_shape, shape_notes = _choose_shape(kept, headers, image_size, channels)
        if image_shape != first_shape:
            pictures, good = kept, range(len(kept))
            images, digests, decoding_notes = decoded(pictures)
    keys = [digest for row in good if isinstance(digest := digests[row], bytes)]
    source = Source(
        class_names=targets.names,
        image_shape=image_shape,
        labels=targets.values,
        given=_given(kept),
        images=_stream(kept, image_shape, reading, index) if images is None else _of(images, good),
        digest=_digest(kept, keys),
        origins=tuple(picture.name for picture in kept),
        notes=(
            *listing.notes,
            *targets.notes,
            *shape_notes,
            *resize_notes,
            *white_notes,
            *decoding_notes,
            *_several_frames(headers, kept),
            *_notes(listing, broken, kept, targets.kind),
        ),
        keys=tuple(keys),
        reading=reading,
        kind=targets.kind,
        cache=index.directory,
    )
    return source, Report(headers, broken, listing.foreign, tuple(sorted(listing.others)))


def _targets(
    root: pathlib.Path | str, listing: Listing, kept: list[Picture], asked: str
) -> Targets:
    """What there is to say of the pictures; UserError when that makes no task."""
    asked = "classes" if asked == "auto" and not listing.labelled else asked
    try:
        targets = targets_of([picture.class_name for picture in kept], asked, listing.numbered)
    except UserError as error:
        if not kept:
            _check_classes(root, listing, kept)
        raise UserError(f"'{root}': {error}") from error
    if targets.kind == "classes":
        _check_classes(root, listing, kept)
    return targets


def _check_classes(root: pathlib.Path | str, listing: Listing, kept: list[Picture]) -> None:
    """UserError when the classes do not make a classification task."""
    found = {split: {p.class_name for p in kept if p.split == split} for split in _splits(listing)}
    classes = sorted(found["train" if listing.splits else None])
    if not kept:
        seen = ""
        if listing.foreign:
            todo = formats.advice(listing.foreign.values())
            seen = f"; it holds {_some(listing.foreign)}: {todo}"
        seen = seen or (f"; {_some(listing.broken)}" if listing.broken else "")
        where = "" if isinstance(root, str) else "the class folders of "
        raise UserError(f"no pictures ({', '.join(formats.NAMES)}) in {where}'{root}'{seen}")
    _check_foreign(root, listing)
    if len(classes) < 2:
        where = f"'{root}'" if not listing.splits else f"the train/ of '{root}'"
        needed = "classes" if isinstance(root, str) else "folders"
        raise UserError(
            f"{where} has pictures of {_count(classes, 'class', 'classes')}"
            f"{': ' + classes[0] if classes else ''}; a classifier needs two {needed} or more"
        )
    for split in listing.splits:
        unknown = sorted(found[split] - set(classes))
        if unknown:
            raise UserError(
                f"the {split} split of '{root}' has classes that train/ lacks: {_some(unknown)}"
            )


def _check_foreign(root: pathlib.Path | str, listing: Listing) -> None:
    """A class whose pictures are all in formats that are not read would vanish."""
    for name in listing.empty:
        unread = {k: v for k, v in listing.foreign.items() if k.startswith(f"{name}/")}
        if unread:
            kinds = sorted(set(unread.values()))
            raise UserError(
                f"all {len(unread):,} pictures of class folder '{name}' in '{root}' are "
                f"{', '.join(kinds)}, which is not read, and the class would be missing: "
                f"{formats.advice(kinds)}, or remove the folder"
            )


def _check_broken(root: pathlib.Path | str, listing: Listing, broken: dict[str, str]) -> None:
    """A class whose pictures are all left out as broken would vanish, too."""
    lost = collections.Counter(p.class_name for p in listing.pictures if p.name in broken)
    every = collections.Counter(p.class_name for p in listing.pictures)
    gone = {name: count for name, count in lost.items() if count == every[name]}
    for name in listing.empty:
        gone[name] = sum(file.startswith(f"{name}/") for file in broken)
    for name, count in gone.items():
        if count:
            raise UserError(
                f"all {count:,} pictures of class '{name}' in '{root}' are unreadable, and the "
                f"class would be missing: {_some(broken)}. Repair them, or remove the class"
            )


def _find_white(pictures: list[Picture], index: FolderIndex) -> tuple[int | None, list[str]]:
    """The level of 16-bit pictures that is to become 255, if it is not the highest possible.

    Sensors of 10, 12 or 14 bits use the lower part of the range: by their upper byte, as other
    pictures of 16 bits are read, all of them would be nearly black.
    """
    deep = [picture for picture in pictures if picture.bits == 16]
    if not deep:
        return None, []

    def highest(path: str) -> int:
        try:
            suffix = pathlib.PurePath(path).suffix
            contents = decodable(index.read(path), suffix, graph=formats.DECODED)
            with tf.device("CPU:0"):
                return int(tf.reduce_max(sixteen_bits(contents)))
        except (OSError, NoPicture, tf.errors.OpError):  # said when it is decoded
            return 0

    found = index.highest(deep, highest)
    white = 2 ** max(found.bit_length(), 1) - 1
    if white >= 2**_MOST_BITS:  # pictures of 16 bits that happen to be dark
        return None, []
    return white, [
        f"{_count(deep, 'picture')} of 16 bits use {white.bit_length()} of them (levels 0 to "
        f"{found}): level {white} was taken for white (255 of 8 bits)"
    ]


def _splits(listing: Listing) -> list[str | None]:
    return list(listing.splits) or [None]


def _choose_shape(
    pictures: list[Picture], headers: dict[str, Header], image_size: ImageSize, channels
) -> tuple[tuple[int, int, int], list[str]]:
    known = [headers[picture.name] for picture in pictures if picture.name in headers]
    depth, notes = asked_channels(channels), []
    if callable(image_size):
        size = asked_size(image_size(median_side((each.height, each.width) for each in known)))
    else:
        size = asked_size(image_size)
    if size is None:
        size, note = common_size((header.height, header.width) for header in known)
        notes = [note] if note else []
    if depth is None:
        depth = 1 if known and all(header.grey for header in known) else 3
    return (*size, depth), notes


def _choose_resize(
    resize: str, headers: dict[str, Header], image_shape: tuple[int, int, int]
) -> tuple[str, list[str]]:
    """What "auto" means here, and what should be known of it."""
    if resize not in (*RESIZES, "auto"):
        raise UserError(f"resize {resize!r}: it is one of {', '.join((*RESIZES, 'auto'))}")
    if resize != "auto" or not headers:
        return "stretch" if resize == "auto" else resize, []
    wanted = image_shape[1] / image_shape[0]
    ratios = np.array([header.width / header.height for header in headers.values()])
    other = np.maximum(ratios, wanted) / np.minimum(ratios, wanted) > _LOPSIDED
    if other.mean() <= _SOME:
        return "stretch", []
    return "fit", [
        f"{int(other.sum()):,} of {len(ratios):,} pictures have another aspect ratio than "
        f"{image_shape[1]}:{image_shape[0]}: they keep it, between black bars (--resize crop cuts "
        "them, --resize stretch squashes them)"
    ]


def _of(images, rows):
    """The graph function `images` for these rows alone, under new numbers."""
    with tf.device("CPU:0"):
        lookup = tf.constant(list(rows), tf.int64)
    # Rewriting it takes longer than all the rest of a pipeline.
    return tf.autograph.experimental.do_not_convert(lambda at: images(tf.gather(lookup, at)))


def _stream(
    pictures: list[Picture],
    image_shape: tuple[int, int, int],
    reading: Reading,
    index: FolderIndex,
):
    """A graph function that reads and decodes pictures whenever they are used."""
    reader = index.reader(pictures)
    if reader is not None:
        return _stream_of_shards(reader, image_shape, reading)
    with tf.device("CPU:0"):
        paths = tf.constant([os.fsencode(os.path.abspath(p.path)) for p in pictures])
        by_pillow = tf.constant([picture.format not in formats.DECODED for picture in pictures])
    all_decoded = all(picture.format in formats.DECODED for picture in pictures)

    def converted(path):
        return tf.ensure_shape(
            tf.numpy_function(lambda x: read_picture(x, formats.DECODED), [path], tf.string), []
        )

    def contents_of(row):
        path = paths[row]
        if all_decoded:
            return tf.io.read_file(path)
        return tf.cond(by_pillow[row], lambda: converted(path), lambda: tf.io.read_file(path))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)], autograph=False)
    def images(rows):
        return tf.map_fn(
            lambda row: decode_image(contents_of(row), image_shape, reading),
            rows,
            fn_output_signature=tf.TensorSpec(image_shape, tf.uint8),
        )

    return images


def _stream_of_shards(reader: Reader, image_shape: tuple[int, int, int], reading: Reading):
    def contents_of(rows):
        return np.array(reader(rows), object)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)], autograph=False)
    def images(rows):
        # One call for all rows: the files are read outside of the graph.
        contents = tf.numpy_function(contents_of, [rows], tf.string)
        return tf.map_fn(
            lambda content: decode_image(tf.ensure_shape(content, []), image_shape, reading),
            tf.ensure_shape(contents, [None]),
            fn_output_signature=tf.TensorSpec(image_shape, tf.uint8),
        )

    return images


def _given(kept: list[Picture]) -> dict[str, np.ndarray]:
    splits = np.array([picture.split or "train" for picture in kept])
    return {str(split): np.flatnonzero(splits == split) for split in np.unique(splits)}


def _digest(kept: list[Picture], digests: list[bytes]) -> bytes:
    # File contents and names, never the place of the folder: it may move and stay the same data.
    total = hashlib.sha256()
    for picture, digest in zip(kept, digests, strict=True):
        total.update(picture.name.encode() + b"\0" + digest)
    return total.digest()


def _several_frames(headers: dict[str, Header], kept: list[Picture]) -> list[str]:
    names = [p.name for p in kept if p.name in headers and headers[p.name].frames > 1]
    if not names:
        return []
    return [
        f"{_count(names, 'picture')} of several pages or frames, of which the first was read: "
        + _some(names)
    ]


def _notes(listing: Listing, broken: dict[str, str], kept: list[Picture], kind: str) -> list[str]:
    notes = []
    if broken:
        notes.append(f"{_count(broken, 'unreadable file')} left out: {_some(broken)}")
    if listing.foreign:
        notes.append(
            f"{_count(listing.foreign, 'picture')} left out, in formats that are not read; "
            f"{formats.advice(listing.foreign.values())}: {_some(listing.foreign)}"
        )
    if listing.others:
        others = sorted(listing.others)
        notes.append(f"{_count(others, 'other file')} left out: {_some(others)}")
    if listing.empty:
        notes.append(f"class folders without a readable picture: {_some(listing.empty)}")
    if kind != "classes":
        return notes
    notes += alike_notes({p.class_name for p in kept}, "classes")
    train = [p.class_name for p in kept if p.split in (None, "train")]
    counts = collections.Counter(train)
    alone = sorted(name for name, count in counts.items() if count == 1)
    if alone:
        notes.append(f"classes of a single picture, which stays in train: {_some(alone)}")
    for split in listing.splits:
        absent = sorted(set(train) - {p.class_name for p in kept if p.split == split})
        if absent:
            notes.append(f"classes without a picture in the {split} split: {_some(absent)}")
    return notes


def _count(things, one: str, many: str | None = None) -> str:
    return f"{len(things):,} {one if len(things) == 1 else many or one + 's'}"


def _some(things: dict[str, str] | list[str]) -> str:
    """The first ten, with their reasons if they have any."""
    items = list(things.items()) if isinstance(things, dict) else [(name, "") for name in things]
    named = ", ".join(f"{name} ({why})" if why else name for name, why in items[:_NAMED])
    return named + (f" and {len(items) - _NAMED:,} more" if len(items) > _NAMED else "")
