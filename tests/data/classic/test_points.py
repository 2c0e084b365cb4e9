"""Generated points and functions, and pictures of some classes."""

import numpy as np
import pytest

from kapps import data
from kapps.errors import UserError


@pytest.mark.parametrize("name", data.POINT_SETS)
def test_points_are_seeded_balanced_and_in_three_splits(name):
    one, same, other = (data.load_points(name, 200, seed=s) for s in (0, 0, 1))
    assert one.counts == {"train": 120, "validation": 40, "test": 40}
    assert one.fingerprint == same.fingerprint != other.fingerprint
    classes = np.concatenate(list(one.y.values()))
    assert (classes == 1).sum() == 100 and one.class_names == ("0", "1")
    assert all(x.dtype == np.float32 and x.shape[1:] == (2,) for x in one.x.values())
    rows = np.concatenate(list(one.x.values()))
    assert len(np.unique(rows, axis=0)) == 200


def test_shapes_without_noise():
    xor = data.load_points("xor", 400, noise=0.0)
    x, y = xor.x["train"], xor.y["train"]
    np.testing.assert_array_equal(x[:, 0] * x[:, 1] < 0, y == 1)
    circles = data.load_points("circles", 100, noise=0.0)
    radius = np.linalg.norm(circles.x["train"], axis=1)
    np.testing.assert_allclose(radius, np.where(circles.y["train"] == 1, 0.4, 1.0), rtol=1e-5)
    moons = data.load_points("moons", 4000, noise=0.0)
    x, y = moons.x["train"], moons.y["train"]
    np.testing.assert_allclose(np.linalg.norm(x[y == 1] + (0.5, 0.25), axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(x[y == 0].max(axis=0), -x[y == 1].min(axis=0), atol=0.02)
    blobs = data.load_points("blobs", 100, noise=0.0)
    np.testing.assert_allclose(np.unique(blobs.x["train"], axis=0), [[-0.6, -0.4], [0.6, 0.4]])


def test_functions_have_noise_in_training_and_none_in_the_test():
    clean, noisy = (data.load_function("sine", 50, noise=n) for n in (0.0, 0.3))
    for split in ("train", "validation", "test"):
        x = clean.x[split].astype(float)
        np.testing.assert_allclose(clean.y[split], np.sin(2 * np.pi * x), atol=1e-5)
        same = np.array_equal(clean.y[split], noisy.y[split])
        assert same == (split == "test") and clean.y[split].shape == (50, 1)
    assert 0.2 < (noisy.y["train"] - clean.y["train"]).std() < 0.4
    assert not set(clean.x["train"].ravel()) & set(clean.x["validation"].ravel())
    for name, function in data.FUNCTIONS.items():
        points = data.load_function(name)
        expected = function(points.x["test"].astype(float))
        np.testing.assert_allclose(points.y["test"], expected, atol=1e-4)
    assert data.FUNCTIONS["triangle"](np.array([0.0, 0.25, 0.5])).tolist() == [-1.0, 0.0, 1.0]


def test_xor_is_exclusive_or():
    points = data.load_xor()
    for split in points.x:
        expected = points.x[split][:, 0] != points.x[split][:, 1]
        np.testing.assert_array_equal(points.y[split], expected)


def test_pictures_of_some_classes_are_numbered_anew():
    images = data.load("digits")
    found = data.only_classes(images, ("8", "3"))
    for split, pictures in images.splits.items():
        rows = np.flatnonzero(np.isin(pictures.labels, (3, 8)))
        np.testing.assert_array_equal(found.x[split], pictures.take(rows))
        np.testing.assert_array_equal(found.y[split], (pictures.labels[rows] == 3).astype(int))
    assert found.class_names == ("8", "3")
    assert data.only_classes(images).counts == images.counts
    assert found.fingerprint != data.only_classes(images, ("3", "8")).fingerprint


def test_statistics_are_per_feature_or_per_channel_of_images_of_0_to_1():
    points = data.load_points("moons", 100)
    x = points.x["train"].astype(np.float64)
    np.testing.assert_allclose(points.statistics["mean"], x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(points.statistics["std"], x.std(axis=0), rtol=1e-12)
    digits = data.only_classes(data.load("digits"), ("3", "8"))
    pixels = digits.x["train"] / 255
    np.testing.assert_allclose(digits.statistics["mean"], [pixels.mean()], rtol=1e-12)
    np.testing.assert_allclose(digits.statistics["std"], [pixels.std()], rtol=1e-12)


def test_targets_are_one_number_of_two_classes_and_one_hot_of_more():
    images = data.load("digits")
    two, three = (data.only_classes(images, names) for names in (("3", "8"), ("3", "8", "1")))
    assert two.targets("test").tolist() == [[float(c)] for c in two.y["test"]]
    assert three.targets("test").argmax(axis=1).tolist() == three.y["test"].tolist()
    assert three.targets("test").sum(axis=1).tolist() == [1.0] * three.counts["test"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: data.load_points("star"), "blobs"),
        (lambda: data.load_points("xor", 10), "20"),
        (lambda: data.load_points("xor", noise=-1), "noise"),
        (lambda: data.load_function("cosine"), "sine"),
        (lambda: data.load_function("sine", 1), "2 or more"),
        (lambda: data.only_classes(data.load("digits"), ("3",)), "two or more"),
        (lambda: data.only_classes(data.load("digits"), ("3", "x")), "x"),
    ],
)
def test_mistakes(wrong, words):
    with pytest.raises(UserError, match=words):
        wrong()


def test_full_batches_are_the_same_at_every_step():
    x, y = np.arange(6).reshape(3, 2), np.arange(3)
    batches = data.FullBatches(x, y, 4)
    assert (batches.batch_size, batches.steps) == (3, 4)
    found = list(batches.dataset(1, 3, 3))
    assert len(found) == 5 and batches.dataset(1, 3, 3).cardinality() == 5
    for a, b in found:
        np.testing.assert_array_equal(a, x)
        np.testing.assert_array_equal(b, y)
