"""Decoded images in a file that is mapped into memory."""

import errno
import os
import pathlib
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf

from kapps.data import pixel_file
from kapps.data.pipeline import without_autotune
from kapps.data.pixel_file import open_pixels, write_pixels
from kapps.data.rows import rows_of

SHAPE = (6000, 64, 64, 3)  # 70 MiB: what threads take for themselves is far less
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")


def written(path: pathlib.Path, shape: tuple[int, ...], level: int) -> pathlib.Path:
    """A file whose images are all of one level; the digest is 32 times that byte."""

    def fill(put):
        for row in range(shape[0]):
            put(row, np.full(shape[1:], level, np.uint8))
        return bytes([level]) * 32

    write_pixels(path, shape, fill, "make room")
    return path


def opened(path: pathlib.Path, shape: tuple[int, ...]) -> tuple[tf.Tensor, bytes]:
    found = open_pixels(path, shape)
    assert found is not None
    return found


def anonymous_mib() -> float:
    """Memory of this process that is not that of files."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024


def test_what_was_written_is_read(tmp_path):
    path, shape = tmp_path / "a.pixels", (5, 3, 2, 1)
    rows = np.arange(30, dtype=np.uint8).reshape(shape)

    def fill(put):
        put(2, rows[2:])
        put(0, rows[:2])
        return b"d" * 32

    write_pixels(path, shape, fill, "make room")
    pixels, digest = opened(path, shape)
    np.testing.assert_array_equal(pixels, rows)
    assert digest == b"d" * 32
    assert open_pixels(path, (4, 3, 2, 1)) is None
    assert open_pixels(tmp_path / "b.pixels", shape) is None


def test_a_disk_that_fails_while_it_is_asked_to_write_ahead_is_said(tmp_path, monkeypatch):
    """The system says so once, and the flush at the end would not hear of it."""

    def fails(file):
        failed.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def fill(put):
        put(0, np.zeros((5, 3, 2, 1), np.uint8))
        assert failed.wait(60)
        return b"d" * 32

    failed = threading.Event()
    monkeypatch.setattr(pixel_file, "_STEP", 1)
    monkeypatch.setattr(os, "fdatasync", fails, raising=False)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        write_pixels(tmp_path / "a.pixels", (5, 3, 2, 1), fill, "make room")
    assert list(tmp_path.iterdir()) == []


def test_an_open_file_keeps_its_images_when_another_takes_its_place(tmp_path):
    shape = (2, 2, 2, 1)
    path = written(tmp_path / "a.pixels", shape, 1)
    before, _ = opened(path, shape)
    written(path, shape, 2)
    after, digest = opened(path, shape)
    path.unlink()
    assert np.unique(before).tolist() == [1]
    assert np.unique(after).tolist() == [2]
    assert digest == bytes([2]) * 32


@linux
def test_neither_opening_nor_training_batches_copy_the_file(tmp_path):
    path = written(tmp_path / "a.pixels", SHAPE, 7)
    size = np.prod(SHAPE) / 2**20
    tf.config.experimental.enable_op_determinism()  # as in training: pipelines are rewritten
    small = rows_of(tf.zeros([2, 2], tf.uint8))
    list(without_autotune(tf.data.Dataset.range(2).map(small)))  # TensorFlow has begun
    before = anonymous_mib()
    pixels, _ = opened(path, SHAPE)
    batches = tf.data.Dataset.range(SHAPE[0]).batch(50)
    batches = without_autotune(batches.map(rows_of(pixels), num_parallel_calls=2))
    assert all(int(tf.reduce_max(batch)) == 7 for batch in batches)
    assert anonymous_mib() - before < size / 2
