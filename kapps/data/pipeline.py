"""Batches for `fit` whose content depends on (seed, epoch, step) and on nothing else.

That is what makes resuming exact: a batch can be asked for again without replaying what came
before it. The order of every epoch is a permutation drawn from (seed, epoch), the augmentation of
every batch is drawn from (seed, step), so neither threads nor the number of devices nor a killed
process change what the model sees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from kapps.errors import UserError

if TYPE_CHECKING:
    from kapps.data.images.dataset import Split

AUTOTUNE = tf.data.AUTOTUNE
# Of functions without a Python `if` or loop over tensors: to rewrite one takes up to 30 ms.
_as_written = tf.autograph.experimental.do_not_convert


def without_autotune(batches: tf.data.Dataset) -> tf.data.Dataset:
    """The same batches, prepared by as many threads as there are cores, without autotuning.

    The thread that tunes a pipeline looks at it at doubled intervals, and TensorFlow 2.21 often
    waits for its next look before it lets go of an iterator: what has trained for 6 seconds ends
    after 10, and every validation takes up to twice as long (benchmarks/iterators.py). With as
    many calls in flight as cores there is nothing left to tune.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.with_options(options)


class Part(NamedTuple):
    """Which rows of a batch are made: all of them, or those of one replica of several.

    Attributes:
        whole: rows in the batch.
        count: rows of this part.
        first: the first of them, int64 [].
        before: rows before the first, going round, that are made too: what mixing takes its
            neighbours from.
    """

    whole: int
    count: int
    first: tf.Tensor | int = 0
    before: int = 0

    @property
    def rows(self) -> tf.Tensor | None:
        """Positions in the batch of the rows that are made, int64 [before + count]; None: all."""
        if self.count == self.whole:
            return None
        offsets = tf.range(-self.before, self.count, dtype=tf.int64)
        return (tf.cast(self.first, tf.int64) + offsets) % self.whole


def own_rows(values: tf.Tensor, part: Part | None) -> tf.Tensor:
    """Of values for all rows of a batch, those of a part; None: all."""
    return values if part is None or part.rows is None else tf.gather(values, part.rows)


class IndexedBatches:
    """Shuffled training batches that can start at any step of any epoch.

    The last, incomplete batch of an epoch is dropped: every step then has the same shape and the
    same weight, and which examples it loses changes with the permutation.

    Args:
        examples: how many there are.
        batch_size: examples per step over all devices (the global batch). Fewer examples than one
            batch become a single batch.
        seed: seed of the order and of the augmentation.
        load: `(rows int64 [b], seed int32 [2]) -> batch`, in graph mode; the seed is different
            for every batch and replica-independent.
        load_part: `(rows int64 [before + count], seed int32 [2], part: Part) -> part of the batch`,
            that makes, of the same batch, the rows that a replica has. With it several machines
            make their own rows; without, each makes the batch and keeps its rows.
        before: rows before its own that `load_part` needs; it returns its own alone.

    Raises:
        UserError: no examples or a batch size under 1.
    """

    def __init__(
        self,
        examples: int,
        batch_size: int,
        *,
        seed: int = 0,
        load: Callable[[tf.Tensor, tf.Tensor], tuple],
        load_part: Callable[[tf.Tensor, tf.Tensor, Part], tuple] | None = None,
        before: int = 0,
    ):
        if batch_size < 1:
            raise UserError(f"batch size {batch_size}: it must be at least 1")
        if not examples:
            raise UserError("the training split is empty: there is nothing to learn from")
        self.batch_size = min(batch_size, examples)
        self.steps = examples // self.batch_size
        self._examples, self._seed, self._load = examples, seed, load
        self._load_part, self._before = load_part, before

    @property
    def by_part(self) -> bool:
        """Whether a replica's rows can be made without the others."""
        return self._load_part is not None

    def dataset(self, first: int, last: int, start: int = 0) -> tf.data.Dataset:
        """The batches of the epochs from `first` to before `last`, one after the other.

        Args:
            first: first epoch, from 0.
            last: the epoch before which to end.
            start: step of the first epoch to begin at.
        """
        batches = self._steps(first, last, start).map(
            self._load, num_parallel_calls=AUTOTUNE, deterministic=True
        )
        # flat_map hides the count from Keras, which needs it for its progress bar.
        count = (last - first) * self.steps - start
        return batches.apply(tf.data.experimental.assert_cardinality(count)).prefetch(AUTOTUNE)

    def parts(
        self, first: int, last: int, start: int = 0, *, replicas: range, of: int
    ) -> tf.data.Dataset:
        """The parts that some replicas have of those batches, of each batch one after the other.

        Args:
            first: as `dataset` has it, and so have `last` and `start`.
            last: likewise.
            start: likewise.
            replicas: their numbers.
            of: how many share each batch, which is divisible by them.
        """
        load, count = self._load_part, self.batch_size // of
        if load is None:
            raise ValueError("these batches are made as a whole")

        def of_replica(rows, key, replica):
            part = Part(self.batch_size, count, replica * count, self._before)
            own = rows if part.rows is None else tf.gather(rows, part.rows)
            return load(own, key, part)

        parts = self._steps(first, last, start).flat_map(
            _as_written(
                lambda rows, key: tf.data.Dataset.range(replicas.start, replicas.stop).map(
                    _as_written(lambda replica: (rows, key, replica))
                )
            )
        )
        parts = parts.map(of_replica, num_parallel_calls=AUTOTUNE, deterministic=True)
        total = ((last - first) * self.steps - start) * len(replicas)
        return parts.apply(tf.data.experimental.assert_cardinality(total)).prefetch(AUTOTUNE)

    def _steps(self, first: int, last: int, start: int) -> tf.data.Dataset:
        """(rows int64 [b], seed int32 [2]) of each step."""

        def steps_of_epoch(epoch):
            order = tf.random.experimental.stateless_shuffle(
                tf.range(self._examples, dtype=tf.int64), seed=self._key(epoch, 0)
            )
            begin = tf.where(epoch == first, tf.constant(start, tf.int64), 0)
            steps = tf.data.Dataset.range(begin, self.steps)

            def rows_of_step(step):
                return self._slice(order, step), self._key(epoch * self.steps + step, 1)

            return steps.map(_as_written(rows_of_step))

        return tf.data.Dataset.range(first, last).flat_map(_as_written(steps_of_epoch))

    def _slice(self, order: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
        indices = order[step * self.batch_size : (step + 1) * self.batch_size]
        return tf.ensure_shape(indices, [self.batch_size])

    @_as_written
    def _key(self, counter: tf.Tensor, stream: int) -> tf.Tensor:
        """Seed of a stateless op; the two streams (order, augmentation) never meet."""
        return tf.stack(
            [tf.constant(2 * self._seed + stream, tf.int64), tf.cast(counter, tf.int64)]
        )


class FullBatches:
    """The same batch at every step, all examples in it: full-batch gradient descent for `fit`.

    Args:
        x: [n, ...].
        y: [n, ...].
        steps: how many make an epoch.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, steps: int):
        self.batch_size, self.steps, self.by_part = len(x), steps, False
        with tf.device("CPU:0"):
            self._batch = tf.constant(x), tf.constant(y)

    def dataset(self, first: int, last: int, start: int = 0) -> tf.data.Dataset:
        """As that of `IndexedBatches`."""
        count = (last - first) * self.steps - start
        return tf.data.Dataset.from_tensors(self._batch).repeat(count)


class TrainingBatches(IndexedBatches):
    """`IndexedBatches` of pictures.

    Args:
        split: the training examples.
        batch_size: examples per step over all devices (the global batch).
        seed: seed of the order and of the augmentation.
        prepare: `(images uint8 [b,H,W,C], labels int32 [b], seed int32 [2]) -> batch`, in graph
            mode (labels float32, where they are no classes); the seed is different for every batch
            and replica-independent.
        alternate_flips: mirror half of the pictures, drawn once, in the first epoch, the other
            half in the second, and so on. Drawn anew in every epoch, of two epochs a quarter would
            show a picture twice and never its mirror image (arXiv:2404.00498, section 3.6).
        neighbours: how many rows before its own `prepare` needs to make those of a part of a batch
            (1 for what mixes an image with the one before); it then takes the `Part` as a fourth
            argument, and several machines load their own images alone. None: it takes whole
            batches.

    Raises:
        UserError: an empty split or a batch size under 1.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        seed: int = 0,
        prepare: Callable[..., tuple],
        alternate_flips: bool = False,
        neighbours: int | None = None,
    ):
        drawn = np.random.default_rng(seed).random(len(split)) < 0.5 if alternate_flips else None

        @_as_written
        def read(rows, key):
            labels = label_tensor(split.labels)
            images = split.images(rows)
            if drawn is not None:
                odd = tf.cast(key[1] // self.steps % 2, tf.bool)
                mirrored = tf.gather(tf.constant(drawn), rows) ^ odd
                images = tf.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
            return images, tf.gather(labels, rows)

        def load(rows, key, *part):  # rewritten, as what the user gives may need it
            images, labels = read(rows, key)
            return prepare(images, labels, key, *part)

        def load_part(rows, key, part):
            batch = load(rows, key, part)
            return tf.nest.map_structure(lambda values: values[part.before :], batch)

        if neighbours is None:
            super().__init__(len(split), batch_size, seed=seed, load=load)
            return
        size = min(batch_size, len(split))
        super().__init__(
            len(split),
            batch_size,
            seed=seed,
            load=lambda rows, key: load(rows, key, Part(size, size)),
            load_part=load_part,
            before=neighbours,
        )


def evaluation_batches(
    split: Split,
    batch_size: int,
    *,
    prepare: Callable[[tf.Tensor, tf.Tensor], tuple],
    limit: int | None = None,
    seed: int = 0,
) -> tf.data.Dataset:
    """Every example once, in order, the last incomplete batch included.

    Args:
        split: the examples.
        batch_size: examples per step over all devices.
        prepare: `(images uint8 [b,H,W,C], labels int32 [b]) -> batch`, in graph mode.
        limit: take only that many examples, a seeded random part of the split.
        seed: seed of that choice.
    """
    chosen = np.arange(len(split))
    if limit is not None and limit < len(split):
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, limit, replace=False))
    labels = label_tensor(split.labels)
    batches = tf.data.Dataset.from_tensor_slices(chosen.astype(np.int64)).batch(batch_size)

    def load(indices):
        return prepare(split.images(indices), tf.gather(labels, indices))

    batches = batches.map(load, num_parallel_calls=AUTOTUNE, deterministic=True)
    return without_autotune(batches.prefetch(AUTOTUNE))


@_as_written
def label_tensor(labels: np.ndarray) -> tf.Tensor:
    """Labels of a split as they go into batches: int32, or float32 where they are no classes."""
    whole = np.issubdtype(np.asarray(labels).dtype, np.integer)
    return tf.constant(labels, tf.int32 if whole else tf.float32)


def classification_targets(classes: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function from labels int [b] to one-hot targets float32 [b, classes].

    It raises `tf.errors.InvalidArgumentError` for a label outside 0 .. classes - 1: a row of zeros,
    which `tf.one_hot` has for it, would train on nothing.
    """

    @_as_written
    def targets(labels: tf.Tensor) -> tf.Tensor:
        labels = tf.convert_to_tensor(labels)
        known = tf.reduce_all((labels >= 0) & (labels < classes))
        told = f"a label lies outside 0 .. {classes - 1}"
        refusal = tf.debugging.Assert(known, [told, labels])
        with tf.control_dependencies([] if refusal is None else [refusal]):
            return tf.one_hot(tf.identity(labels), classes, dtype=tf.float32)

    return targets


@_as_written
def smooth(targets: tf.Tensor, label_smoothing: float) -> tf.Tensor:
    """Targets [b, classes] moved towards the uniform distribution (arXiv:1512.00567, section 7).

    Smoothing stands in the training batches and not in the loss, so that the validation loss stays
    the plain negative log-likelihood and can be compared between runs.

    Raises:
        UserError: a smoothing outside [0, 1).
    """
    if not 0.0 <= label_smoothing < 1.0:
        raise UserError(f"label smoothing {label_smoothing}: it must be in [0, 1)")
    return targets * (1.0 - label_smoothing) + label_smoothing / targets.shape[-1]
