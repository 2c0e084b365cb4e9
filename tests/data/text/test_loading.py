import numpy as np
import pytest

from kapps import data
from kapps.data.text import loading as texts
from kapps.errors import UserError
from kapps.models.text import char_rnn

ALPHABET = "abcdefghij klm\n"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"text:{path}"


@pytest.fixture
def book(tmp_path):
    rng = np.random.default_rng(0)
    return write(tmp_path / "book.txt", "".join(rng.choice(list(ALPHABET), 2000)) + "é" * 100)


def test_parts_are_contiguous_and_the_vocabulary_is_that_of_training(book, tmp_path):
    loaded = data.load_text(book)
    assert loaded.vocabulary == "\ufffd" + "".join(sorted(ALPHABET))  # é comes after training
    assert loaded.counts == {"train": 1890, "validation": 105, "test": 105}
    text = (tmp_path / "book.txt").read_text()
    assert loaded.text("train") == text[:1890]
    assert loaded.text("validation") + loaded.text("test") == text[1890:2000] + "\ufffd" * 100
    assert loaded.before("validation") == loaded.vocabulary.index(text[1889])
    assert loaded.before("test") == loaded.splits["validation"][-1]
    with pytest.raises(ValueError):
        loaded.before("train")
    assert len(loaded.notes) == 1 and loaded.notes[0].startswith("100 of the 105")


def test_the_fingerprint_is_that_of_text_and_division(book, tmp_path):
    loaded = data.load_text(book)
    assert data.load_text(book).fingerprint == loaded.fingerprint
    assert data.load_text(book, (0.1, 0.05)).fingerprint != loaded.fingerprint
    text = (tmp_path / "book.txt").read_text()
    changed = write(tmp_path / "other.txt", text[:50] + "b" + text[51:])
    same = text[50] == "b"
    assert (data.load_text(changed).fingerprint == loaded.fingerprint) == same


def test_line_ends_and_the_byte_order_mark(tmp_path):
    plain = write(tmp_path / "a", "one line\nand another\n" * 100)
    marked = write(tmp_path / "b", b"\xef\xbb\xbf" + b"one line\r\nand another\r\n" * 100)
    assert data.load_text(plain).fingerprint == data.load_text(marked).fingerprint


def test_a_literal_replacement_character_is_unknown(tmp_path):
    loaded = data.load_text(write(tmp_path / "a", "ab\ufffdc" * 500))
    assert loaded.vocabulary == "\ufffdabc" and loaded.splits["train"][:5].tolist() == [
        1,
        2,
        0,
        3,
        1,
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("too short", "9 characters are too few"),
        ("a" * 5000, "only one character"),
        ("", "0 characters"),
        ("voil\xe0\n".encode("latin1") * 900, "byte 0xe0 in line 1 .*iconv"),
        (b"\x89PNG\r\n\x1a\n" * 900, "byte 0x89 in line 1"),
        ("text".encode("utf-16") * 900, "byte 0xff in line 1"),
        ("text".encode("utf-16-le") * 900, "zero bytes"),
    ],
)
def test_what_is_no_text_is_explained(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        data.load_text(write(tmp_path / "file", content))


def test_specs(tmp_path):
    with pytest.raises(UserError, match="no file"):
        data.load_text(f"text:{tmp_path / 'missing'}")
    with pytest.raises(UserError, match="folder"):
        data.load_text(f"text:{tmp_path}")
    with pytest.raises(UserError, match="python_topics"):
        data.load_text("digits")
    with pytest.raises(UserError, match="parts"):
        data.load_text("python_topics", (0.5, 0.5))


def test_the_default_text_comes_with_python():
    loaded = data.load_text()
    assert sum(loaded.counts.values()) > 300_000
    assert "statement" in loaded.text("train")


def test_the_unknown_symbol_is_the_models():
    assert texts.UNKNOWN == char_rnn.UNKNOWN


def rows(lanes, *place):
    return [{name: value.numpy() for name, value in b.items()} for b in lanes.dataset(*place)]


def test_lanes_go_on_where_they_ended():
    symbols = np.arange(1000, dtype=np.int32)
    lanes = data.TextLanes(symbols, 4, 7, seed=5)
    batches = rows(lanes, 0, 2)
    assert len(batches) == 2 * lanes.steps
    for epoch in (0, 1):
        part = batches[epoch * lanes.steps : (epoch + 1) * lanes.steps]
        x = np.concatenate([batch["x"] for batch in part], axis=1)
        np.testing.assert_array_equal(np.diff(x, axis=1), 1)  # no gap, none twice
        assert len(np.unique(x)) == x.size > 0.95 * len(symbols)
        assert x[0, 0] == lanes.offset(epoch) < 7
        assert [batch["first"].tolist() for batch in part] == [[1] * 4] + [[0] * 4] * (
            len(part) - 1
        )
    for batch in batches:
        np.testing.assert_array_equal(batch["y"], batch["x"] + 1)
        assert batch["lane"].tolist() == [0, 1, 2, 3]
    assert len({lanes.offset(epoch) for epoch in range(20)}) > 3


def test_batches_depend_on_their_place_alone():
    lanes = data.TextLanes(np.arange(500, dtype=np.int32), 3, 8)
    whole, rest = rows(lanes, 0, 3), rows(lanes, 1, 3, 4)
    assert len(rest) == 2 * lanes.steps - 4
    for a, b in zip(whole[lanes.steps + 4 :], rest, strict=True):
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.slow
def test_every_epoch_ends_inside_the_text():
    for length in range(20, 40):  # the latest beginning, and one step too many would be seen here
        lanes = data.TextLanes(np.arange(length, dtype=np.int32), 2, 5)
        lanes.offset = lambda epoch: 4
        assert max(batch["y"].max() for batch in rows(lanes, 0, 1)) < length


def test_too_many_lanes():
    with pytest.raises(UserError, match="smaller --batch-size or --k1"):
        data.TextLanes(np.arange(50, dtype=np.int32), 10, 5)
    with pytest.raises(UserError, match="lanes"):
        data.text_stream(np.arange(5, dtype=np.int32), lanes=5)


@pytest.mark.parametrize(("count", "lanes", "steps"), [(100, 1, 7), (101, 4, 10), (12, 5, 50)])
def test_a_stream_has_every_character_once(count, lanes, steps):
    symbols = np.arange(1 + count, dtype=np.int32)
    stream = data.text_stream(symbols, lanes=lanes, steps=steps)
    batches = [{name: value.numpy() for name, value in b.items()} for b in stream]
    assert len(batches) == int(stream.cardinality())
    y = np.concatenate([b["y"] for b in batches], axis=1)
    x = np.concatenate([b["x"] for b in batches], axis=1)
    counted = np.concatenate([b["weight"] for b in batches], axis=1) > 0
    assert sorted(y[counted]) == list(range(1, count + 1))
    np.testing.assert_array_equal(x[counted] + 1, y[counted])
    assert [b["first"].tolist() for b in batches] == [[1] * lanes] + [[0] * lanes] * (
        len(batches) - 1
    )


@pytest.mark.parametrize("share", [2, 4])
def test_devices_share_the_lanes_of_one_device(share):
    symbols = np.arange(101, dtype=np.int32)
    makers = (data.text_stream, lambda symbols, **how: data.text_stretches(symbols, 60, **how))
    for make in makers:
        alone = make(symbols, lanes=3, steps=8)
        shared = make(symbols, lanes=3, steps=8, share=share)
        for one, some in zip(alone, shared, strict=True):
            assert len(some["x"]) == 4 and not np.any(some["weight"][3:])
            for name, values in one.items():
                np.testing.assert_array_equal(some[name][:3], values)


def test_stretches_are_spread_over_the_text():
    symbols = np.arange(1000, dtype=np.int32)
    batches = [b["y"].numpy() for b in data.text_stretches(symbols, 60, lanes=4, steps=10)]
    assert [b.shape for b in batches] == [(4, 10), (4, 5)]
    y = np.concatenate(batches, axis=1)
    np.testing.assert_array_equal(np.diff(y, axis=1), 1)
    assert y[0, 0] == 1 and y[-1, -1] == 999 and len(np.unique(y)) == 60
    with pytest.raises(UserError, match="lanes"):
        data.text_stretches(symbols[:5], 60, lanes=4)
