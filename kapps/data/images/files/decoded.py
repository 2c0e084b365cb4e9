"""Where the decoded pictures of a folder are kept: on the disk, in memory, or nowhere."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kapps.data.images.files.decode import Reading, decode_image
from kapps.data.images.files.formats import DECODED
from kapps.data.images.files.index import Entry, FolderIndex
from kapps.data.images.files.listing import Picture
from kapps.data.images.files.transcoding import NoPicture, decodable
from kapps.data.pixel_file import NoRoom, Put, open_pixels, write_pixels
from kapps.data.progress import track
from kapps.data.rows import rows_of
from kapps.data.sources.arrays import gather
from kapps.errors import UserError
from kapps.files import in_words

PLACES = ("auto", "memory", "disk", "none")
# "auto" makes a file of pictures in this range, if it takes no more than half of what is free:
# fewer are decoded in a moment, and more should be asked for.
FEWEST, LARGEST = 1000, 32 * 2**30


class Decoded(NamedTuple):
    """Decoded pictures.

    Attributes:
        images: graph function from row numbers, int64 [b], to uint8 [b, H, W, C]; None: they are
            decoded when they are used.
        results: of each picture the sha256 of its file, or why it does not decode.
        notes: what should be known of it.
    """

    images: Callable[[tf.Tensor], tf.Tensor] | None
    results: list[bytes | str]
    notes: list[str]


def decode_pictures(
    pictures: list[Picture],
    image_shape: tuple[int, int, int],
    reading: Reading,
    index: FolderIndex,
    *,
    place: str = "auto",
    memory_limit: int,
) -> Decoded:
    """Decodes pictures, in parallel, unless they were before.

    What is known to decode is not decoded again, but to be kept in memory.

    Args:
        pictures: all of a folder.
        image_shape: (H, W, C) that they get.
        reading: how they get it.
        index: what is known of the files; what is found is noted in it.
        place: where they are kept. "disk": in a file beside the index. "memory". "none": nowhere,
            they are decoded whenever they are used. "auto": in a file from 1,000 pictures to
            32 GiB, if it takes no more than half of the room on the disk; else in memory, if they
            fit; else nowhere.
        memory_limit: bytes that fit in memory.

    Raises:
        UserError: an unknown place, or they have no room in it.
    """
    index.recognize(pictures)
    entries = [index.entry(picture.path) for picture in pictures]
    shape = (len(pictures), *image_shape)
    size = int(np.prod(shape))
    where, notes = _place(place, len(pictures), size, memory_limit, index)
    work = functools.partial(_decode, pictures, entries, index, image_shape, reading)
    if where == "disk":
        try:
            images, results = _through_file(shape, reading, entries, index, work)
            return Decoded(images, results, notes)
        except NoRoom as error:
            if place == "disk":
                raise
            where, notes = "memory" if size <= memory_limit else "none", [str(error)]
    if where == "memory":
        pixels = np.empty(shape, np.uint8)
        results = work(pixels.__setitem__)
        return Decoded(gather(pixels), results, notes)
    return Decoded(None, work(None), notes)


def _place(
    place: str, count: int, size: int, memory_limit: int, index: FolderIndex
) -> tuple[str, list[str]]:
    """Where pictures of so many bytes are kept, and what should be known of it."""
    if place not in PLACES:
        raise UserError(f"decoded {place!r}: it is one of {', '.join(PLACES)}")
    if place == "memory" and size > memory_limit:
        raise UserError(
            f"the decoded pictures take {in_words(size)}, and {in_words(memory_limit)} of memory "
            "are allowed for them: use --decoded disk, or a smaller --image-size"
        )
    if place != "auto":
        return place, []
    if index.directory is not None and count >= FEWEST:
        free = shutil.disk_usage(index.directory).free
        if size <= LARGEST and size <= free // 2:
            return "disk", []
    if size <= memory_limit:
        return "memory", []
    return "none", [
        f"the decoded pictures would take {in_words(size)}: they are decoded again in every epoch, "
        "unless --decoded disk keeps them"
    ]


def _through_file(shape, reading, entries, index, work):
    """Images by row number, and results, from a file that was made before or is made now."""
    size = "x".join(map(str, shape[1:]))
    name = hashlib.sha256(repr((shape[1:], reading)).encode()).hexdigest()[:12]
    path = index.directory / f"{size}-{name}.pixels"
    if all(entry.digest for entry in entries):
        results = _results(entries)
        found = open_pixels(path, shape)
        if found is not None and found[1] == _content(index, results):
            return rows_of(found[0]), results
    results: list[bytes | str] = []

    def fill(put: Put) -> bytes:
        results.extend(work(put))
        return _content(index, results)

    advice = "make room, choose a smaller --image-size, or --decoded none decodes them as needed"
    try:
        write_pixels(path, shape, fill, advice)
        found = open_pixels(path, shape)
    except OSError as error:
        raise UserError(f"'{path}' cannot be written: {error.strerror or error}") from error
    if found is None:
        raise UserError(f"'{path}' was written and cannot be read back")
    return rows_of(found[0]), results


def _results(entries: list[Entry]) -> list[bytes | str]:
    return [entry.failure or entry.digest for entry in entries]


def _content(index: FolderIndex, results: list[bytes | str]) -> bytes:
    """A digest of what a file of pictures was made of, and by what."""
    digest = hashlib.sha256(index.version)
    for result in results:
        digest.update(result if isinstance(result, bytes) else result.encode() + b"\0")
    return digest.digest()


def _decode(
    pictures: list[Picture],
    entries: list[Entry],
    index: FolderIndex,
    image_shape: tuple[int, int, int],
    reading: Reading,
    put: Put | None,
) -> list[bytes | str]:
    """Decodes what has to be: all that decodes if it is `put` somewhere, else what is not known."""
    decode = _decoder(image_shape, reading)

    def one(row: int) -> bytes | str:
        entry = entries[row]
        if entry.failure or (entry.digest and put is None):
            return entry.failure or entry.digest
        try:
            contents = index.read(pictures[row].path)
        except OSError as error:
            return error.strerror or "unreadable"
        digest = hashlib.sha256(contents).digest()
        try:
            image = decode(tf.constant(decodable(contents, graph=DECODED)))
        except NoPicture as error:
            index.note(entry, digest, str(error))
            return str(error)
        except tf.errors.OpError as error:
            reason = f"broken or truncated {pictures[row].format}"
            if isinstance(error, tf.errors.InvalidArgumentError):  # and not a lack of memory
                index.note(entry, digest, reason)
            return reason
        if put is not None:
            put(row, image.numpy())
        index.note(entry, digest)
        return digest

    known = put is None and all(entry.digest for entry in entries)
    if known:
        return _results(entries)
    with ThreadPoolExecutor(max(os.cpu_count() or 1, index.at_once)) as pool:
        results = pool.map(one, range(len(pictures)))
        return list(track(results, "Decoding pictures", len(pictures)))


@functools.lru_cache(maxsize=8)
def _decoder(image_shape: tuple[int, int, int], reading: Reading):
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)])
    def decode(contents):
        with tf.device("CPU:0"):
            return decode_image(contents, image_shape, reading)

    return decode.get_concrete_function()  # traced here, and not by several threads at once
