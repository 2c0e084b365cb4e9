"""`tfds:NAME`, with tiny datasets stored here and no network."""

import errno
import io

import numpy as np
import pytest
import tensorflow_datasets
from PIL import Image

from kapps import data
from kapps.data import pixel_file
from kapps.data.sources import tfds
from kapps.errors import UserError


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    monkeypatch.setattr(tfds, "_network", lambda: False)


@pytest.fixture
def store(tmp_path):
    def write(name="tiny", splits=None, shape=(6, 5, 3), image=None, label=None):
        features = tensorflow_datasets.features
        tensorflow_datasets.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            features=features.FeaturesDict(
                {
                    "photo": image or features.Image(shape=shape),
                    "kind": label or features.ClassLabel(names=["cat", "dog"]),
                    "id": features.Text(),
                }
            ),
            split_datasets={
                split: [(i, {"photo": x, "kind": y, "id": str(i)}) for i, (x, y) in enumerate(rows)]
                for split, rows in splits.items()
            },
            data_dir=tmp_path,
        )
        return tmp_path

    return write


def rows(count, *shape, seed=0):
    pixels = np.random.RandomState(seed).randint(0, 256, (count, *shape)).astype(np.uint8)
    return [(x, i % 2) for i, x in enumerate(pixels)]


def pictures(loaded, split):
    return loaded.splits[split].take(range(len(loaded.splits[split])))


def as_set(examples):
    return {(x.tobytes(), int(y)) for x, y in examples}


@pytest.mark.slow
def test_splits_pictures_and_labels(store):
    train, test = rows(40, 6, 5, 3), rows(10, 6, 5, 3, seed=1)
    where = store(splits={"train": train, "test": test})
    loaded = data.load("tfds:tiny", data_dir=where)
    assert loaded.counts == {"train": 36, "validation": 4, "test": 10}
    assert loaded.class_names == ("cat", "dog") and loaded.image_shape == (6, 5, 3)
    assert as_set(loaded.test.as_numpy_iterator()) == as_set(test)
    both = [*loaded.train.as_numpy_iterator(), *loaded.validation.as_numpy_iterator()]
    assert as_set(both) == as_set(train)
    assert data.prepare("tfds:tiny", where).startswith("tfds:tiny is prepared in")


@pytest.mark.slow
def test_without_test_one_is_carved(store):
    where = store(splits={"train": rows(50, 6, 5, 3)})
    first, second = (data.load("tfds:tiny", data_dir=where, seed=seed) for seed in (0, 1))
    assert first.counts == {"train": 36, "validation": 4, "test": 10}
    assert np.bincount(first.splits["test"].labels).tolist() == [5, 5]
    np.testing.assert_array_equal(pictures(first, "test"), pictures(second, "test"))


@pytest.mark.slow
def test_what_does_not_fit_is_read_from_a_file(store, monkeypatch):
    where = store(splits={"train": rows(40, 6, 5, 3), "test": rows(10, 6, 5, 3, seed=1)})
    held = data.load("tfds:tiny", data_dir=where)
    mapped = data.load("tfds:tiny", data_dir=where, memory_limit=4499)  # 50 pictures of 90 bytes
    assert mapped.fingerprint == held.fingerprint
    for split in held.splits:
        np.testing.assert_array_equal(pictures(mapped, split), pictures(held, split))
    (file,) = (where / "kapps_cache").glob("*.pixels")
    rows_of_file = np.frombuffer(file.read_bytes()[:4500], np.uint8).reshape(50, 6, 5, 3)
    np.testing.assert_array_equal(rows_of_file[40:], pictures(held, "test"))
    assert file.stat().st_size == 4500 + 32
    pairs = list(mapped.train.as_numpy_iterator())
    np.testing.assert_array_equal(np.stack([x for x, _ in pairs]), pictures(held, "train"))

    def never(*_):
        raise AssertionError("the file is decoded again")

    monkeypatch.setattr(tfds, "_fill", never)
    again = data.load("tfds:tiny", data_dir=where, memory_limit=0)
    np.testing.assert_array_equal(pictures(again, "test"), pictures(held, "test"))


@pytest.mark.slow
def test_an_interrupted_file_leaves_nothing_and_is_made_again(store, monkeypatch):
    where = store(splits={"train": rows(40, 6, 5, 3), "test": rows(10, 6, 5, 3, seed=1)})
    whole = tfds._fill

    def interrupted(name, count, put, chunks):
        put(0, next(chunks))
        raise KeyboardInterrupt

    monkeypatch.setattr(tfds, "_fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.load("tfds:tiny", data_dir=where, memory_limit=0)
    assert [path.suffix for path in (where / "kapps_cache").iterdir()] == [".lock"]
    monkeypatch.setattr(tfds, "_fill", whole)
    assert data.load("tfds:tiny", data_dir=where, memory_limit=0).counts["test"] == 10


@pytest.mark.slow
def test_no_room_for_the_file(store, monkeypatch):
    where = store(splits={"train": rows(40, 6, 5, 3)})

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pixel_file.os, "posix_fallocate", full)
    with pytest.raises(UserError, match="take 0.0 MiB, and .* free: choose another data directory"):
        data.load("tfds:tiny", data_dir=where, memory_limit=0)
    assert [path.suffix for path in (where / "kapps_cache").iterdir()] == [".lock"]


@pytest.mark.slow
def test_pictures_of_several_sizes(store):
    """Sides 20, 30 and 60: the median 30 is nearest to 32. A size that is asked for is taken."""
    sizes = [(20, 30), (30, 30), (60, 30)] * 10
    sized = [(np.full((*s, 1), 9, np.uint8), i % 2) for i, s in enumerate(sizes)]
    where = store(splits={"train": sized}, shape=(None, None, 1))
    loaded = data.load("tfds:tiny", data_dir=where)
    assert loaded.image_shape == (32, 32, 1)
    assert "sides run from 20 to 60 pixels, median 30" in loaded.notes[0]
    assert (pictures(loaded, "train") == 9).all()
    loaded = data.load("tfds:tiny", data_dir=where, image_size=(4, 6), channels=3)
    assert loaded.image_shape == (4, 6, 3)
    assert not any("sides run" in note for note in loaded.notes)


@pytest.mark.slow
def test_the_stored_jpeg_is_what_is_decoded(store):
    features = tensorflow_datasets.features.Image(shape=(16, 16, 3), encoding_format="jpeg")
    patches = np.random.RandomState(0).randint(0, 256, (20, 4, 4, 3)).astype(np.uint8)
    encoded = []
    for i, patch in enumerate(patches.repeat(4, 1).repeat(4, 2)):
        buffer = io.BytesIO()
        Image.fromarray(patch).save(buffer, "JPEG", quality=90)
        buffer.seek(0)
        encoded.append((buffer, i % 2))
    expected = {np.asarray(Image.open(io.BytesIO(b.getvalue()))).tobytes() for b, _ in encoded}
    where = store(splits={"train": encoded}, image=features)
    loaded = data.load("tfds:tiny", data_dir=where)
    assert {x.tobytes() for name in loaded.splits for x in pictures(loaded, name)} == expected


@pytest.mark.slow
def test_a_split_without_labels_is_left_out(store):
    hidden = [(x, -1) for x, _ in rows(10, 6, 5, 3)]
    where = store(splits={"train": rows(50, 6, 5, 3), "test": hidden})
    loaded = data.load("tfds:tiny", data_dir=where)
    assert loaded.counts["test"] == 10 and set(loaded.splits["test"].labels) == {0, 1}
    assert loaded.notes == ("the test split of 'tfds:tiny' has no labels and was left out",)


def test_datasets_of_another_kind(store):
    features = tensorflow_datasets.features
    floats = [(np.zeros((6, 5, 1), np.float32), 0)] * 4
    for name, splits, options, said in [
        ("no_train", {"extra": rows(4, 6, 5, 3)}, {}, "no train split; it has extra"),
        (
            "no_class",
            {"train": rows(4, 6, 5, 3)},
            {"label": features.Scalar(np.int64)},
            "features are",
        ),
        (
            "floats",
            {"train": floats},
            {"image": features.Image(shape=(6, 5, 1), dtype=np.float32)},
            "have type float32",
        ),
    ]:
        where = store(name, splits, **options)
        with pytest.raises(UserError) as error:
            data.load(f"tfds:{name}", data_dir=where)
        assert said in str(error.value) and f"tfds:{name}" in str(error.value)


def test_names_versions_and_the_network(tmp_path):
    for spec, said in [
        ("tfds:mnist", f"'tfds:mnist' is not in '{tmp_path}' and cannot be downloaded: no network"),
        ("tfds:no_such_dataset", "has no dataset 'no_such_dataset'"),
        ("tfds:mnist:9.9.9", "Dataset mnist cannot be loaded at version 9.9.9"),
    ]:
        for touch in (data.load, data.prepare):
            with pytest.raises(UserError) as error:
                touch(spec, data_dir=tmp_path)
            assert said in str(error.value)


def test_a_download_that_breaks_off(tmp_path, monkeypatch):
    def fail(self, **_):
        raise ConnectionResetError("the line is cut\nand a long story")

    monkeypatch.setattr(tfds, "_network", lambda: True)
    monkeypatch.setattr(tensorflow_datasets.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UserError, match="cannot be downloaded: the line is cut. Try again"):
        data.load("tfds:mnist", data_dir=tmp_path)
