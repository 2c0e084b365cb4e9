"""What `kapps.data.load` returns: splits of pictures, read by row number."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from kapps.data.duplicates import duplicate_notes
from kapps.data.images.files.decode import Reading
from kapps.data.images.targets import strata
from kapps.data.pipeline import label_tensor
from kapps.errors import UserError

SPLITS = ("train", "validation", "test")
_CHUNK = 64  # pictures read together: enough to hide the overhead, small enough for big pictures


@dataclass(frozen=True, eq=False)
class Split:
    """One split of a dataset.

    Attributes:
        labels: class numbers int32 [n]; of several labels 0 and 1 float32 [n, labels]; or numbers
            float32 [n].
        images: graph function from row numbers, int64 [b], to pictures, uint8 [b, H, W, C].
        origins: file names relative to the dataset's folder, when there are files.
    """

    labels: np.ndarray
    images: Callable[[tf.Tensor], tf.Tensor]
    origins: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The pictures of these rows, uint8 [len(indices), H, W, C], in memory."""
        with tf.device("CPU:0"):
            return self.images(tf.constant(np.asarray(indices, np.int64))).numpy()

    def rows(self, indices: Sequence[int] | np.ndarray) -> "Split":
        """These rows as a split of their own."""
        chosen = np.asarray(indices, np.int64)
        with tf.device("CPU:0"):
            lookup = tf.constant(chosen)
        return Split(
            labels=self.labels[chosen],
            images=lambda rows: self.images(tf.gather(lookup, rows)),
            origins=None if self.origins is None else tuple(self.origins[i] for i in chosen),
        )

    def dataset(self) -> tf.data.Dataset:
        """Unbatched (image uint8 [H, W, C], label int32 []), always in the same order."""
        rows = tf.data.Dataset.range(len(self)).batch(_CHUNK)
        labels = label_tensor(self.labels)
        # Read in chunks: a gather of 64 costs little more than a gather of one.
        chunks = rows.map(
            lambda i: (self.images(i), tf.gather(labels, i)),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return chunks.unbatch().apply(tf.data.experimental.assert_cardinality(len(self)))


@dataclass(frozen=True, eq=False)
class ImageData:
    """A dataset of labelled pictures in three splits.

    Attributes:
        spec: the spec it was loaded from.
        class_names: one name per class number, or per label; none where numbers are predicted.
        image_shape: (H, W, C) of every picture, C being 1 or 3.
        splits: `Split` by name: train, validation, test.
        fingerprint: sha256 over pictures, labels, class names, shape and who is in which split.
        notes: what the user should know: skipped files, chosen sizes, tiny classes, duplicates.
        reading: how files were decoded; a served model does the same (`decode_image`).
        cache: a directory for what is found in these data and can be found again; None: none.
        kind: what there is to say of a picture: "classes", one of them; "labels", any of them;
            "number".
    """

    spec: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    splits: dict[str, Split]
    fingerprint: str
    notes: tuple[str, ...] = ()
    reading: Reading = Reading()
    cache: pathlib.Path | None = None
    kind: str = "classes"

    @property
    def classes(self) -> int:
        """Number of classes, or of labels; 0 where numbers are predicted."""
        return len(self.class_names)

    @property
    def counts(self) -> dict[str, int]:
        """Number of pictures in each split."""
        return {name: len(split) for name, split in self.splits.items()}

    @property
    def summary(self) -> str:
        """What this is, in one line."""
        shape = "x".join(map(str, self.image_shape))
        what = "a number each" if self.kind == "number" else f"{self.classes} {self.kind}"
        return f"{self.spec}: {self.counts}, {what}, images {shape}"

    @property
    def train(self) -> tf.data.Dataset:
        """The training split, unbatched, in stable order."""
        return self.splits["train"].dataset()

    @property
    def validation(self) -> tf.data.Dataset:
        """The validation split, unbatched, in stable order."""
        return self.splits["validation"].dataset()

    @property
    def test(self) -> tf.data.Dataset:
        """The test split, unbatched, in stable order: to be touched once, at the end."""
        return self.splits["test"].dataset()


def without_class(images: ImageData, name: str | None) -> ImageData:
    """The same dataset less the images of one class, whose number stays unused.

    Args:
        images: a loaded dataset.
        name: of the class; None leaves out nothing.

    Raises:
        UserError: there is no such class, or no other.
    """
    if name is None:
        return images
    if name not in images.class_names or images.classes < 2:
        raise UserError(
            f"class {name!r} cannot be left out: it is one of {', '.join(images.class_names)}, and "
            "there has to be another"
        )
    number = images.class_names.index(name)
    splits = {
        part: split.rows(np.flatnonzero(split.labels != number))
        for part, split in images.splits.items()
    }
    return dataclasses.replace(images, splits=splits)


@dataclass(frozen=True, eq=False)
class Source:
    """All pictures of a dataset under common row numbers, before it is divided.

    Attributes:
        class_names: one name per class number.
        image_shape: (H, W, C).
        labels: for all rows, as `Split` has them.
        given: row numbers of the splits that come with the data; always train, perhaps the others.
        images: graph function from row numbers, int64 [b], to uint8 [b, H, W, C].
        digest: hash of the contents of all rows, in order.
        origins: a name per row, for files.
        notes: what the user should know.
        keys: of each row something that only the same picture has.
        reading: as `ImageData` has it.
        cache: likewise.
        kind: as `ImageData` has it.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    labels: np.ndarray
    given: dict[str, np.ndarray]
    images: Callable[[tf.Tensor], tf.Tensor]
    digest: bytes
    origins: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    keys: tuple[bytes, ...] | None = None
    reading: Reading = Reading()
    cache: pathlib.Path | None = None
    kind: str = "classes"

    @property
    def strata(self) -> np.ndarray:
        """Numbers by which rows are divided in proportion, int [n]."""
        return strata(self.kind, self.labels)


def assemble(spec: str, source: Source, rows: dict[str, np.ndarray]) -> ImageData:
    """Gives each split its rows of the source."""
    repeated = []
    if source.keys is not None:
        keys, labels = source.keys, source.labels
        repeated = duplicate_notes(keys, labels, rows, "pictures", source.origins)
    return ImageData(
        spec=spec,
        class_names=source.class_names,
        image_shape=source.image_shape,
        splits={name: _split(source, rows[name]) for name in SPLITS},
        fingerprint=_fingerprint(source, rows),
        notes=(*source.notes, *repeated),
        reading=source.reading,
        cache=source.cache,
        kind=source.kind,
    )


def _split(source: Source, rows: np.ndarray) -> Split:
    with tf.device("CPU:0"):
        lookup = tf.constant(rows, tf.int64)
    return Split(
        labels=source.labels[rows].astype(np.int32 if source.kind == "classes" else np.float32),
        images=lambda indices: source.images(tf.gather(lookup, indices)),
        origins=None if source.origins is None else tuple(source.origins[row] for row in rows),
    )


def _fingerprint(source: Source, rows: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(source.digest)
    digest.update(json.dumps([source.class_names, source.image_shape]).encode())
    if source.reading.resize != "stretch":
        digest.update(source.reading.resize.encode())
    digest.update(source.labels.astype("<i4" if source.kind == "classes" else "<f4").tobytes())
    for name in SPLITS:
        digest.update(f"{name} {len(rows[name])} ".encode())
        digest.update(rows[name].astype("<i8").tobytes())
    return digest.hexdigest()


def with_validation(images: ImageData) -> ImageData:
    """The same data, validation being part of training as well."""
    train, validation = images.splits["train"], images.splits["validation"]
    count = len(train)

    def pixels(rows):
        first = train.images(tf.minimum(rows, count - 1))
        second = validation.images(tf.maximum(rows - count, 0))
        return tf.where((rows < count)[:, None, None, None], first, second)

    labels = np.concatenate([train.labels, validation.labels])
    return replace(images, splits=images.splits | {"train": Split(labels, pixels)})
