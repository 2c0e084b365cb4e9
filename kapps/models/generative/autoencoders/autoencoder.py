"""Autoencoders: a code is made of a picture, and the picture of the code.

The loss of a picture x with the code z and the reconstruction y, summed over pixels:

    squared_error   sum (y - x)^2                                   y: pixels
    bernoulli       sum max(l, 0) - l x + log(1 + exp(-|l|))        y = sigmoid(l), in nats

plus a penalty on codes that are not sparse. The Bernoulli loss of grey pixels is no likelihood: it
cannot fall below the entropy of the greys. A denoising autoencoder (Vincent et al. 2010) sees the
picture with noise on it, and the loss compares with the picture without.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps import replicas
from kapps.errors import UserError
from kapps.models import arguments
from kapps.models.generative.autoencoders.corruption import CORRUPTIONS, corrupt

RECONSTRUCTIONS = ("squared_error", "bernoulli")
SPARSITIES = ("l1", "kl")
_TOGETHER = 256  # pictures measured at once by `reconstruction_error`
_SMALLEST_ACTIVATION = 1e-6  # keeps the logarithms of dead and of saturated codes finite


@keras.saving.register_keras_serializable("kapps")
class Autoencoder(keras.Model):
    """An autoencoder made of two networks: "image", pixels of 0..255 -> pixels of 0..1.

    `linear_autoencoder`, `dense_autoencoder` and `conv_autoencoder` build the networks. It is
    trained on `image` or on `(image, anything)`; the loss is its own, `compile` needs an optimizer
    only. Metrics: `loss`, and `mse`, the squared error per
    pixel in units of 0..1. While training both are those of the corrupted pictures; validation
    sees clean pictures.

    Args:
        encoder: x, pixels of 0..1 [batch, height, width, channels] -> z [batch, latent_dim].
        decoder: z -> pixels, or their logits when `reconstruction` is "bernoulli".
        reconstruction: squared_error or bernoulli, see above.
        corruption: gaussian, masking or salt_and_pepper, see `corrupt`;
            None is no noise.
        corruption_amount: standard deviation, or part of the pixels.
        sparsity: l1: `weight * sum |z|`. kl: `weight * sum KL(target || mean of z)` over the
            batch's mean activations of codes in 0..1 (Lee et al. 2007; Ng 2011). None is none.
        sparsity_weight: weight of the penalty.
        sparsity_target: the mean activation that "kl" asks for.
        seed: of the noise.

    Raises:
        UserError: an unknown name, or a number out of its range.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        reconstruction: str = "squared_error",
        corruption: str | None = None,
        corruption_amount: float = 0.3,
        sparsity: str | None = None,
        sparsity_weight: float = 0.01,
        sparsity_target: float = 0.05,
        seed: int = 0,
        name: str = "autoencoder",
        **kwargs: Any,
    ):
        arguments.one_of("reconstruction", reconstruction, RECONSTRUCTIONS)
        arguments.one_of("corruption", corruption, (*CORRUPTIONS, None))
        arguments.one_of("sparsity", sparsity, (*SPARSITIES, None))
        if corruption_amount < 0 or (corruption != "gaussian" and corruption_amount > 1):
            raise UserError(f"corruption_amount {corruption_amount}: a part, or a deviation")
        if sparsity_weight < 0 or not 0 < sparsity_target < 1:
            raise UserError(
                f"sparsity_weight {sparsity_weight} must be 0 or more, sparsity_target "
                f"{sparsity_target} between 0 and 1"
            )
        image = keras.Input(encoder.input_shape[1:], name="image", dtype="float32")
        x = keras.layers.Rescaling(1.0 / 255.0, dtype="float32", name="rescaling")(image)
        pixels = decoder(encoder(x))
        if reconstruction == "bernoulli":
            pixels = keras.layers.Activation("sigmoid", dtype="float32", name="pixels")(pixels)
        super().__init__(image, pixels, name=name, **kwargs)
        self.encoder, self.decoder = encoder, decoder
        self.settings = {
            "reconstruction": reconstruction,
            "corruption": corruption,
            "corruption_amount": corruption_amount,
            "sparsity": sparsity,
            "sparsity_weight": sparsity_weight,
            "sparsity_target": sparsity_target,
            "seed": seed,
        }
        self.image_shape = tuple(encoder.input_shape[1:])
        self.latent_dim, self.classes = encoder.output_shape[-1], 0
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.trackers = [keras.metrics.Mean("loss"), keras.metrics.Mean("mse")]

    # What Keras calls ---------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step on the loss of the corrupted pictures."""
        x = pixels_of(data)
        given = self._corrupted(x)

        def objective():
            loss, squared_error = self._errors(x, given, training=True)
            return replicas.average(loss), (loss, squared_error)

        return self._log(replicas.minimize(self.optimizer, objective, self.trainable_variables))

    def training_loss(self, data: Any) -> tf.Tensor:
        """What a step on this batch would minimise, float32 []: for `training.GradientFlow`."""
        x = pixels_of(data)
        return replicas.average(self._errors(x, self._corrupted(x), training=True)[0])

    def test_step(self, data: Any) -> dict[str, Any]:
        """The same loss on clean pictures."""
        x = pixels_of(data)
        return self._log(self._errors(x, x, training=False))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All that is reported; Keras resets them at the start of every epoch."""
        return self.trackers

    # The equations ------------------------------------------------------------------------------

    def _corrupted(self, x):
        """The pictures that are given to the encoder while training."""
        kind = self.settings["corruption"]
        if kind is None:
            return x
        seed = replicas.next_seed(self.seed_generator)
        return corrupt(x, kind, self.settings["corruption_amount"], seed)

    def _errors(self, x, given, training):
        """Loss and squared error per pixel of each picture, float32 [batch]."""
        z = tf.cast(self.encoder(given, training=training), tf.float32)
        y = self.decoder(z, training=training)
        loss, squared_error = reconstruction_losses(self.settings["reconstruction"], x, y)
        return loss + self._penalty(z), squared_error

    def _penalty(self, z):
        """What codes cost that are not sparse: [batch], or 0."""
        kind, weight = self.settings["sparsity"], self.settings["sparsity_weight"]
        if kind is None:
            return 0.0
        if kind == "l1":
            return weight * tf.reduce_sum(tf.abs(z), axis=-1)
        target = self.settings["sparsity_target"]
        mean = tf.stop_gradient(replicas.mean_of_batch(z))
        mean = tf.clip_by_value(mean, _SMALLEST_ACTIVATION, 1.0 - _SMALLEST_ACTIVATION)
        kl = target * tf.math.log(target / mean)
        kl += (1.0 - target) * tf.math.log((1.0 - target) / (1.0 - mean))
        slope = (1.0 - target) / (1.0 - mean) - target / mean
        # The value is the KL of the whole batch's mean. Its gradient is shared among the pictures
        # by the chain rule, so that the replicas' parts add up to it.
        shares = tf.reduce_sum(slope * (z - tf.stop_gradient(z)), axis=-1)
        return weight * (tf.reduce_sum(kl) + shares)

    # What users call ----------------------------------------------------------------------------

    def encode(self, image: Any) -> tf.Tensor:
        """Codes, float32 [batch, latent_dim].

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
        """
        return tf.cast(self.encoder(pixels_of(image), training=False), tf.float32)

    def decode(self, z: Any) -> tf.Tensor:
        """Pixels, float32 [batch, height, width, channels].

        Those of a sigmoid are in 0..1; a linear decoder may leave that range by a little.

        Args:
            z: codes, [batch, latent_dim].
        """
        y = tf.cast(self.decoder(tf.cast(z, tf.float32), training=False), tf.float32)
        return tf.sigmoid(y) if self.settings["reconstruction"] == "bernoulli" else y

    def reconstruct(self, image: Any) -> tf.Tensor:
        """`decode(encode(image))`.

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
        """
        return self.decode(self.encode(image))

    def reconstruction_error(self, image: Any) -> np.ndarray:
        """The anomaly score: mean squared error of each picture's pixels, float32 [n].

        What the training pictures have not taught the model to draw has a high one.

        Args:
            image: pixels of 0..255, [n, height, width, channels].
        """
        errors = [np.zeros(0, np.float32)]
        for start in range(0, len(image), _TOGETHER):
            x = pixels_of(image[start : start + _TOGETHER])
            difference = self.reconstruct(image[start : start + _TOGETHER]) - x
            errors.append(tf.reduce_mean(tf.square(difference), axis=(1, 2, 3)).numpy())
        return np.concatenate(errors)

    # Plumbing -----------------------------------------------------------------------------------

    def _log(self, values):
        for tracker, value in zip(self.trackers, values, strict=True):
            tracker.update_state(value)
        return {tracker.name: tracker.result() for tracker in self.trackers}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        parts = {"encoder": self.encoder, "decoder": self.decoder}
        parts = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {"name": self.name, "trainable": self.trainable, **parts, **self.settings}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Autoencoder:
        """The model that `get_config` describes."""
        config = dict(config)
        for name in ("encoder", "decoder"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        return cls(**config)


def pixels_of(data: Any) -> tf.Tensor:
    """Pixels of 0..1 of a batch `image` or `(image, ...)`, float32."""
    image, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    return tf.cast(image, tf.float32) / 255.0


def reconstruction_losses(kind: str, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss, summed over values, and the squared error per value; both float32 [batch].

    Args:
        kind: squared_error or bernoulli.
        x: what is to be reconstructed, [batch, ...].
        y: the reconstruction or its logits, of the same shape.
    """
    y, axes = tf.cast(y, tf.float32), list(range(1, len(x.shape)))
    if kind == "bernoulli":
        loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=y)
        squared_error = tf.square(tf.sigmoid(y) - x)
    else:
        loss = squared_error = tf.square(y - x)
    return tf.reduce_sum(loss, axes), tf.reduce_mean(squared_error, axes)
