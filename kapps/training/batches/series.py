"""Batches of series: changed ones to train on, and plain ones to measure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from kapps import data
from kapps.data.series.ragged import Ragged, alike
from kapps.training.setup import clean_examples

if TYPE_CHECKING:
    from kapps.data import SequenceData, SeriesAugmentation

TOGETHER = 250  # series measured at a time
SHORT = 20  # steps; an epoch of fewer is repeated, because what follows an epoch takes longer


def series_batches(
    series: SequenceData,
    batch_size: int,
    *,
    seed: int,
    augmentation: SeriesAugmentation | None = None,
    label_smoothing: float = 0.0,
    repeats: int = 0,
    fresh: Callable[[int, tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None = None,
) -> tuple[data.IndexedBatches, tf.data.Dataset, tf.data.Dataset]:
    """Training batches, validation batches, and a part of the training split as it is.

    Targets are one-hot where there are classes.

    Args:
        series: with splits `train` and `validation`.
        batch_size: series per step, over all devices; at most all of the training split.
        seed: of order and augmentation, and of the choice of that part.
        augmentation: of training series.
        label_smoothing: part of a target that is spread over all classes.
        repeats: passes over the training series in an epoch; 0: as many as make `SHORT` steps.
        fresh: `(count, seed int32 [2]) -> (series, targets)`, made in the place of those that are
            there, in graph mode.
    """
    train, validation = series.splits["train"], series.splits["validation"]
    one_hot = data.classification_targets(series.classes) if series.classes else lambda y: y
    with tf.device("CPU:0"):
        values, labels = _held(train.values), tf.constant(train.labels)
    count = len(train)
    size = min(batch_size, count)

    def load_rows(rows, seed_of_step):
        if fresh is not None:
            x, y = fresh(size, seed_of_step)
        else:
            x, y = _taken(values, rows % count), tf.gather(labels, rows % count)
        if augmentation is not None:
            x = augmentation(x, seed_of_step)
        y = one_hot(y)
        if series.classes:
            y = data.smooth(y, label_smoothing)
        return tf.ensure_shape(x, [size, *_steps_and_features(train.values)]), y

    def once(split):
        if not isinstance(split.values, Ragged):
            rows = tf.data.Dataset.from_tensor_slices((split.values, split.labels))
            return rows.batch(TOGETHER).map(lambda x, y: (x, one_hot(y))).prefetch(1)
        with tf.device("CPU:0"):
            held, of_all = _held(split.values), tf.constant(split.labels)
            groups = tf.ragged.constant([g.tolist() for g in alike(split.values, TOGETHER)])
        shape = [None, *_steps_and_features(split.values)]
        return (
            tf.data.Dataset.from_tensor_slices(groups)
            .map(lambda rows: (_taken(held, rows), one_hot(tf.gather(of_all, rows))))
            .map(lambda x, y: (tf.ensure_shape(x, shape), y))
            .prefetch(1)
        )

    repeats = repeats or math.ceil(SHORT / max(1, count // size))
    return (
        data.IndexedBatches(count * repeats, size, seed=seed, load=load_rows),
        once(validation),
        once(train.some(clean_examples(series.counts), seed)),
    )


def _held(values):
    """All series as a tensor, ragged where they are kept so."""
    if isinstance(values, Ragged):
        return tf.RaggedTensor.from_row_lengths(values.flat, values.lengths)
    return tf.constant(values)


def _taken(values, rows):
    """Some series [b, steps, features], padded with NaN to the longest of these."""
    x = tf.gather(values, rows)
    return x.to_tensor(math.nan) if isinstance(x, tf.RaggedTensor) else x


def _steps_and_features(values) -> tuple[int | None, int]:
    """Steps of a batch, None where they differ from batch to batch, and features of a step."""
    return None if isinstance(values, Ragged) else values.shape[1], values.shape[2]
