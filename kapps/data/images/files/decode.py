"""The one image decoder: TensorFlow graph operations, in training and in exported models alike.

JPEG (CMYK too), PNG, GIF (first frame), BMP and, if asked for, WebP become uint8 RGB or grey
pictures of one shape. EXIF orientation of JPEG, PNG and WebP is applied, transparency of PNG and
WebP is laid on white, 16-bit samples keep their upper byte (or are scaled, where their sensor uses
fewer bits), palettes are resolved. Pictures get the shape asked for, squashed or with their aspect
ratio, between black bars or cut (`Reading`): each pixel of a smaller one is the mean of the area
that it covers, and larger ones are interpolated. Other formats become PNG before they come here
(`kapps.data.images.files.transcoding`).

Not handled: transparent pixels of a GIF come out black (TensorFlow's decoder drops the
transparency), and the alpha channel of a BMP is ignored. An animated WebP is refused: it makes the
decoder of TensorFlow 2.21 abort the whole process, which nobody should be able to do to a server.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from kapps.data.images.files.formats import GRAPH as FORMATS, WEBP

# The header of a JPEG is searched this far for EXIF: it comes first, but for a JFIF or ICC block.
_EXIF_WINDOW = 1 << 17
_BMP_WINDOW = 2048  # headers and a palette of 256 colours
_EXIF_START = (0xFF, 0xE1, ord("E"), ord("x"), ord("i"), ord("f"), 0, 0)
_ORIENTATION_TAG = 0x0112
_MOST_CHUNKS = 100  # of a WebP, before its EXIF
_MOST_PNG_CHUNKS = 1000  # the same of a PNG, whose pixels may stand in many, before its EXIF
_WITH_EXIF = r"\C*eXIf\C*"  # \C is any byte, whatever the encoding
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as JPEG and Pillow have it


RESIZES = ("stretch", "fit", "crop")


class Reading(NamedTuple):
    """How files become pictures, beside their shape: in training, and so in a served model.

    Attributes:
        white: the level of a 16-bit PNG that becomes 255, and so do higher ones; None: 65535.
        resize: "stretch" squashes; "fit" keeps the aspect ratio, between black bars; "crop" keeps
            it, and cuts off what is beyond the middle.
        webp: whether WebP is decoded, for which TensorFlow 2.20 or newer is needed.
    """

    white: int | None = None
    resize: str = "stretch"
    webp: bool = False


PLAIN = Reading()


def decode_image(
    contents: tf.Tensor, image_shape: tuple[int, int, int], reading: Reading = PLAIN
) -> tf.Tensor:
    """Decodes one encoded picture, string [], to uint8 [H, W, C] for `image_shape` (H, W, C).

    Args:
        contents: of a file.
        image_shape: of the result.
        reading: `ImageData.reading` says what the training data were read with.

    Raises:
        tf.errors.InvalidArgumentError: broken, truncated or unknown data, when it is run.
    """
    rgb = _resized(decode_rgb(contents, reading.white, reading.webp), image_shape, reading.resize)
    return fit(rgb, image_shape)


def decode_kind(
    contents: tf.Tensor,
    kind: str,
    image_shape: tuple[int, int, int],
    reading: Reading = PLAIN,
    *,
    upright: bool = False,
) -> tf.Tensor:
    """The pixels of `decode_image`, of a file whose format is known: its graph is built in no time.

    Args:
        contents: of a file, string [].
        kind: its format, one of `formats.DECODED`; a WebP is not animated.
        image_shape: of the result.
        reading: as `decode_image` has it.
        upright: whether `may_be_turned` says no of the file.

    Raises:
        tf.errors.InvalidArgumentError: broken or truncated data, when it is run.
    """
    rgb = tf.ensure_shape(_BY_KIND[kind](contents, reading.white, upright), [None, None, 3])
    return fit(_resized(rgb, image_shape, reading.resize), image_shape)


def may_be_turned(contents: bytes, kind: str) -> bool:
    """Whether there may be an EXIF orientation in a file of a format; no is certain."""
    if kind == "JPEG":
        return contents.find(bytes(_EXIF_START[2:]), 0, _EXIF_WINDOW) >= 0
    name = {"PNG": b"eXIf", WEBP: b"EXIF"}.get(kind)
    return name is not None and name in contents


def decode_rgb(contents: tf.Tensor, white: int | None = None, webp: bool = False) -> tf.Tensor:
    """Decodes one encoded picture, string [], to uint8 [h, w, 3], of the size that it has.

    Args:
        contents: of a file.
        white: as `Reading` has it.
        webp: likewise.

    Raises:
        tf.errors.InvalidArgumentError: broken, truncated or unknown data, when it is run.
    """
    return _rgb_decoder(white, webp)(contents)


@functools.lru_cache(maxsize=8)
def _rgb_decoder(white: int | None, webp: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """Kept, as its graph of all formats takes a second to build, and each shape wants it again."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def decode(contents):
        def starts_with(magic):
            return tf.equal(tf.strings.substr(contents, 0, len(magic)), magic)

        rgb = tf.case(
            [
                (starts_with(b"\xff\xd8\xff"), lambda: _jpeg(contents)),
                (starts_with(b"\x89PNG"), lambda: _png(contents, white)),
                (starts_with(b"GIF8"), lambda: _gif(contents)),
                (starts_with(b"BM"), lambda: _bmp(contents)),
                *([(is_still_webp(contents), lambda: _webp(contents))] if webp else []),
            ],
            default=_refuse,
        )
        return tf.ensure_shape(rgb, [None, None, 3])

    return decode


def is_still_webp(contents: tf.Tensor) -> tf.Tensor:
    """Whether a file, string [], is a WebP of one picture, bool [].

    The decoder goes by the same bit of the same header (RFC 9649, section 2.7), so that no file
    has it decode an animation.
    """
    read = _reader(contents, 32)
    webp = tf.reduce_all(tf.equal(tf.concat([read(0, 4), read(8, 4)], 0), list(b"RIFFWEBP")))
    extended = tf.reduce_all(tf.equal(read(12, 4), list(b"VP8X")))
    return webp & ~(extended & (tf.bitwise.bitwise_and(read(20, 1)[0], 2) > 0))


def sixteen_bits(contents: tf.Tensor) -> tf.Tensor:
    """The colours of a PNG as 16-bit levels, uint16 [h, w, 3]."""
    return tf.io.decode_png(contents, channels=4, dtype=tf.uint16)[..., :3]


def fit(images: tf.Tensor, image_shape: tuple[int, int, int]) -> tf.Tensor:
    """Resizes uint8 [..., h, w, 1 or 3] pictures to `image_shape` and makes them grey or RGB."""
    height, width, channels = image_shape
    if channels != images.shape[-1] and not {channels, images.shape[-1]} <= {1, 3}:
        raise ValueError(f"pictures have 1 or 3 channels, not {channels}")
    same_size = tf.reduce_all(tf.equal(tf.shape(images)[-3:-1], (height, width)))
    resized = tf.cond(
        same_size,
        lambda: tf.cast(images, tf.float32),
        lambda: _of_size(images, (height, width)),
    )
    if images.shape[-1] == 3 and channels == 1:
        resized = tf.reduce_sum(resized * _LUMA, axis=-1, keepdims=True)
    elif images.shape[-1] == 1 and channels == 3:
        resized = tf.repeat(resized, 3, axis=-1)
    # Means with weights are never beyond what they are of: no need to cut them off at 255.
    rounded = tf.cast(tf.round(resized), tf.uint8)
    return tf.ensure_shape(rounded, [*images.shape[:-3], *image_shape])


def _of_size(images, size):
    """uint8 [..., h, w, C] as float32 of another size, int32 [2].

    What shrinks becomes the means of areas: as true to the picture as the triangle filter of
    "bilinear" with antialiasing, which blurs it more and takes three times as long. That one is for
    what grows in some direction. Both take uint8: no float copy of a huge picture is made.
    """
    return tf.cond(
        tf.reduce_all(tf.shape(images)[-3:-1] >= size),
        lambda: tf.image.resize(images, size, method="area"),
        lambda: tf.image.resize(images, size, method="bilinear", antialias=True),
    )


def _resized(rgb, image_shape, resize):
    """uint8 [h, w, 3] with its aspect ratio as [H, W, 3]; as it is to be squashed."""
    if resize == "stretch":
        return rgb
    height, width = image_shape[:2]
    own = tf.shape(rgb)[:2]
    scales = tf.constant([height, width], tf.float64) / tf.cast(own, tf.float64)
    scale = tf.reduce_min(scales) if resize == "fit" else tf.reduce_max(scales)
    rounded = tf.cast(tf.round(tf.cast(own, tf.float64) * scale), tf.int32)
    bound = tf.constant([height, width])
    # Of a very narrow picture a pixel remains, and rounding leaves no gap.
    size = tf.clip_by_value(rounded, 1, bound) if resize == "fit" else tf.maximum(rounded, bound)
    found = tf.cast(tf.round(_of_size(rgb, size)), tf.uint8)
    start = tf.abs(size - bound) // 2
    if resize == "crop":
        return tf.image.crop_to_bounding_box(found, start[0], start[1], height, width)
    return tf.image.pad_to_bounding_box(found, start[0], start[1], height, width)


def _jpeg(contents, upright=False):
    # INTEGER_ACCURATE gives the same pixels as libjpeg's default, the others differ by some levels.
    image = tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE")
    return image if upright else _oriented(image, _exif_orientation(contents))


def _png(contents, white, upright=False):
    image = _png_as_it_lies(contents, white)
    return image if upright else _oriented(image, _png_orientation(contents))


def _png_as_it_lies(contents, white):
    if white is None:
        return _png_of_eight(contents)
    depth = _reader(contents, 32)(24, 1)[0]
    return tf.cond(
        tf.equal(depth, 16),
        lambda: _png_of_sixteen(contents, white),
        lambda: _png_of_eight(contents),
    )


def _png_of_sixteen(contents, white):
    rgba = tf.cast(tf.io.decode_png(contents, channels=4, dtype=tf.uint16), tf.float32)
    scale = [255 / white] * 3 + [255 / 65535]  # a PNG without alpha has 65535 there
    return _on_white(tf.saturate_cast(tf.round(rgba * scale), tf.uint8))


def _png_of_eight(contents):
    rgba = tf.io.decode_png(contents, channels=4)
    # Where a PNG has no alpha, decode_png fills in the highest value of its *bit depth*, which is
    # 15 for a palette of 4 bits: as good as transparent, if it were taken for alpha.
    depth = _reader(contents, 32)(24, 1)[0]
    filler = tf.minimum(tf.bitwise.left_shift(tf.ones_like(depth), depth) - 1, 255)
    absent = tf.reduce_all(tf.equal(rgba[..., 3], tf.cast(filler, tf.uint8)))
    return tf.cond(absent, lambda: rgba[..., :3], lambda: _on_white(rgba))


def _gif(contents):
    return tf.io.decode_image(contents, channels=3, expand_animations=False)


def _bmp(contents):
    image = tf.io.decode_bmp(contents)

    def with_palette():  # decode_bmp gives the indices of an 8-bit BMP as if they were grey levels
        read = _reader(contents, _BMP_WINDOW)
        start, end = 14 + _number(read(14, 4), little=True), _number(read(10, 4), little=True)
        blue_green_red_zero = tf.reshape(read(start, end - start), [-1, 4])
        palette = tf.cast(tf.reverse(blue_green_red_zero[:, :3], [1]), tf.uint8)
        return tf.gather(palette, tf.cast(image[..., 0], tf.int32))

    return tf.cond(tf.equal(tf.shape(image)[-1], 1), with_palette, lambda: image[..., :3])


def _webp(contents, upright=False):
    image = tf.io.decode_webp(contents)[0]  # the only frame; 4 channels, if some are transparent
    opaque = tf.equal(tf.shape(image)[-1], 3)
    image = tf.cond(opaque, lambda: image[..., :3], lambda: _on_white(image))
    image = tf.ensure_shape(image, [None, None, 3])
    return image if upright else _oriented(image, _webp_orientation(contents))


# (contents, white, upright) -> uint8 [h, w, 3]
_BY_KIND = {
    "JPEG": lambda contents, white, upright: _jpeg(contents, upright),
    "PNG": _png,
    "GIF": lambda contents, white, upright: _gif(contents),
    "BMP": lambda contents, white, upright: _bmp(contents),
    WEBP: lambda contents, white, upright: _webp(contents, upright),
}


def _refuse():
    refusal = tf.debugging.Assert(False, [f"a picture must be {', '.join(FORMATS)}"])
    with tf.control_dependencies([refusal] if refusal is not None else []):
        return tf.zeros([1, 1, 3], tf.uint8)


def _on_white(rgba):
    color, alpha = tf.cast(rgba[..., :3], tf.uint16), tf.cast(rgba[..., 3:], tf.uint16)
    # At most 255 * 255 + 127, which fits 16 bits.
    return tf.cast((color * alpha + 255 * (255 - alpha) + 127) // 255, tf.uint8)


def _oriented(image, orientation):
    """Turns a picture as EXIF orientation 1..8 asks (Exif 2.32, section 4.6.4, tag Orientation)."""

    def when(orientations, turn, image):
        asked = tf.reduce_any(tf.equal(orientation, orientations))
        return tf.ensure_shape(tf.cond(asked, lambda: turn(image), lambda: image), [None, None, 3])

    image = when((5, 6, 7, 8), lambda x: tf.transpose(x, [1, 0, 2]), image)
    image = when((2, 3, 6, 7), lambda x: tf.reverse(x, [1]), image)
    return when((3, 4, 7, 8), lambda x: tf.reverse(x, [0]), image)


def _exif_orientation(contents):
    """The EXIF orientation of a JPEG, int64 []; none of 1..8 where there is none."""
    read = _reader(contents, _EXIF_WINDOW)

    def is_exif(position):
        block = tf.concat([read(position, 2), read(position + 4, 6)], 0)
        return tf.reduce_all(tf.equal(block, _EXIF_START))

    def goes_on(position):
        prefix, marker = tf.unstack(read(position, 2), 2)
        start_of_scan = tf.equal(marker, 0xDA)
        return tf.equal(prefix, 0xFF) & ~start_of_scan & ~is_exif(position)

    def next_block(position):
        marker, length = read(position + 1, 1)[0], _number(read(position + 2, 2), little=False)
        step = tf.where(tf.equal(marker, 0xFF), tf.constant(1, tf.int64), 2 + length)
        return [position + step]

    block = tf.while_loop(goes_on, next_block, [tf.constant(2, tf.int64)])[0]
    # The directory stands after FF E1, the length, and "Exif\0\0".
    return tf.cond(
        is_exif(block),
        lambda: _orientation_in(read, block + 10),
        lambda: tf.constant(0, tf.int64),
    )


def _png_orientation(contents):
    """The same of a PNG, whose eXIf may follow the pixels (PNG, third edition, 11.3.4.5)."""

    def orientation():
        size = tf.cast(tf.strings.length(contents), tf.int64)
        read = _reader(contents, tf.strings.length(contents))

        def is_exif(position):
            return tf.reduce_all(tf.equal(read(position + 4, 4), list(b"eXIf")))

        def goes_on(count, position):
            return ~is_exif(position) & (position < size) & (count < _MOST_PNG_CHUNKS)

        def next_chunk(count, position):
            # A length, the name, the content, a checksum.
            return count + 1, position + 12 + _number(read(position, 4), little=False)

        begin = (tf.constant(0), tf.constant(8, tf.int64))
        start = tf.while_loop(goes_on, next_chunk, begin)[1]
        return tf.where(is_exif(start), _orientation_in(read, start + 8), 0)

    # Few have one, and looking for these letters costs less than going from chunk to chunk.
    return tf.cond(
        tf.strings.regex_full_match(contents, _WITH_EXIF),
        orientation,
        lambda: tf.constant(0, tf.int64),
    )


def _webp_orientation(contents):
    """The same of a WebP, whose chunk of EXIF stands behind the picture (RFC 9649, 2.7.1.5)."""
    head, size = _reader(contents, 32), tf.cast(tf.strings.length(contents), tf.int64)
    announced = tf.bitwise.bitwise_and(head(20, 1)[0], 8) > 0
    announced &= tf.reduce_all(tf.equal(head(12, 4), list(b"VP8X")))

    def orientation():
        read = _reader(contents, tf.strings.length(contents))

        def is_exif(position):
            return tf.reduce_all(tf.equal(read(position, 4), list(b"EXIF")))

        def goes_on(count, position):
            return ~is_exif(position) & (position < size) & (count < _MOST_CHUNKS)

        def next_chunk(count, position):
            length = _number(read(position + 4, 4), little=True)
            return count + 1, position + 8 + length + length % 2

        begin = (tf.constant(0), tf.constant(12, tf.int64))
        start = tf.while_loop(goes_on, next_chunk, begin)[1]
        named = tf.reduce_all(tf.equal(read(start + 8, 4), list(b"Exif")))  # some write it again
        directory = start + 8 + tf.where(named, tf.constant(6, tf.int64), 0)
        return tf.where(is_exif(start), _orientation_in(read, directory), 0)

    return tf.cond(announced, orientation, lambda: tf.constant(0, tf.int64))


def _orientation_in(read, start):
    """The orientation in the directory of EXIF that begins at `start`, int64 []."""
    little = tf.equal(read(start, 1)[0], ord("I"))
    directory = start + _number(read(start + 4, 4), little)
    entries = tf.minimum(_number(read(directory, 2), little), 1000)
    entry = tf.reshape(read(directory + 2, 12 * entries), [-1, 12])
    tag, kind = _number(entry[:, :2], little), _number(entry[:, 2:4], little)
    is_short = tf.equal(kind, 3)
    short, long = _number(entry[:, 8:10], little), _number(entry[:, 8:12], little)
    found = tf.where(tf.equal(tag, _ORIENTATION_TAG), tf.where(is_short, short, long), 0)
    return tf.reduce_max(found)


def _reader(contents, window):
    """A function that gives `count` bytes at `position` as int64; those beyond the end are 0."""
    head = tf.io.decode_raw(tf.strings.substr(contents, 0, window), tf.uint8)
    size = tf.size(head, tf.int64)
    head = tf.concat([head, [0]], 0)

    def read(position, count):
        where = tf.minimum(position + tf.range(count, dtype=tf.int64), size)
        return tf.cast(tf.gather(head, where), tf.int64)

    return read


def _number(octets, little):
    """Unsigned number from its bytes, int64 [..., n] -> [...], in either byte order."""
    count = octets.shape[-1]
    scale = tf.constant([256**power for power in range(count)], tf.int64)
    ascending = tf.where(little, scale, tf.reverse(scale, [0]))
    return tf.reduce_sum(octets * ascending, axis=-1)
