"""Pictures that TensorFlow's graph does not read: Pillow makes PNGs of them, without loss.

So that EXIF orientation, palettes, transparency and 16 bits are treated in one place, the decoder
(`kapps.data.images.files.decode`), whatever the format. Of several pages or frames the first is
read.
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import pathlib
from collections.abc import Container
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from kapps.data.images.files import formats

_DARK = 64  # of 255: brighter somewhere, if a picture uses all of its 16 bits
_WHITE_IS_ZERO, _PHOTOMETRIC, _BITS = 0, 262, 258  # TIFF 6.0, section 8


class NoPicture(ValueError):
    """A file that cannot be read; says why."""


def read_picture(path: str | bytes | os.PathLike, graph: Container[str] = formats.GRAPH) -> bytes:
    """The content of a picture's file, in a format that `decode_image` takes.

    Args:
        path: of the file.
        graph: formats that are decoded later on.

    Raises:
        OSError: the file cannot be read.
        NoPicture: Pillow cannot read what is in it.
    """
    file = pathlib.Path(os.fsdecode(path))
    return decodable(file.read_bytes(), file.suffix, graph=graph)


def decodable(
    contents: bytes,
    suffix: str = "",
    most: int | None = None,
    graph: Container[str] = formats.GRAPH,
) -> bytes:
    """The same picture in a format that `decode_image` takes: itself, or a PNG.

    Args:
        contents: of a file.
        suffix: of its name, which tells some formats.
        most: pixels that are decoded at most; those of other formats the decoder counts.
        graph: formats that are decoded later on.

    Raises:
        NoPicture: it is of a format that is not read, or broken.
    """
    start = contents[:32]
    kind = formats.sniff(start)
    if kind is None and (foreign := formats.foreign(start, suffix)):
        raise NoPicture(f"{foreign} is not read: {formats.advice([foreign], one=True)}")
    if kind is None or kind in graph:
        return contents
    if not reads(kind):
        raise NoPicture(f"{kind} is not read here: {formats.advice([kind], one=True)}")
    try:
        with Image.open(io.BytesIO(contents)) as image:
            if most is not None and image.width * image.height > most:
                raise NoPicture(
                    f"{image.width * image.height:,} pixels are too many; {most:,} are decoded at "
                    "most"
                )
            png, buffer = _plain(image), io.BytesIO()
            png.save(buffer, "PNG", compress_level=0)  # it lives for a moment
            return buffer.getvalue()
    except NoPicture:
        raise
    except UnidentifiedImageError as error:
        raise NoPicture(f"broken or truncated {kind}, or one that Pillow does not know") from error
    except Exception as error:  # Pillow raises many kinds
        raise NoPicture(f"broken or truncated {kind}") from error


@functools.cache
def reads(kind: str) -> bool:
    """Whether pictures of a format that `formats.sniff` knows can be read on this machine."""
    if kind == "HEIC":
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            return False
        return True
    if kind == "AVIF":
        return "avif" in features.modules and bool(features.check("avif"))
    return True


def bits_of(file: str | os.PathLike | BinaryIO) -> int:
    """Bits per sample of a TIFF or Netpbm that matter: 16 of a grey one of more than 8, else 8."""
    try:
        with Image.open(file) as image:
            return 16 if image.mode.startswith("I") else 8
    except Exception:  # whether a file is broken is said when it is decoded
        return 8


def _plain(image: Image.Image) -> Image.Image:
    """The picture upright, in a mode that a PNG has."""
    tags = getattr(image, "tag_v2", {})
    deep, zero_is_white = max(_numbers(tags, _BITS), default=8) > 8, False
    if _numbers(tags, _PHOTOMETRIC) == (_WHITE_IS_ZERO,):
        zero_is_white = deep
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise NoPicture("its levels are floating-point numbers: save it with 8 or 16 bits")
    if zero_is_white:
        raise NoPicture("16 bits of which 0 is white: invert it, or save it as PNG")
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise NoPicture(
                f"its levels run from {levels.min()} to {levels.max()}: save it with 8 or 16 bits"
            )
        return Image.fromarray(levels.astype(np.uint16))
    transparent = image.mode[-1] in "Aa" or "transparency" in image.info
    if not transparent and image.mode in ("1", "L"):
        return image.convert("L")
    try:
        plain = image.convert("RGBA" if transparent else "RGB")
    except ValueError:
        raise NoPicture(f"its colours are {image.mode}: save it as RGB") from None
    if deep and np.asarray(plain)[..., :3].max() < _DARK:
        # Pillow gives the upper bytes of colours alone, and a sensor of 12 bits uses the lower.
        raise NoPicture("16 bits for each colour, the upper ones of no use: save it as PNG")
    return plain


def _numbers(tags, tag) -> tuple[int, ...]:
    value = tags.get(tag, ())
    return tuple(value) if isinstance(value, tuple) else (value,)
