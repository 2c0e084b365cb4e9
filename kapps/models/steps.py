"""What custom training steps share: seeds, averages over replicas, one move of one set of weights.

Keras' own `train_step` does the same for a compiled loss. A step that is written by hand has to
do it itself: on N replicas the gradients are summed, so a loss has to be divided by N; the state
of a `SeedGenerator` is the same on all of them; a loss-scaling optimizer has to be asked to scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf


def next_seed(generator: keras.random.SeedGenerator) -> tf.Tensor:
    """A seed for stateless random functions, int32 [2]: another one at every call and replica.

    The state of the generator is a variable of the model, so a checkpoint carries it.
    """
    return of_this_replica(tf.cast(tf.convert_to_tensor(generator.next()), tf.int32))


def of_this_replica(seed: tf.Tensor) -> tf.Tensor:
    """A seed, int32 [2], that replicas share: another one on each of them."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return seed
    return tf.random.experimental.stateless_fold_in(seed, context.replica_id_in_sync_group)


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
            `global_clipnorm` clips the part of each replica before they are summed.

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
