"""Sizes of pictures: what the first bytes tell is what Pillow says."""

import io

import numpy as np
import pytest
from PIL import Image

from kapps.data.images.files.headers import header_of, plain_header


def saved(mode, kind, size=(37, 21), **options):
    """The content of a picture of noise."""
    levels = np.random.RandomState(0).randint(0, 256, (size[1], size[0], 4)).astype(np.uint8)
    image = Image.fromarray(levels).convert("RGB").convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("L", "JPEG", {}),
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("RGB", "JPEG", {"optimize": True, "comment": b"a comment"}),
        ("L", "PNG", {}),
        ("LA", "PNG", {}),
        ("RGB", "PNG", {"dpi": (72, 72)}),
        ("RGBA", "PNG", {}),
    ],
)
def test_the_usual_pictures_are_measured_by_their_first_bytes(mode, kind, options):
    content = saved(mode, kind, **options)
    found = plain_header(content[:1024], kind)
    assert found == header_of(io.BytesIO(content), kind)
    assert found is not None and (found.height, found.width) == (21, 37)


def animated():
    first, *rest = (Image.new("RGB", (8, 8), level) for level in ("red", "blue"))
    buffer = io.BytesIO()
    first.save(buffer, "PNG", save_all=True, append_images=rest)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (saved("RGB", "JPEG", exif=turned()), "JPEG"),
        (saved("CMYK", "JPEG"), "JPEG"),
        (saved("RGB", "JPEG", comment=b"x" * 2000), "JPEG"),
        (saved("RGB", "PNG", exif=turned()), "PNG"),
        (saved("P", "PNG"), "PNG"),
        (saved("1", "PNG"), "PNG"),
        (animated(), "PNG"),
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (saved("RGB", "BMP"), "BMP"),
        (b"", None),
    ],
)
def test_of_others_pillow_is_asked(content, kind):
    assert plain_header(content[:1024], kind) is None


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "JPEG"), ("L", "PNG")])
def test_wherever_the_first_bytes_end_they_tell_the_size_or_nothing(mode, kind):
    content = saved(mode, kind)
    whole = plain_header(content, kind)
    assert {plain_header(content[:end], kind) for end in range(len(content))} == {None, whole}
