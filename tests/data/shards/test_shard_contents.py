"""What is in a shard: TFRecord files as TensorFlow writes them, tar files as tarfile does."""

import gzip
import io
import json
import tarfile
import tracemalloc
import zlib

import numpy as np
import pytest
import tensorflow as tf

from kapps.data.shards import crc32c, tfrecord, webdataset
from kapps.data.shards.records import WrongKeys
from kapps.errors import UserError

ENDINGS = frozenset(("jpg", "png"))


def example(**features):
    """An example by its features: bytes, texts, whole numbers, floats, or lists of them."""
    kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
    written = {}
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        values = [each.encode() if isinstance(each, str) else each for each in values]
        kind = kinds[type(values[0])]
        lists = {
            "bytes_list": tf.train.BytesList,
            "int64_list": tf.train.Int64List,
            "float_list": tf.train.FloatList,
        }
        key = name.replace("__", "/")
        written[key] = tf.train.Feature(**{kind: lists[kind](value=values)})
    return tf.train.Example(features=tf.train.Features(feature=written)).SerializeToString()


def records(tmp_path, *contents):
    path = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            writer.write(content)
    return path.read_bytes()


def tar(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def scan_records(content, **settings):
    look = settings.pop("look", len)
    return list(tfrecord.scan("a", io.BytesIO(content), len(content), look, **settings))


def scan_tar(content, **settings):
    file, look = io.BytesIO(content), settings.pop("look", len)
    return list(webdataset.scan("a", file, len(content), look, image_endings=ENDINGS, **settings))


@pytest.mark.parametrize(
    "message, checksum",
    [  # RFC 3720, appendix B.4, and the usual check value
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksums(message, checksum):
    assert crc32c.crc32c(message) == checksum


def test_checksums_of_long_records_are_those_that_tensorflow_writes(tmp_path):
    for size in (63, 64, 65, 127, 128, 129, 1000, 4096, 4097, 70_001):
        message = np.random.RandomState(size).bytes(size)
        written = records(tmp_path, message)
        assert crc32c.masked(message) == int.from_bytes(written[-4:], "little"), size


@pytest.mark.parametrize(
    "features, label, text",
    [
        ({"image__encoded": b"JPEG", "image__class__label": 7}, "7", None),
        (
            {"image__encoded": b"JPEG", "image__class__label": 7, "image__class__text": "cat"},
            "7",
            "cat",
        ),
        ({"image__encoded": b"JPEG", "image__class__text": "cat"}, "cat", None),
        ({"image": b"JPEG", "label": 0, "id": "x"}, "0", None),
        ({"image": b"JPEG", "label": "dog"}, "dog", None),
        ({"image": b"JPEG", "label": [3, 1]}, "3|1", None),
        ({"image": b"JPEG", "label": 0.5}, "0.5", None),
        ({"image": b"JPEG", "label": -1}, None, None),
    ],
)
def test_keys_of_records(tmp_path, features, label, text):
    content = records(tmp_path, example(**features))
    (found,) = scan_records(content)
    assert (found.label, found.text, found.fault) == (label, text, "")
    assert content[found.offset : found.offset + found.length] == b"JPEG" and found.seen == 4


@pytest.mark.parametrize(
    "features, said",
    [
        (
            {"pixels": b"JPEG", "y": 3},
            r"has? the keys pixels \(bytes_list\), y \(int64_list\); wanted are image/encoded",
        ),
        ({"image": b"JPEG", "klass": 3}, r"keys image \(bytes_list\), klass \(int64_list\)"),
        ({"image": [1, 2], "label": 3}, r"image \(int64_list\), label"),
    ],
)
def test_other_keys_are_told(tmp_path, features, said):
    content = records(tmp_path, example(**features))
    with pytest.raises(WrongKeys, match=said.replace("has?", "have")):
        scan_records(content)


def test_records_of_a_split_without_labels(tmp_path):
    (found,) = scan_records(records(tmp_path, example(image=b"JPEG")), needs_label=False)
    assert found.label is None and not found.fault


def test_damaged_records(tmp_path):
    each = [example(image=f"{i}".encode() * 50, label=i) for i in range(4)]
    content = bytearray(records(tmp_path, *each))
    size = len(content) // 4
    cut = scan_records(content[: 2 * size + 20])
    assert [f.name for f in cut] == ["0", "1", "2"] and "cut off" in cut[2].fault
    assert [f.label for f in cut] == ["0", "1", None]
    assert "cut off" in scan_records(content[: 2 * size + 5])[2].fault
    content[size + 40] ^= 1  # in the second record: the third is found by its length
    found = scan_records(content)
    assert [bool(f.fault) for f in found] == [False, True, False, False]
    assert "checksum" in found[1].fault and found[2].label == "2"
    content[2 * size] ^= 1  # the length of the third: nothing is found after it
    found = scan_records(content)
    assert [f.name for f in found] == ["0", "1", "2"] and "rest of the shard" in found[2].fault
    broken = scan_records(records(tmp_path, each[0], b"\xff\xff no example"))
    assert broken[1].fault == "no tf.train.Example"
    empty = scan_records(records(tmp_path, each[0], example(label=3)))
    assert empty[1].fault == "no image in it"


def test_compressed_records_and_what_is_none(tmp_path):
    content = records(tmp_path, example(image=b"JPEG", label=1))
    for given, said in [
        (gzip.compress(content), r"compressed \(gzip\).*gunzip"),
        (zlib.compress(content), r"compressed \(zlib\)"),
        (b"any other file, of some length", "no TFRecord file"),
        (b"short", "no TFRecord file"),
    ]:
        with pytest.raises(UserError, match=said):
            scan_records(given)
    assert scan_records(b"") == []


@pytest.mark.parametrize(
    "members, label",
    [
        ({"cls": b"3\n"}, "3"),
        ({"cls": b"cat"}, "cat"),
        ({"txt": b"\xef\xbb\xbfgrey wolf\n"}, "grey wolf"),
        ({"json": b'{"label": 3, "id": 9}'}, "3"),
        ({"json": b'{"labels": ["a", "b"]}'}, "a|b"),
        ({"json": b'"cat"'}, "cat"),
        ({"json": b'{"target": 0.5}'}, "0.5"),
        ({"txt": b"a caption", "cls": b"1"}, "1"),
        ({"txt": b"word", "json": b'{"width": 3}'}, "word"),
    ],
)
def test_labels_beside_images(members, label):
    content = tar(("a/1.jpg", b"JPEG"), *((f"a/1.{e}", c) for e, c in members.items()))
    (found,) = scan_tar(content)
    assert (found.name, found.label, found.fault) == ("a/1.jpg", label, "")
    assert content[found.offset : found.offset + found.length] == b"JPEG" and found.seen == 4


def test_samples_are_put_together_by_their_stem():
    content = tar(
        ("2.cls", b"two"),
        ("1.JPG", b"1"),
        ("x/1.jpg", b"11"),
        ("._1.jpg", b"of macOS"),
        ("1.mask.png", b"a mask is no second image"),
        ("1.cls", b"one"),
        ("2.png", b"22"),
        ("x/1.cls", b"other"),
        ("readme.md", b"?"),
    )
    found = {f.name: (f.label, f.seen) for f in scan_tar(content)}
    assert found == {"1.JPG": ("one", 1), "x/1.jpg": ("other", 2), "2.png": ("two", 2)}


def test_faults_of_samples():
    good = ("0.jpg", b"JPEG"), ("0.cls", b"a")
    found = scan_tar(
        tar(
            *good,
            ("1.jpg", b"x"),
            ("1.png", b"y"),
            ("2.jpg", b""),
            ("3.jpg", b"x"),
            ("3.json", b"{"),
            ("4.jpg", b"x"),
            ("4.cls", b"\xff\xfe"),
            ("5.jpg", b"x"),
        )
    )
    assert [f.fault for f in found] == [
        "",
        "two images of one sample: 1.png",
        "an empty image",
        "its .json is broken",
        "its .cls is no text",
        "",
    ]
    assert found[5].label is None


@pytest.mark.parametrize(
    "members, said",
    [
        ([("1.jpg", b"x"), ("2.jpg", b"x")], r"no image has a label; there are .jpg alone"),
        ([("1.jpg", b"x"), ("1.json", b'{"kind": 3}')], r".json has the keys kind; wanted are one"),
        ([("1.cls", b"x")], r"has labels \(cls\) and no images"),
    ],
)
def test_a_shard_without_labels(members, said):
    with pytest.raises(WrongKeys, match=said):
        scan_tar(tar(*members))
    if members[0][0] == "1.jpg":
        assert scan_tar(tar(*members), needs_label=False)[0].label is None


def test_damaged_archives():
    members = [(f"{i}.{end}", b"x" * 600) for i in range(3) for end in ("jpg", "cls")]
    content = tar(*members)
    size = 512 + 1024
    whole = scan_tar(content)
    assert [f.name for f in whole] == ["0.jpg", "1.jpg", "2.jpg"]
    assert scan_tar(content[: 6 * size]) == whole  # without an end mark, as some write them
    for end in (4 * size + 700, 4 * size + 200, 4 * size + 1):
        cut = scan_tar(content[:end])
        assert [f.name for f in cut] == ["0.jpg", "1.jpg", "(end)"], end
        assert "cut off" in cut[2].fault or "damaged" in cut[2].fault
    damaged = bytearray(content)
    damaged[2 * size + 100 : 2 * size + 160] = b"?" * 60  # the header of 1.jpg
    found = scan_tar(bytes(damaged))
    assert [f.name for f in found] == ["0.jpg", "(end)"]
    assert f"damaged at byte {2 * size:,}" in found[1].fault
    joined = scan_tar(content + content)
    assert "more follows the end" in joined[-1].fault


def test_compressed_archives_and_what_is_none():
    content = tar(("1.jpg", b"x"), ("1.cls", b"a"))
    with pytest.raises(UserError, match=r"compressed \(gzip\).*gunzip"):
        scan_tar(gzip.compress(content))
    with pytest.raises(UserError, match="is no tar file"):
        scan_tar(b"any other file, of some length" * 100)
    assert scan_tar(b"") == [] and scan_tar(tar()) == []


@pytest.mark.parametrize("kind", ["tfrecord", "webdataset"])
def test_one_image_is_held_at_a_time(tmp_path, kind):
    size, count = 200_000, 30
    images = [np.random.RandomState(i).bytes(size) for i in range(count)]
    if kind == "tfrecord":
        content = records(tmp_path, *(example(image=x, label=i) for i, x in enumerate(images)))
    else:
        members = [[(f"{i}.jpg", x), (f"{i}.cls", b"a")] for i, x in enumerate(images)]
        content = tar(*(member for pair in members for member in pair))
    path = tmp_path / "shard"
    path.write_bytes(content)
    del images, content
    scan = scan_of(kind)
    with path.open("rb") as file:
        list(scan(file, path.stat().st_size))  # what is built once is built
    with path.open("rb") as file:
        tracemalloc.start()
        try:
            found = list(scan(file, path.stat().st_size))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(found) == count and [f.seen for f in found] == [size] * count
    assert peak < 8 * size < count * size / 3


def scan_of(kind):
    if kind == "tfrecord":
        return lambda file, size: tfrecord.scan("a", file, size, len)
    return lambda file, size: webdataset.scan("a", file, size, len, image_endings=ENDINGS)


def test_a_label_in_json_that_is_a_list_of_records():
    assert webdataset.label_of({"json": json.dumps([{"a": 1}]).encode()}) is None
