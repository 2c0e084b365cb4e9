"""What a VAE's highest latent is drawn from. `z` is `[samples, batch, latent_dim]`, float32."""

from __future__ import annotations

import keras
import tensorflow as tf

from kapps import losses


@keras.saving.register_keras_serializable("kapps")
class VampPrior(keras.layers.Layer):
    """A mixture of the posteriors of pictures that are learnt (arXiv:1705.07120, eq. 9).

        p(z) = 1/K sum_k q(z | u_k)

    The pseudo-inputs u_k are `[K, height, width, channels]`, pixels of 0..1.

    Args:
        image_shape: (height, width, channels).
        count: K, the number of pseudo-inputs; the paper has 500.
        seed: of their first values, grey with a little noise.
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

    def log_density(self, z: tf.Tensor, means: tf.Tensor, log_vars: tf.Tensor) -> tf.Tensor:
        """Log p(z), [samples, batch].

        Args:
            z: where, [samples, batch, latent_dim].
            means: of q(z | u_k), [K, latent_dim].
            log_vars: of the same.
        """
        # (z - m)^2 / v = z^2 / v - 2 z m / v + m^2 / v: matrix products instead of a tensor of
        # samples x batch x K x latent_dim numbers.
        precision = tf.exp(-log_vars)
        squared = tf.tensordot(tf.square(z), precision, [[-1], [-1]])
        squared -= 2.0 * tf.tensordot(z, means * precision, [[-1], [-1]])
        at_zero = losses.gaussian_log_density(tf.zeros_like(means), means, log_vars)
        components = at_zero - 0.5 * squared
        return tf.reduce_logsumexp(components, axis=-1) - tf.math.log(float(self.count))

    def get_config(self):
        """Arguments of the constructor."""
        config = super().get_config()
        return {**config, "image_shape": self.image_shape, "count": self.count, "seed": self.seed}


class _UnitInterval(keras.constraints.Constraint):
    """Pixels of 0..1."""

    def __call__(self, w):
        return keras.ops.clip(w, 0.0, 1.0)
