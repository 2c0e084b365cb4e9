"""Both ways to Fashion-MNIST, on a small set of the same form and on the real one."""

import gzip
import struct

import numpy as np
import pytest

from kapps import data
from kapps.data.sources import fashion, tfds
from kapps.errors import UserError

DEBIAN = fashion.DEBIAN
NAMES = [f"{p}-{k}-ubyte" for p in ("train", "t10k") for k in ("images-idx3", "labels-idx1")]


@pytest.fixture
def small():
    """60 + 20 pictures; one comes ten times, with every label."""
    random = np.random.RandomState(0)
    pixels = random.randint(0, 256, (80, 28, 28)).astype(np.uint8)
    pixels[10:20] = pixels[9]
    labels = (np.arange(80) % 10).astype(np.uint8)
    return {"train": (pixels[:60], labels[:60]), "t10k": (pixels[60:], labels[60:])}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Neither Debian's files nor the user's datasets, and never the network."""
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "no package")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default"))
    monkeypatch.setattr(tfds, "_network", lambda: False)


def write_idx(folder, arrays, zipped):
    folder.mkdir(parents=True)
    for part, (pixels, labels) in arrays.items():
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            content = header + array.tobytes()
            name = f"{part}-{kind}-ubyte"
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)


def pictures(loaded, split):
    return loaded.splits[split].take(range(len(loaded.splits[split])))


@pytest.mark.parametrize(("zipped", "below"), [(True, "."), (False, "fashion-mnist")])
def test_idx_files_in_the_data_directory(tmp_path, small, zipped, below):
    write_idx(tmp_path / "here" / below, small, zipped)
    loaded = data.load("fashion_mnist", data_dir=tmp_path / "here")
    assert loaded.image_shape == (28, 28, 1)
    assert loaded.counts == {"train": 50, "validation": 10, "test": 20}
    assert loaded.class_names[0] == "T-shirt/top" and loaded.class_names[9] == "Ankle boot"
    original = {x.tobytes(): y for x, y in zip(*small["t10k"], strict=True)}
    found = pictures(loaded, "test")
    assert {x.tobytes() for x in found} == set(original)
    labels = loaded.splits["test"].labels
    assert [original[x.tobytes()] for x in found] == labels.tolist()


@pytest.mark.slow
def test_prepared_is_the_same_as_idx(tmp_path, small):
    import tensorflow_datasets

    write_idx(tmp_path / "idx", small, zipped=True)
    from_idx = data.load("fashion_mnist", data_dir=tmp_path / "idx")
    said = data.prepare("fashion_mnist", data_dir=tmp_path / "idx")
    assert "was prepared in" in said and str(tmp_path / "idx") in said
    for name in NAMES:
        (tmp_path / "idx" / f"{name}.gz").unlink()
    prepared = data.load("fashion_mnist", data_dir=tmp_path / "idx")
    assert prepared.fingerprint == from_idx.fingerprint
    for split in prepared.splits:
        np.testing.assert_array_equal(pictures(prepared, split), pictures(from_idx, split))
    stored, info = tensorflow_datasets.load(
        "fashion_mnist",
        split="train",
        as_supervised=True,
        download=False,
        data_dir=tmp_path / "idx",
        with_info=True,
    )
    assert sorted(int(y) for _, y in stored) == sorted(small["train"][1].tolist())
    assert info.features["label"].names == list(prepared.class_names)
    assert "already prepared" in data.prepare("fashion_mnist", data_dir=tmp_path / "idx")


def test_nowhere(tmp_path):
    for touch in (data.load, data.prepare):
        with pytest.raises(UserError) as error:
            touch("fashion_mnist", data_dir=tmp_path / "empty")
        for way in ("prepared TFDS dataset", "dataset-fashion-mnist", "connect to the network"):
            assert way in str(error.value)
        assert str(tmp_path / "empty") in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0", "train-images-idx3-ubyte' is damaged"),
        ("t10k-labels-idx1-ubyte", b"", "t10k-labels-idx1-ubyte' is damaged"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x0d\x01\0\0\0\x01\0", "does not begin as IDX"),
        ("t10k-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x01\0", "holds no Fashion-MNIST"),
        ("train-labels-idx1-ubyte", b"\0\0\x08\x01\0\0\0\x3c" + b"\x0a" * 60, "up to 10"),
    ],
)
def test_damaged_files_are_named(tmp_path, small, name, content, said):
    write_idx(tmp_path / "idx", small, zipped=False)
    (tmp_path / "idx" / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        data.load("fashion_mnist", data_dir=tmp_path / "idx")
    assert said in str(error.value) and str(tmp_path / "idx") in str(error.value)


def test_a_damaged_gzip_is_named(tmp_path, small):
    write_idx(tmp_path / "idx", small, zipped=True)
    path = tmp_path / "idx/train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match="train-images-idx3-ubyte.gz' is damaged"):
        data.load("fashion_mnist", data_dir=tmp_path / "idx")


@pytest.mark.slow
@pytest.mark.skipif(
    not fashion.DEBIAN.exists(),
    reason="Debian's package dataset-fashion-mnist is not installed",
)
def test_the_real_one(monkeypatch):
    """Published: 60,000 and 10,000, a tenth per class; mean and deviation 0.2860 and 0.3530."""
    monkeypatch.setattr(fashion, "DEBIAN", DEBIAN)
    loaded = data.load("fashion_mnist")
    assert loaded.counts == {"train": 54_000, "validation": 6_000, "test": 10_000}
    for split, each in (("train", 5_400), ("validation", 600), ("test", 1_000)):
        assert np.bincount(loaded.splits[split].labels).tolist() == [each] * 10
    mean, deviation = data.pixel_statistics(loaded.splits["train"])
    np.testing.assert_allclose([mean[0], deviation[0]], [0.2860, 0.3530], atol=0.004)
