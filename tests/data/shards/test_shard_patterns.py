"""Patterns of shards, their splits, and where they are read from."""

import importlib.util

import pytest

from kapps.data.shards import patterns, splits, storage
from kapps.data.spec import check, parse
from kapps.errors import UserError


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("a.tar", ["a.tar"]),
        ("a-{008..011}.tar", ["a-008.tar", "a-009.tar", "a-010.tar", "a-011.tar"]),
        ("{train,val}-{0..1}", ["train-0", "train-1", "val-0", "val-1"]),
        ("x{a,}.tar", ["xa.tar", "x.tar"]),
    ],
)
def test_braces(pattern, names):
    assert patterns.expand_braces(pattern) == names


@pytest.mark.parametrize(
    "pattern, said",
    [
        ("{3..1}", "counts backwards"),
        ("{a}", "neither a range"),
        ("{0..999999}", "more than 100,000 files"),
        ("{000..999}{000..999}", "1,000,000 files"),
    ],
)
def test_braces_that_are_none(pattern, said):
    with pytest.raises(UserError, match=said):
        patterns.expand_braces(pattern)


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in ("b-0.tar", "b-1.tar", "a.tar", "notes.txt", "in/c.tar"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "pattern, found",
    [
        ("*.tar", ["a.tar", "b-0.tar", "b-1.tar"]),
        ("b-{1..0}.tar".replace("1..0", "0..1"), ["b-0.tar", "b-1.tar"]),
        ("{b-*,a*}", ["b-0.tar", "b-1.tar", "a.tar"]),  # as the pattern has them
        ("{a*,*}.tar", ["a.tar", "b-0.tar", "b-1.tar"]),  # each once
        (".", ["a.tar", "b-0.tar", "b-1.tar"]),
        ("**/c.tar", ["in/c.tar"]),
    ],
)
def test_what_a_pattern_finds(files, pattern, found):
    assert patterns.find_shards("webdataset", pattern) == [f"{files}/{name}" for name in found]


def test_what_is_not_there(files):
    for pattern, said in [("x*.tar", "no files match 'x\\*.tar'"), ("b-{0..2}.tar", "b-2.tar")]:
        with pytest.raises(UserError, match=said):
            check(f"webdataset:{pattern}")
    check("webdataset:b-{0..1}.tar")
    with pytest.raises(UserError, match=r"perhaps 'webdataset:a.tar'"):
        parse("a.tar")
    with pytest.raises(UserError, match="write tfrecord:PATTERN"):
        parse("tfrecord:")


def test_names_do_not_depend_on_the_place():
    assert splits.short_names(["/x/y/train/0.tar", "/x/y/val/0.tar"]) == [
        "train/0.tar",
        "val/0.tar",
    ]
    assert splits.short_names(["/x/test/0.tar"]) == ["0.tar"]
    assert splits.short_names(["s3://b/0.tar", "s3://b/1.tar"]) == ["0.tar", "1.tar"]


@pytest.mark.parametrize(
    "names, found",
    [
        (["train-0-of-2", "train-1-of-2", "validation-0-of-1"], ["train", "train", "validation"]),
        (["mnist-train.tfrecord-00000-of-00001", "mnist-test.tfrecord-0"], ["train", "test"]),
        (["train/0.tar", "val/0.tar"], ["train", "validation"]),
        (["train-0", "train-1"], [None, None]),
        (["test-tubes-0.tar", "test-tubes-1.tar"], [None, None]),
        (["0.tar", "1.tar"], [None, None]),
        (["trains-0.tar", "contest.tar"], [None, None]),
    ],
)
def test_splits_by_name(names, found):
    assert splits.splits_of(names) == found


@pytest.mark.parametrize(
    "names, said",
    [(["train-0", "more-0"], "'more-0' does not"), (["val-0", "test-0"], "none is called train")],
)
def test_splits_that_are_not_clear(names, said):
    with pytest.raises(UserError, match=said):
        splits.splits_of(names)


@pytest.mark.parametrize(
    "path, absent, line",
    [
        ("s3://bucket/a.tar", "fsspec", "pip install fsspec s3fs"),
        ("s3://bucket/a.tar", "s3fs", "pip install fsspec s3fs"),
        ("https://host/a.tar", "aiohttp", "pip install fsspec aiohttp"),
        ("odd://host/a.tar", "fsspec", "pip install fsspec"),
    ],
)
def test_what_is_missing_is_told_with_the_line_that_helps(monkeypatch, path, absent, line):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == absent else "x")
    for ask in (lambda: check(f"webdataset:{path}"), lambda: storage.of(path)):
        with pytest.raises(UserError, match=f"{absent} is not installed: {line}"):
            ask()


def test_an_address_that_nothing_reads():
    pytest.importorskip("fsspec")
    with pytest.raises(UserError, match="odd://"):
        storage.of("odd://host/a.tar")


def test_files_of_tensorflow_and_of_this_machine_are_the_same(files):
    (files / "a.tar").write_bytes(b"0123456789")
    here, there = storage.of(str(files)), storage._TensorFlow()
    path = f"{files}/a.tar"
    for held in (here, there):
        assert held.find(f"{files}/*.tar") == [f"{files}/{n}.tar" for n in ("a", "b-0", "b-1")]
        assert held.read(path, 3, 4) == b"3456" and held.stamp(path)[0] == 10
        assert held.exists(path) and not held.exists(f"{files}/x") and held.is_directory(str(files))
        with held.open(path) as file:
            file.seek(8)
            assert file.read(5) == b"89"
        with pytest.raises(OSError, match="2 bytes were read where 4"):
            held.read(path, 8, 4)
        with pytest.raises(UserError, match="cannot be read"):
            held.stamp(f"{files}/x")


def test_files_in_memory(monkeypatch):
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.pipe({"/shards/0.tar": b"0123456789", "/shards/1.tar": b""})
    try:
        files = storage.of("memory://shards")
        found = patterns.find_shards("webdataset", "memory://shards/{0..1}.tar")
        assert found == ["memory://shards/0.tar", "memory://shards/1.tar"]
        assert patterns.find_shards("webdataset", "memory://shards") == [
            "memory:///shards/0.tar",
            "memory:///shards/1.tar",
        ]
        assert files.read(found[0], 3, 4) == b"3456"
        before = files.stamp(found[0])
        memory.pipe("/shards/0.tar", b"9876543210")
        assert files.stamp(found[0]) != before and before[0] == 10
    finally:
        memory.rm("/shards", recursive=True)


def test_a_read_is_tried_again(monkeypatch):
    monkeypatch.setattr(storage, "_PAUSE", 0)
    answers = [ConnectionError("reset"), RuntimeError("busy"), b"content"]

    def part():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert storage._again("s3://a", part) == b"content"
    answers[:] = [ConnectionError("reset")] * 3
    with pytest.raises(OSError, match="'s3://a' cannot be read: reset"):
        storage._again("s3://a", part)
