import numpy as np
import pytest

from kapps import data
from kapps.data.images.dataset import ImageData, Split
from kapps.data.sources.arrays import gather
from kapps.errors import UserError


def dataset(class_names=("a", "b", "c")):
    """Five images in each split, which show their row's number."""
    pixels = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((2, 2, 1), np.uint8)
    labels = np.array([0, 1, 2, 1, 0], np.int32) % len(class_names)
    split = Split(labels, gather(pixels), tuple("vwxyz"))
    splits = dict.fromkeys(("train", "validation", "test"), split)
    return ImageData("npz:x", class_names, (2, 2, 1), splits, "fingerprint")


def test_rows_of_a_split_are_a_split():
    part = dataset().splits["train"].rows([4, 1])
    assert part.labels.tolist() == [0, 1] and part.origins == ("z", "w")
    assert part.take([1, 0])[:, 0, 0, 0].tolist() == [1, 4]


def test_a_class_is_left_out_of_every_split_and_keeps_its_number():
    left = data.without_class(dataset(), "b")
    assert left.class_names == ("a", "b", "c") and left.counts == dict.fromkeys(left.splits, 3)
    for split in left.splits.values():
        assert split.labels.tolist() == [0, 2, 0]
        assert split.take(range(3))[:, 0, 0, 0].tolist() == [0, 2, 4]
    images = dataset()
    assert data.without_class(images, None) is images


@pytest.mark.parametrize("images, name", [(dataset(), "d"), (dataset(("a",)), "a")])
def test_a_class_that_cannot_be_left_out(images, name):
    with pytest.raises(UserError, match=f"{name}.*another"):
        data.without_class(images, name)
