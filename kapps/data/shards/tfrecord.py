"""TFRecord files of tf.train.Example: image/encoded and image/class/label, or TFDS' names.

A record is its length (8 bytes), the length's checksum (4), itself, and its own checksum (4), as
tensorflow/core/lib/io/record_writer.h has it. Both checksums are verified: of a record that is
damaged the next one is found by its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

from kapps.data.shards.crc32c import masked
from kapps.data.shards.records import BETWEEN, Found, Look, WrongKeys, compressed
from kapps.errors import UserError

IMAGE_KEYS = ("image/encoded", "image")
LABEL_KEYS = ("image/class/label", "label")
TEXT_KEYS = ("image/class/text",)
WANTED = (
    "image/encoded or image (a JPEG, PNG ...), and image/class/label, label or image/class/text"
)
_HEAD, _TAIL = 12, 4
_GZIP, _ZLIB = b"\x1f\x8b", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


def scan(
    path: str, file: BinaryIO, size: int, look: Look, *, needs_label: bool = True
) -> Iterator[Found]:
    """The images of a TFRecord file, one after the other, named by their number from 0.

    Args:
        path: of the file, for messages.
        file: its content, from the beginning.
        size: of the file, in bytes.
        look: is shown each image.
        needs_label: whether the first record has to have a label.

    Raises:
        UserError: it is no TFRecord file, or a compressed one.
        WrongKeys: the first record that can be read has no image or no label, by the names that
            are known.
    """
    position, number, checked = 0, 0, False
    while position < size:
        head = file.read(_HEAD)
        length = int.from_bytes(head[:8], "little")
        if len(head) == _HEAD and masked(head[:8]) != int.from_bytes(head[8:], "little"):
            if number == 0:
                raise _no_tfrecord(path, head)
            yield Found(str(number), fault="damaged from here on: the rest of the shard is lost")
            return
        if position + _HEAD + length + _TAIL > size or len(head) < _HEAD:
            if number == 0 and len(head) < _HEAD:
                raise _no_tfrecord(path, head)
            yield Found(str(number), fault="the shard is cut off here")
            return
        record, tail = file.read(length), file.read(_TAIL)
        if masked(record) != int.from_bytes(tail, "little"):
            yield Found(str(number), fault="damaged: its checksum is another one")
        else:
            features = _features(record)
            if features is not None and not checked:
                _check_keys(path, features, needs_label)
                checked = True
            yield _found(str(number), record, features, position + _HEAD, look)
        position += _HEAD + length + _TAIL
        number += 1


def _found(name: str, record: bytes, features: Any, start: int, look: Look) -> Found:
    if features is None:
        return Found(name, fault="no tf.train.Example")
    image_key, label_key, text_key = (
        _first(features, keys) for keys in (IMAGE_KEYS, LABEL_KEYS, TEXT_KEYS)
    )
    held = features[image_key].bytes_list.value if image_key else ()
    if len(held) != 1 or not held[0]:
        return Found(name, fault="no image in it")
    label = _text_of(features[label_key]) if label_key else None
    text = _text_of(features[text_key]) if text_key else None
    if label_key is None:
        label, text = text, None
    # What was written as bytes stands in the record as it is.
    offset = start + record.find(held[0])
    return Found(name, offset, len(held[0]), look(held[0]), label, text)


def _features(record: bytes) -> Any:
    """The features of an example by name; None for what is no example."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        return tf.train.Example.FromString(record).features.feature
    except DecodeError:
        return None


def _first(features: Any, keys: tuple[str, ...]) -> str | None:
    return next((key for key in keys if key in features), None)


def _text_of(feature: Any) -> str | None:
    """A label as a text; None for an empty one, and for the -1 that TFDS writes for none."""
    kind = feature.WhichOneof("kind")
    values = getattr(feature, kind).value if kind else ()
    if kind == "bytes_list":
        texts = [value.decode("utf-8", "replace").strip() for value in values]
    else:
        texts = [str(value) for value in values]
    texts = [text for text in texts if text]
    if not texts or texts == ["-1"]:
        return None
    return BETWEEN.join(texts)


def _check_keys(path: str, features: Any, needs_label: bool) -> None:
    """WrongKeys where an example has no image or no label under the names that are known."""
    image = _first(features, IMAGE_KEYS)
    label = _first(features, (*LABEL_KEYS, *TEXT_KEYS))
    if image and features[image].WhichOneof("kind") == "bytes_list" and (label or not needs_label):
        return
    kinds = [f"{key} ({features[key].WhichOneof('kind') or 'empty'})" for key in sorted(features)]
    raise WrongKeys(
        f"'{path}': its records have the keys {', '.join(kinds) or '(none)'}; wanted are {WANTED}"
    )


def _no_tfrecord(path: str, head: bytes) -> UserError:
    if head[:2] == _GZIP:
        return compressed(path, "gzip")
    if head[:2] in _ZLIB:
        return compressed(path, "zlib")
    return UserError(f"'{path}' is no TFRecord file, or damaged from its first bytes on")
