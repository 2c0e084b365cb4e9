"""Bounds of log p(x), the objectives of VAEs, as losses to be minimized.

With K draws z ~ q(z | x) for each example,

    log w  =  log p(x | z) + log p(z) - log q(z | x)        float32 [K, batch]
    KL     =  KL(q(z | x) || p(z))                          float32 [K, batch]

Values are nats, one per example, `[batch]`, float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def negative_elbo(
    log_likelihood: tf.Tensor, kl: tf.Tensor, beta: tf.Tensor | float = 1.0
) -> tf.Tensor:
    """-1/K sum_k log p(x | z_k) + beta KL, arXiv:1312.6114, eq. 7; beta: arXiv:1804.03599.

    Args:
        log_likelihood: log p(x | z), [K, batch].
        kl: [K, batch].
        beta: weight of the KL.
    """
    return tf.reduce_mean(-log_likelihood, axis=0) + beta * tf.reduce_mean(kl, axis=0)


def free_bits(kl: tf.Tensor, mean: tf.Tensor, nats: float) -> tf.Tensor:
    """The KL of each dimension, but `nats` where the batch's mean is below that.

    The mean over the batch is then max(nats, mean KL), and so is its gradient
    (arXiv:1606.04934, appendix C.8).

    Args:
        kl: of each dimension, [K, batch, dims].
        mean: of kl over draws and the whole batch, [dims].
        nats: what costs nothing.
    """
    return tf.where(mean > nats, kl, nats)


def negative_iwae(log_w: tf.Tensor) -> tf.Tensor:
    """-log 1/K sum_k w_k, arXiv:1509.00519, eq. 8; for K = 1 the negative ELBO."""
    count = tf.cast(tf.shape(log_w)[0], log_w.dtype)
    return -(tf.reduce_logsumexp(log_w, axis=0) - tf.math.log(count))


def negative_dreg(
    log_weights: Callable[[tf.Tensor], tuple[tf.Tensor, Any]], z: tf.Tensor
) -> tuple[tf.Tensor, Any]:
    """The IWAE bound with a doubly reparameterized gradient, arXiv:1810.04152, eq. 8.

    The value is that of `negative_iwae`, and so is the gradient with respect to the decoder. That
    with respect to the encoder's phi has no score term and hence less variance:

        - sum_k (w_k / sum_j w_j)^2  (d log w_k / d z_k) (d z_k / d phi)

    Args:
        log_weights: z -> (log w [K, batch], anything), where q(z | x) depends on z alone: the
            parameters of the posterior are held fixed.
        z: the draws, differentiable with respect to phi, [K, batch, dims].

    Returns:
        The loss [batch], and what else `log_weights` returned.
    """
    fixed = tf.stop_gradient(z)
    with tf.GradientTape() as tape:
        tape.watch(fixed)
        log_w, rest = log_weights(fixed)
        loss = negative_iwae(log_w)
    # d loss / d z has w_k / sum_j w_j once; here it is once more.
    share = tf.nn.softmax(tf.stop_gradient(log_w), axis=0)[..., None]
    direction = tf.stop_gradient(tape.gradient(loss, fixed) * share)
    path = tf.reduce_sum(direction * z, axis=(0, 2))
    return loss + (path - tf.stop_gradient(path)), rest
