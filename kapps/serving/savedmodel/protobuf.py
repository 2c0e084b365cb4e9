"""The wire format of Protocol Buffers, for the few messages of TensorFlow Serving.

Their classes come with `tensorflow-serving-api`, which is not needed for some fields each. What is
in them of TensorFlow's own (tensors, examples, signatures) TensorFlow reads and writes itself.
"""

from __future__ import annotations

from collections.abc import Iterator

_BYTES = {1: 8, 5: 4}  # of a number with a fixed length, by wire type


def field(number: int, value: bytes) -> bytes:
    """A length-delimited field (wire type 2): strings, bytes and messages."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def integer(number: int, value: int) -> bytes:
    """A field of whole numbers (wire type 0); negative ones have 64 bits."""
    return varint(number << 3) + varint(value & (2**64 - 1))


def varint(value: int) -> bytes:
    """A whole number, seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in their order: number, and the number or the bytes that it holds.

    Numbers of fixed length come as their bytes.

    Raises:
        ValueError: it is no message.
    """
    for number, value in _spans(message):
        yield number, message[value] if isinstance(value, slice) else value


def _spans(message: bytes) -> Iterator[tuple[int, int | slice]]:
    """As `fields`, with where the bytes are in their place: those of a tensor may be many."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise ValueError("a field has number 0")
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in _BYTES:
            length = _BYTES[kind]
        else:
            raise ValueError(f"there is no wire type {kind}")
        if at + length > len(message):
            raise ValueError("a field is longer than its message")
        yield number, slice(at, at + length)
        at += length


def messages(message: bytes, number: int) -> list[bytes]:
    """All values of a length-delimited field.

    Raises:
        ValueError: it is no message, or the field is a number.
    """
    return several(message, number)[number]


def several(message: bytes, *numbers: int) -> dict[int, list[bytes]]:
    """All values of some length-delimited fields, by number.

    Raises:
        ValueError: it is no message, or one of the fields is a number.
    """
    found: dict[int, list[bytes]] = {number: [] for number in numbers}
    for number, value in _spans(message):
        if number in found:
            if isinstance(value, int):
                raise ValueError(f"field {number} is a number")
            found[number].append(message[value])
    return found


def text(message: bytes, number: int) -> str:
    """The last value of a string field; empty when there is none.

    Raises:
        ValueError: it is no message, or no text.
    """
    found = messages(message, number)
    return found[-1].decode() if found else ""


def number(message: bytes, number: int) -> int:
    """The last value of a field of whole numbers; 0 when there is none.

    Raises:
        ValueError: it is no message, or the field holds something else.
    """
    found = [value for key, value in _spans(message) if key == number]
    if any(isinstance(value, slice) for value in found):
        raise ValueError(f"field {number} is no number")
    last = found[-1] if found else 0
    return last if isinstance(last, int) else 0


def _varint(message: bytes, at: int) -> tuple[int, int]:
    if at < len(message) and message[at] < 0x80:  # most are small
        return message[at], at + 1
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("a number ends too early")
        octet = message[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
    raise ValueError("a number is longer than ten bytes")
