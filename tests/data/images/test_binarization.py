import numpy as np
import pytest

from kapps import data
from kapps.data.sources import arrays


def grey(pictures):
    pictures = np.asarray(pictures, np.uint8)
    return data.Split(
        np.arange(len(pictures), dtype=np.int32), arrays.gather(pictures), ("a",) * len(pictures)
    )


def test_a_grey_is_the_probability_of_white():
    levels = np.array([0, 51, 128, 204, 255])
    pictures = np.broadcast_to(levels[:, None], (2000, 5, 4))[..., None]
    found = data.binarized(grey(pictures)).take(range(2000))
    assert set(np.unique(found)) == {0, 255} and found.dtype == np.uint8
    assert found.shape == (2000, 5, 4, 1)
    shares = found.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(shares, levels / 255, atol=0.02)  # of 8000 draws each
    assert shares[0] == 0 and shares[4] == 1
    # Every pixel is drawn for itself.
    assert len(np.unique(found[:, 2].reshape(2000, 4), axis=0)) == 16


def test_the_draw_is_that_of_numpy_row_by_row():
    pictures = np.random.default_rng(0).integers(0, 256, (7, 3, 2, 3))
    draws = np.random.RandomState(777).random_sample(pictures.shape)
    split = data.binarized(grey(pictures))
    np.testing.assert_array_equal(split.take([5, 0]), (255 * (draws < pictures / 255))[[5, 0]])
    assert len(split) == 7 and split.origins == ("a",) * 7
    np.testing.assert_array_equal(split.labels, np.arange(7))


def test_chunks_change_nothing(monkeypatch):
    split = grey(np.random.default_rng(1).integers(0, 256, (10, 4, 4, 1)))
    whole = data.binarized(split).take(range(10))
    monkeypatch.setattr("kapps.data.images.binarization._TOGETHER", 3)
    np.testing.assert_array_equal(data.binarized(split).take(range(10)), whole)


@pytest.mark.parametrize("seed", [0, 777])
def test_drawn_once_for_a_seed(seed):
    split = grey(np.full((5, 8, 8, 1), 128))
    found = data.binarized(split, seed).take(range(5))
    np.testing.assert_array_equal(data.binarized(split, seed).take(range(5)), found)
    assert not np.array_equal(data.binarized(split, seed + 1).take(range(5)), found)
    # Zeros and ones stay what they are, whoever draws.
    again = data.binarized(data.binarized(split, seed), 5)
    np.testing.assert_array_equal(again.take(range(5)), found)
