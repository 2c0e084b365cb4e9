"""What custom training steps share: noise, averages over replicas, one move of one set of weights.

Keras' own `train_step` does the same for a compiled loss. A step that is written by hand has to
do it itself: on N replicas the gradients are summed, so a loss has to be divided by N; the state
of a `SeedGenerator` is the same on all of them; a loss-scaling optimizer has to be asked to scale.

Noise belongs to the examples of the global batch: each replica draws that of the whole batch from
the seed that all share, and takes the rows of its own examples. So it differs from replica to
replica, and is the same on N of them as on one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf


def next_seed(generator: keras.random.SeedGenerator) -> tf.Tensor:
    """A seed for `normal` and `uniform`, int32 [2]: another one at every call, for all replicas.

    The state of the generator is a variable of the model, so checkpoints hold it.
    """
    return tf.cast(tf.convert_to_tensor(generator.next()), tf.int32)


def seed_of_batch(seed: int, x: tf.Tensor) -> tf.Tensor:
    """A seed for `normal` and `uniform` that depends on the examples alone, int32 [2].

    Whole numbers are added up: a sum of floats has other last bits in another order, so the seed
    would depend on how many devices and threads there are.

    Args:
        seed: of the model.
        x: the examples of this replica, pixels scaled to a range of 1 or 2.
    """
    levels = tf.cast(tf.round(255.0 * tf.cast(gathered(x), tf.float32)), tf.int32)
    return tf.stack([tf.constant(seed, tf.int32), tf.reduce_sum(levels)])


def normal(shape: Any, seed: tf.Tensor, axis: int = 0) -> tf.Tensor:
    """Standard normal draws, float32 of that shape: those of this replica's examples.

    Args:
        shape: of this replica's part, whose examples stand along `axis`.
        seed: int32 [2], the same on all replicas.
        axis: where the examples are.
    """
    return _own_rows(lambda shape: tf.random.stateless_normal(shape, seed), shape, axis)


def uniform(
    shape: Any,
    seed: tf.Tensor,
    low: Any = 0.0,
    high: Any = 1.0,
    dtype: Any = tf.float32,
    axis: int = 0,
) -> tf.Tensor:
    """Draws between `low` and `high`, of this replica's examples; arguments as `normal`."""
    draw = tf.random.stateless_uniform
    return _own_rows(lambda shape: draw(shape, seed, low, high, dtype), shape, axis)


_parts = threading.local()  # replicas on one machine are traced by a thread each


@contextlib.contextmanager
def uneven_parts(count: tf.Tensor) -> Iterator[None]:
    """Inside, the replicas' parts of the batch may differ in size, as in the last of a test.

    Args:
        count: how many examples this replica has, int32 [].
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        yield
        return
    count = getattr(_parts, "examples", count)
    own = tf.one_hot(context.replica_id_in_sync_group, context.num_replicas_in_sync, count, 0)
    counts = context.all_reduce(tf.distribute.ReduceOp.SUM, own)
    first = tf.reduce_sum(counts[: context.replica_id_in_sync_group])
    _parts.of_batch = (first, tf.reduce_sum(counts))
    try:
        yield
    finally:
        del _parts.of_batch


@contextlib.contextmanager
def stand_in(examples: tf.Tensor) -> Iterator[None]:
    """Inside, only the first so many rows of this replica are examples: int32 [], or none.

    Where a replica has no example, a row of zeros stands in: TensorFlow's convolutions fail on
    nothing. `kapps.training.distributed.patch` keeps it out of the figures.
    """
    _parts.examples = examples
    try:
        yield
    finally:
        del _parts.examples


def _own_rows(draw, shape, axis):
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return draw(shape)
    shape = tf.unstack(tf.convert_to_tensor(shape, tf.int32))
    own, replicas = shape[axis], context.num_replicas_in_sync
    known = own * context.replica_id_in_sync_group, own * replicas
    first, everywhere = getattr(_parts, "of_batch", known)
    everybodys = draw(tf.stack([*shape[:axis], everywhere, *shape[axis + 1 :]]))
    rows = tf.minimum(tf.range(first, first + own), everywhere - 1)
    return tf.gather(everybodys, rows, axis=axis)


def mean_of_batch(value: tf.Tensor) -> tf.Tensor:
    """The mean over the examples of all replicas, whose parts may differ in size.

    Args:
        value: [examples of this replica, ...].
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tf.reduce_mean(value, axis=0)
    value = value[: getattr(_parts, "examples", None)]
    count = tf.cast(tf.shape(value)[0], value.dtype)
    parts = [tf.reduce_sum(value, axis=0), count]
    total, count = context.all_reduce(tf.distribute.ReduceOp.SUM, parts)
    return total / count


def gathered(value: tf.Tensor) -> tf.Tensor:
    """The examples of all replicas, in the order of the batch."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_gather(value[: getattr(_parts, "examples", None)], axis=0)


def average(per_example: tf.Tensor) -> tf.Tensor:
    """This replica's part of the mean over the global batch, float32 [].

    Gradients are summed over the replicas, and so is this. Replicas have batches of equal size.

    Args:
        per_example: [examples of this replica].
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context else 1
    return tf.reduce_mean(tf.cast(per_example, tf.float32)) / replicas


def minimize(
    optimizer: keras.optimizers.Optimizer,
    objective: Callable[[], tuple[tf.Tensor, Any]],
    variables: Sequence[keras.Variable],
    clip: float = 0.0,
) -> Any:
    """One step of gradient descent on `variables`, and on nothing else.

    Args:
        optimizer: built on these variables; if it scales losses, the gradient is right all the
            same.
        objective: returns the loss, as `average` gives it, and anything else.
        variables: those to move.
        clip: highest global norm of the gradient of the global batch; 0 is off. An optimizer's own
            `global_clipnorm` does the same after `kapps.training.patch_for_replicas`.

    Returns:
        What else the objective returned.
    """
    with tf.GradientTape() as tape:
        loss, rest = objective()
        loss = optimizer.scale_loss(loss)
    gradients = tape.gradient(loss, list(variables))
    if clip:
        gradients = _clipped(gradients, clip * optimizer.scale_loss(tf.constant(1.0)))
    optimizer.apply(gradients, list(variables))
    return rest


def _clipped(gradients: Sequence[tf.Tensor | None], norm: tf.Tensor) -> list[tf.Tensor | None]:
    """This replica's share of the summed gradients, scaled to a global norm of at most `norm`."""
    places = [i for i, gradient in enumerate(gradients) if gradient is not None]
    dense = [tf.convert_to_tensor(gradients[i]) for i in places]  # embeddings have sparse ones
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context else 1
    if replicas > 1:
        dense = context.all_reduce(tf.distribute.ReduceOp.SUM, dense)
    dense, _ = tf.clip_by_global_norm(dense, norm)
    clipped = list(gradients)
    for i, gradient in zip(places, dense, strict=True):
        clipped[i] = gradient / replicas  # the optimizer sums over the replicas once more
    return clipped
