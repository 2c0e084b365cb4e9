"""Formats that Pillow turns into PNG: the pixels that other programs show."""

import io
import struct
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import data
from kapps.data.images.files import formats, transcoding
from kapps.data.images.files.decode import Reading, decode_image
from kapps.data.images.files.transcoding import NoPicture, decodable

LEVELS = np.random.RandomState(0).randint(0, 256, (6, 9, 3)).astype(np.uint8)


def encode(image, format, **options):
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def decoded(contents, shape=(6, 9, 3), **reading):
    return decode_image(decodable(contents), shape, Reading(**reading)).numpy()


def test_what_the_graph_reads_stays_as_it_is():
    for format in ("PNG", "JPEG", "GIF", "BMP"):
        contents = encode(LEVELS, format)
        assert decodable(contents) is contents
    webp = encode(LEVELS, "WEBP")
    assert decodable(webp, graph=("WebP",)) is webp and decodable(webp) != webp
    assert decodable(b"no picture") == b"no picture"  # the decoder says so


@pytest.mark.parametrize(
    "format, options",
    [("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("WEBP", {"lossless": True})],
)
def test_without_loss(format, options):
    np.testing.assert_array_equal(decoded(encode(LEVELS, format, **options)), LEVELS)


def test_avif_is_near():
    even = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    found = decoded(encode(even, "AVIF", quality=90), (16, 16, 3)).astype(int)
    assert np.abs(found - even).max() <= 4


@pytest.mark.slow
@pytest.mark.parametrize("format", ["TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation, turns", [(3, 2), (6, 3), (8, 1)])
def test_turned_as_exif_asks_and_so_measured(make_folder, format, orientation, turns):
    """A white corner in the dark: by hand, where it is after the turn."""
    corner = np.zeros((16, 24, 3), np.uint8)
    corner[:4, :6] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    contents = encode(corner, format, exif=exif, quality=95)
    expected = np.rot90(corner, turns)
    found = decoded(contents, expected.shape).astype(int)
    assert np.abs(found - expected).mean() < 8
    files = {f"{c}/{i}.{format.lower()}": contents for c in "ab" for i in range(6)}
    assert data.load(f"folder:{make_folder(files)}").image_shape == expected.shape[:2] + (3,)


def test_palette_transparency_grey_and_cmyk():
    image = Image.fromarray(LEVELS)
    alpha = np.dstack([LEVELS, np.zeros((6, 9), np.uint8)])
    assert (decoded(encode(alpha, "TIFF")) == 255).all()  # transparent: white
    palette = image.quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(decoded(encode(palette, "TIFF")), expected)
    grey = np.asarray(image.convert("L"))
    found = decoded(encode(grey, "TIFF"), (6, 9, 1))
    np.testing.assert_array_equal(found[..., 0], grey)
    one = image.convert("1")
    found = decoded(encode(one, "TIFF"), (6, 9, 1))
    np.testing.assert_array_equal(found[..., 0], np.asarray(one) * 255)
    # Inks by hand: no ink is white, all of black is black.
    inks = np.zeros((6, 9, 4), np.uint8)
    inks[:, 5:, 3] = 255
    found = decoded(encode(Image.fromarray(inks, "CMYK"), "TIFF"))
    assert (found[:, :5] == 255).all() and (found[:, 5:] == 0).all()


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bits_keep_the_upper_byte_or_are_scaled(order):
    deep = (np.arange(54).reshape(6, 9) * 75).astype(np.uint16)  # up to 3,975, 12 bits
    contents = encode(deep, "TIFF")
    if order == ">":  # written by hand: Pillow writes the other one
        contents = sixteen(deep)
    assert (decoded(contents, (6, 9, 1))[..., 0] == deep >> 8).all()
    expected = np.round(deep * (255 / 4095))
    np.testing.assert_array_equal(decoded(contents, (6, 9, 1), white=4095)[..., 0], expected)


def sixteen(deep, order="big", photometric=1):
    """A TIFF of one strip, 16 bits, in either byte order (TIFF 6.0, section 3)."""
    mark = ">" if order == "big" else "<"
    pixels = deep.astype(f"{mark}u2").tobytes()
    tags = [
        (256, 3, deep.shape[1]),
        (257, 3, deep.shape[0]),
        (258, 3, 16),
        (259, 3, 1),
        (262, 3, photometric),
        (273, 4, 8),
        (277, 3, 1),
        (278, 3, deep.shape[0]),
        (279, 4, len(pixels)),
    ]

    def field(tag, kind, value):
        return struct.pack(f"{mark}HHI", tag, kind, 1) + (
            struct.pack(f"{mark}HH", value, 0) if kind == 3 else struct.pack(f"{mark}I", value)
        )

    directory = struct.pack(f"{mark}H", len(tags)) + b"".join(field(*tag) for tag in tags)
    start = (b"MM" if order == "big" else b"II") + struct.pack(f"{mark}HI", 42, 8 + len(pixels))
    return start + pixels + directory + bytes(4)


def test_what_would_be_read_wrongly_is_refused():
    deep = np.full((6, 9), 4000, np.uint16)
    cases = {
        "0 is white": sixteen(deep, "little", photometric=0),
        "Pillow does not know": sixteen(deep, "big", photometric=0),
        "floating-point": encode(Image.new("F", (9, 6), 0.5), "TIFF"),
        "run from -3 to -3": encode(Image.new("I", (9, 6), -3), "TIFF"),
        "broken or truncated TIFF": encode(LEVELS, "TIFF")[:50],
        "broken or truncated AVIF": encode(LEVELS, "AVIF")[:50],
        "SVG is not read.*rsvg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "JPEG XL is not read": b"\xff\x0a" + bytes(40),
    }
    for words, contents in cases.items():
        with pytest.raises(NoPicture, match=words):
            decodable(contents)
    with pytest.raises(NoPicture, match="SVG"):
        decodable(b"<?xml version='1.0'?><svg/>", ".svg")
    with pytest.raises(NoPicture, match="54 pixels are too many; 50 are"):
        decodable(encode(LEVELS, "TIFF"), most=50)


def test_of_an_animation_the_first_frame():
    frames = [Image.fromarray(np.full((6, 9, 3), level, np.uint8)) for level in (10, 200)]
    for format in ("WEBP", "TIFF"):
        options = {"lossless": True} if format == "WEBP" else {}
        contents = encode(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert (decoded(contents) == 10).all()


def test_heic_needs_its_package(monkeypatch):
    contents = b"\0\0\0\x18ftypheic" + bytes(40)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    transcoding.reads.cache_clear()
    with pytest.raises(NoPicture, match="pip install pillow-heif"):
        decodable(contents)
    called = []
    plugin = types.SimpleNamespace(register_heif_opener=lambda: called.append(1))
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    transcoding.reads.cache_clear()
    with pytest.raises(NoPicture, match="broken or truncated HEIC"):
        decodable(contents)
    transcoding.reads.cache_clear()
    assert called


@pytest.mark.slow
def test_streamed_and_kept_are_the_same(make_folder):
    """A folder of all formats at once, decoded once and from the disk again and again."""
    kinds = {"webp": {"lossless": True}, "tiff": {}, "png": {}, "bmp": {}}
    files = {
        f"{c}/{i}.{kind}": encode(np.roll(LEVELS, 7 * i + j, 0), kind.upper(), **options)
        for j, c in enumerate("ab")
        for i, (kind, options) in enumerate(kinds.items())
    }
    root = make_folder(files)
    kept, streamed = (data.load(f"folder:{root}", memory_limit=limit) for limit in (2**20, 0))
    assert kept.reading.webp and kept.fingerprint == streamed.fingerprint
    for name, split in kept.splits.items():
        rows = range(len(split))
        np.testing.assert_array_equal(split.take(rows), streamed.splits[name].take(rows))


def test_names_are_those_of_contents():
    for format in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"):
        name = {"WEBP": "WebP"}.get(format, format)
        assert formats.sniff(encode(LEVELS, format)[:32]) == name
    assert formats.sniff(b"RIFF\0\0\0\0WAVE") is None
    assert not formats.advice(["JPEG XL"]).startswith(";")


def test_pillow_and_tensorflow_decode_a_webp_alike():
    """`kapps predict` hands over what Pillow has read; training had TensorFlow read it."""
    for options in ({"quality": 40}, {"lossless": True}):
        contents = encode(LEVELS.repeat(9, 0).repeat(9, 1), "WEBP", **options)
        served = tf.constant(contents)
        by_graph = decode_image(served, (54, 81, 3), Reading(webp=True)).numpy().astype(int)
        by_pillow = decoded(contents, (54, 81, 3)).astype(int)
        np.testing.assert_array_equal(by_graph, by_pillow)
