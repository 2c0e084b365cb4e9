"""Encoded images in a graph: what is measured, and what is not decoded."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps.data.images.files.decode import Reading, decode_image
from kapps.serving.savedmodel import image_files

SHAPE = (20, 31, 3)


def noise(seed=0, height=20, width=31):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encode(image, format, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format, **options)
    return file.getvalue()


def animated():
    frames = [Image.fromarray(noise(seed)) for seed in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=50, loop=0)
    return file.getvalue()


FILES = {
    "png": encode(noise(), "PNG"),
    "jpeg": encode(noise(), "JPEG"),
    "progressive jpeg": encode(noise(), "JPEG", progressive=True, comment=b"x" * 500),
    "bmp": encode(noise(), "BMP"),
    "gif": encode(noise(), "GIF"),
    "animated gif": animated(),
    "webp": encode(noise(), "WEBP"),
    "webp without loss": encode(noise(), "WEBP", lossless=True),
    "webp with a canvas": encode(noise(), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    "transparent webp": encode(np.dstack([noise(), noise(1)[..., :1]]), "WEBP"),
}
WEBP = Reading(webp=True)


def png(height, width):
    """One colour, a bit per pixel."""

    def chunk(name, body):
        checked = name + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    squeeze = zlib.compressobj(9)
    rows = b"".join(squeeze.compress(bytes(width // 8 + 1)) for _ in range(height))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    body = chunk(b"IDAT", rows + squeeze.flush())
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def decoder():
    return tf.function(
        lambda files: image_files.decode_files(files, SHAPE, WEBP),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )


measure = tf.function(
    lambda contents: image_files.measure(contents, webp=True),
    input_signature=[tf.TensorSpec([], tf.string)],
    autograph=False,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_the_header_says_the_size(name):
    pixels, only = measure(FILES[name])
    assert pixels == 20 * 31
    if name == "animated gif":  # two frames less, and still the first one
        assert len(only.numpy()) < len(FILES[name]) / 2
    else:
        assert only.numpy() == FILES[name]


def test_a_frame_may_be_larger_than_the_screen_of_a_gif():
    contents = bytearray(FILES["gif"])
    where = contents.index(b"\x2c\0\0\0\0\x1f\0\x14\0")
    contents[where + 5 : where + 9] = b"\xff\xff\xff\xff"
    assert measure(bytes(contents))[0] == 65535**2


@pytest.mark.slow
def test_the_pixels_are_those_of_the_decoder(decoder):
    images = decoder(list(FILES.values())).numpy()
    for image, contents in zip(images, FILES.values(), strict=True):
        np.testing.assert_array_equal(image, decode_image(contents, SHAPE, WEBP))
    assert decoder(tf.constant([], tf.string)).shape == (0, *SHAPE)


@pytest.mark.slow
def test_bad_images_are_named_by_their_place_in_the_batch(decoder):
    good, cut = FILES["jpeg"], FILES["png"][:-300]
    large = png(8000, 7000)
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        decoder([good, cut, good, b"text", large, b""])
    message = refused.value.message
    for number in (1, 3, 5):
        assert f"image {number} of the batch cannot be decoded" in message
    assert "image 4 of the batch has 56000000 pixels, more than 50000000" in message
    assert "image 0" not in message and "image 2" not in message


def other_formats():
    frames = [Image.fromarray(noise(seed)) for seed in range(2)]
    film = {"save_all": True, "append_images": frames[1:]}
    return {
        "a TIFF": encode(noise(), "TIFF"),
        "an AVIF": encode(noise(), "AVIF"),
        "a HEIC": b"\0\0\0\x18ftypheic",
        "an SVG": b"<svg/>",
        "a JPEG XL": b"\xff\x0a",
        "a PDF": b"%PDF-1.7",
        "a WebP": encode(noise(), "WEBP", **film),
    }


@pytest.mark.slow
@pytest.mark.parametrize("webp", [True, False])
def test_formats_that_are_not_decoded_are_named(webp):
    """An animated WebP would make TensorFlow's decoder abort the process."""
    files, reading = other_formats(), Reading(webp=webp)
    with pytest.raises(tf.errors.InvalidArgumentError) as refused:
        image_files.decode_files(tf.constant(list(files.values())), SHAPE, reading)
    for number, name in enumerate(files):
        assert f"image {number} of the batch is {name}" in refused.value.message
    assert ("a WebP that is animated" in refused.value.message) == webp


@pytest.mark.slow
def test_without_webp_the_graph_has_no_op_that_older_servers_lack():
    """TensorFlow Serving 2.19 loads no model with an op that it does not know."""
    for webp in (False, True):
        reading = Reading(webp=webp)
        graph = tf.function(
            lambda files, reading=reading: image_files.decode_files(files, SHAPE, reading),
            input_signature=[tf.TensorSpec([None], tf.string)],
        ).get_concrete_function()
        text = graph.graph.as_graph_def().SerializeToString()
        assert (b"DecodeWebP" in text) == webp


@pytest.mark.slow
@pytest.mark.parametrize(
    "contents",
    [b"\xff\xd8\xff", b"\x89PNG", b"GIF89a", b"BM", b"\xff\xd8\xff\xe0" * 5000, b"\0"]
    + [b"RIFF", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\x08"],
)
def test_headers_that_end_early(decoder, contents):
    with pytest.raises(tf.errors.InvalidArgumentError, match="image 0 of the batch"):
        decoder([contents])


BOMB = """
import resource, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    model.signatures["from_bytes"](image_bytes=tf.constant([open(sys.argv[2], "rb").read()]))
except tf.errors.InvalidArgumentError:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_a_small_file_of_many_pixels_takes_no_memory(published, tmp_path):
    bomb = png(22_000, 22_000)
    assert len(bomb) < 60_000
    (tmp_path / "bomb.png").write_bytes(bomb)
    command = [sys.executable, "-c", BOMB, published.version, tmp_path / "bomb.png"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300)
    assert int(done.stdout) < 100, done.stderr  # megabytes; it was 4,000
