import importlib.util
import types

import numpy as np
import pytest
from sklearn.datasets import load_digits

from kapps import data
from kapps.errors import UserError


@pytest.fixture
def save(tmp_path):
    def write(name="set.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return f"npz:{tmp_path / name}"

    return write


def images(count, *shape, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (count, *shape)).astype(np.uint8)


def labels(count, classes=2):
    return np.arange(count) % classes


def all_pixels(loaded, split):
    return loaded.splits[split].take(range(len(loaded.splits[split])))


def test_digits():
    """Levels 0..16 over 0..255; a fifth of 1,797 is 359, a tenth of the other 1,438 is 144."""
    digits = data.load("digits")
    assert digits.image_shape == (8, 8, 1)
    assert digits.counts == {"train": 1294, "validation": 144, "test": 359}
    assert digits.class_names == tuple("0123456789")
    raw = load_digits()
    levels = np.round(raw.images * 255 / 16).astype(np.uint8)
    original = {x.tobytes(): y for x, y in zip(levels, raw.target, strict=True)}
    for name, split in digits.splits.items():
        for picture, label in zip(all_pixels(digits, name), split.labels, strict=True):
            assert original[picture.tobytes()] == label
    levels = set(np.unique(all_pixels(digits, "train")))
    assert {0, 16, 128, 255} <= levels and len(levels) == 17


@pytest.mark.parametrize("found", ["moved", "without a file", "not found"])
def test_digits_are_the_same_by_scikit_learns_function_where_its_file_has_moved(
    monkeypatch, tmp_path, found
):
    by_file = data.load("digits")
    origin = str(tmp_path / "sklearn" / "__init__.py") if found == "moved" else None
    spec = None if found == "not found" else types.SimpleNamespace(origin=origin)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    # A file of that name in the working directory is another one.
    (tmp_path / "datasets/data").mkdir(parents=True)
    (tmp_path / "datasets/data/digits.csv.gz").write_text("not digits")
    monkeypatch.chdir(tmp_path)
    by_function = data.load("digits")
    assert by_function.fingerprint == by_file.fingerprint
    for split in by_file.splits:
        np.testing.assert_array_equal(all_pixels(by_function, split), all_pixels(by_file, split))


def test_the_test_split_does_not_move_with_the_seed():
    first, second = (data.load("digits", seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(all_pixels(first, "test"), all_pixels(second, "test"))
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == data.load("digits").fingerprint


def test_a_dataset_is_the_arrays_in_order():
    digits = data.load("digits")
    pairs = list(digits.validation.as_numpy_iterator())
    assert digits.validation.cardinality() == len(pairs) == 144
    np.testing.assert_array_equal(np.stack([x for x, _ in pairs]), all_pixels(digits, "validation"))
    np.testing.assert_array_equal([y for _, y in pairs], digits.splits["validation"].labels)
    assert digits.train.element_spec[0].shape == (8, 8, 1)
    assert (pairs[0][0].dtype, pairs[0][1].dtype) == (np.uint8, np.int32)


def test_npz_as_keras_mnist(save):
    x, y = images(50, 6, 5), labels(50)
    spec = save(x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    loaded = data.load(spec)
    assert loaded.image_shape == (6, 5, 1)
    assert loaded.counts == {"train": 36, "validation": 4, "test": 10}
    np.testing.assert_array_equal(all_pixels(loaded, "test")[..., 0], x[40:])
    np.testing.assert_array_equal(loaded.splits["test"].labels, y[40:])


def test_npz_with_every_split_and_names(save):
    x, y = images(30, 4, 4, 3), labels(30).reshape(-1, 1)
    spec = save(
        train_images=x[:10],
        train_labels=y[:10],
        val_images=x[10:20],
        val_labels=y[10:20],
        test_images=x[20:],
        test_labels=y[20:],
        class_names=["cat", "dog", "never seen"],
    )
    loaded = data.load(spec)
    assert loaded.counts == {"train": 10, "validation": 10, "test": 10}
    assert loaded.class_names == ("cat", "dog", "never seen")
    np.testing.assert_array_equal(all_pixels(loaded, "validation"), x[10:20])


def test_npz_without_test_and_with_odd_labels(save):
    loaded = data.load(save(images=images(50, 4, 4), labels=np.where(labels(50), 7, 3)))
    assert loaded.counts == {"train": 36, "validation": 4, "test": 10}
    assert loaded.class_names == ("3", "7")
    assert set(loaded.splits["train"].labels) == {0, 1}


def test_values_are_scaled_alike_in_all_splits(save):
    """Floats up to 1 are multiplied by 255, by one rule for the file: test is dark and stays so."""
    x = np.zeros((20, 2, 2), np.float32)
    x[0], x[1], x[2] = 1, 0.5, 0.2
    y = labels(20)
    loaded = data.load(save(x_train=x, y_train=y, x_test=x[2:], y_test=y[2:]))
    assert sorted(np.unique(all_pixels(loaded, "test"))) == [0, 51]
    loaded = data.load(save(x_train=x * 200, y_train=y, x_test=x[:1], y_test=y[:1]))
    assert sorted(np.unique(all_pixels(loaded, "test"))) == [1]
    loaded = data.load(save(images=x * 1.4, labels=y))
    assert {int(v) for name in loaded.splits for v in np.unique(all_pixels(loaded, name))} == {0, 1}
    loaded = data.load(save(images=(x * 255).astype(np.int64), labels=y))
    assert max(all_pixels(loaded, name).max() for name in loaded.splits) == 255


def test_another_size_and_depth(save):
    spec = save(images=np.full((20, 4, 4), 77, np.uint8), labels=labels(20))
    loaded = data.load(spec, image_size=(6, 5), channels=3)
    assert loaded.image_shape == (6, 5, 3)
    assert (all_pixels(loaded, "train") == 77).all()
    assert data.load(spec, image_size=7).image_shape == (7, 7, 1)


GOOD = {"x_train": images(20, 4, 4), "y_train": labels(20)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"x_train": None, "y_train": None, "a": np.zeros(3)},
            "has the keys a; wanted are x_train",
        ),
        ({"y_train": None}, "lacks the labels of train; it has x_train"),
        ({"x_test": images(3, 4, 4)}, "lacks the labels of test; it has x_test, x_train, y_train"),
        ({"x_train": images(20, 4)}, "x_train has shape (20, 4); wanted is [n, h, w]"),
        ({"x_train": images(20, 3, 4, 4)}, "use numpy.moveaxis(x_train, 1, -1)"),
        ({"x_train": images(0, 4, 4), "y_train": labels(0)}, "x_train is empty"),
        ({"x_train": np.full((20, 4, 4), "a")}, "x_train has type <U1"),
        ({"x_train": np.full((20, 4, 4), 256.0)}, "values run from 256 to 256"),
        ({"x_train": np.full((20, 4, 4), -0.5)}, "values run from -0.5 to -0.5"),
        ({"x_train": np.full((20, 4, 4), np.nan)}, "320 values are NaN"),
        ({"y_train": labels(19)}, "x_train holds 20 pictures, y_train 19 labels"),
        ({"y_train": np.eye(20)}, "one-hot? use numpy.argmax"),
        ({"y_train": labels(20) * 0.3}, "y_train has type float64; wanted are whole numbers"),
        ({"y_train": np.zeros(20, int)}, "one class only (0)"),
        ({"x_test": images(2, 4, 4), "y_test": np.array([0, 5])}, "test split has labels [5]"),
        ({"x_test": images(2, 5, 4), "y_test": labels(2)}, "several shapes: x_train (20, 4, 4, 1)"),
        ({"class_names": ["only"]}, "one class only (only)"),
        ({"x_train": np.array([None] * 20)}, "without pickle"),
    ],
)
def test_what_is_wrong_with_an_npz(save, changes, said):
    arrays = {key: value for key, value in (GOOD | changes).items() if value is not None}
    spec = save(**arrays)
    with pytest.raises(UserError) as error:
        data.load(spec)
    assert said in str(error.value)
    assert spec.removeprefix("npz:") in str(error.value)


@pytest.mark.parametrize("size", [0, -3, (4,), (4, 4, 3), "28", 2.5])
def test_sizes_that_are_none(size):
    with pytest.raises(UserError, match="image_size wants"):
        data.load("digits", image_size=size)


def test_channels_that_are_none():
    with pytest.raises(UserError, match="channels wants 1 .* or 3"):
        data.load("digits", channels=2)


def test_the_fingerprint_follows_the_content(save):
    x, y = images(30, 4, 4), labels(30)
    same = [data.load(save(name, images=x, labels=y)).fingerprint for name in ("a.npz", "b.npz")]
    assert same[0] == same[1]
    pixel, label = x.copy(), y.copy()
    pixel[3, 0, 0] ^= 1
    label[3] ^= 1
    others = [
        data.load(save(images=pixel, labels=y)).fingerprint,
        data.load(save(images=x, labels=label)).fingerprint,
        data.load(save(images=x, labels=y, class_names=["a", "b"])).fingerprint,
        data.load(save(images=x, labels=y), seed=1).fingerprint,
        data.load(save(images=x, labels=y), channels=3).fingerprint,
    ]
    assert len({same[0], *others}) == 6


def test_the_fingerprint_follows_a_label_that_moves_nobody(save):
    y = labels(10)
    given = {f"{kind}_{split}": a for split in ("train", "val", "test") for kind, a in pair()}
    first = data.load(save(**given)).fingerprint
    y[3] ^= 1
    assert data.load(save(**given | {"y_test": y})).fingerprint != first


def pair():
    return ("x", images(10, 4, 4)), ("y", labels(10))
