"""The VQ-VAE (arXiv:1711.00937): pictures as maps of numbers of codebook vectors.

The loss of a picture x with the encoder's vectors z, their nearest vectors e and the pixels y that
are decoded from e; both terms are means over values:

    loss = mean (y - x)^2 / pixel_variance  +  beta mean (z - stop_gradient(e))^2

The codebook itself is moved by averages of the z (`codebook.py`). New pictures are drawn
from an autoregressive prior over the codes, trained afterwards (`code_prior.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps import replicas
from kapps.errors import UserError
from kapps.models import arguments
from kapps.models.generative.autoencoders.autoencoder import pixels_of
from kapps.models.generative.convolutions import downwards, upwards
from kapps.models.generative.vqvae.code_prior import CodePrior
from kapps.models.generative.vqvae.codebook import Codebook, CodeUsage


@keras.saving.register_keras_serializable("kapps")
class VQVAE(keras.Model):
    """A VQ-VAE made of networks: "image", pixels of 0..255 -> reconstructed pixels of 0..1.

    `vq_vae` builds the networks. It is trained on `image` or on `(image, anything)`; the loss is
    its own, `compile` needs an optimizer only. Metrics: `loss`, `mse` (squared error per pixel in
    units of 0..1), `commitment` (mean (z - e)^2), and over the whole epoch `perplexity` and
    `code_usage`, see `CodeUsage`.

    Args:
        encoder: x, pixels of 0..1 [batch, height, width, channels] -> z [batch, h, w, D].
        codebook: a `Codebook` of D values per vector.
        decoder: [batch, h, w, D] -> pixels.
        prior: of maps [h, w] of the codebook's codes; None cannot be sampled from, see
            `with_prior`.
        beta: weight of the commitment of z to its vector (equation 3 there).
        pixel_variance: of the training pictures, about; the scale of the first term.
        seed: of the codebook's first vectors and its restarts.

    Raises:
        UserError: parts that do not fit, or a number out of its range.
    """

    def __init__(
        self,
        encoder: keras.Model,
        codebook: Codebook,
        decoder: keras.Model,
        *,
        prior: CodePrior | None = None,
        beta: float = 0.25,
        pixel_variance: float = 0.1,
        seed: int = 0,
        name: str = "vq_vae",
        **kwargs: Any,
    ):
        if beta < 0 or pixel_variance <= 0:
            raise UserError(f"beta {beta} must be 0 or more, pixel_variance {pixel_variance} > 0")
        code_shape = tuple(encoder.output_shape[1:3])
        if prior is not None and (prior.code_shape, prior.codes) != (code_shape, codebook.codes):
            raise UserError(
                f"the prior is of {prior.codes} codes on {prior.code_shape}; this model has "
                f"{codebook.codes} on {code_shape}"
            )
        image = keras.Input(encoder.input_shape[1:], name="image", dtype="float32")
        x = keras.layers.Rescaling(1.0 / 255.0, dtype="float32", name="rescaling")(image)
        super().__init__(image, decoder(codebook(encoder(x))), name=name, **kwargs)
        self.encoder, self.codebook, self.decoder, self.prior = encoder, codebook, decoder, prior
        self.beta, self.pixel_variance, self.seed = beta, pixel_variance, seed
        self.image_shape, self.code_shape = tuple(encoder.input_shape[1:]), code_shape
        self.codes = codebook.codes
        self.latent_dim = code_shape[0] * code_shape[1]
        self.classes = 0 if prior is None else prior.classes
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.trackers = [keras.metrics.Mean(name) for name in ("loss", "mse", "commitment")]
        self.usage = CodeUsage(codebook.codes)

    # What Keras calls ---------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of the networks, then one of the codebook."""
        x = pixels_of(data)
        # Of one generator on all replicas: they have to draw the same vectors.
        first, later = (
            tf.cast(tf.convert_to_tensor(self.seed_generator.next()), tf.int32) for _ in range(2)
        )

        def objective():
            z = tf.cast(self.encoder(x, training=True), tf.float32)
            self.codebook.place(z, first)
            loss, terms = self._terms(x, z, training=True)
            return replicas.average(loss), (z, loss, *terms)

        moved = [*self.encoder.trainable_variables, *self.decoder.trainable_variables]
        z, *values = replicas.minimize(self.optimizer, objective, moved)
        self.codebook.update(z, later)
        return self._log(values)

    def training_loss(self, data: Any) -> tf.Tensor:
        """What a step on this batch would minimise, float32 []: for `training.GradientFlow`."""
        x = pixels_of(data)
        z = tf.cast(self.encoder(x, training=True), tf.float32)
        self.codebook.place(z, tf.cast(tf.convert_to_tensor(self.seed_generator.next()), tf.int32))
        return replicas.average(self._terms(x, z, training=True)[0])

    def test_step(self, data: Any) -> dict[str, Any]:
        """The same terms; nothing moves."""
        x = pixels_of(data)
        z = tf.cast(self.encoder(x, training=False), tf.float32)
        loss, terms = self._terms(x, z, training=False)
        return self._log((loss, *terms))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All that is reported; Keras resets them at the start of every epoch."""
        return [*self.trackers, self.usage]

    def _terms(self, x, z, training):
        """Loss [batch], then squared error, commitment [batch] and codes [batch, h, w]."""
        codes = self.codebook.nearest(z)
        e = self.codebook.look_up(codes)
        y = self.decoder(z + tf.stop_gradient(e - z), training=training)
        axes = [1, 2, 3]
        squared_error = tf.reduce_mean(tf.square(tf.cast(y, tf.float32) - x), axes)
        commitment = tf.reduce_mean(tf.square(z - tf.stop_gradient(e)), axes)
        loss = squared_error / self.pixel_variance + self.beta * commitment
        return loss, (squared_error, commitment, codes)

    # What users call ----------------------------------------------------------------------------

    def encode(self, image: Any) -> tf.Tensor:
        """Codes, int32 [batch, h, w].

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
        """
        return self.codebook.nearest(self.encoder(pixels_of(image), training=False))

    def decode(self, codes: Any) -> tf.Tensor:
        """Pixels of 0..1, float32 [batch, height, width, channels].

        Args:
            codes: int [batch, h, w].
        """
        vectors = self.codebook.look_up(tf.cast(codes, tf.int32))
        return tf.cast(self.decoder(vectors, training=False), tf.float32)

    def reconstruct(self, image: Any) -> tf.Tensor:
        """`decode(encode(image))`.

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
        """
        return self.decode(self.encode(image))

    def with_prior(self, prior: CodePrior) -> VQVAE:
        """The same networks and codebook, with a prior to sample from.

        Args:
            prior: trained on what `encode` makes of the training pictures.

        Raises:
            UserError: the prior is of other codes.
        """
        parts = (self.encoder, self.codebook, self.decoder)
        return VQVAE(*parts, prior=prior, name=self.name, **self._settings())

    def generate(self, count: int | tf.Tensor, seed: Any, labels: Any = None) -> tf.Tensor:
        """Pixels of 0..1 of draws from the prior, for use inside a graph.

        Args:
            count: how many.
            seed: int32 [2].
            labels: one-hot [count, classes], for a conditional prior.

        Raises:
            UserError: there is no prior.
        """
        return self.decode(self._prior().generate(count, seed, labels))

    def sample(self, count: int, seed: int = 0, labels: Any = None) -> np.ndarray:
        """Pictures from the prior, uint8 [count, height, width, channels].

        Args:
            count: how many.
            seed: the same seed gives the same pictures.
            labels: one-hot [count, classes]; of a conditional prior, drawn when None.

        Raises:
            UserError: there is no prior.
        """
        codes = self._prior().sample(count, seed, labels)
        pictures = [np.zeros((0, *self.image_shape), np.uint8)]
        for start in range(0, count, 256):
            pixels = tf.clip_by_value(self.decode(codes[start : start + 256]), 0.0, 1.0)
            pictures.append(tf.cast(tf.round(255.0 * pixels), tf.uint8).numpy())
        return np.concatenate(pictures)

    # Plumbing -----------------------------------------------------------------------------------

    def _prior(self) -> CodePrior:
        if self.prior is None:
            raise UserError("there is no prior to sample from: train a code_prior on the codes")
        return self.prior

    def _log(self, values):
        *values, codes = values
        for tracker, value in zip(self.trackers, values, strict=True):
            tracker.update_state(value)
        self.usage.update_state(codes)
        means = {tracker.name: tracker.result() for tracker in self.trackers}
        return {**means, **self.usage.result()}

    def _settings(self):
        return {"beta": self.beta, "pixel_variance": self.pixel_variance, "seed": self.seed}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        parts = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("encoder", "codebook", "decoder", "prior")
        }
        return {"name": self.name, "trainable": self.trainable, **parts, **self._settings()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> VQVAE:
        """The model that `get_config` describes."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects)
            for name in ("encoder", "codebook", "decoder", "prior")
        }
        return cls(**{**config, **parts})


def vq_vae(
    image_shape: tuple[int, int, int],
    *,
    codes: int = 128,
    code_dim: int = 32,
    filters: int | Sequence[int] = (32, 64),
    activation: str = "relu",
    normalization: str | None = None,
    decay: float = 0.99,
    restart_after: int = 100,
    **settings: Any,
) -> VQVAE:
    """A VQ-VAE of convolutions; every entry of `filters` halves the sides of the map of codes.

    Args:
        image_shape: (height, width, channels), of any size.
        codes: vectors in the codebook.
        code_dim: values of a vector.
        filters: channels after each halving.
        activation: of the convolutions.
        normalization: "batch" or None, before the activations.
        decay: of the codebook's averages.
        restart_after: steps without use after which a vector is drawn anew; 0 never.
        settings: further arguments of `VQVAE`: beta, pixel_variance, seed, name.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    filters = arguments.integers("filters", filters)
    if not filters:
        raise UserError("filters is empty: give the number of filters of at least one stage.")
    options = {
        "activation": arguments.activation(activation),
        "normalization": arguments.one_of("normalization", normalization, ("batch", None)),
    }
    codebook = Codebook(codes, code_dim, decay=decay, restart_after=restart_after, name="codebook")
    x = keras.Input(shape, name="x")
    y, sizes = downwards(x, filters, **options)
    z = keras.layers.Conv2D(code_dim, 1, dtype="float32", name="vectors")(y)
    encoder = keras.Model(x, z, name="encoder")
    vectors = keras.Input((*sizes[-1], code_dim), name="vectors")
    y = upwards(vectors, filters, sizes, **options)
    y = keras.layers.Conv2D(shape[2], 3, padding="same", dtype="float32", name="picture")(y)
    y = keras.layers.Activation("sigmoid", dtype="float32", name="pixels")(y)
    decoder = keras.Model(vectors, y, name="decoder")
    return VQVAE(encoder, codebook, decoder, **settings)
