"""Messages field by field, beside those that Google's library writes."""

import pytest
import tensorflow as tf
from hypothesis import given, strategies as st

from kapps.serving.savedmodel import protobuf


@pytest.mark.slow
@given(st.integers(0, 2**64 - 1), st.binary(max_size=300))
def test_fields_come_back(number, value):
    message = protobuf.integer(3, number) + protobuf.field(700, value)
    assert list(protobuf.fields(message)) == [(3, number), (700, value)]


def test_another_library_writes_the_same():
    example = tf.train.Example()
    example.features.feature["é"].int64_list.value.extend([1, -1, 300])
    # Example.features = 1, Features.feature = 1 (a map), Feature.int64_list = 3, value = 1, packed.
    numbers = b"".join(protobuf.varint(n & (2**64 - 1)) for n in (1, -1, 300))
    feature = protobuf.field(3, protobuf.field(1, numbers))
    entry = protobuf.field(1, "é".encode()) + protobuf.field(2, feature)
    assert example.SerializeToString() == protobuf.field(1, protobuf.field(1, entry))
    [held] = protobuf.messages(example.SerializeToString(), 1)
    assert protobuf.text(protobuf.messages(held, 1)[0], 1) == "é"


def test_the_last_value_counts():
    message = protobuf.integer(1, 5) + protobuf.integer(1, 7) + protobuf.field(2, b"a")
    assert protobuf.number(message, 1) == 7 and protobuf.number(message, 9) == 0
    assert protobuf.text(message, 2) == "a" and protobuf.text(message, 9) == ""


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_refused_or_read(junk):
    try:
        for number, value in protobuf.fields(junk):
            assert number > 0 and isinstance(value, int | bytes)
    except ValueError:
        pass


@pytest.mark.parametrize(
    "junk",
    [b"\x08", b"\x0a\x05ab", b"\x00\x01", b"\x0b", b"\xff" * 11, b"\x09\x00", b"\x0d\x00\x00"],
)
def test_junk(junk):
    with pytest.raises(ValueError):
        list(protobuf.fields(junk))


def test_a_number_is_no_text():
    for call, message in (
        (protobuf.text, protobuf.integer(1, 1)),
        (protobuf.messages, protobuf.integer(1, 1)),
        (protobuf.number, protobuf.field(1, b"")),
        (protobuf.text, protobuf.field(1, b"\xff")),
    ):
        with pytest.raises(ValueError):
            call(message, 1)
