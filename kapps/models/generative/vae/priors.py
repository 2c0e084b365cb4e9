"""Distributions of latents. `z` is [samples, batch, dims], float32.

`Gaussian` and `Mixture` are distributions, with `log_prob`, `kl` and `sample`. `StandardNormal` and
`VampPrior` are what a VAE's highest latent may have as its prior: objects that Keras saves, which
give such a distribution for the encoder as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from kapps import losses


class Gaussian(NamedTuple):
    """N(mean, e^log_var) with independent dimensions.

    Attributes:
        mean: of each dimension, broadcast against z: a tensor or a number.
        log_var: of the same.
    """

    mean: Any
    log_var: Any

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log-density, [samples, batch]."""
        return losses.gaussian_log_density(z, self.mean, self.log_var)

    def kl(self, q: Gaussian, z: tf.Tensor) -> tf.Tensor:
        """KL(q || self) of each dimension, in closed form: [samples, batch, dims]."""
        return losses.gaussian_kl_per_dimension(q.mean, q.log_var, self.mean, self.log_var)

    def sample(self, noise: tf.Tensor, seed: Any = None) -> tf.Tensor:
        """Draws of the shape of standard normal `noise`, differentiable."""
        return self.mean + tf.exp(0.5 * self.log_var) * noise


class Mixture(NamedTuple):
    """A mixture of K equally likely `Gaussian`s.

    Attributes:
        means: of the components, [K, dims].
        log_vars: of the same.
    """

    means: tf.Tensor
    log_vars: tf.Tensor

    def log_prob(self, z: tf.Tensor) -> tf.Tensor:
        """Log-density, [samples, batch]."""
        # (z - m)^2 / v = z^2 / v - 2 z m / v + m^2 / v: matrix products instead of a tensor of
        # samples x batch x K x dims numbers. The terms are up to 1e5 times their sum, which float64
        # has the digits for.
        z, means, log_vars = (tf.cast(x, tf.float64) for x in (z, self.means, self.log_vars))
        precisions = tf.exp(-log_vars)
        squared = tf.tensordot(tf.square(z), precisions, [[-1], [-1]])
        squared -= 2.0 * tf.tensordot(z, means * precisions, [[-1], [-1]])
        at_zero = losses.gaussian_log_density(tf.zeros_like(means), means, log_vars)
        log_density = tf.reduce_logsumexp(at_zero - 0.5 * squared, axis=-1)
        count = tf.cast(tf.shape(means)[0], tf.float64)
        return tf.cast(log_density - tf.math.log(count), tf.float32)

    def kl(self, q: Gaussian, z: tf.Tensor) -> tf.Tensor:
        """KL(q || self) estimated by one draw z of q, of all dimensions: [samples, batch, 1]."""
        return (q.log_prob(z) - self.log_prob(z))[..., None]

    def sample(self, noise: tf.Tensor, seed: Any) -> tf.Tensor:
        """Draws of the shape of standard normal `noise`, [count, dims].

        Args:
            noise: [count, dims].
            seed: int32 [2], of the choice of components.
        """
        shape, components = [tf.shape(noise)[0]], tf.shape(self.means)[0]
        chosen = tf.random.stateless_uniform(shape, seed, 0, components, tf.int32)
        return Gaussian(*(tf.gather(each, chosen) for each in self)).sample(noise)


@keras.saving.register_keras_serializable("kapps")
class StandardNormal:
    """N(0, I)."""

    def distribution(self, posterior: Callable) -> Gaussian:
        """The distribution; the encoder plays no part in it."""
        return Gaussian(0.0, 0.0)

    def get_config(self) -> dict[str, Any]:
        """There is nothing to be told."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> StandardNormal:
        """The counterpart of `get_config`."""
        return cls()


@keras.saving.register_keras_serializable("kapps")
class VampPrior(keras.layers.Layer):
    """A mixture of the posteriors of images that are learned (arXiv:1705.07120, eq. 9).

        p(z) = 1/K sum_k q(z | u_k)

    The pseudo-inputs u_k are `[K, height, width, channels]`, pixels of 0..1.

    Args:
        image_shape: (height, width, channels).
        count: K, the number of pseudo-inputs; the paper has 500.
        seed: of their first values, gray with a little noise.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], count: int = 500, seed: int = 0, **kwargs
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.image_shape, self.count, self.seed = tuple(image_shape), count, seed
        self.pseudo_inputs = self.add_weight(
            shape=(count, *self.image_shape),
            initializer=keras.initializers.TruncatedNormal(0.1, 0.05, seed=seed),
            constraint=_UnitInterval(),
            name="pseudo_inputs",
        )
        self.built = True

    def distribution(self, posterior: Callable) -> Mixture:
        """The mixture.

        Args:
            posterior: images of 0..1 [K, height, width, channels] -> mean and log_var of q(z | u),
                [K, dims].
        """
        return Mixture(*posterior(tf.convert_to_tensor(self.pseudo_inputs)))

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        config = super().get_config()
        return {**config, "image_shape": self.image_shape, "count": self.count, "seed": self.seed}


class _UnitInterval(keras.constraints.Constraint):
    """Pixels of 0..1."""

    def __call__(self, w):
        return keras.ops.clip(w, 0.0, 1.0)
