"""Pictures that are in two splits, or almost."""

import io
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kapps import data
from kapps.data.images import near_duplicates


def split(pictures):
    held = tf.constant(np.stack(pictures).astype(np.uint8))
    return data.Split(np.zeros(len(pictures), np.int32), lambda rows: tf.gather(held, rows))


def smooth(seed, contrast=30.0):
    """A picture of 32x32 pixels with structure at the size of a thumbnail's pixels."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(128, contrast, (8, 8, 1)) + rng.normal(0, contrast / 10, (8, 8, 3))
    return np.clip(tf.image.resize(coarse, (32, 32), "bicubic").numpy(), 0, 255)


def as_jpeg(picture, quality=75):
    file = io.BytesIO()
    Image.fromarray(picture.astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.slow
def test_copies_are_found_although_they_were_saved_again():
    train = [smooth(i) for i in range(600)]  # more than one part
    again = np.clip(train[7] + np.random.default_rng(0).normal(0, 4, (32, 32, 3)), 0, 255)
    test = [smooth(1000), as_jpeg(train[599]), again, train[3]]
    found = data.near_duplicates(split(test), split(train))
    assert [(twin.row, twin.twin) for twin in found] == [(1, 599), (2, 7), (3, 3)]
    assert found[2].difference == 0 and 0 < found[0].difference < 3


def test_the_difference_is_the_root_mean_square_in_grey_levels():
    picture = smooth(0)
    (twin,) = data.near_duplicates(split([picture + 2]), split([picture]))
    assert twin.difference == 2.0


def test_faint_pictures_are_not_twins_because_they_are_faint():
    faint = [smooth(i, contrast=1.0) for i in range(4)]
    assert data.near_duplicates(split(faint[:2]), split(faint[2:])) == []
    plain = np.full((32, 32, 3), 200.0)
    assert len(data.near_duplicates(split([plain]), split([plain]))) == 1


def test_brighter_and_smaller_copies_are_found():
    """By raw levels none of the brighter ones would be."""
    train = [smooth(i) for i in range(60)]
    for copies in (
        [np.clip(picture + 4, 0, 255) for picture in train],
        [np.clip(picture - 20, 0, 255) for picture in train],
        [as_jpeg(picture, 75) for picture in train],
        [tf.image.resize(picture, (20, 20), "area").numpy() for picture in train],
    ):
        found = data.near_duplicates(split(copies), split(train))
        assert sum(twin.row == twin.twin for twin in found) >= 57
    others = [smooth(1000 + i) for i in range(60)]
    assert data.near_duplicates(split(others), split(train)) == []
    plain = [np.full((32, 32, 3), level) for level in (100.0, 120.0)]
    assert data.near_duplicates(split(plain[:1]), split(plain[1:])) == []


def test_nothing_to_compare():
    some, none = split([smooth(0)]), split([smooth(0)])
    none = data.Split(none.labels[:0], none.images)
    assert data.near_duplicates(some, none) == data.near_duplicates(none, some) == []


@pytest.mark.parametrize("sizes", [(3, 2, 1), (4, 100, 3), (7, 5, 2), (100, 3, 100)])
def test_blocks_make_no_difference(sizes, monkeypatch):
    random = np.random.RandomState(1)
    train = random.randint(0, 256, (23, 20, 20, 3)).astype(np.uint8)
    noisy = train + random.randint(-2, 3, train.shape)
    test = np.concatenate([np.clip(noisy, 0, 255)[::-1], 255 - train[:4]]).astype(np.uint8)
    found = data.near_duplicates(split(test), split(train))
    assert [(twin.row, twin.twin) for twin in found] == [(i, 22 - i) for i in range(23)]
    for name, size in zip(("_TOGETHER", "_BLOCK", "_CHUNK"), sizes, strict=True):
        monkeypatch.setattr(near_duplicates, name, size)
    again = data.near_duplicates(split(test), split(train))
    np.testing.assert_allclose(again, found, rtol=1e-6)


def test_thumbnails_are_held_once():
    """768 numbers a picture: copies of them, for their means and spreads, take no more."""
    pictures = np.random.RandomState(0).randint(0, 256, (6000, 16, 16, 3)).astype(np.uint8)
    some, few = split(pictures), split(pictures[:10])
    data.near_duplicates(few, few)  # what is made once
    tracemalloc.start()
    try:
        found = data.near_duplicates(some, few)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(twin.row, twin.twin) for twin in found] == [(i, i) for i in range(10)]
    assert peak < 1.8 * pictures.size * 4
