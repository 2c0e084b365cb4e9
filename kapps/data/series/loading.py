"""Series with a class or a number each, in three splits: `load_sequences`.

Series of unequal lengths stand in one array, the shorter ones filled up at the end with NaN in
every value of a step; nowhere else is there a NaN. Where that would take several times the room,
they stand one after the other (`kapps.data.series.ragged`).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kapps.data.duplicates import duplicate_notes
from kapps.data.limits import check_file, check_held
from kapps.data.series import files, memory_tasks, step_tables
from kapps.data.series.assembling import Series
from kapps.data.series.files import PACKAGED_SERIES
from kapps.data.series.ragged import Ragged, take
from kapps.data.sources import arrays, fashion
from kapps.data.spec import check, parse
from kapps.data.split import divide, joined_note
from kapps.errors import UserError

KINDS = ("digits", "fashion_mnist", "npz", "csv", "ts")
NAMES = (*memory_tasks.TASKS, *PACKAGED_SERIES)
EXAMPLES = {"validation": 1000, "test": 2000}  # of a generated task
_SPLIT_KEYS = {"train": 0, "validation": 1, "test": 2}


@dataclass(frozen=True, eq=False)
class SequenceSplit:
    """One split.

    Attributes:
        values: float32 [n, steps, features], padded with NaN at the end, or `Ragged`.
        labels: class numbers int32 [n], or [n, steps] for a class per step, or numbers
            float32 [n, 1].
    """

    values: np.ndarray | Ragged
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Valid steps of each series, int [n]."""
        if isinstance(self.values, Ragged):
            return self.values.lengths
        return np.sum(~np.isnan(self.values[..., 0]), axis=1)

    def some(self, count: int, seed: int) -> SequenceSplit:
        """At most `count` of the series, drawn by a seed: files are often sorted by class."""
        if count >= len(self):
            return self
        rows = np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))
        return SequenceSplit(take(self.values, rows), self.labels[rows])


@dataclass(frozen=True, eq=False)
class SequenceData:
    """A dataset of series in three splits.

    Attributes:
        spec: the spec it was loaded from.
        class_names: one name per class number; none where numbers are to be predicted.
        splits: `SequenceSplit` by name: train, validation, test. Without validation
            (`validation_fraction` 0) that split is the training split itself.
        fingerprint: sha256 over values, labels and class names of all splits, in order.
        baseline: what is reached without looking at the series: the mean squared error of numbers,
            nats per step of a class per step; None of classes, whose report says it.
        held_out: whether validation series are none of the training series.
        notes: what the user should know.
        feature_names: of the features, in their order, where they have names: those of a table.
    """

    spec: str
    class_names: tuple[str, ...]
    splits: dict[str, SequenceSplit]
    fingerprint: str
    baseline: float | None = None
    held_out: bool = True
    notes: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes; 0 where numbers are to be predicted."""
        return len(self.class_names)

    @property
    def features(self) -> int:
        """Values per step."""
        return self.splits["train"].values.shape[2]

    @property
    def steps(self) -> int:
        """Steps of the longest series."""
        return max(split.values.shape[1] for split in self.splits.values())

    @property
    def per_step(self) -> bool:
        """Whether there is a class for each step."""
        return self.classes > 0 and self.splits["train"].labels.ndim == 2

    @property
    def counts(self) -> dict[str, int]:
        """Number of series in each split."""
        return {name: len(split) for name, split in self.splits.items()}

    @property
    def summary(self) -> str:
        """What this is, in one line."""
        target = f"{self.classes} classes" if self.classes else "a number to predict"
        shape = f"{self.features} features, up to {self.steps} steps"
        return f"{self.spec}: {self.counts}, {shape}, {target}"


def load_sequences(
    spec: str,
    *,
    data_dir: str | os.PathLike | None = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
    length: int = 200,
    examples: int = 10_000,
    group: str | None = None,
    fold: tuple[int, int] | None = None,
    memory_limit: int | None = None,
) -> SequenceData:
    """Loads series.

    A test split that does not come with the data is a stratified fifth of it, always the same one;
    a missing validation split is a stratified part of train that moves with `seed`.

    Args:
        spec: adding or copy (made here); one of `PACKAGED_SERIES`, which come with aeon; digits
            or fashion_mnist, whose rows are the steps; ts:PATH, csv:PATH or npz:PATH
            (`kapps.data.series.files`).
        data_dir: where prepared datasets live.
        validation_fraction: the part of train kept for validation. 0: nothing is, and the
            validation split is the training split.
        seed: of the validation split, and of a generated task.
        length: steps of a generated task.
        examples: training series of a generated task.
        group: of csv:PATH, a column (patient, recording ...): all series with the same value are in
            one split. It is no feature.
        fold: (i, K): the test split is number i, from 0, of K folds of all series.
        memory_limit: bytes that a file, and the values in it, may take, which are held in memory;
            None: as many as there are.

    Raises:
        UserError: the spec, its path or the data are not as they should be.
    """
    check(spec, data_dir, KINDS, NAMES)
    parsed = parse(spec, KINDS, NAMES)
    if group is not None and parsed.kind != "csv":
        raise UserError(f"--group names a column of csv:PATH; {spec} has none")
    if parsed.kind in memory_tasks.TASKS:
        if fold is not None:
            raise UserError(f"{spec} is made anew as often as one likes: it needs no folds")
        return _generated(parsed.kind, length, examples, seed)
    if not 0 <= validation_fraction < 1:
        raise UserError(
            f"the validation fraction must be at least 0 and below 1, not {validation_fraction}"
        )
    if parsed.argument:
        check_file(parsed.path, memory_limit)
    if parsed.kind in ("digits", "fashion_mnist"):
        found = _rows_of_pictures(parsed.kind, data_dir)
    elif parsed.kind in PACKAGED_SERIES:
        found = files.read_ts(files.packaged_path(parsed.kind))
    elif parsed.kind == "csv":
        found = step_tables.read_csv(parsed.path, group)
    else:
        found = files.READERS[parsed.kind](parsed.path)
    held = found.values.flat if isinstance(found.values, Ragged) else found.values
    check_held(f"what {spec} holds", held.nbytes, memory_limit)
    return _divided(spec, found, validation_fraction, seed, fold)


def memory_task(name: str, count: int, length: int, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """New series of a generated task and what is asked, in graph mode.

    Args:
        name: adding or copy.
        count: how many.
        length: their steps.
        seed: int32 [2] or int64 [2].
    """
    return memory_tasks.TASKS[name][0](count, length, tf.cast(seed, tf.int32))


def sequence_statistics(split: SequenceSplit) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature over all valid steps, float64 [features]."""
    values = split.values
    # One series of all steps has the same statistics.
    values = (values.flat[None] if isinstance(values, Ragged) else values).astype(np.float64)
    std = np.nanstd(values, axis=(0, 1))
    return np.nanmean(values, axis=(0, 1)), np.where(std > 1e-12, std, 1.0)


def _generated(kind: str, length: int, examples: int, seed: int) -> SequenceData:
    memory_tasks.check_length(length)
    make, _, baseline = memory_tasks.TASKS[kind]
    splits = {}
    for name, key in _SPLIT_KEYS.items():
        count = EXAMPLES.get(name, examples)
        # The test split stays the same whatever the seed of training.
        at = tf.constant([key, -1 if name == "test" else 1000 * seed], tf.int32)
        x, y = make(count, length, at)
        splits[name] = SequenceSplit(x.numpy(), y.numpy())
    names = () if kind == "adding" else (*map(str, range(memory_tasks.SYMBOLS)), "blank")
    return SequenceData(kind, names, splits, _fingerprint(names, splits), baseline=baseline(length))


def _rows_of_pictures(kind: str, data_dir) -> Series:
    source = arrays.read_digits() if kind == "digits" else fashion.read_fashion(data_dir)
    with tf.device("CPU:0"):
        pictures = source.images(tf.range(len(source.labels), dtype=tf.int64)).numpy()
    height, width, channels = source.image_shape
    values = pictures.reshape(len(pictures), height, width * channels).astype(np.float32)
    return Series(
        values, source.labels.astype(np.int32), source.class_names, source.given, source.notes
    )


def _divided(
    spec: str,
    found: Series,
    validation_fraction: float,
    seed: int,
    fold: tuple[int, int] | None = None,
) -> SequenceData:
    numbers = not found.class_names
    strata = np.zeros(len(found.labels), int) if numbers else found.labels
    keep_all = validation_fraction == 0 and (fold or "validation" not in found.given)
    rows = divide(
        strata, found.given, validation_fraction or 0.5, seed, groups=found.groups, fold=fold
    )
    if keep_all:
        joined = np.sort(np.concatenate([rows["train"], rows["validation"]]))
        rows["train"] = rows["validation"] = joined
    notes = [*found.notes, *joined_note(found.given, fold), *_repeated(found, rows)]
    if keep_all:
        notes.append(
            "no series are kept for validation: validation figures are those of the training split"
        )
    elif len(rows["validation"]) < 30:
        notes.append(
            f"{len(rows['validation'])} series are too few to choose an epoch by; "
            "--validation-fraction 0 trains on all of them for all epochs"
        )
    labels = found.labels.astype(np.float32)[:, None] if numbers else found.labels
    splits = {name: SequenceSplit(take(found.values, at), labels[at]) for name, at in rows.items()}
    baseline = None
    if numbers:
        baseline = float(np.var(splits["test"].labels))
    fingerprint = _fingerprint(found.class_names, splits)
    return SequenceData(
        spec,
        found.class_names,
        splits,
        fingerprint,
        baseline,
        not keep_all,
        tuple(notes),
        found.feature_names,
    )


def _repeated(found: Series, rows: dict[str, np.ndarray]) -> list[str]:
    """Notes on series that are the same in two splits, or have different labels."""
    keys = [hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in found.values]
    return duplicate_notes(keys, found.labels, rows, "series")


def _fingerprint(names: Sequence[str], splits: dict[str, SequenceSplit]) -> str:
    digest = hashlib.sha256(json.dumps(list(names)).encode())
    for name in _SPLIT_KEYS:
        split = splits[name]
        for array in (split.values, split.labels):
            digest.update(f"{name} {array.shape} ".encode())
            if isinstance(array, Ragged):
                digest.update(array.lengths.astype("<i8").tobytes())
                array = array.flat
            digest.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()
