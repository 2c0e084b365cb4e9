"""`fashion_mnist`: from a prepared TFDS dataset, from IDX files, or by TFDS's download.

All ways give the same arrays in the same order. TFDS shuffles what it stores, IDX files keep the
order of publication; both are put in the order of a hash of picture and label.
"""

import gzip
import hashlib
import os
import pathlib
import struct

import numpy as np

from kapps.data.images.dataset import Source
from kapps.data.sources import tfds as tfds_source
from kapps.data.sources.arrays import array_source
from kapps.errors import UserError

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DEBIAN = pathlib.Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist
_NAME, _VERSION = "fashion_mnist", "3.0.1"
_FILES = {"train": "train", "test": "t10k"}
_SIDE = 28

Splits = dict[str, tuple[np.ndarray, np.ndarray]]


def read_fashion(data_dir=None, image_size=None, channels=None) -> Source:
    """Reads Fashion-MNIST: 60,000 training and 10,000 test pictures, 28x28, grey.

    Raises:
        UserError: it is nowhere and cannot be downloaded, or an IDX file is damaged.
    """
    if _prepared(data_dir):
        splits = _from_tfds(data_dir)
    elif folder := idx_folder(data_dir):
        splits = read_idx(folder)
    else:
        splits = _from_download(data_dir)
    ordered = {split: _canonical(*arrays) for split, arrays in splits.items()}
    return array_source(ordered, CLASS_NAMES, image_size, channels)


def prepare_fashion(data_dir=None) -> str:
    """Makes `tfds.load("fashion_mnist", download=False)` work, from IDX files where there are any.

    TFDS's own preparation refuses Debian's files, whose gzip streams have other checksums.

    Raises:
        UserError: as `read_fashion`.
    """
    where = tfds_source.data_directory(data_dir)
    if _prepared(data_dir):
        return f"fashion_mnist was already prepared in '{where / _NAME}'"
    folder = idx_folder(data_dir)
    if folder is None:
        _from_download(data_dir)
        return f"fashion_mnist was downloaded and prepared in '{where / _NAME}'"
    _store(read_idx(folder), where)
    return f"fashion_mnist was prepared in '{where / _NAME}' from the IDX files in '{folder}'"


def idx_folder(data_dir: str | os.PathLike | None) -> pathlib.Path | None:
    """The first folder with the four IDX files: the data directory, then Debian's."""
    folders = [DEBIAN]
    if data_dir is not None:
        given = pathlib.Path(data_dir).expanduser()
        folders = [given, given / "fashion-mnist", given / _NAME, DEBIAN]
    names = [
        f"{part}-{kind}" for part in _FILES.values() for kind in ("images-idx3", "labels-idx1")
    ]
    for folder in folders:
        if all(_idx_file(folder, name) for name in names):
            return folder
    return None


def read_idx(folder: pathlib.Path) -> Splits:
    """The splits of a folder of IDX files, in the order of the files.

    Raises:
        UserError: a file is damaged, or is not of Fashion-MNIST.
    """
    splits = {}
    for split, part in _FILES.items():
        images = _read_array(folder, f"{part}-images-idx3")
        labels = _read_array(folder, f"{part}-labels-idx1")
        if images.shape != (len(labels), _SIDE, _SIDE) or labels.max(initial=0) > 9:
            raise UserError(
                f"'{folder}' holds no Fashion-MNIST: {part} has pictures {images.shape} and labels "
                f"{labels.shape} up to {labels.max(initial=0)}"
            )
        splits[split] = images[..., None], labels
    return splits


def _idx_file(folder: pathlib.Path, name: str) -> pathlib.Path | None:
    candidates = [folder / f"{name}-ubyte{suffix}" for suffix in (".gz", "")]
    return next((path for path in candidates if path.is_file()), None)


def _read_array(folder: pathlib.Path, name: str) -> np.ndarray:
    """IDX: two zeros, 8 for uint8, the number of axes, each axis as big-endian uint32, the data."""
    path = _idx_file(folder, name)
    if path is None:
        raise UserError(f"'{folder}' has no {name}-ubyte; fetch it again")
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            content = file.read()
        axes = content[3]
        shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
        if content[:3] != b"\0\0\x08":
            raise ValueError("it does not begin as IDX")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, struct.error) as error:
        raise UserError(f"'{path}' is damaged ({error}); fetch it again") from error


def _prepared(data_dir) -> bool:
    folder = tfds_source.data_directory(data_dir) / _NAME
    return any(folder.glob("*/dataset_info.json"))


def _from_tfds(data_dir) -> Splits:
    builder = tfds_source.fetch(_NAME, data_dir)
    splits = {}
    for split in _FILES:
        batches = builder.as_dataset(split=split, as_supervised=True).batch(1000)
        parts = list(batches.as_numpy_iterator())
        splits[split] = (
            np.concatenate([images for images, _ in parts]),
            np.concatenate([labels for _, labels in parts]).astype(np.uint8),
        )
    return splits


def _from_download(data_dir) -> Splits:
    try:
        return _from_tfds(data_dir)
    except UserError as error:
        where = tfds_source.data_directory(data_dir)
        raise UserError(
            "fashion_mnist is not on this machine. Three ways to get it: "
            f"(1) copy a prepared TFDS dataset to '{where / _NAME}'; "
            "(2) install Debian's package dataset-fashion-mnist, or put the four IDX files "
            f"(train-images-idx3-ubyte.gz and so on) into '{where}' and give it as the data "
            "directory; (3) connect to the network, so that TensorFlow Datasets can download it, "
            f"which failed just now: {error}"
        ) from error


def _canonical(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keys = [
        hashlib.blake2b(image.tobytes() + bytes([label]), digest_size=16).digest()
        for image, label in zip(images, labels, strict=True)
    ]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return images[order], labels[order]


def _store(splits: Splits, where: pathlib.Path) -> None:
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(_SIDE, _SIDE, 1)),
            "label": tfds.features.ClassLabel(names=CLASS_NAMES),
        }
    )
    tfds.dataset_builders.store_as_tfds_dataset(
        name=_NAME,
        version=_VERSION,
        features=features,
        split_datasets={
            split: [
                (i, {"image": x, "label": int(y)})
                for i, (x, y) in enumerate(zip(*arrays, strict=True))
            ]
            for split, arrays in splits.items()
        },
        data_dir=where,
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        description="Fashion-MNIST (MIT licence), from its IDX files.",
    )
