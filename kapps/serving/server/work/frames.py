"""Messages between the server and a worker: parts, each a JSON object and bytes.

A frame is the length of what follows (8 bytes), the length of the heads (4 bytes), the heads as one
JSON list, and the bytes of each part one after the other. Nothing in it is code, so a worker that a
request has taken over cannot take over the server.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from kapps.serving.server import json_text

Part = tuple[dict[str, Any], bytes]
TURN = "warm_up_turn"  # in the head of a part: play one of the warm-up's requests, by its number
_LENGTH, _HEADS = struct.Struct(">Q"), struct.Struct(">I")


def pack(parts: Iterable[Part]) -> bytes:
    """Parts as the bytes of one frame, its length included."""
    parts = list(parts)
    heads = json_text.dumps([{**head, "bytes": len(body)} for head, body in parts])
    bodies = b"".join(body for _, body in parts)
    length = _LENGTH.pack(_HEADS.size + len(heads) + len(bodies))
    return b"".join((length, _HEADS.pack(len(heads)), heads, bodies))


def unpack(payload: bytes) -> list[Part]:
    """What was packed, from a frame without its first eight bytes."""
    (size,) = _HEADS.unpack_from(payload)
    at = _HEADS.size + size
    parts = []
    for head in json_text.loads(payload[_HEADS.size : at]):
        end = at + head.pop("bytes")
        parts.append((head, payload[at:end]))
        at = end
    return parts


def take(received: bytearray) -> list[Part] | None:
    """Removes the first frame from what has come; None where it is not whole yet."""
    if len(received) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(received)
    end = _LENGTH.size + length
    if len(received) < end:
        return None
    payload = bytes(memoryview(received)[_LENGTH.size : end])
    del received[:end]
    return unpack(payload)


def receive(stream: Any) -> list[Part] | None:
    """The next frame of the server; None when it has closed the connection.

    Args:
        stream: a file of a connection, buffered: a small frame is one call of the system.
    """
    length = stream.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(length)
    payload = stream.read(size)
    return unpack(payload) if len(payload) == size else None
