"""Diagonal Gaussians: densities and divergences, in nats and float32.

`mean` and `log_var` are `[..., dims]`.
"""

import math

import tensorflow as tf

_LOG_TWO_PI = math.log(2 * math.pi)


def gaussian_log_density(z: tf.Tensor, mean: tf.Tensor, log_var: tf.Tensor) -> tf.Tensor:
    """Log N(z; mean, e^log_var), summed over the last axis."""
    squared = tf.math.squared_difference(z, mean) * tf.exp(-log_var)
    return -0.5 * tf.reduce_sum(_LOG_TWO_PI + log_var + squared, axis=-1)


def gaussian_kl(mean: tf.Tensor, log_var: tf.Tensor) -> tf.Tensor:
    """KL(N(mean, e^log_var) || N(0, I)), summed over the last axis.

    arXiv:1312.6114, appendix B. It is dims / 2 for mean 1 and log_var 0.
    """
    return tf.reduce_sum(gaussian_kl_per_dimension(mean, log_var, 0.0, 0.0), axis=-1)


def gaussian_kl_per_dimension(
    mean: tf.Tensor,
    log_var: tf.Tensor,
    prior_mean: tf.Tensor | float,
    prior_log_var: tf.Tensor | float,
) -> tf.Tensor:
    """KL(N(mean, e^log_var) || N(prior_mean, e^prior_log_var)) of each dimension."""
    ratio = tf.exp(log_var - prior_log_var)
    squared = tf.math.squared_difference(mean, prior_mean) * tf.exp(-prior_log_var)
    return 0.5 * (ratio + squared - 1.0 - log_var + prior_log_var)
