"""Encoded images in a served graph: measured by their headers, then decoded.

A file of some kilobytes can ask for gigabytes of pixels: 22,000 x 22,000 of one colour are a PNG of
59 kB. So the size is read from the header, and more than `MAX_PIXELS` are not decoded. Of an
animated GIF only the first frame is given to the decoder, which would lay out all of them.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from kapps.data.images.files import decode
from kapps.data.images.files.decode import PLAIN, Reading

DECODABLE_CHANNELS = (1, 3)  # what decode_image gives
# TF Serving's REST interface takes base64 for tensors whose name ends in _bytes.
IMAGE_BYTES = tf.TensorSpec((None,), tf.string, name="image_bytes")
MAX_PIXELS = 50_000_000  # cameras of telephones give 12 or 48 million
_MAX_BLOCKS = 2000  # of a header, before the size
_TOGETHER = 2  # images decoded at a time, which bounds the memory


def decode_files(
    image_bytes: tf.Tensor, image_shape: tuple[int, int, int], reading: Reading = PLAIN
) -> tf.Tensor:
    """Encoded images, string [N], as uint8 [N, H, W, C]; C is one of DECODABLE_CHANNELS.

    Args:
        image_bytes: the files.
        image_shape: (H, W, C).
        reading: as `ImageData.reading` has it.

    Raises:
        tf.errors.InvalidArgumentError: some cannot be decoded or are too large, when it is run. The
            message says which, counted from 0, and why.
    """
    return _decoder(tuple(image_shape), reading)(image_bytes)


@functools.lru_cache(maxsize=16)
def _decoder(image_shape: tuple[int, int, int], reading: Reading) -> Callable:
    """`decode_files` of a shape. It is kept, as TensorFlow optimizes a dataset whenever it is made.

    Called as it is, a dataset that decodes files takes half a second, however few they are.
    """
    return tf.function(
        functools.partial(_decode_files, image_shape=image_shape, reading=reading),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )


def _decode_files(image_bytes, image_shape, reading):
    # A dataset, as it goes on after an element that fails: one that is missing at the end could not
    # be decoded. The last element is there so that the batch is never empty.
    count = tf.size(image_bytes, tf.int64)
    files = tf.data.Dataset.from_tensor_slices(image_bytes).enumerate()
    files = files.map(
        _reader(image_shape, reading), num_parallel_calls=_TOGETHER, deterministic=True
    ).ignore_errors()
    last = (tf.constant([-1], tf.int64), tf.constant([1], tf.int64))
    last = tf.data.Dataset.from_tensor_slices((*last, tf.zeros((1, *image_shape), tf.uint8)))
    numbers, pixels, images = files.concatenate(last).batch(count + 1).get_single_element()
    numbers, pixels, images = numbers[:-1], pixels[:-1], images[:-1]

    # -1 of those that failed; 0 where the header is of no format that is known.
    sizes = tf.tensor_scatter_nd_update(
        tf.fill(tf.reshape(count, [1]), tf.constant(-1, tf.int64)), numbers[:, None], pixels
    )
    bad = tf.where((sizes <= 0) | (sizes > MAX_PIXELS))[:, 0]
    kinds = _unread_formats(tf.gather(image_bytes, bad), reading.webp)
    understood = ", ".join((*decode.FORMATS, "WebP") if reading.webp else decode.FORMATS)
    reasons = tf.where(
        tf.gather(sizes, bad) > MAX_PIXELS,
        tf.strings.join(
            [
                "has ",
                tf.strings.as_string(tf.gather(sizes, bad)),
                f" pixels, more than {MAX_PIXELS}",
            ]
        ),
        tf.where(
            tf.equal(kinds, ""),
            f"cannot be decoded; {understood} are understood",
            tf.strings.join(
                [
                    "is ",
                    kinds,
                    ", which this model does not decode: convert it to PNG or JPEG, or use "
                    "kapps predict",
                ]
            ),
        ),
    )
    message = tf.strings.reduce_join(
        tf.strings.join(["image ", tf.strings.as_string(bad), " of the batch ", reasons]),
        separator="; ",
    )
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(tf.size(bad), 0), [message])]):
        return tf.ensure_shape(tf.identity(images), (None, *image_shape))


@functools.cache
def _measurer(webp: bool) -> Callable:
    """`measure`, traced once for all shapes of images."""
    return tf.function(
        functools.partial(measure, webp=webp),
        input_signature=[tf.TensorSpec([], tf.string)],
        autograph=False,  # nothing in it to rewrite, which takes two seconds
    )


@functools.lru_cache(maxsize=16)
def _reader(image_shape: tuple[int, int, int], reading: Reading) -> Callable:
    """(number, file) -> number, pixels that the header announces, the image; of zeros if too large.

    It is kept: its graph takes seconds to build, and is wanted whenever a function that decodes
    files is traced, called or saved.
    """

    @tf.function(
        input_signature=[tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.string)],
        autograph=False,
    )
    def read(number, contents):
        pixels, only = _measurer(reading.webp)(contents)
        allowed = (pixels > 0) & (pixels <= MAX_PIXELS)
        image = tf.cond(
            allowed,
            lambda: decode.decode_image(only, image_shape, reading),
            lambda: tf.zeros(image_shape, tf.uint8),
        )
        return number, pixels, tf.ensure_shape(image, image_shape)

    return read


def measure(contents: tf.Tensor, webp: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """The number of pixels that a file's header announces, and what of it is to be decoded.

    Args:
        contents: one file, string [].
        webp: whether a WebP is to be decoded.

    Returns:
        Pixels int64 [], 0 of what is no image; and the contents, of a GIF its first frame.
    """

    def starts_with(magic):
        return tf.equal(tf.strings.substr(contents, 0, len(magic)), magic)

    def whole(size):
        height, width = size(contents)
        return height * width, contents

    return tf.case(
        [
            (starts_with(b"\xff\xd8\xff"), lambda: whole(_jpeg_size)),
            (starts_with(b"\x89PNG"), lambda: whole(_png_size)),
            (starts_with(b"GIF8"), lambda: _first_frame(contents)),
            (starts_with(b"BM"), lambda: whole(_bmp_size)),
            *([(decode.is_still_webp(contents), lambda: whole(_webp_size))] if webp else []),
        ],
        default=lambda: (tf.constant(0, tf.int64), contents),
    )


def _unread_formats(contents: tf.Tensor, webp: bool) -> tf.Tensor:
    """What files of formats that are not decoded are, with an article; "" of all others.

    Args:
        contents: of the files, string [N].
        webp: whether a WebP is decoded; one that comes here is animated, or broken.
    """
    start = tf.strings.join([tf.strings.substr(contents, 0, 16), b"\0" * 16])

    def has(*beginnings, position=0):
        found = [tf.equal(tf.strings.substr(start, position, len(b)), b) for b in beginnings]
        return functools.reduce(tf.logical_or, found)

    container = has(b"ftyp", position=4)
    names = tf.fill(tf.shape(contents), "")
    for name, asked in {
        "a TIFF": has(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        "an AVIF": container & has(b"avif", b"avis", position=8),
        "a HEIC": container & has(b"heic", b"heix", b"mif1", b"msf1", position=8),
        "a WebP that is animated or broken" if webp else "a WebP": has(b"RIFF")
        & has(b"WEBP", position=8),
        "an SVG": has(b"<svg"),
        "a JPEG XL": has(b"\xff\x0a") | has(b"JXL ", position=4),
        "a JPEG 2000": has(b"jP  ", position=4) | has(b"\xff\x4f\xff\x51"),
        "a PDF": has(b"%PDF"),
    }.items():
        names = tf.where(asked, name, names)
    return names


def _octets(contents: tf.Tensor, position: tf.Tensor | int, count: int) -> tf.Tensor:
    """`count` bytes at a position as int64 [count]; those beyond the end are 0."""
    position = tf.cast(position, tf.int32)
    there = tf.strings.substr(contents, tf.minimum(position, tf.strings.length(contents)), count)
    padded = tf.strings.substr(tf.strings.join([there, b"\0" * count]), 0, count)
    return tf.cast(tf.ensure_shape(tf.io.decode_raw(padded, tf.uint8), [count]), tf.int64)


def _number(octets: tf.Tensor, little: bool = False) -> tf.Tensor:
    powers = [256**power for power in range(octets.shape[0])]
    return tf.reduce_sum(octets * tf.constant(powers if little else powers[::-1], tf.int64))


def _png_size(contents):
    # The signature of 8 bytes, then the block IHDR: length, name, width, height.
    return (_number(_octets(contents, 20, 4)), _number(_octets(contents, 16, 4)))


def _bmp_size(contents):
    width, height = (_number(_octets(contents, where, 4), little=True) for where in (18, 22))
    # Negative of what is stored from the top.
    return tf.where(height >= 2**31, 2**32 - height, height), width


def _webp_size(contents):
    """RFC 9649, sections 2.5 to 2.7: lossy, lossless, or with a canvas of its own."""
    head = _octets(contents, 0, 32)
    bits = _number(head[21:25], little=True)
    lossy = (_number(head[28:30], little=True) % 2**14, _number(head[26:28], little=True) % 2**14)
    lossless = (bits // 2**14 % 2**14 + 1, bits % 2**14 + 1)
    canvas = (_number(head[27:30], little=True) + 1, _number(head[24:27], little=True) + 1)
    sides = tf.where(tf.equal(head[15], ord("L")), lossless, lossy)
    sides = tf.where(tf.equal(head[15], ord("X")), canvas, sides)
    return sides[0], sides[1]


def _jpeg_size(contents):
    """From the frame header (SOF), ITU-T T.81, B.2.2; the largest, where there are several."""

    def goes_on(blocks, position, height, width):
        prefix, marker = tf.unstack(_octets(contents, position, 2))
        ends = tf.reduce_any(tf.equal(marker, (0xD9, 0xDA)))  # end of image, start of scan
        return tf.equal(prefix, 0xFF) & ~ends & (blocks < _MAX_BLOCKS)

    def next_block(blocks, position, height, width):
        head = _octets(contents, position, 9)
        marker = head[1]
        frame = (marker >= 0xC0) & (marker <= 0xCF)
        # Tables and extensions have their numbers in between.
        frame &= ~tf.reduce_any(tf.equal(marker, (0xC4, 0xC8, 0xCC)))
        height = tf.where(frame, tf.maximum(height, _number(head[5:7])), height)
        width = tf.where(frame, tf.maximum(width, _number(head[7:9])), width)
        step = tf.where(tf.equal(marker, 0xFF), tf.constant(1, tf.int64), 2 + _number(head[2:4]))
        return blocks + 1, position + tf.maximum(step, 1), height, width

    zero = tf.constant(0, tf.int64)
    _, _, height, width = tf.while_loop(
        goes_on, next_block, (tf.constant(0), tf.constant(2, tf.int64), zero, zero)
    )
    return height, width


def _first_frame(contents):
    """GIF89a, sections 18 to 23: pixels of screen and first frame, and the file up to its end."""

    def table(packed):  # bytes of a colour table
        entries = tf.bitwise.left_shift(tf.constant(2, tf.int64), packed % 8)
        return tf.where(packed >= 128, 3 * entries, 0)

    def after_sub_blocks(position):
        def goes_on(blocks, position):
            inside = position < tf.strings.length(contents)
            return (_octets(contents, position, 1)[0] > 0) & inside & (blocks < 2**16)

        def skip(blocks, position):
            size = tf.cast(_octets(contents, position, 1)[0], tf.int32)
            return blocks + 1, position + 1 + size

        position = tf.cast(position, tf.int32)
        _, end = tf.while_loop(goes_on, skip, (tf.constant(0), position))
        return end + 1

    screen = _octets(contents, 6, 5)
    start = 13 + tf.cast(table(screen[4]), tf.int32)
    _, start = tf.while_loop(  # extensions stand before the frame
        lambda blocks, at: tf.equal(_octets(contents, at, 1)[0], 0x21) & (blocks < _MAX_BLOCKS),
        lambda blocks, at: (blocks + 1, after_sub_blocks(at + 2)),
        (tf.constant(0), start),
    )
    frame = _octets(contents, start, 10)
    data = start + 10 + tf.cast(table(frame[9]), tf.int32) + 1  # and the size of the codes
    end = after_sub_blocks(data)
    only = tf.strings.join([tf.strings.substr(contents, 0, end), b";"])
    sides = [_number(screen[0:2], True), _number(screen[2:4], True)]
    sides_of_frame = [_number(frame[5:7], True), _number(frame[7:9], True)]
    pixels = tf.maximum(sides[0] * sides[1], sides_of_frame[0] * sides_of_frame[1])
    is_frame = tf.equal(frame[0], 0x2C)
    return tf.where(is_frame, pixels, 0), tf.cond(is_frame, lambda: only, lambda: contents)
