"""Where the decoded pictures of a folder are kept: on the disk, in memory, or nowhere."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kapps.data.images.files.decode import Reading, decode_image, decode_kind, may_be_turned
from kapps.data.images.files.formats import DECODED, sniff
from kapps.data.images.files.index import Entry, FolderIndex
from kapps.data.images.files.listing import Picture
from kapps.data.images.files.starts import START
from kapps.data.images.files.transcoding import NoPicture, decodable
from kapps.data.pipeline import without_autotune
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
_CORES = os.cpu_count() or 1
_TOGETHER, _CHUNK = 16, 2**20  # files or pictures handed on together, and bytes, at most


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
    results: list[bytes | str] = [
        entry.failure or (entry.digest if put is None else b"") for entry in entries
    ]
    rows = [row for row, result in enumerate(results) if not result]
    if not rows:
        return results
    work = _Decoding(pictures, entries, index, image_shape, reading, put, results)
    for _ in track(work.decode(rows), "Decoding pictures", len(rows)):
        pass
    return results


class _Decoding:
    """Files that are decoded: many by one graph, and what that one refuses with care, one by one.

    Its arguments are those of `_decode`, and `results`, which are filled in.
    """

    def __init__(self, pictures, entries, index, image_shape, reading, put, results):
        self._pictures, self._entries, self._index = pictures, entries, index
        self._shape, self._reading, self._put = image_shape, reading, put
        self._results, self._digests, self._turned = results, {}, []

    def decode(self, rows: list[int]) -> Iterator[int]:
        """Gives the rows as they are done, in any order."""
        kinds: dict[str, list[int]] = {}
        for row in rows:
            kind = self._pictures[row].format
            kinds.setdefault(kind if kind in DECODED else "PNG", []).append(row)
        for kind, of_kind in kinds.items():
            yield from self._in_bulk(of_kind, kind, upright=True)
            turned, self._turned = sorted(self._turned), []
            yield from self._in_bulk(turned, kind, upright=False)
        rest = [row for row in rows if not self._results[row]]
        if rest:
            _decoder(self._shape, self._reading)  # traced here, and not by several threads at once
            with ThreadPoolExecutor(max(_CORES, self._index.at_once)) as pool:
                yield from pool.map(self._with_care, rest)

    def _in_bulk(self, rows: list[int], kind: str, *, upright: bool) -> Iterator[int]:
        """Decodes files of one format; those that fail are passed over."""
        if not rows:
            return
        for numbers, images in self._images(rows, kind, upright).as_numpy_iterator():
            for row, image in zip(numbers.tolist(), images, strict=True):
                if self._put is not None:
                    self._put(row, image)
                self._results[row] = digest = self._digests.pop(row)
                self._index.note(self._entries[row], digest)
                yield row

    def _images(self, rows: list[int], kind: str, upright: bool) -> tf.data.Dataset:
        """(row numbers int64 [b], uint8 [b, H, W, C]) of what decodes, in any order."""

        def read(start, stop):
            chunk = rows[start:stop]
            contents = [self._content(row, kind, upright) for row in chunk]
            return np.array(chunk, np.int64), np.array(contents, object)

        def read_chunk(bounds):
            numbers, contents = tf.numpy_function(read, tf.unstack(bounds), [tf.int64, tf.string])
            return tf.ensure_shape(numbers, [None]), tf.ensure_shape(contents, [None])

        def decode(row, content):
            return row, decode_kind(content, kind, self._shape, self._reading, upright=upright)

        # Without a rewriting of these functions, which takes longer than to build their graphs.
        plain, at_once = tf.autograph.experimental.do_not_convert, self._index.at_once
        bounds = _chunks([self._entries[row].stamp[0] for row in rows], at_once)
        together = max(1, min(_TOGETHER, _CHUNK // math.prod(self._shape)))
        options = tf.data.Options()
        if at_once > 1:  # threads that wait for an answer decode nothing
            options.threading.private_threadpool_size = at_once + _CORES
        with tf.device("CPU:0"):
            chunks = tf.data.Dataset.from_tensor_slices(bounds)
            files = chunks.map(plain(read_chunk), max(_CORES, at_once), deterministic=False)
            images = files.unbatch().map(plain(decode), _CORES, deterministic=False)
            images = images.ignore_errors().batch(together).prefetch(1)
            return without_autotune(images.with_options(options))

    def _content(self, row: int, kind: str, upright: bool) -> bytes:
        """The content of a file, noted by its digest; nothing of one that is not to be decoded."""
        try:
            contents = self._index.read(self._pictures[row].path)
            self._digests[row] = hashlib.sha256(contents).digest()
            contents = decodable(contents, graph=DECODED)
        except (OSError, NoPicture):  # said by `_with_care`
            return b""
        if sniff(contents[:START]) != kind:
            return b""
        if upright and may_be_turned(contents, kind):
            self._turned.append(row)
            return b""
        return contents

    def _with_care(self, row: int) -> int:
        """Decodes a file, or finds out why not."""
        picture, entry = self._pictures[row], self._entries[row]
        self._results[row] = self._result_of(picture, entry, row)
        return row

    def _result_of(self, picture: Picture, entry: Entry, row: int) -> bytes | str:
        try:
            contents = self._index.read(picture.path)
        except OSError as error:
            return error.strerror or "unreadable"
        digest = hashlib.sha256(contents).digest()
        decode = _decoder(self._shape, self._reading)
        try:
            image = decode(tf.constant(decodable(contents, graph=DECODED)))
        except NoPicture as error:
            self._index.note(entry, digest, str(error))
            return str(error)
        except tf.errors.OpError as error:
            reason = f"broken or truncated {picture.format}"
            if isinstance(error, tf.errors.InvalidArgumentError):  # and not a lack of memory
                self._index.note(entry, digest, reason)
            return reason
        if self._put is not None:
            self._put(row, image.numpy())
        self._index.note(entry, digest)
        return digest


def _chunks(sizes: list[int], at_once: int) -> np.ndarray:
    """Files that are read one after the other by one thread: int64 [n, 2], first and behind last.

    Args:
        sizes: of the files in bytes.
        at_once: how many are worth while to be read at the same time: then each for itself.
    """
    begins, size = [0], 0
    for row, own in enumerate(sizes):
        if row > begins[-1] and (
            at_once > 1 or size + own > _CHUNK or row - begins[-1] == _TOGETHER
        ):
            begins.append(row)
            size = 0
        size += own
    return np.array([begins, [*begins[1:], len(sizes)]], np.int64).T


@functools.lru_cache(maxsize=8)
def _decoder(image_shape: tuple[int, int, int], reading: Reading):
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def decode(contents):
        with tf.device("CPU:0"):
            return decode_image(contents, image_shape, reading)

    return decode.get_concrete_function()
