"""Sizes of pictures from their headers, and the common shape that follows from them."""

import functools
import struct
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from kapps.data.images.files.formats import ANIMATED_WEBP, WEBP
from kapps.data.images.files.listing import Picture
from kapps.data.progress import track
from kapps.errors import UserError

_ORIENTATION_TAG = 0x0112
_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L"}
_LARGEST_KEPT = 512  # pictures all of one size keep it up to here
_LARGEST_PLAIN = 2**24  # pixels; Pillow has its say on huge pictures
_STEP, _SMALLEST, _LARGEST = 32, 32, 224
# A side, (height, width), a function of the images' own side, or theirs.
ImageSize = int | tuple[int, int] | Callable[[int], int] | None


@dataclass(frozen=True, slots=True)
class Header:
    """Size of a picture as it is shown (EXIF orientation applied), and whether it has no colour.

    Attributes:
        height: in pixels.
        width: in pixels.
        grey: whether it has no colour.
        frames: how many, or pages, where the first alone is read.
    """

    height: int
    width: int
    grey: bool
    frames: int = 1


@functools.lru_cache(maxsize=1024)
def shared_header(height: int, width: int, grey: bool, frames: int = 1) -> Header:
    """A header, the same one for many pictures of one size."""
    return Header(height, width, grey, frames)


def measure(pictures: list[Picture]) -> list[Header | None]:
    """Reads the headers; None for a picture whose header Pillow cannot read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow on huge pictures and odd EXIF: not decoded here
        return [
            header_of(picture.path, picture.format)
            for picture in track(pictures, "Reading the sizes of pictures", len(pictures))
        ]


def header_of(file: str | BinaryIO, kind: str) -> Header | None:
    """The header of a picture; None if Pillow cannot read it.

    Args:
        file: its path, or its content.
        kind: its format.
    """
    try:
        with Image.open(file) as image:
            width, height = image.size
            # Pillow has turned the sides of a TIFF and of a HEIC already.
            turned = kind in ("JPEG", WEBP, ANIMATED_WEBP, "AVIF")
            # Without "exif" there, Pillow would decode a PNG to see what follows its pixels.
            turned |= kind == "PNG" and "exif" in image.info
            if turned and image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8):
                width, height = height, width
            counted = kind in ("TIFF", "AVIF", "GIF", "PNG", ANIMATED_WEBP)
            frames = getattr(image, "n_frames", 1) if counted else 1
            return shared_header(height, width, image.mode in _GREY_MODES, frames)
    except Exception:  # Pillow raises many kinds; whether a file is broken the decoder decides
        return None


def plain_header(begin: bytes, kind: str | None) -> Header | None:
    """The header of a JPEG or PNG as nearly all are, without Pillow, which takes ten times as long.

    None: Pillow is to be asked, since the first bytes do not tell, or there is EXIF, an animation
    or anything else that is not usual.

    Args:
        begin: the first bytes of a file.
        kind: its format.
    """
    try:
        found = _plain_jpeg(begin) if kind == "JPEG" else _plain_png(begin) if kind == "PNG" else ()
    except (IndexError, struct.error):  # it goes on behind these bytes
        return None
    if not found or not 0 < found[0] * found[1] <= _LARGEST_PLAIN:
        return None
    return shared_header(*found)


def _plain_jpeg(begin: bytes) -> tuple[int, int, bool] | tuple[()]:
    """(height, width, whether it is grey); ITU-T T.81, annex B."""
    position = 2
    while begin[position] == 0xFF:
        marker, length = begin[position + 1], *struct.unpack_from(">H", begin, position + 2)
        if marker in (0xC0, 0xC1, 0xC2):
            bits, height, width, samples = struct.unpack_from(">BHHB", begin, position + 4)
            return (height, width, samples == 1) if bits == 8 and samples in (1, 3) else ()
        # JFIF, Adobe, tables, a comment.
        if marker not in (0xE0, 0xEE, 0xDB, 0xC4, 0xDD, 0xFE):
            return ()
        position += 2 + length
    return ()


def _plain_png(begin: bytes) -> tuple[int, int, bool] | tuple[()]:
    """(height, width, whether it is grey); PNG, third edition, sections 5 and 11.2.1."""
    width, height, bits, colour = struct.unpack_from(">IIBB", begin, 16)
    if begin[12:16] != b"IHDR" or bits != 8 or colour not in (0, 2, 4, 6):
        return ()
    position = 33
    while True:
        length, name = struct.unpack_from(">I4s", begin, position)
        if name == b"IDAT":
            return height, width, colour in (0, 4)
        if name not in (b"gAMA", b"sRGB", b"pHYs", b"tIME", b"cHRM", b"bKGD", b"tEXt"):
            return ()
        position += 12 + length


def common_size(sizes: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], str | None]:
    """One (height, width) for pictures of these sizes, and a note when it had to be chosen.

    Pictures all of one size, no side above 512, keep it; others get a square whose side is the
    median of all sides, rounded to a multiple of 32 and kept within 32 to 224.
    """
    sizes = list(sizes)
    if not sizes:
        raise UserError("the size of no picture could be read; give image_size")
    if len(set(sizes)) == 1 and max(sizes[0]) <= _LARGEST_KEPT:
        return sizes[0], None
    median = float(np.median(np.asarray(sizes)))
    side = int(np.clip(round(median / _STEP) * _STEP, _SMALLEST, _LARGEST))
    note = (
        f"pictures were resized to {side}x{side} (sides run from {np.min(sizes)} to "
        f"{np.max(sizes)} pixels, median {median:g}); image_size chooses another size"
    )
    return (side, side), note


def median_side(sizes: Iterable[tuple[int, int]]) -> int:
    """The median of the longer sides of pictures of these sizes.

    Raises:
        UserError: there are none.
    """
    sides = [max(size) for size in sizes]
    if not sides:
        raise UserError("the size of no picture could be read; give image_size")
    return round(float(np.median(sides)))


def asked_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    """Checks the `image_size` argument: a side, or (height, width).

    Raises:
        UserError: it is neither, or not positive.
    """
    if image_size is None:
        return None
    size = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size,) * 2
    if len(size) != 2 or not all(isinstance(side, int) and side > 0 for side in size):
        raise UserError(f"image_size wants a side or (height, width) in pixels, not {image_size!r}")
    return size


def asked_channels(channels: int | None) -> int | None:
    """Checks the `channels` argument.

    Raises:
        UserError: it is neither 1, 3 nor None.
    """
    if channels not in (None, 1, 3):
        raise UserError(f"channels wants 1 (grey) or 3 (colour), not {channels!r}")
    return channels
