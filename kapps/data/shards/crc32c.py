"""CRC-32C (Castagnoli), as TFRecord files have it, for whole records at once by NumPy.

The remainder of a message is linear: that of two pieces one after the other is the first one's,
moved by as many zero bytes as the second one has, plus the second one's. So a record is cut into
rows of equal length, which are worked through side by side, and their remainders are joined in
pairs.
"""

from __future__ import annotations

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78  # RFC 3720, section 12.1, reversed
_MASK = 0xA282EAD8
_ALL = 0xFFFFFFFF


def _byte_table() -> np.ndarray:
    """The remainder of each byte, uint32 [256]."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table.astype(np.uint32)


_TABLE = _byte_table()
_NUMBERS = _TABLE.tolist()


def crc32c(message: bytes) -> int:
    """The checksum of a message."""
    if len(message) < 64:
        remainder = _ALL
        for byte in message:
            remainder = remainder >> 8 ^ _NUMBERS[(remainder ^ byte) & 255]
        return remainder ^ _ALL
    # As many rows as columns, about: both are loops, one of NumPy's.
    power = max((len(message).bit_length() + 1) // 2, 2)
    count = 1 << max((len(message) - 1).bit_length() - power, 0)
    padded = np.zeros(count << power, np.uint8)  # zeros before a message change nothing
    start = len(padded) - len(message)
    padded[start:] = np.frombuffer(message, np.uint8)
    padded[start : start + 4] ^= np.uint8(255)  # the remainder begins with ones
    columns = np.ascontiguousarray(padded.reshape(count, -1).T)
    rows = np.zeros(count, np.uint32)
    for column in columns:
        rows = rows >> np.uint32(8) ^ _TABLE[(rows ^ column) & np.uint32(255)]
    while len(rows) > 1:
        rows = _moved(_moving(power), rows[0::2]) ^ rows[1::2]
        power += 1
    return int(rows[0]) ^ _ALL


def masked(message: bytes) -> int:
    """The checksum as TFRecord files store it: turned, and shifted by a constant."""
    found = crc32c(message)
    return ((found >> 15 | found << 17) + _MASK) & _ALL


def _moved(tables: np.ndarray, remainders: np.ndarray) -> np.ndarray:
    octets = (remainders >> np.uint32(8 * place) & np.uint32(255) for place in range(4))
    first, second, third, fourth = (table[o] for table, o in zip(tables, octets, strict=True))
    return first ^ second ^ third ^ fourth


@functools.cache
def _moving(power: int) -> np.ndarray:
    """What 2**power zero bytes make of a remainder, by its four bytes, uint32 [4, 256]."""
    values = [np.arange(256, dtype=np.uint32) << np.uint32(8 * place) for place in range(4)]
    if power == 0:
        return np.stack([v >> np.uint32(8) ^ _TABLE[v & np.uint32(255)] for v in values])
    half = _moving(power - 1)
    return np.stack([_moved(half, _moved(half, v)) for v in values])
