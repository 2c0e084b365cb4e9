"""Requests that nobody should make: bytes, JSON, protobuf, shapes, paths, all from one seed."""

import json
import random
import string
import struct

NAMES = ("half_plus_two", "counter", "mixed")
VERBS = ("predict", "classify", "regress")
PIECES = (
    b"NaN", b"-Infinity", b"1e999", b"null", b"true", b"{", b"}", b"[", b"]", b",", b'"', b"\\",
    b"\x00", b"\xff\xfe", b"9" * 400, b"-0", b'{"b64":', b"\\ud800", b"[[[[", b"{}", b"1.5", b" ",
)  # fmt: skip


def requests(count, seed=0):
    """Method, path, headers and body of so many requests."""
    rng = random.Random(seed)
    kinds = (_mutated, _values, _values, _v2, _path, _noise)
    for _ in range(count):
        yield rng.choice(kinds)(rng)


def messages(count, seed=0):
    """Bytes for gRPC: messages with mistakes."""
    rng = random.Random(seed)
    for _ in range(count):
        name = rng.choice(NAMES).encode()
        spec = b"\x0a" + bytes([len(name)]) + name
        message = b"\x0a" + bytes([len(spec)]) + spec
        tensor = _field(1, rng.choice((b"\x08\x01", b"\x08\x63", b"\x08\x07", b"")), raw=True)
        for _ in range(rng.randrange(4)):
            size = rng.choice((0, 1, 2, 2**31, 2**62, 2**64 - 1))
            tensor += _field(2, _field(2, b"\x08" + _varint(size)))
        tensor += rng.choice(
            (b"", _field(4, rng.randbytes(rng.randrange(9))), _field(5, struct.pack("<f", 1.0)))
        )
        entry = _field(1, rng.choice((b"x", b"text", b"\xff", b""))) + _field(2, tensor)
        message += _field(2, entry) * rng.randrange(3)
        if rng.random() < 0.5:
            message = _spoiled(rng, message)
        yield message


def _mutated(rng):
    name = rng.choice(NAMES)
    good = {
        "half_plus_two": {"instances": [1.0, 2.0]},
        "counter": {"signature_name": "scaled", "inputs": {"x": [1, 2], "by": 3}},
        "mixed": {"inputs": {"text": ["a"], "image": [[[1] * 3] * 2], "name_bytes": ["x"]}},
    }[name]
    body = _spoiled(rng, json.dumps(good).encode())
    return "POST", f"/v1/models/{name}:{rng.choice(VERBS)}", {}, body


def _spoiled(rng, body):
    body = bytearray(body)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(body) + 1)
        how = rng.randrange(3)
        if how == 0:
            body[at:at] = rng.choice(PIECES)
        elif how == 1:
            del body[at : at + rng.randrange(1, 6)]
        elif at < len(body):
            body[at] = rng.randrange(256)
    return bytes(body)


def _values(rng):
    name = rng.choice(NAMES)
    key = rng.choice(("instances", "inputs", "examples"))
    request = {key: _value(rng, 4)}
    if rng.random() < 0.3:
        request["signature_name"] = rng.choice(
            ("scaled", "regress_x_to_y", "classify_x_to_y", "", 3, None, "é")
        )
    if rng.random() < 0.2:
        request["context"] = _value(rng, 2)
    body = json.dumps(request).encode()
    return "POST", f"/v1/models/{name}:{rng.choice(VERBS)}", {}, body


def _value(rng, depth):
    kind = rng.randrange(11 if depth else 7)
    if kind > 8:
        keys = ("x", "by", "text", "image", "name_bytes", "b64", "y", "")
        return {rng.choice(keys): _value(rng, depth - 1) for _ in range(rng.randrange(5))}
    if kind > 6:
        if rng.random() < 0.05:
            return [_value(rng, 0)] * 5000
        return [_value(rng, depth - 1) for _ in range(rng.randrange(5))]
    return (
        rng.choice((0, 1, -1, 255, 256, 2**31, 2**63, 2**64, 10**40)),
        rng.choice((0.5, 1e-50, 1e38, 1e39, float("nan"), float("inf"))),
        "".join(rng.choices(string.printable, k=rng.randrange(6))),
        None,
        rng.random() < 0.5,
        {"b64": rng.choice(("", "AAAA", "?", "A", 3))},
        "\ud800",
    )[kind]


def _v2(rng):
    tensor = {
        "name": rng.choice(("x", "text", "image", "", 1)),
        "shape": rng.choice(([1], [2], [], [0], [-1], [2**50], [1] * 40, "1", [1.5], [2**39] * 9)),
        "datatype": rng.choice(("FP32", "BYTES", "UINT8", "FP64", "", 7, None)),
        "data": _value(rng, 2),
    }
    if rng.random() < 0.5:
        size = rng.choice((0, 1, 4, 10**9, -1, "4", None))
        tensor["parameters"] = {"binary_data_size": size}
    request = {"inputs": [tensor] * rng.randrange(1, 3), "outputs": _value(rng, 2)}
    head = json.dumps(request).encode()
    headers = {}
    if rng.random() < 0.5:
        length = rng.choice((len(head), 0, len(head) + 99, 10**15, "x", -1))
        headers["Inference-Header-Content-Length"] = str(length)
    body = head + rng.randbytes(rng.randrange(9))
    return "POST", f"/v2/models/{rng.choice(NAMES)}/infer", headers, body


def _path(rng):
    parts = (
        "models", "..", "%2e%2e", "counter", "versions", "labels", "1", "9" * 50, "%00", "é",
        ":predict", "metadata", "%", "%zz", "mixed:predict", "", "infer", "v1", "~root", ";",
    )  # fmt: skip
    path = rng.choice(("/v1/", "/v2/", "/", "/models/", "//")) + "/".join(
        rng.choices(parts, k=rng.randrange(6))
    )
    path = "".join(c if ord(c) < 128 else "%C3%A9" for c in path)
    return rng.choice(("GET", "POST", "PUT", "DELETE", "HEAD", "PATCH")), path, {}, b"{}"


def _noise(rng):
    path = f"/v1/models/{rng.choice(NAMES)}:predict"
    return "POST", path, {"Content-Type": "text/plain"}, rng.randbytes(rng.randrange(200))


def _field(number, value, raw=False):
    return value if raw else bytes([number << 3 | 2]) + _varint(len(value)) + value


def _varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
