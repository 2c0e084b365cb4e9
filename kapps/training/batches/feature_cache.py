"""What a frozen backbone makes of pictures, computed once and kept on the disk.

A linear probe of ten epochs runs its backbone ten times over the same pictures, unless the pooled
features are kept. A file is found again by what it depends on: the network with its preprocessing
and its weights, the data, the augmentation. It is written atomically, and read only if it is whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import filelock
import keras
import numpy as np
import tensorflow as tf

from kapps import files
from kapps.data.images.augmentation import Augmentation
from kapps.data.images.dataset import ImageData, Split
from kapps.data.pipeline import (
    IndexedBatches,
    evaluation_batches,
    without_autotune,
)
from kapps.data.progress import track
from kapps.training.picture_tasks import picture_targets
from kapps.training.run_directory.environment import versions
from kapps.training.run_directory.run import Run
from kapps.training.setup import clean_examples

IN_MEMORY = 2**30  # bytes; larger files stay on the disk and are mapped

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def cached_features(
    extractor: keras.Model,
    split: Split,
    directory: str | os.PathLike | None,
    facts: dict[str, Any],
    *,
    copies: int = 0,
    augment: Augment | None = None,
    seed: int = 0,
    batch_size: int = 64,
    in_memory: int = IN_MEMORY,
) -> np.ndarray:
    """The features of every picture of a split: float32 [max(1, copies), examples, features].

    Args:
        extractor: pictures -> features [batch, features], called in inference mode.
        split: the pictures.
        directory: where the file is, or will be; None keeps the features in memory only.
        facts: what else they depend on, as plain values: the fingerprint of the data, the name of
            the split, what `augment` does.
        copies: augmented copies of each picture; 0: the pictures as they are.
        augment: `(pictures uint8 [b,H,W,C], seed int32 [2]) -> pictures`, in graph mode.
        seed: of the augmentation.
        batch_size: pictures at a time.
        in_memory: files of so many bytes are read, larger ones mapped into memory.

    Raises:
        ValueError: copies without an augmentation.
        OSError: the file cannot be written, and no part of it is left; or not be read back.
    """
    if copies and augment is None:
        raise ValueError(f"{copies} augmented copies, and no augmentation")
    facts = {**facts, "copies": copies, "batch_size": batch_size}
    if copies:
        facts["seed"] = seed
    shape = (max(1, copies), len(split), extractor.output_shape[-1])

    def computed():
        steps = -(-len(split) // batch_size) * shape[0]
        batches = _batches(split, copies, augment, seed, batch_size)
        return track(_run(extractor, batches), "Looking at pictures", steps)

    if directory is None:
        return np.concatenate(list(computed())).reshape(shape)
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{key(extractor, facts)[:24]}.npy"
    # Who comes second waits, and finds the file; other runs' files are none of this one's business.
    with filelock.FileLock(path.with_suffix(".lock")):
        for left in directory.glob(f".{path.stem}.*.tmp"):
            left.unlink(missing_ok=True)
        found = _read(path, shape, in_memory)
        return _written(path, shape, facts, computed, in_memory) if found is None else found


def _written(path, shape, facts, computed, in_memory) -> np.ndarray:
    """Computes features into a file, and reads them back."""
    digest = hashlib.sha256()

    def write(file):
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_2_0(file, header)
        for part in computed():  # one after the other: no second copy in memory
            content = np.ascontiguousarray(part, "<f4").tobytes()
            digest.update(content)
            file.write(content)

    files.write_atomically(path, write)
    about = {"sha256": digest.hexdigest(), "shape": shape, "facts": facts, "versions": versions()}
    files.write_json(path.with_suffix(".json"), about)
    written = _read(path, shape, in_memory)
    if written is None:
        raise OSError(f"{path} was written and cannot be read back")
    return written


def key(extractor: keras.Model, facts: dict[str, Any]) -> str:
    """sha256 of what features depend on: layers and their settings, weights, versions, `facts`."""
    digest = hashlib.sha256()
    # Keras numbers what has no name anew in every process: names become positions.
    numbers = {layer.name: str(i) for i, layer in enumerate(extractor._flatten_layers())}

    def nameless(value):
        if isinstance(value, dict):
            return {k: nameless(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [nameless(v) for v in value]
        return numbers.get(value, value) if isinstance(value, str) else value

    parts = [nameless(extractor.get_config()), facts, versions()]
    digest.update(json.dumps(parts, sort_keys=True, default=str).encode())
    for weight in extractor.weights:
        value = np.ascontiguousarray(weight.numpy())
        digest.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
    return digest.hexdigest()


def feature_directory(run: Run, wanted: str | None = None) -> pathlib.Path:
    """Where a run keeps features: beside its own directory, for other runs too.

    Args:
        run: the run; of several workers each has a directory, lest two write the same file.
        wanted: another place.
    """
    directory = pathlib.Path(wanted or run.path.parent / "features")
    return directory if run.chief else directory / str(run.worker)


def features_by_split(
    extractor: keras.Model,
    images: ImageData,
    directory: str | os.PathLike | None,
    facts: dict[str, Any],
) -> Callable[..., np.ndarray]:
    """A function from the name of a split to its `cached_features`, [copies, examples, features].

    Its further arguments are those of `cached_features`.

    Args:
        extractor: images -> features [batch, features].
        images: the data.
        directory: where features are kept; None keeps them in memory only.
        facts: what else they depend on, as plain values.
    """

    def features(name: str, **options: Any) -> np.ndarray:
        about = {"data": images.fingerprint, "split": name}
        about["augmentation"] = repr(options.get("augment"))
        return cached_features(extractor, images.splits[name], directory, facts | about, **options)

    return features


@dataclasses.dataclass(frozen=True)
class CopyAugmentation:
    """What `cached_features` does to the images of a copy; its text says what."""

    augmentation: Augmentation

    def __call__(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Images of another look."""
        return self.augmentation(images, None, seed)[0]


def cached_batches(
    extractor: keras.Model,
    images: ImageData,
    directory: str | os.PathLike | None,
    facts: dict[str, Any],
    *,
    batch_size: int,
    seed: int,
    targets: Callable[[tf.Tensor], tuple],
    copies: int = 0,
    augmentation: Augmentation | None = None,
) -> tuple[FeatureBatches, tf.data.Dataset, tf.data.Dataset]:
    """Training batches, validation batches and a clean part of train, of cached features.

    Args:
        extractor: images -> features [batch, features].
        images: the data.
        directory: where features are kept.
        facts: what else they depend on, as plain values.
        batch_size: examples per training step.
        seed: of order, copies and augmentation.
        targets: one-hot targets -> what follows the features in a training batch, a tuple.
        copies: augmented copies of each training image; 0: the images as they are.
        augmentation: of these copies, without what mixes images: that needs other targets for
            every copy.
    """
    features = features_by_split(extractor, images, directory, facts)
    one_hot = picture_targets(images)
    seen = clean = features("train")
    if copies:
        changed = None
        if augmentation is not None:
            changed = CopyAugmentation(dataclasses.replace(augmentation, mixup=0.0, cutmix=0.0))
        seen = features("train", copies=copies, seed=seed, augment=changed)
    with tf.device("CPU:0"):
        labels = tf.constant(images.splits["train"].labels)

    def measured(held, name, limit=None):
        gather = gatherer(held)
        rows = Split(images.splits[name].labels, lambda rows: rows)
        return evaluation_batches(
            rows,
            1024,
            prepare=lambda rows, numbers: (gather(rows), one_hot(numbers)),
            limit=limit,
            seed=seed,
        )

    return (
        FeatureBatches(
            seen,
            batch_size,
            seed=seed,
            targets=lambda rows: targets(one_hot(tf.gather(labels, rows))),
        ),
        measured(features("validation"), "validation"),
        measured(clean, "train", limit=clean_examples(images.counts)),
    )


class FeatureBatches(IndexedBatches):
    """Training batches of cached features, in the order in which `TrainingBatches` has pictures.

    Args:
        features: of `cached_features`, [copies, examples, features]; every example of every batch
            is drawn from one of its copies.
        batch_size: examples per step over all devices.
        seed: of the order and of the copies.
        targets: `(rows int64 [b]) -> what follows the features in a batch`, a tuple, in graph mode.

    Attributes:
        features: as they were given.
    """

    def __init__(
        self,
        features: np.ndarray,
        batch_size: int,
        *,
        seed: int = 0,
        targets: Callable[[tf.Tensor], tuple],
    ):
        self.features = features
        copies, examples, _ = features.shape
        gather = gatherer(features)

        def load(rows, seed_of_step):
            if copies == 1:
                return gather(rows), *targets(rows)
            drawn = tf.random.stateless_uniform(
                tf.shape(rows), seed_of_step, maxval=copies, dtype=tf.int64
            )
            return gather(drawn * examples + rows), *targets(rows)

        super().__init__(examples, batch_size, seed=seed, load=load)


def gatherer(features: np.ndarray) -> Callable[[tf.Tensor], tf.Tensor]:
    """A graph function from row numbers, int64 [b], of all copies to features, float32 [b, f]."""
    flat = features.reshape(-1, features.shape[-1])
    if not isinstance(features, np.memmap):
        with tf.device("CPU:0"):
            held = tf.constant(flat)
        return lambda rows: tf.gather(held, rows)

    def gather(rows):
        (found,) = tf.numpy_function(lambda i: [flat[i]], [rows], [tf.float32])
        return tf.ensure_shape(found, [rows.shape[0], flat.shape[-1]])

    return gather


def _batches(split, copies, augment, seed, batch_size):
    """Pictures copy by copy, each in the order of the split."""
    rows = tf.data.Dataset.range(len(split)).batch(batch_size)

    def of_copy(copy):
        def load(indices):
            pictures = split.images(indices)
            if not copies:
                return pictures
            # Every image of every copy is drawn anew: the first row of a batch tells batches apart.
            step = copy * len(split) + indices[0]
            return augment(pictures, tf.stack([tf.constant(2 * seed + 1, tf.int64), step]))

        return rows.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    batches = tf.data.Dataset.range(max(1, copies)).flat_map(of_copy)
    return without_autotune(batches.prefetch(tf.data.AUTOTUNE))


def _run(extractor, batches):
    step = tf.function(
        lambda pictures: tf.cast(extractor(pictures, training=False), tf.float32),
        input_signature=[tf.TensorSpec((None, *extractor.input_shape[1:]), tf.float32)],
        autograph=False,
    )
    for pictures in batches:
        yield step(tf.cast(pictures, tf.float32)).numpy()


def _read(path, shape, in_memory):
    """The features in a file, or None if it is missing, damaged or of another shape."""
    try:
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        features = np.load(path, mmap_mode="r", allow_pickle=False)
        if features.shape != tuple(shape) or features.dtype != np.float32:
            return None
        digest = hashlib.sha256()
        for part in np.array_split(features.reshape(-1), max(1, features.nbytes >> 26)):
            digest.update(part.tobytes())
        if digest.hexdigest() != about["sha256"]:
            return None
    except (OSError, ValueError, KeyError, EOFError):
        return None
    return features if features.nbytes > in_memory else np.array(features)
