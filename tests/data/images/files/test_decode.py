"""The decoder against Pillow, an independent one."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps, PngImagePlugin
from sklearn.datasets import load_sample_images

from kapps.data.images.files.decode import (
    Reading,
    decode_image,
    decode_kind,
    fit,
    may_be_turned,
)


def blocks(height=20, width=28, channels=3, seed=0, block=4):
    """Pictures of even patches: JPEG keeps them well, and no symmetry hides a wrong turn."""
    shape = (-(-height // block), -(-width // block), channels)
    patches = np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)
    return patches.repeat(block, 0).repeat(block, 1)[:height, :width]


def encode(image, format, **options):
    buffer = io.BytesIO()
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif(order, value, kind=3, tag=0x0112, before=0):
    """An EXIF block by hand: `before` other entries, then `tag` as SHORT (3) or LONG (4)."""
    e = {"II": "<", "MM": ">"}[order]
    other = struct.pack(e + "HHII", 0x0100, 4, 1, 6)  # ImageWidth
    value = struct.pack(e + "HH", value, 0) if kind == 3 else struct.pack(e + "I", value)
    entries = other * before + struct.pack(e + "HHI", tag, kind, 1) + value
    header = order.encode() + struct.pack(e + "HI", 42, 8)
    count = struct.pack(e + "H", before + 1)
    return b"Exif\0\0" + header + count + entries + b"\0\0\0\0"


def pillow(contents):
    """The picture as Pillow shows it: turned as EXIF asks, transparency on white, RGB."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(contents))).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return np.asarray(Image.alpha_composite(white, image).convert("RGB")).astype(int)


def check(contents, tolerance, shape=None):
    expected = pillow(contents)
    decoded = decode_image(contents, shape or expected.shape)
    assert decoded.dtype == tf.uint8
    np.testing.assert_allclose(decoded.numpy().astype(int), expected, atol=tolerance)


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_in_both_byte_orders(orientation, order):
    contents = encode(blocks(), "JPEG", quality=95, exif=exif(order, orientation))
    tall = orientation >= 5
    assert pillow(contents).shape == ((28, 20, 3) if tall else (20, 28, 3))
    check(contents, tolerance=0)


@pytest.mark.parametrize("order", ["II", "MM"])
def test_orientation_as_long_and_not_the_first_entry(order):
    contents = encode(blocks(), "JPEG", quality=95, exif=exif(order, 6, kind=4, before=3))
    check(contents, tolerance=0)


def test_exif_after_a_large_colour_profile():
    """Other blocks may come before EXIF; this one is 60,000 bytes long."""
    plain = encode(blocks(), "JPEG", quality=95)
    body = exif("MM", 8)
    profile = b"\xff\xe2" + struct.pack(">H", 60_002) + b"\x45" * 60_000
    block = b"\xff\xff\xe1" + struct.pack(">H", len(body) + 2) + body  # FF may be repeated
    contents = plain[:2] + profile + block + plain[2:]
    expected = np.rot90(pillow(plain))
    np.testing.assert_array_equal(decode_image(contents, (28, 20, 3)), expected)


@pytest.mark.parametrize(
    "block",
    [
        exif("II", 9),
        exif("II", 0),
        exif("MM", 6, tag=0x0113),
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0",
    ],
    ids=["nine", "zero", "other tag", "offset beyond the file", "too many entries", "empty"],
)
def test_odd_exif_leaves_the_picture_as_it_is(block):
    plain = encode(blocks(), "JPEG", quality=95)
    contents = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]
    np.testing.assert_array_equal(decode_image(contents, (20, 28, 3)), pillow(plain))


def test_exif_in_a_comment_is_no_exif():
    contents = encode(blocks(), "JPEG", quality=95, comment=b"\xff\xe1\0\x40" + exif("II", 6))
    np.testing.assert_array_equal(decode_image(contents, (20, 28, 3)), pillow(contents))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_is_what_pillow_reads(options):
    check(encode(blocks(33, 47), "JPEG", quality=80, **options), tolerance=0)


def test_jpeg_cmyk_and_grey():
    check(encode(Image.fromarray(blocks()).convert("CMYK"), "JPEG", quality=95), tolerance=2)
    check(encode(blocks(channels=1), "JPEG", quality=95), tolerance=0)


def test_transparency_is_laid_on_white():
    rgba = blocks(channels=4)
    rgba[:8, :8, 3] = 0
    rgba[8:16, :8, 3] = 255
    contents = encode(rgba, "PNG")
    assert pillow(contents)[0, 0].tolist() == [255, 255, 255]
    check(contents, tolerance=1)


def test_png_of_every_kind():
    image = Image.fromarray(blocks())
    palette = image.quantize(16)
    grey_alpha = image.convert("LA")
    grey_alpha.putalpha(Image.fromarray(blocks(channels=1, seed=1).squeeze()))
    for contents in [
        encode(image, "PNG"),
        *(encode(image.quantize(colors), "PNG") for colors in (2, 4, 16, 200)),
        encode(palette, "PNG", transparency=palette.getpixel((0, 0))),
        encode(image.convert("L"), "PNG"),
        encode(image.convert("1"), "PNG"),
        encode(grey_alpha, "PNG"),
        encode(image, "PNG", transparency=image.getpixel((5, 5))),
    ]:
        check(contents, tolerance=1)


def test_png_of_16_bits_keeps_the_upper_byte():
    deep = np.random.RandomState(0).randint(0, 65536, (6, 5)).astype(np.uint16)
    decoded = decode_image(encode(Image.fromarray(deep), "PNG"), (6, 5, 1))
    np.testing.assert_array_equal(decoded[..., 0], deep >> 8)


def test_gif_first_frame_and_bmp():
    image = Image.fromarray(blocks())
    later = [Image.fromarray(blocks(seed=1))]
    odd = Image.fromarray(blocks(21, 27))  # BMP pads its rows to multiples of four bytes
    for contents, tolerance in [
        (encode(image.quantize(16), "GIF"), 0),
        (encode(image, "GIF", save_all=True, append_images=later), 0),
        (encode(odd, "BMP"), 0),
        (encode(odd.convert("L"), "BMP"), 0),
        (encode(odd.quantize(7), "BMP"), 0),
    ]:
        check(contents, tolerance)


def test_grey_and_colour_as_asked():
    colour = encode(blocks(), "PNG")
    grey = decode_image(colour, (20, 28, 1)).numpy()[..., 0].astype(int)
    expected = np.asarray(Image.fromarray(blocks()).convert("L")).astype(int)
    np.testing.assert_allclose(grey, expected, atol=1)
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tripled = decode_image(encode(levels, "PNG"), (16, 16, 3))
    np.testing.assert_array_equal(tripled, np.stack([levels] * 3, -1))
    np.testing.assert_array_equal(decode_image(encode(levels, "PNG"), (16, 16, 1))[..., 0], levels)


def covered(own, wanted):
    """How much of each of `own` pixels lies in each of `wanted` larger ones, [wanted, own]."""
    edges = np.arange(wanted + 1) * own / wanted
    begin, end = np.maximum(edges[:-1, None], np.arange(own)), np.arange(1, own + 1)
    return np.maximum(np.minimum(edges[1:, None], end) - begin, 0) * wanted / own


@pytest.mark.parametrize("size", [(7, 9), (20, 14), (39, 56), (1, 1)])
def test_a_smaller_picture_has_the_means_of_areas(size):
    picture = blocks(40, 56, block=2)
    decoded = decode_image(encode(picture, "PNG"), (*size, 3)).numpy().astype(int)
    means = np.einsum("yi,xj,ijc->yxc", covered(40, size[0]), covered(56, size[1]), picture)
    np.testing.assert_allclose(decoded, means, atol=0.51)


@pytest.mark.parametrize("side", [32, 96, 200])
def test_photographs_are_as_an_excellent_filter_has_them(side):
    """Levels from Pillow's LANCZOS: 1.5 to 2.5 here, 3.7 to 10 without antialiasing."""
    for picture in load_sample_images().images:
        decoded = decode_image(encode(picture, "PNG"), (side, side, 3)).numpy().astype(int)
        resized = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
        assert np.abs(decoded - np.asarray(resized)).mean() < 3


@pytest.mark.parametrize("size", [(64, 80), (64, 9), (41, 56)])
def test_a_larger_picture_is_interpolated(size):
    """Pillow's BILINEAR has the same filter."""
    picture = blocks(40, 56, block=2)
    decoded = decode_image(encode(picture, "PNG"), (*size, 3)).numpy().astype(int)
    resized = Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_allclose(decoded, np.asarray(resized).astype(int), atol=2)


def test_one_pixel_becomes_an_even_picture():
    decoded = decode_image(encode(np.full((1, 1, 3), (10, 200, 30), np.uint8), "PNG"), (5, 4, 3))
    np.testing.assert_array_equal(decoded, np.broadcast_to([10, 200, 30], (5, 4, 3)))


def test_fit_takes_batches():
    batch = np.stack([blocks(seed=seed) for seed in range(3)])
    each = np.stack([fit(image, (8, 8, 1)) for image in batch])
    np.testing.assert_array_equal(fit(batch, (8, 8, 1)), each)
    with pytest.raises(ValueError, match="1 or 3 channels, not 4"):
        fit(batch, (8, 8, 4))


WEBP = Reading(webp=True)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "WEBP"])
def test_truncated_data_is_refused(format):
    noise = np.random.RandomState(0).randint(0, 256, (60, 60, 3)).astype(np.uint8)
    contents = encode(noise, format)
    for part in (0.3, 0.9):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decode_image(contents[: int(part * len(contents))], (8, 8, 3), WEBP)


@pytest.mark.parametrize("options", [{}, {"lossless": True}, {"quality": 30}])
@pytest.mark.parametrize("channels", [3, 4])
def test_webp_is_what_pillow_reads(channels, options):
    picture = blocks(33, 47, channels)
    contents = encode(picture, "WEBP", **options)
    decoded = decode_image(contents, (33, 47, 3), WEBP).numpy().astype(int)
    np.testing.assert_allclose(decoded, pillow(contents), atol=1)
    if options.get("lossless") and channels == 3:
        np.testing.assert_array_equal(decoded, picture)


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8, 9])
def test_orientation_of_a_webp(orientation, order):
    """By hand: 3 is half a turn, 6 a quarter clockwise, 8 one against the clock."""
    turns = {1: 0, 3: 2, 6: 3, 8: 1, 9: 0}[orientation]
    contents = encode(blocks(), "WEBP", lossless=True, exif=exif(order, orientation))
    for written in (contents, contents.replace(b"EXIF", b"none")):
        expected = np.rot90(blocks(), turns if written is contents else 0)
        found = decode_image(written, expected.shape, WEBP)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("order", ["II", "MM"])
@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 9])
def test_orientation_of_a_png(orientation, order):
    contents = encode(blocks(), "PNG", exif=exif(order, orientation))
    assert pillow(contents).shape == ((28, 20, 3) if 5 <= orientation <= 8 else (20, 28, 3))
    check(contents, tolerance=0)
    # Behind the pixels, where it may stand as well.
    start = contents.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(contents[start : start + 4], "big")
    behind = contents[:start] + contents[end:-12] + contents[start:end] + contents[-12:]
    check(behind, tolerance=0)


def test_orientation_of_a_png_of_16_bits_and_of_one_that_only_says_the_word():
    deep = Image.fromarray(257 * blocks()[..., 0].astype(np.uint16))
    contents = encode(deep, "PNG", exif=exif("MM", 6))
    expected = np.rot90(blocks()[..., 0], 3)
    for reading in (Reading(), Reading(white=65535)):
        found = decode_image(contents, (28, 20, 1), reading)
        np.testing.assert_array_equal(found[..., 0], expected)
    said = PngImagePlugin.PngInfo()
    said.add_text("Comment", "eXIf" + exif("MM", 6)[6:].decode("latin-1"))
    check(encode(blocks(), "PNG", pnginfo=said), tolerance=0, shape=(20, 28, 3))


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["stretch", "fit", "crop"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WebP"])
def test_the_graph_of_one_format_gives_the_same_pixels(kind, resize):
    """To the bit: training decodes by it, and a served model by the one of all formats."""
    noise = np.random.RandomState(0).randint(0, 256, (75, 101, 3)).astype(np.uint8)
    reading = Reading(4095, resize, webp=True)
    turned = kind in ("JPEG", "PNG", "WebP")
    files = {False: encode(noise, kind)}
    files |= {True: encode(noise, kind, exif=exif("MM", 6))} if turned else {}
    if kind == "PNG":
        files[None] = encode(Image.fromarray(16 * noise[..., 0].astype(np.uint16)), kind)
    for has_exif, contents in files.items():
        assert may_be_turned(contents, kind) == bool(has_exif)
        for shape in ((31, 40, 3), (128, 90, 1)):
            expected = decode_image(contents, shape, reading)
            for upright in (False, True)[: 1 if has_exif else 2]:
                found = decode_kind(contents, kind, shape, reading, upright=upright)
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("contents", [b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM"])
def test_a_mere_beginning_is_refused(contents):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_image(contents, (8, 8, 3))


@pytest.mark.slow
@pytest.mark.parametrize("contents", [b"", b"x", b"no picture", b"RIFF", "animated WebP"])
def test_other_formats_are_refused_by_name(contents):
    """TensorFlow's own WebP decoder aborts the process on this animation."""
    if contents == "animated WebP":
        frames = [Image.fromarray(blocks(seed=seed)) for seed in range(2)]
        contents = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    graph = tf.function(lambda x: decode_image(x, (8, 8, 3), WEBP))
    for decode in (graph, lambda x: decode_image(x, (8, 8, 3), WEBP)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must be JPEG, PNG, GIF, BMP"):
            decode(tf.constant(contents))


@pytest.mark.slow
def test_the_same_in_a_function_a_map_and_a_saved_model(tmp_path):
    """Mixed formats in one batch: each branch of the graph is taken and none disturbs another."""
    image = Image.fromarray(blocks())
    encoded = [
        encode(image, "JPEG", exif=exif("MM", 6)),
        encode(image, "JPEG"),
        encode(blocks(channels=4), "PNG"),
        encode(image.quantize(16), "BMP"),
        encode(image.quantize(16), "GIF"),
    ]
    eager = np.stack([decode_image(contents, (12, 10, 3)) for contents in encoded])

    class Decoder(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def batch(self, contents):
            spec = tf.TensorSpec((12, 10, 3), tf.uint8)
            return tf.map_fn(
                lambda x: decode_image(x, spec.shape), contents, fn_output_signature=spec
            )

    module = Decoder()
    np.testing.assert_array_equal(module.batch(tf.constant(encoded)), eager)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    np.testing.assert_array_equal(loaded.batch(tf.constant(encoded)), eager)
    assert loaded.batch(tf.constant([], tf.string)).shape == (0, 12, 10, 3)


def striped(height, width):
    """Each pixel its place, so that what was cut off is known."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("height, width", [(6, 12), (12, 6), (6, 6)])
def test_crop_keeps_the_middle_and_fit_keeps_all(height, width):
    """By hand: of 6 x 12 in 6 x 6, columns 3 to 8; in 12 x 12, bars of three rows."""
    image = striped(height, width)
    contents = tf.constant(encode(Image.fromarray(image), "PNG"))
    cut = decode_image(contents, (6, 6, 3), Reading(resize="crop")).numpy()
    top, left = (height - 6) // 2, (width - 6) // 2
    np.testing.assert_array_equal(cut, image[top : top + 6, left : left + 6])
    side = max(height, width)
    whole = decode_image(contents, (side, side, 3), Reading(resize="fit")).numpy()
    top, left = (side - height) // 2, (side - width) // 2
    np.testing.assert_array_equal(whole[top : top + height, left : left + width], image)
    assert whole.sum() == image.sum()  # all else is black


@pytest.mark.parametrize("resize", ["fit", "crop"])
@pytest.mark.parametrize("size", [(1, 300), (300, 1), (7, 5), (5, 7)])
def test_every_aspect_ratio_has_the_shape_asked_for(resize, size):
    contents = tf.constant(encode(Image.new("RGB", size, "white"), "PNG"))
    found = decode_image(contents, (10, 16, 1), Reading(resize=resize)).numpy()
    assert found.shape == (10, 16, 1) and found.max() == 255
    assert resize == "fit" or found.min() == 255
