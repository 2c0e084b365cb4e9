"""Pictures of one split that are, almost, in another: saved again, resized, brighter."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kapps import files
from kapps.data.images.dataset import ImageData, Split

SIDE = 16  # of the thumbnails that are compared
# Pictures whose thumbnails are in memory at a time, 3 kB each: those that are looked up (for more
# of them all others are gone through again), those they are compared with, and of the former those
# that are multiplied together; and bytes of pictures that are read together.
_TOGETHER, _BLOCK, _CHUNK, _READ = 40_000, 4096, 512, 2**22


class NearDuplicate(NamedTuple):
    """A picture and its twin.

    Attributes:
        row: of the picture, in the split that was asked about.
        twin: row of the most similar picture of the other split.
        difference: root mean square over the thumbnails, in grey levels of 0..255.
    """

    row: int
    twin: int
    difference: float


def near_duplicates(
    split: Split, other: Split, *, brightness: float = 32.0, share: float = 0.1
) -> list[NearDuplicate]:
    """The pictures of `split` that `other` has too, ordered by row.

    Thumbnails of 16x16 pixels are compared, each without its mean grey level, so that another size,
    a recompression, some noise or another brightness does not hide a twin. Two pictures are twins
    if these differ by at most `share` of the picture's own contrast (the standard deviation over
    its thumbnail), and their mean grey levels by at most `brightness`, and by no more than the
    contrast: two faint pictures are not twins because they are faint. Plain pictures of one colour
    are twins of each other.

    Of Fashion-MNIST, 28 pixels wide, all copies are found that are 20 levels brighter, 84 % of
    those saved as JPEG of quality 50, half of those of quality 30, and 4 % of those enlarged
    twice; unseen pictures are never nearer than 0.105 of their contrast. Mirrored, turned and
    cropped copies are not found.

    The work grows with the product of the sizes: 10,000 pictures against 60,000 are 10^11
    multiplications. The memory does not: thumbnails are compared by blocks.

    Args:
        split: whose pictures are looked up.
        other: where they are looked for.
        brightness: largest difference of mean grey levels.
        share: largest difference of the rest, as a part of the contrast.
    """
    starts = range(0, len(split) if len(other) else 0, _TOGETHER)
    return [
        twin
        for start in starts
        for twin in _twins(
            split, range(start, min(start + _TOGETHER, len(split))), other, brightness, share
        )
    ]


def twins_in_train(images: ImageData) -> list[NearDuplicate]:
    """The test pictures that the training split has too; looked for once, where there is a cache.

    Args:
        images: the data.
    """
    test, train = images.splits["test"], images.splits["train"]
    if images.cache is None:
        return near_duplicates(test, train)
    path = images.cache / f"twins-{_key(images)}.json"
    try:
        return [NearDuplicate(*row) for row in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError):
        found = near_duplicates(test, train)
    with contextlib.suppress(OSError):  # a full disk, or the folder's cache was deleted
        files.write_json(path, [list(twin) for twin in found])
    return found


def _twins(
    split: Split, rows: range, other: Split, brightness: float, share: float
) -> Iterator[NearDuplicate]:
    """Twins of some pictures of a split, all of whose thumbnails are in memory."""
    shapes, level, contrast = _described(split, rows)
    nearest = np.zeros(len(shapes), np.int64)
    least = np.full(len(shapes), np.inf, np.float32)
    for begin in range(0, len(other), _BLOCK):
        centred = _thumbnails(other, range(begin, min(begin + _BLOCK, len(other))))
        centred -= centred.mean(axis=1)[:, None]
        norms = np.einsum("ij,ij->i", centred, centred)
        for at in range(0, len(shapes), _CHUNK):
            part = slice(at, at + _CHUNK)
            # |a - b|^2 without its term of a, which does not move the minimum.
            apart = norms - 2 * (shapes[part] @ centred.T)
            here = np.argmin(apart, axis=1)
            value = apart[np.arange(len(here)), here]
            better = value < least[part]
            least[part] = np.where(better, value, least[part])
            nearest[part] = np.where(better, begin + here, nearest[part])
    limit = share * contrast + 0.5
    norms = np.einsum("ij,ij->i", shapes, shapes)
    # What may be a twin is compared exactly: the difference of large numbers above is not exact.
    perhaps = np.flatnonzero(least + norms <= shapes.shape[1] * np.square(limit + 1.0))
    for at in range(0, len(perhaps), _CHUNK):
        chosen = perhaps[at : at + _CHUNK]
        asked, twins = _thumbnails(split, rows[0] + chosen), _thumbnails(other, nearest[chosen])
        twin_level = twins.mean(axis=1)
        rest = shapes[chosen] - (twins - twin_level[:, None])
        rest = np.sqrt(np.mean(np.square(rest), axis=1))
        apart = np.abs(level[chosen] - twin_level)
        alike = apart <= np.minimum(brightness, contrast[chosen] + 0.5)
        difference = np.sqrt(np.mean(np.square(asked - twins), axis=1))
        for i in np.flatnonzero(alike & (rest <= limit[chosen])):
            row = int(chosen[i])
            yield NearDuplicate(rows[row], int(nearest[row]), float(difference[i]))


def _described(split: Split, rows: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thumbnails less their mean [n, 16 * 16 * channels], these means [n], and contrasts [n]."""
    shapes, level, contrast = None, np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
    for at in range(0, len(rows), _CHUNK):
        part = slice(at, at + _CHUNK)
        found = _thumbnails(split, rows[part])
        shapes = np.empty((len(rows), found.shape[1]), np.float32) if shapes is None else shapes
        level[part] = found.mean(axis=1)
        contrast[part] = found.reshape(len(found), SIDE * SIDE, -1).std(axis=1).mean(axis=1)
        np.subtract(found, level[part, None], out=shapes[part])
    return np.empty((0, 0), np.float32) if shapes is None else shapes, level, contrast


def _thumbnails(split: Split, rows: range | np.ndarray) -> np.ndarray:
    """float32 [n, 16 * 16 * channels], 0..255."""
    found, at, step = np.empty((len(rows), 0), np.float32), 0, 1
    while at < len(rows):
        pictures = split.take(rows[at : at + step])
        part = tf.image.resize(pictures, (SIDE, SIDE), "area").numpy().reshape(len(pictures), -1)
        if not at:  # all at once, and no copy of all parts at the end
            found = np.empty((len(rows), part.shape[1]), np.float32)
        found[at : at + step] = part
        at += step
        # What is freed of larger pieces, each thread keeps for itself.
        step = min(max(_READ // pictures[0].nbytes, 1), _CHUNK)
    return found


def _key(images: ImageData) -> str:
    """What the twins depend on: the pictures, and which of them are in the two splits."""
    digest = hashlib.sha256(f"{images.fingerprint} {images.reading}".encode())
    for name in ("test", "train"):
        # A class may have been left out after loading, which the fingerprint does not show.
        split = images.splits[name]
        digest.update(f"{len(split)} {split.origins}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:24]
