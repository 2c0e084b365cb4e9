"""`tfrecord:PATTERN` and `webdataset:PATTERN`: images in shards, with a label each.

Every shard is gone through once. Where each image lies in it is kept, beside what else is known of
the images, so that they are read one by one as the files of a folder are: in any order, by any
process, and no more of them are in memory than a batch has.
"""

from __future__ import annotations

import bisect
import functools
import io
import os
import pathlib
import unicodedata
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from kapps.data.images.dataset import Source
from kapps.data.images.files import formats, shard_table
from kapps.data.images.files.folder import Report, read_listed
from kapps.data.images.files.headers import Header, ImageSize, header_of
from kapps.data.images.files.index import SETTLED, Entry, FolderIndex, Reader, kept_index
from kapps.data.images.files.listing import Listing, Picture, classify
from kapps.data.images.files.shard_labels import name_classes
from kapps.data.images.files.shard_table import Shard
from kapps.data.images.files.starts import START
from kapps.data.images.files.transcoding import decodable
from kapps.data.progress import track
from kapps.data.shards import patterns, splits as splits_by_name, storage, tfrecord, webdataset
from kapps.data.shards.records import Found
from kapps.data.shards.storage import Stamp
from kapps.errors import UserError

_ENDINGS = frozenset(ending.removeprefix(".") for ending in formats.EXTENSIONS)
_SCANS = {
    "tfrecord": tfrecord.scan,
    "webdataset": functools.partial(webdataset.scan, image_endings=_ENDINGS),
}
_NAMED = 5  # shards named in a note


class _Seen(NamedTuple):
    """What a look at the content of an image tells."""

    start: bytes
    format: str
    bits: int = 8
    header: Header | None = None


class _Place(NamedTuple):
    """Where an image lies."""

    shard: str
    offset: int
    length: int
    stamp: Stamp


class ShardIndex(FolderIndex):
    """What is known of the images in shards; see `FolderIndex`.

    Args:
        root: a name for the pattern.
        directory: where the index is kept; None: nowhere.
    """

    def __init__(self, root: str, directory: pathlib.Path | None = None):
        super().__init__(root, directory)
        self._prefix = ""
        self._places: dict[str, _Place] = {}
        self._fresh: dict[str, _Seen] = {}
        table = None if directory is None else directory / "shards.npz"
        self._shards = {} if table is None else shard_table.read_table(table, self.version)
        self._written = set(self._shards)

    def shards(
        self, kind: str, paths: list[str], splits: list[str | None]
    ) -> list[tuple[Shard, dict[str, _Seen]]]:
        """What is in shards, and what was seen of the images of those that are new.

        Args:
            kind: of shards.
            paths: of them.
            splits: the split of each.

        Raises:
            UserError: one is no such shard, or holds no images with labels where it should.
        """
        self.at_once = storage.of(paths[0]).at_once
        stamps = [storage.of(path).stamp(path) for path in paths]

        def known_or_scanned(path: str, split: str | None, stamp: Stamp):
            known = self._shards.get(path)
            if known is not None and known.stamp == stamp:
                return known, {}
            return _scan(kind, path, stamp, needs_label=split in (None, "train"))

        with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
            warnings.simplefilter("ignore")  # Pillow on huge pictures and odd EXIF
            found = pool.map(known_or_scanned, paths, splits, stamps)
            shards = list(track(found, "Going through shards", len(paths)))
        self._shards = {path: shard for path, (shard, _) in zip(paths, shards, strict=True)}
        return shards

    def place(self, path: str, where: _Place, seen: _Seen | None) -> None:
        """Notes where an image lies, and what was seen of it."""
        self._places[path] = where
        if seen is not None:
            self._fresh[path] = seen

    def stamp(self, path: str) -> Stamp:
        """That of the shard, with the length of the image in the place of its size."""
        where = self._places[path]
        return where.length, *where.stamp[1:]

    def look(self, path: str, stamp: Stamp) -> Entry:
        """What a first look at an image tells: its header, too, if its content was just seen."""
        seen = self._fresh.pop(path, None)
        if seen is not None:
            return Entry(stamp, seen.start, measured=True, header=seen.header)
        content = self.read(path)
        return Entry(stamp, content[:START], True, header_of(io.BytesIO(content), _sniff(content)))

    def read(self, path: str) -> bytes:
        """The content of an image.

        Raises:
            OSError: it cannot be read.
        """
        where = self._places[path]
        return storage.of(where.shard).read(where.shard, where.offset, where.length)

    def exists(self, name: str) -> bool:
        """Whether the image of an entry is still there."""
        return name in self._places

    def reader(self, pictures: list[Picture]) -> Reader:
        """What reads these images while a network is trained."""
        places = [self._places[picture.path] for picture in pictures]
        shards = sorted({place.shard for place in places})
        numbers = np.array([bisect.bisect_left(shards, p.shard) for p in places], np.int32)
        offsets = np.array([place.offset for place in places], np.int64)
        lengths = np.array([place.length for place in places], np.int64)
        plain = np.array([picture.format in formats.DECODED for picture in pictures])
        return _RowReader(shards, numbers, offsets, lengths, plain)

    def save(self) -> None:
        """Writes what is known; a full disk is no misfortune."""
        super().save()
        if self.directory is None or self._written == set(self._shards) and not self._changed:
            return
        settled = {
            path: shard
            for path, shard in self._shards.items()
            if self._begun - max(shard.stamp[1:]) > SETTLED and shard.names
        }
        if settled:
            try:
                shard_table.write_table(self.directory / "shards.npz", self.version, settled)
            except OSError:
                pass


class _RowReader:
    """Contents of images by their row numbers; called from threads of the input pipeline."""

    def __init__(self, shards: list[str], numbers, offsets, lengths, plain):
        self._shards, self._numbers = shards, numbers
        self._offsets, self._lengths, self._plain = offsets, lengths, plain
        at_once = storage.of(shards[0]).at_once if shards else 1
        self._pool = ThreadPoolExecutor(at_once) if at_once > 1 else None

    def __call__(self, rows: np.ndarray) -> list[bytes]:
        """The contents, in formats that the graph decodes."""
        return list((self._pool.map if self._pool else map)(self._one, rows.tolist()))

    def _one(self, row: int) -> bytes:
        shard = self._shards[self._numbers[row]]
        offset, length = int(self._offsets[row]), int(self._lengths[row])
        content = storage.of(shard).read(shard, offset, length)
        return content if self._plain[row] else decodable(content, graph=formats.DECODED)


def read_shards(
    kind: str,
    pattern: str,
    image_size: ImageSize,
    channels: int | None,
    skip_broken: bool,
    memory_limit: int,
    resize: str = "stretch",
    target_kind: str = "classes",
    place: str = "auto",
    cache: pathlib.Path | None = None,
) -> tuple[Source, Report]:
    """Reads the images of shards; every one is decoded once, so that broken ones are found.

    Args:
        kind: one of `patterns.KINDS`.
        pattern: which files, see `patterns.find_shards`.
        image_size: as `load` has it, and so have those that follow.
        channels: likewise.
        skip_broken: likewise.
        memory_limit: likewise.
        resize: likewise.
        target_kind: likewise.
        place: where decoded images are kept, see `decode_pictures`.
        cache: the cache directory; None keeps nothing on the disk.

    Raises:
        UserError: there are no such shards, they are compressed, or hold no images with labels
            under the names that are known; or as `read_folder`.
    """
    identity = patterns.identity(kind, pattern)
    with kept_index(ShardIndex, identity, cache, needed=place == "disk") as index:
        listing, target_kind = list_shards(kind, pattern, index, target_kind)
        return read_listed(
            f"{kind}:{pattern}",
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


def list_shards(
    kind: str, pattern: str, index: ShardIndex, target_kind: str = "classes"
) -> tuple[Listing, str]:
    """The images in shards, in the order of the shards, and what kind of targets they have.

    Args:
        kind: of shards.
        pattern: which files.
        index: what is known of them; it learns where each image lies.
        target_kind: as `load` has it.

    Raises:
        UserError: as `read_shards`.
    """
    paths = patterns.find_shards(kind, pattern)
    names = splits_by_name.short_names(paths)
    splits = splits_by_name.splits_of(names)
    shards = index.shards(kind, paths, splits)
    listing = Listing(labelled=True)
    listing.splits += [s for s in ("train", "validation", "test") if s in splits]
    unlabelled = _without_labels(listing, splits, [shard for shard, _ in shards])
    pictures, labels, texts = [], [], []
    for path, name, split, (shard, seen) in zip(paths, names, splits, shards, strict=True):
        if split in unlabelled:
            continue
        for fault, reason in shard.faults.items():
            listing.broken[_clean(f"{name}/{fault}")] = reason
        for row, inner in enumerate(shard.names):
            own = f"{name}/{inner}"
            index.place(
                own,
                _Place(path, shard.offsets[row], shard.lengths[row], shard.stamp),
                seen.get(inner),
            )
            picture = Picture(own, _clean(own), "", split, shard.formats[row], shard.bits[row])
            if not shard.formats[row]:
                listing.broken[picture.name] = "not the content of a picture"
            elif not shard.labels[row]:
                listing.broken[picture.name] = "no label"
            else:
                pictures.append(picture)
                labels.append(shard.labels[row])
                texts.append(shard.texts[row])
    empty = [n for n, (s, _) in zip(names, shards, strict=True) if not s.names and not s.faults]
    if empty:
        listing.notes.append(
            f"{len(empty):,} of {len(names):,} shards hold no images: {', '.join(empty[:_NAMED])}"
        )
    told = name_classes(f"{kind}:{pattern}", paths, labels, texts, target_kind)
    listing.numbered = told.numbered
    listing.notes += told.notes
    _sort_out(f"{kind}:{pattern}", listing, pictures, told.names)
    return listing, told.kind


def _sort_out(spec: str, listing: Listing, pictures: list[Picture], names: list[str]) -> None:
    """Pictures with their classes; those that nothing reads apart.

    Raises:
        UserError: all pictures of a class are of a kind that is not read.
    """
    lost: dict[str, str] = {}
    for picture, name in zip(pictures, names, strict=True):
        name = unicodedata.normalize("NFC", name)
        if picture.format.startswith("!"):
            listing.foreign[picture.name] = lost[name] = picture.format[1:]
            continue
        listing.pictures.append(
            Picture(picture.path, picture.name, name, picture.split, picture.format, picture.bits)
        )
    gone = sorted(set(lost) - {picture.class_name for picture in listing.pictures})
    if gone and listing.pictures:
        raise UserError(
            f"all pictures of class '{gone[0]}' in '{spec}' are {lost[gone[0]]}, which is not "
            f"read, and the class would be missing: {formats.advice([lost[gone[0]]])}"
        )


def _without_labels(
    listing: Listing, splits: list[str | None], shards: list[Shard]
) -> set[str | None]:
    """Splits other than train of which no image has a label: they are left out, and noted."""
    found: set[str | None] = set()
    for split in listing.splits[:]:
        own = [shard for shard, s in zip(shards, splits, strict=True) if s == split]
        images = sum(len(shard.names) for shard in own)
        if split != "train" and images and not any(any(shard.labels) for shard in own):
            listing.splits.remove(split)
            listing.notes.append(
                f"the {images:,} images of the {split} split have no labels and were left out"
            )
            found.add(split)
    return found


def _scan(
    kind: str, path: str, stamp: Stamp, *, needs_label: bool
) -> tuple[Shard, dict[str, _Seen]]:
    """Goes through a shard; what was seen of its images by their names in it."""
    shard, seen = Shard(stamp), {}
    with storage.of(path).open(path) as file:
        try:
            for found in _SCANS[kind](path, file, stamp[0], _look, needs_label=needs_label):
                _add(shard, found, seen)
        except UserError:
            raise
        except Exception as error:  # clients of stores raise errors of their own kinds
            if storage.is_local(path) and not isinstance(error, OSError):
                raise
            raise UserError(f"'{path}' cannot be read: {error}") from error
    return shard, seen


def _add(shard: Shard, found: Found, seen: dict[str, _Seen]) -> None:
    if found.fault:
        shard.faults[found.name] = found.fault
        return
    shard.names.append(found.name)
    shard.offsets.append(found.offset)
    shard.lengths.append(found.length)
    shard.labels.append((found.label or "").replace("\0", ""))
    shard.texts.append((found.text or "").replace("\0", ""))
    shard.formats.append(found.seen.format)
    shard.bits.append(found.seen.bits)
    seen[found.name] = found.seen


def _look(content: bytes) -> _Seen:
    start, file = content[:START], io.BytesIO(content)
    kind, foreign, bits = classify(start, "", file)
    if kind is None:
        return _Seen(start, f"!{foreign}" if foreign else "")
    return _Seen(start, kind, bits, header_of(io.BytesIO(content), kind))


def _sniff(content: bytes) -> str:
    return formats.sniff(content[:START]) or ""


def _clean(name: str) -> str:
    # Names in a tar file are bytes; those that are not UTF-8 could not be printed.
    return os.fsencode(name).decode("utf-8", "replace")
