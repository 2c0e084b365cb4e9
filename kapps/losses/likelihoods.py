"""Likelihoods of pixels, as rows of a table.

`x` holds pixels of 0..1, `[..., height, width, channels]`; `parameters` are what a decoder gives,
`[..., height, width, channels * number]`, the first parameter of all channels first. Leading axes
broadcast. Values are nats, summed over height, width and channels: `[...]`.

A likelihood only means something on the data it is made for: zeros and ones for `bernoulli`, whose
value on gray pixels is bounded by their entropy and comparable to nothing; 256 equidistant
levels for `discretized_logistic`; real numbers of 0..1 for the others, which are densities, so
their nats may be negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from kapps.errors import UserError

_LOG_TWO_PI = math.log(2 * math.pi)
# Log-variances of pixels: from a hundredth of a gray level to far more than there is.
_LOWEST_LOG_VAR, _HIGHEST_LOG_VAR = -11.0, 2.0
_LOWEST_LOG_SCALE, _HIGHEST_LOG_SCALE = -7.0, 2.0  # of a logistic
LEVELS = 256


class Likelihood(NamedTuple):
    """How pixels are distributed around what a decoder says.

    Attributes:
        parameters: numbers per pixel and channel.
        negative_log: (x, parameters) -> nats [...].
        mean: parameters -> expected pixels, 0..1.
    """

    parameters: int
    negative_log: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    mean: Callable[[tf.Tensor], tf.Tensor]


def likelihood(name: str, scale: float | None = None) -> Likelihood:
    """A likelihood by name.

    Args:
        name: bernoulli, continuous_bernoulli, gaussian or discretized_logistic.
        scale: standard deviation of a gaussian, in pixels of 0..1; None learns one per pixel.

    Raises:
        UserError: an unknown name, a scale that is not positive, or for another likelihood.
    """
    if name not in LIKELIHOODS:
        raise UserError(f"unknown likelihood {name!r}: it is one of {', '.join(LIKELIHOODS)}")
    if scale is None:
        return LIKELIHOODS[name]
    if name != "gaussian" or not scale > 0:
        raise UserError(f"scale {scale} of {name}: only gaussian has one, and it is positive")
    return Likelihood(1, lambda x, mean: _gaussian_nll(x, mean, 2 * math.log(scale)), _clip)


def softclip(v: tf.Tensor, low: float, high: float) -> tf.Tensor:
    """Almost `v` between low and high, never outside, with a gradient everywhere.

    low + softplus(v - low) - softplus(v - high), and from the middle on the same seen from above:
    the difference of two large numbers would be noise.
    """
    from_below = low + tf.nn.softplus(v - low) - tf.nn.softplus(v - high)
    from_above = high - tf.nn.softplus(high - v) + tf.nn.softplus(low - v)
    return tf.where(v < 0.5 * (low + high), from_below, from_above)


def bernoulli(x: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """-log p(x) = sum softplus(l) - x l, for x of zeros and ones.

    With l = 0 it is ln 2 per pixel: 543.43 nats for 28x28.
    """
    logits = tf.cast(logits, tf.float32)
    return _sum(tf.nn.softplus(logits) - x * logits)


def continuous_bernoulli(x: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """The density on [0, 1] that the cross-entropy of gray pixels lacks a constant for.

    log p(x) = x l - softplus(l) + log(l / tanh(l / 2)), arXiv:1907.06845, eq. 7 in logits.
    """
    logits = tf.cast(logits, tf.float32)
    small = tf.abs(logits) < 0.1
    safe = tf.where(small, 1.0, logits)  # no NaN in the gradient of the branch not taken
    constant = tf.where(
        small,
        math.log(2.0) + tf.square(logits) / 12 - tf.square(tf.square(logits)) * 7 / 1440,
        tf.math.log(tf.abs(safe)) - tf.math.log(tf.tanh(tf.abs(safe) / 2)),
    )
    return _sum(tf.nn.softplus(logits) - x * logits - constant)


def gaussian(x: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
    """Gaussian density with a learned variance per pixel, its constant included.

    The two parameters are the mean and the log-variance, which is bounded softly.
    """
    mean, log_var = tf.split(tf.cast(parameters, tf.float32), 2, axis=-1)
    return _gaussian_nll(x, mean, softclip(log_var, _LOWEST_LOG_VAR, _HIGHEST_LOG_VAR))


def discretized_logistic(x: tf.Tensor, parameters: tf.Tensor) -> tf.Tensor:
    """Probability of each of 256 levels under a logistic density cut at the middles between them.

    P(x) = sigmoid((x + 1/510 - m) / s) - sigmoid((x - 1/510 - m) / s), the lowest and the highest
    level taking all that lies beyond (arXiv:1606.04934, section 5.2.1; arXiv:1701.05517, eq. 2).
    Parameters: mean and log-scale. In nats per image; bits per dimension are nats / (dims ln 2).
    """
    mean, log_scale = tf.split(tf.cast(parameters, tf.float32), 2, axis=-1)
    inverse = tf.exp(-softclip(log_scale, _LOWEST_LOG_SCALE, _HIGHEST_LOG_SCALE))
    half = 0.5 / (LEVELS - 1)
    upper, lower = (x + half - mean) * inverse, (x - half - mean) * inverse
    # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)): no cancellation.
    inside = (
        tf.math.log_sigmoid(upper)
        + tf.math.log_sigmoid(-lower)
        + tf.math.log(-tf.math.expm1(-2 * half * inverse))
    )
    lowest, highest = x < half, x > 1 - half
    log_p = tf.where(lowest, tf.math.log_sigmoid(upper), inside)
    return -_sum(tf.where(highest, tf.math.log_sigmoid(-lower), log_p))


def _gaussian_nll(x, mean, log_var):
    squared = tf.math.squared_difference(x, tf.cast(mean, tf.float32))
    return _sum(0.5 * (_LOG_TWO_PI + log_var + squared * tf.exp(-log_var)))


def _continuous_bernoulli_mean(logits):
    """sigmoid(l) / tanh(l / 2) - 1 / l; 1/2 + l / 12 near 0."""
    small = tf.abs(logits) < 0.05
    safe = tf.where(small, 1.0, logits)
    exact = tf.sigmoid(safe) / tf.tanh(safe / 2) - 1 / safe
    return tf.where(small, 0.5 + logits / 12, exact)


def _discretized_logistic_mean(parameters):
    """Of a logistic cut off at 0 and 1: the integral of P(X > t) dt over them.

    Over the levels it is a sum, which differs by less than half a level.
    """
    place, log_scale = tf.split(tf.cast(parameters, tf.float32), 2, axis=-1)
    scale = tf.exp(softclip(log_scale, _LOWEST_LOG_SCALE, _HIGHEST_LOG_SCALE))
    mean = scale * (tf.nn.softplus(place / scale) - tf.nn.softplus((place - 1.0) / scale))
    return _clip(mean)


def _first_half(parameters):
    return _clip(tf.split(parameters, 2, axis=-1)[0])


def _clip(mean):
    return tf.clip_by_value(mean, 0.0, 1.0)


def _sum(per_pixel):
    return tf.reduce_sum(per_pixel, axis=(-3, -2, -1))


LIKELIHOODS = {
    "bernoulli": Likelihood(1, bernoulli, tf.sigmoid),
    "continuous_bernoulli": Likelihood(1, continuous_bernoulli, _continuous_bernoulli_mean),
    "gaussian": Likelihood(2, gaussian, _first_half),
    "discretized_logistic": Likelihood(2, discretized_logistic, _discretized_logistic_mean),
}
