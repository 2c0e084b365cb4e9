"""`tfds:NAME`: datasets of TensorFlow Datasets, downloaded when they are not there yet."""

import contextlib
import hashlib
import logging
import os
import pathlib
import socket
import sys
import urllib.request
from collections.abc import Callable

import filelock
import numpy as np
import tensorflow as tf

from kapps.data.images.dataset import SPLITS, Source
from kapps.data.images.files.decode import decode_image
from kapps.data.images.files.headers import asked_channels, asked_size, common_size
from kapps.data.pixel_file import Put, open_pixels, write_pixels
from kapps.data.progress import track
from kapps.data.rows import rows_of
from kapps.data.sources.arrays import gather, picture_keys
from kapps.errors import UserError

_DOWNLOAD_HOST = "storage.googleapis.com"  # TFDS's own bucket, which serves most of its datasets
_SIZED = 1000  # pictures from which a common size is chosen
_BATCH = 64


def data_directory(data_dir: str | os.PathLike | None) -> pathlib.Path:
    """Where prepared datasets live: the given directory, or TFDS's default one."""
    default = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return pathlib.Path(data_dir or default).expanduser()


def read_tfds(
    name: str,
    data_dir: str | os.PathLike | None,
    image_size: int | tuple[int, int] | None,
    channels: int | None,
    memory_limit: int,
) -> Source:
    """Reads a labelled picture dataset; its splits train, validation and test are used.

    The pictures are decoded once: into memory if they fit `memory_limit` bytes, else into a file
    under the data directory that is then read row by row.

    Raises:
        UserError: no such dataset, no network to fetch it, no pictures with class labels in it,
            no train split, or no room on the disk for the decoded pictures.
    """
    builder = fetch(name, data_dir)
    image_key, label_key = _keys(name, builder.info)
    labels, notes = _labels(name, builder, label_key)
    feature = builder.info.features[image_key]
    stored = feature.shape
    size = asked_size(image_size) or (stored[:2] if None not in stored[:2] else None)
    if size is None:
        first = builder.as_dataset(split="train", decoders=_undecoded(image_key)).take(_SIZED)
        shapes = first.map(
            lambda x: tf.shape(tf.io.decode_image(x[image_key], 0, tf.uint8, None, False))
        )
        size, note = common_size((int(h), int(w)) for h, w, _ in shapes.as_numpy_iterator())
        notes += [note] if note else []
    height, width = size
    image_shape = (height, width, asked_channels(channels) or (1 if stored[-1] == 1 else 3))
    total = sum(len(x) for x in labels.values())

    def chunks():
        for split in labels:
            encoded = builder.as_dataset(split=split, decoders=_undecoded(image_key))
            images = encoded.map(
                lambda x: decode_image(x[image_key], image_shape),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            yield from images.batch(_BATCH).prefetch(2).as_numpy_iterator()

    if total * int(np.prod(image_shape)) <= memory_limit:
        pixels = np.empty((total, *image_shape), np.uint8)

        def put(row, chunk):
            pixels[row : row + len(chunk)] = chunk

        digest, images = _fill(name, total, put, chunks()), gather(pixels)
        keys = picture_keys(pixels)
    else:
        keys = None
        cache = _cache_file(builder, image_shape, labels, data_directory(data_dir))
        digest, images = _through_file(name, cache, (total, *image_shape), chunks)
    ends = np.cumsum([len(x) for x in labels.values()])
    return Source(
        class_names=tuple(builder.info.features[label_key].names),
        image_shape=image_shape,
        labels=np.concatenate(list(labels.values())).astype(np.int32),
        given={s: np.arange(e - len(x), e) for e, (s, x) in zip(ends, labels.items(), strict=True)},
        images=images,
        digest=digest,
        notes=tuple(notes),
        keys=keys,
    )


def fetch(name: str, data_dir: str | os.PathLike | None):
    """The builder of a prepared dataset, downloading and preparing it first where needed.

    Raises:
        UserError: there is no such dataset, or it cannot be fetched.
    """
    import tensorflow_datasets as tfds

    where = data_directory(data_dir)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        with _quiet("absl"):  # it warns of the absence of what it is about to make
            builder = tfds.builder(name, data_dir=where)
    except tfds.core.DatasetNotFoundError as error:
        raise UserError(
            f"TensorFlow Datasets has no dataset '{name}', and '{where}' holds none of that name; "
            "the names are listed at https://www.tensorflow.org/datasets/catalog/overview"
        ) from error
    except (ValueError, AssertionError) as error:  # an unknown version or configuration
        reason = _first_line(error).rpartition('": ')[2]  # without TFDS's own preamble
        raise UserError(f"dataset 'tfds:{name}' cannot be set up: {reason}") from error
    if not builder.is_prepared():
        _download(name, builder, where)
    return builder


def _download(name: str, builder, where: pathlib.Path) -> None:
    import tensorflow_datasets as tfds

    advice = (
        f"dataset 'tfds:{name}' is not in '{where}' and cannot be downloaded: {{}}. Try again with "
        f"a network, or copy a prepared '{builder.name}' folder from another machine to '{where}'"
    )
    if not _network():
        raise UserError(advice.format(f"no network ({_DOWNLOAD_HOST} is not found)"))
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        with _quiet("urllib3.connectionpool"):
            builder.download_and_prepare(download_config=config)
    except (OSError, tfds.download.DownloadError) as error:  # OSError: what `requests` raises
        raise UserError(advice.format(_first_line(error))) from error
    except (AssertionError, ImportError) as error:  # files to be fetched by hand; a missing package
        raise UserError(f"dataset 'tfds:{name}' cannot be prepared: {error}") from error


def _network() -> bool:
    """Asked beforehand, because TFDS repeats a hopeless download for minutes."""
    if urllib.request.getproxies():
        return True  # the proxy resolves names, this machine need not
    try:
        socket.getaddrinfo(_DOWNLOAD_HOST, 443)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _quiet(name: str):
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _undecoded(image_key: str):
    import tensorflow_datasets as tfds

    return {image_key: tfds.decode.SkipDecoding()}


def _keys(name: str, info) -> tuple[str, str]:
    """Names of the picture and the label in an example."""
    import tensorflow_datasets as tfds

    features = info.features
    found = dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    images = [k for k, f in found.items() if type(f) is tfds.features.Image]
    labels = [k for k, f in found.items() if type(f) is tfds.features.ClassLabel]
    if info.supervised_keys:
        images = [k for k in images if k == info.supervised_keys[0]] or images
        labels = [k for k in labels if k == info.supervised_keys[1]] or labels
    if len(images) != 1 or len(labels) != 1:
        kinds = ", ".join(f"{key}: {type(feature).__name__}" for key, feature in found.items())
        raise UserError(
            f"dataset 'tfds:{name}' is no set of pictures with one class each; its features are "
            f"{kinds or type(features).__name__}"
        )
    if found[images[0]].np_dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"the pictures of 'tfds:{name}' have type {np.dtype(found[images[0]].np_dtype)}; "
            "8-bit and 16-bit pictures are read"
        )
    return images[0], labels[0]


def _labels(name: str, builder, label_key: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Labels of each split that is used, read without touching the pictures."""
    import tensorflow_datasets as tfds

    if "train" not in builder.info.splits:
        raise UserError(
            f"dataset 'tfds:{name}' has no train split; it has {', '.join(builder.info.splits)}"
        )
    only = tfds.decode.PartialDecoding({label_key: builder.info.features[label_key]})
    labels, notes = {}, []
    for split in SPLITS:
        if split not in builder.info.splits:
            continue
        batches = builder.as_dataset(split=split, decoders=only).batch(4096).as_numpy_iterator()
        values = np.concatenate([batch[label_key] for batch in batches])
        if (values < 0).any():
            if split == "train":
                raise UserError(f"dataset 'tfds:{name}' has training examples without a label")
            notes.append(f"the {split} split of 'tfds:{name}' has no labels and was left out")
        else:
            labels[split] = values
    return labels, notes


def _fill(name: str, count: int, put: Put, chunks) -> bytes:
    """Puts decoded chunks, in order; returns the hash of all of them."""
    digest, row = hashlib.sha256(), 0
    try:
        for chunk in track(chunks, f"Decoding {name}", count, weight=len):
            put(row, chunk)
            digest.update(chunk)
            row += len(chunk)
    except tf.errors.InvalidArgumentError as error:
        raise UserError(f"a picture of 'tfds:{name}' near number {row} does not decode") from error
    return digest.digest()


def _cache_file(builder, image_shape, labels, where: pathlib.Path) -> pathlib.Path:
    full_name = builder.info.full_name.replace("/", "-")
    size = "x".join(map(str, image_shape))
    content = hashlib.sha256()
    for split, values in labels.items():
        content.update(split.encode() + values.astype("<i4").tobytes())
    return where / "kapps_cache" / f"{full_name}-{size}-{content.hexdigest()[:12]}.pixels"


def _through_file(
    name: str, path: pathlib.Path, shape: tuple[int, ...], chunks: Callable
) -> tuple[bytes, Callable[[tf.Tensor], tf.Tensor]]:
    """Decodes into a file, unless that was done before, and reads rows from it."""
    advice = "choose another data directory, a smaller image_size, or raise memory_limit"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_suffix(".lock")):  # who comes second finds the file
            found = open_pixels(path, shape)
            if found is None:
                write_pixels(path, shape, lambda put: _fill(name, shape[0], put, chunks()), advice)
                found = open_pixels(path, shape)
    except OSError as error:
        raise UserError(f"'{path.parent}' cannot be written: {error.strerror or error}") from error
    if found is None:
        raise UserError(f"'{path}' was written and cannot be read back")
    pixels, digest = found
    return digest, rows_of(pixels)
