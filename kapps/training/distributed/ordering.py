"""The order of a batch in which several replicas do as one device does."""

import tensorflow as tf


def order_for_replicas(batch: tf.Tensor, n_critic: int, replicas: int) -> tf.Tensor:
    """The rows of a training batch in the order that lets replicas do as one device does.

    One device gives the first n_critic-th of the batch to the first step of the discriminator, and
    so on. The replicas are given equal parts of the batch, one after the other; in this order, what
    they have for a step are together the pictures that one device has for it.

    Args:
        batch: [n_critic * replicas * n, ...], before it is shared out.
        n_critic: as in `GAN`.
        replicas: how many share the batch.
    """
    if n_critic == 1 or replicas == 1:
        return batch
    rest = batch.shape[1:]
    parts = tf.reshape(batch, [n_critic, replicas, -1, *rest])
    axes = [1, 0, *range(2, len(parts.shape))]
    return tf.reshape(tf.transpose(parts, axes), [-1, *rest])
