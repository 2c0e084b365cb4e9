"""The VQ-VAE (arXiv:1711.00937): images as maps of codes, the indices of codebook vectors.

The loss of an image x with the encoder's vectors z, their nearest vectors e and the pixels y that
are decoded from e; both terms are means over values:

    loss = mean (y - x)^2 / pixel_variance  +  beta mean (z - stop_gradient(e))^2

The codebook itself is moved by averages of the z (`codebook.py`). New images are drawn from an
autoregressive prior over the codes, trained afterwards (`code_prior.py`).
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
from kapps.models.generative.base import ImageModel, regularization, unit_pixels, unpack
from kapps.models.generative.convolutions import downwards, upwards
from kapps.models.generative.vqvae.code_prior import CodePrior
from kapps.models.generative.vqvae.codebook import Codebook, CodeUsage


@keras.saving.register_keras_serializable("kapps")
class VQVAE(ImageModel, keras.Model):
    """A VQ-VAE made of networks: "image", pixels of 0..255 -> reconstructed pixels of 0..1.

    `vq_vae` builds the networks. Trained on `image` or `(image, anything)`. Metrics: `loss`
    (penalties of regularizers included), `mse` (squared error per pixel in units of 0..1),
    `commitment` (mean (z - e)^2), and over the whole epoch `perplexity` and `code_usage`, see
    `CodeUsage`.

    Args:
        encoder: x, pixels of 0..1 [batch, height, width, channels] -> z [batch, h, w, D].
        codebook: a `Codebook` of D values per vector.
        decoder: [batch, h, w, D] -> pixels.
        prior: of maps [h, w] of the codebook's codes; None cannot be sampled from, see
            `with_prior`.
        beta: weight of the commitment of z to its vector (equation 3 there).
        pixel_variance: of the training images, about; the scale of the first term.
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
        super().__init__(name=name, **kwargs)
        self.encoder, self.codebook, self.decoder, self.prior = encoder, codebook, decoder, prior
        self.beta, self.pixel_variance, self.seed = beta, pixel_variance, seed
        self.image_shape, self.code_shape = tuple(encoder.input_shape[1:]), code_shape
        self.codes = codebook.codes
        self.latent_dim = code_shape[0] * code_shape[1]
        self.classes = 0 if prior is None else prior.classes
        self.seed_generator = keras.random.SeedGenerator(seed)
        means = ("loss", "mse", "commitment")
        self.trackers = [*map(keras.metrics.Mean, means), CodeUsage(codebook.codes)]
        if not codebook.built:
            codebook.build((None, *code_shape, codebook.code_dim))
        self.build(self.input_shape)

    # Steps --------------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of the networks, then one of the codebook."""
        x = unit_pixels(unpack(data)[0])
        first, later = (replicas.next_seed(self.seed_generator) for _ in range(2))

        def objective():
            z = self._vectors(x, first)
            loss, figures = self._terms(x, z, training=True)
            return replicas.average(loss), (z, {"loss": loss, **figures})

        moved = [*self.encoder.trainable_variables, *self.decoder.trainable_variables]
        z, figures = replicas.minimize(self.optimizer, objective, moved)
        self.codebook.update(z, later)
        return self.track(**figures)

    def training_loss(self, data: Any) -> tf.Tensor:
        """What a step on this batch would minimize, float32 []: for `training.GradientFlow`."""
        x = unit_pixels(unpack(data)[0])
        z = self._vectors(x, replicas.next_seed(self.seed_generator))
        return replicas.average(self._terms(x, z, training=True)[0])

    def test_step(self, data: Any) -> dict[str, Any]:
        """The same figures; nothing moves."""
        x = unit_pixels(unpack(data)[0])
        z = tf.cast(self.encoder(x, training=False), tf.float32)
        loss, figures = self._terms(x, z, training=False)
        return self.track(loss=loss, **figures)

    def _vectors(self, x, seed):
        """The encoder's vectors while training; the first ones are where the codebook begins."""
        z = tf.cast(self.encoder(x, training=True), tf.float32)
        self.codebook.place(z, seed)
        return z

    def _terms(self, x, z, training):
        """The loss [batch], and by name what is reported beside it."""
        codes = self.codebook.nearest(z)
        e = self.codebook.look_up(codes)
        y = self.decoder(z + tf.stop_gradient(e - z), training=training)
        axes = [1, 2, 3]
        mse = tf.reduce_mean(tf.square(tf.cast(y, tf.float32) - x), axes)
        commitment = tf.reduce_mean(tf.square(z - tf.stop_gradient(e)), axes)
        loss = mse / self.pixel_variance + self.beta * commitment
        loss += regularization(self.encoder, self.decoder)
        return loss, {"mse": mse, "commitment": commitment, "code_usage": codes}

    # What users call ----------------------------------------------------------------------------

    def encode(self, image: Any) -> tf.Tensor:
        """Codes, int32 [batch, h, w].

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
        """
        return self.codebook.nearest(self.encoder(unit_pixels(image), training=False))

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

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """`reconstruct`; the gradient passes the codebook straight through."""
        z = self.encoder(unit_pixels(inputs), training=training)
        return tf.cast(self.decoder(self.codebook(z), training=training), tf.float32)

    def with_prior(self, prior: CodePrior) -> VQVAE:
        """The same networks and codebook, with a prior to sample from.

        Args:
            prior: trained on the codes of the training images, as `encode` gives them.

        Raises:
            UserError: the prior is of other codes.
        """
        return VQVAE(
            self.encoder,
            self.codebook,
            self.decoder,
            prior=prior,
            beta=self.beta,
            pixel_variance=self.pixel_variance,
            seed=self.seed,
            name=self.name,
        )

    def generate(self, count: int | tf.Tensor, seed: Any, labels: Any = None) -> tf.Tensor:
        """Pixels of 0..1 of draws from the prior, for use inside a graph.

        Args:
            count: how many.
            seed: int32 [2].
            labels: integer or one-hot, for a conditional prior.

        Raises:
            UserError: there is no prior.
        """
        return self.decode(self._prior().generate(count, seed, labels))

    def sample(self, count: int, seed: int = 0, labels: Any = None) -> np.ndarray:
        """Images from the prior, uint8 [count, height, width, channels].

        Args:
            count: how many.
            seed: the same seed gives the same images.
            labels: integer or one-hot, for a conditional prior; drawn uniformly if None.

        Raises:
            UserError: there is no prior.
        """
        if labels is None:
            labels = self._prior().drawn_labels(count, seed)
        return self.sample_images(self.generate, count, seed, labels)

    def _prior(self) -> CodePrior:
        if self.prior is None:
            raise UserError("there is no prior to sample from: train a code_prior on the codes")
        return self.prior


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
