"""Autoencoders: an encoder makes a code of an image, a decoder makes the image of the code.

The loss of an image x with the code z and the reconstruction y, summed over pixels:

    squared_error   sum (y - x)^2                                   y: pixels
    bernoulli       sum max(l, 0) - l x + log(1 + exp(-|l|))        y = sigmoid(l), in nats

plus a penalty on codes that are not sparse. The Bernoulli loss of gray pixels is not a likelihood:
it cannot fall below the entropy of the gray values. A denoising autoencoder (Vincent et al. 2010)
is given the image with noise on it, and the loss compares with the image without.
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
from kapps.models.generative.base import ImageModel, regularization, unit_pixels, unpack

RECONSTRUCTIONS = ("squared_error", "bernoulli")
SPARSITIES = ("l1", "kl")
_SMALLEST_ACTIVATION = 1e-6  # keeps the logarithms of dead and of saturated codes finite


@keras.saving.register_keras_serializable("kapps")
class Autoencoder(ImageModel, keras.Model):
    """An autoencoder made of two networks: "image", pixels of 0..255 -> pixels of 0..1.

    `linear_autoencoder`, `dense_autoencoder`, `residual_autoencoder` and `conv_autoencoder` build
    the networks. Trained on `image` or `(image, anything)`. Metrics: `loss` (penalties of sparsity
    and of regularizers included), and `mse`, the squared error per pixel in units of 0..1. While
    training both are those of corrupted images; validation sees clean ones.

    Args:
        encoder: x, pixels of 0..1 [batch, height, width, channels] -> z [batch, latent_dim].
        decoder: z -> pixels, or their logits when `reconstruction` is "bernoulli".
        reconstruction: squared_error or bernoulli, see above.
        corruption: gaussian, masking or salt_and_pepper, see `corrupt`; None is no noise.
        corruption_amount: standard deviation, or fraction of the pixels.
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
        if corruption_amount < 0 or (corruption != "gaussian" and corruption_amount > 1):
            raise UserError(
                f"corruption_amount {corruption_amount} must be 0 or more, and at most 1 where it "
                "is a fraction of the pixels"
            )
        if sparsity_weight < 0 or not 0 < sparsity_target < 1:
            raise UserError(
                f"sparsity_weight {sparsity_weight} must be 0 or more, sparsity_target "
                f"{sparsity_target} between 0 and 1"
            )
        super().__init__(name=name, **kwargs)
        self.encoder, self.decoder = encoder, decoder
        self.reconstruction = arguments.one_of("reconstruction", reconstruction, RECONSTRUCTIONS)
        self.corruption = arguments.one_of("corruption", corruption, (*CORRUPTIONS, None))
        self.sparsity = arguments.one_of("sparsity", sparsity, (*SPARSITIES, None))
        self.corruption_amount = corruption_amount
        self.sparsity_weight, self.sparsity_target = sparsity_weight, sparsity_target
        self.seed, self.seed_generator = seed, keras.random.SeedGenerator(seed)
        self.image_shape = tuple(encoder.input_shape[1:])
        self.latent_dim, self.classes = encoder.output_shape[-1], 0
        self.trackers = [keras.metrics.Mean("loss"), keras.metrics.Mean("mse")]
        self.build(self.input_shape)

    # Steps --------------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step down the loss of the corrupted images."""
        x = unit_pixels(unpack(data)[0])
        corrupted = self._corrupted(x)

        def objective():
            loss, mse = self._errors(x, corrupted, training=True)
            return replicas.average(loss), {"loss": loss, "mse": mse}

        figures = replicas.minimize(self.optimizer, objective, self.trainable_variables)
        return self.track(**figures)

    def training_loss(self, data: Any) -> tf.Tensor:
        """What a step on this batch would minimize, float32 []: for `training.GradientFlow`."""
        x = unit_pixels(unpack(data)[0])
        return replicas.average(self._errors(x, self._corrupted(x), training=True)[0])

    def test_step(self, data: Any) -> dict[str, Any]:
        """The same loss on clean images."""
        x = unit_pixels(unpack(data)[0])
        loss, mse = self._errors(x, x, training=False)
        return self.track(loss=loss, mse=mse)

    def _corrupted(self, x):
        """The images that the encoder is given while training."""
        if self.corruption is None:
            return x
        seed = replicas.next_seed(self.seed_generator)
        return corrupt(x, self.corruption, self.corruption_amount, seed)

    # The equations ------------------------------------------------------------------------------

    def _errors(self, x, given, training):
        """Loss and squared error per pixel of each image, float32 [batch]."""
        z = tf.cast(self.encoder(given, training=training), tf.float32)
        y = self.decoder(z, training=training)
        loss, mse = reconstruction_losses(self.reconstruction, x, y)
        return loss + self._penalty(z) + regularization(self), mse

    def _penalty(self, z):
        """The penalty on codes that are not sparse: [batch], or 0."""
        if self.sparsity is None:
            return 0.0
        if self.sparsity == "l1":
            return self.sparsity_weight * tf.reduce_sum(tf.abs(z), axis=-1)
        target = self.sparsity_target
        mean = tf.stop_gradient(replicas.mean_of_batch(z))
        mean = tf.clip_by_value(mean, _SMALLEST_ACTIVATION, 1.0 - _SMALLEST_ACTIVATION)
        kl = target * tf.math.log(target / mean)
        kl += (1.0 - target) * tf.math.log((1.0 - target) / (1.0 - mean))
        slope = (1.0 - target) / (1.0 - mean) - target / mean
        # The value is the KL of the whole batch's mean. Its gradient is shared among the images by
        # the chain rule, so that the replicas' parts add up to it.
        shares = tf.reduce_sum(slope * (z - tf.stop_gradient(z)), axis=-1)
        return self.sparsity_weight * (tf.reduce_sum(kl) + shares)

    # What users call ----------------------------------------------------------------------------

    def encode(self, image: Any) -> tf.Tensor:
        """Codes, float32 [batch, latent_dim].

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
        """
        return tf.cast(self.encoder(unit_pixels(image), training=False), tf.float32)

    def decode(self, z: Any) -> tf.Tensor:
        """Pixels, float32 [batch, height, width, channels].

        Those of a sigmoid are in 0..1; a linear decoder may leave that range by a little.

        Args:
            z: codes, [batch, latent_dim].
        """
        return self._pixels(self.decoder(tf.cast(z, tf.float32), training=False))

    def reconstruct(self, image: Any) -> tf.Tensor:
        """`decode(encode(image))`.

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
        """
        return self.decode(self.encode(image))

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """`reconstruct`; in training, of the image as it is."""
        z = self.encoder(unit_pixels(inputs), training=training)
        return self._pixels(self.decoder(z, training=training))

    def reconstruction_error(self, image: Any) -> np.ndarray:
        """The anomaly score: mean squared error of each image's pixels, float32 [n].

        It is high for images unlike those that the model was trained on.

        Args:
            image: pixels of 0..255, [n, height, width, channels].
        """

        def errors(size, seed, image):
            difference = self.reconstruct(image) - unit_pixels(image)
            return tf.reduce_mean(tf.square(difference), axis=(1, 2, 3))

        chunks = self.sample_in_chunks(errors, len(image), 0, image)
        return np.concatenate([np.zeros(0, np.float32), *chunks])

    def _pixels(self, y):
        y = tf.cast(y, tf.float32)
        return tf.sigmoid(y) if self.reconstruction == "bernoulli" else y


def reconstruction_losses(kind: str, x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss, summed over values, and the squared error per value; both float32 [batch].

    Args:
        kind: squared_error or bernoulli.
        x: the image, [batch, ...].
        y: the reconstruction or its logits, of the same shape.
    """
    y, axes = tf.cast(y, tf.float32), list(range(1, len(x.shape)))
    if kind == "bernoulli":
        loss = tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=y)
        squared_error = tf.square(tf.sigmoid(y) - x)
    else:
        loss = squared_error = tf.square(y - x)
    return tf.reduce_sum(loss, axes), tf.reduce_mean(squared_error, axes)
