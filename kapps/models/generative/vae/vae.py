"""The variational autoencoder (arXiv:1312.6114) with one or several levels of latents.

In the notation of the paper, for an image x and latents z:

    log w   =  log p(x | z) + log p(z) - log q(z | x),   z ~ q(z | x)
    ELBO    =  E[log w]  =  E[log p(x | z)] - KL(q(z | x) || p(z))  <=  log p(x)
    IWAE_K  =  E[log 1/K sum_k w_k]  <=  log p(x)         (arXiv:1509.00519, eq. 8)

The loss is the negative of one of these bounds, in nats per image: summed over pixels and latents,
averaged over the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kapps import losses, replicas
from kapps.models.generative.base import ImageModel, regularization, unit_pixels
from kapps.models.generative.vae.active_units import ActiveUnits
from kapps.models.generative.vae.checks import check
from kapps.models.generative.vae.priors import Gaussian, Mixture, StandardNormal, VampPrior
from kapps.models.generative.vae.shapes import call, on_rows, repeat


class Latent(NamedTuple):
    """One level of latents.

    Attributes:
        z: drawn from q, float32 [samples, batch, dims].
        q: the posterior.
        p: the prior, given the levels above.
    """

    z: tf.Tensor
    q: Gaussian
    p: Gaussian | Mixture

    def kl(self) -> tf.Tensor:
        """KL(q || p), per dimension where it has a closed form: [samples, batch, dims or 1]."""
        return self.p.kl(self.q, self.z)

    def log_ratio(self) -> tf.Tensor:
        """Log q(z) - log p(z), [samples, batch]."""
        return self.q.log_prob(self.z) - self.p.log_prob(self.z)


@keras.saving.register_keras_serializable("kapps")
class VAE(ImageModel, keras.Model):
    """A VAE of given networks; `dense_vae`, `conv_vae` and `hierarchical_vae` build one.

    Trained on `image` or `(image, labels)`: pixels in 0..255, [batch, height, width, channels], and
    integer or one-hot labels for a conditional model (labels are ignored otherwise). With the
    Bernoulli likelihood every step binarizes the grey levels anew; images of zeros and ones stay
    as they are.

    Metrics: `loss` (with the current weight of the KL in training, with beta = 1 in validation;
    regularization included), `reconstruction`, `kl`, `negative_elbo` (beta = 1, nats per
    image) and `active_units` (arXiv:1509.00519, section 5.3).

    Args:
        encoder: x, pixels of 0..1 [batch, height, width, channels] (and labels) -> [mean, log_var,
            features...]; mean and log_var of the highest latent, features for the lower levels.
        decoder: all latents, highest first (and labels) -> parameters of the likelihood.
        levels: two models for each latent below the highest, from the second highest down:
            features and all latents above -> [mean, log_var] of its posterior; all latents above
            -> [mean, log_var] of its prior.
        prior: of the highest latent, a `VampPrior`, or None for N(0, I).
        likelihood: see `kapps.losses.likelihood`.
        scale: standard deviation of a Gaussian likelihood; None: it is learned.
        objective: elbo, iwae, or dreg: IWAE with doubly reparameterized gradients
            (arXiv:1810.04152), for one level and N(0, I).
        samples: K, draws per image and step.
        beta: weight of the KL: a number, or a schedule of the step that Keras can save (`KLWarmup`,
            `CyclicKL`).
        free_bits: nats; the KL of a dimension is not penalized while its mean over the batch is
            below that.
        seed: of the noise and of the binarization, in training and validation.

    Raises:
        UserError: an unknown likelihood or objective, a combination that has no meaning, or a
            schedule that could not be loaded again.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        levels: Sequence[tuple[keras.Model, keras.Model]] = (),
        prior: StandardNormal | VampPrior | None = None,
        likelihood: str = "bernoulli",
        scale: float | None = None,
        objective: str = "elbo",
        samples: int = 1,
        beta: float | Callable = 1.0,
        free_bits: float = 0.0,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder
        self.prior = StandardNormal() if prior is None else prior
        self.posteriors = [posterior for posterior, _ in levels]
        self.inner_priors = [inner for _, inner in levels]
        self.likelihood, self.scale = likelihood, scale
        self.objective, self.samples = objective, samples
        self.beta, self.free_bits, self.seed = beta, free_bits, seed
        check(self)
        self.pixels = losses.likelihood(likelihood, scale)
        shapes = [tensor.shape for tensor in encoder.inputs]
        self.image_shape = tuple(shapes[0][1:])
        self.classes = shapes[1][-1] if len(shapes) > 1 else 0
        self.latent_dim = encoder.outputs[0].shape[-1]
        self.seed_generator = keras.random.SeedGenerator(seed)
        means = ("loss", "reconstruction", "kl", "negative_elbo")
        self.trackers = [*map(keras.metrics.Mean, means), ActiveUnits(self.latent_dim)]
        self.build(self.input_shape)

    # Steps --------------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, Any]:
        """One gradient step on the negative bound."""
        batch = self._training_batch(data)

        def objective():
            loss, figures = self._negative_bound(*batch, training=True)
            return replicas.average(loss), {"loss": loss, **figures}

        figures = replicas.minimize(self.optimizer, objective, self.trainable_variables)
        return self.track(**figures)

    def training_loss(self, data: Any) -> tf.Tensor:
        """The loss that a step on this batch minimizes, float32 [], for `training.GradientFlow`."""
        return replicas.average(self._negative_bound(*self._training_batch(data), training=True)[0])

    def test_step(self, data: Any) -> dict[str, Any]:
        """The same metrics with beta = 1; the same images always draw the same noise."""
        x, labels = self.unpack(data)
        x = unit_pixels(x)
        seed = replicas.seed_of_batch(self.seed, x)
        with replicas.uneven_parts(tf.shape(x)[0]):
            x = self._binarize(x, seed)
            seed = tf.random.experimental.stateless_fold_in(seed, 1)
            loss, figures = self._negative_bound(x, labels, seed, 1.0, training=False)
        return self.track(loss=loss, **figures)

    def _training_batch(self, data):
        """Images (binarized for the Bernoulli likelihood), labels, a seed, and the current beta."""
        x, labels = self.unpack(data)
        x = self._binarize(unit_pixels(x), replicas.next_seed(self.seed_generator))
        seed = replicas.next_seed(self.seed_generator)
        beta = self.beta(self.optimizer.iterations) if callable(self.beta) else self.beta
        return x, labels, seed, beta

    def _binarize(self, x, seed):
        if self.likelihood != "bernoulli":
            return x
        return tf.cast(replicas.uniform(tf.shape(x), seed) < x, tf.float32)

    # The equations ------------------------------------------------------------------------------

    def _negative_bound(self, x, labels, seed, beta, training):
        """The loss, [batch], and the other metrics by name."""
        latents = self._infer(x, labels, self.samples, seed, training)
        if self.objective == "dreg":
            loss, (log_p, kl) = self._negative_dreg(x, labels, latents[0], beta, training)
        else:
            log_p = self._log_likelihood(x, latents, labels, training)
            per_level = [latent.kl() for latent in latents]
            kl = _summed(per_level)
            if self.objective == "iwae":
                log_ratio = sum(latent.log_ratio() for latent in latents)
                loss = losses.negative_iwae(log_p - beta * log_ratio)
            else:
                cost = kl
                if training and self.free_bits:
                    cost = _summed(map(self._with_free_bits, per_level))
                loss = losses.negative_elbo(log_p, cost, beta)
        loss += regularization(self)
        return loss, {
            "reconstruction": tf.reduce_mean(-log_p, axis=0),
            "kl": tf.reduce_mean(kl, axis=0),
            "negative_elbo": tf.reduce_mean(kl - log_p, axis=0),
            "active_units": latents[0].q.mean[0],
        }

    def _infer(self, x, labels, samples, seed, training) -> list[Latent]:
        """Draw z ~ q(z | x), from the highest level down; each with its q and its p."""
        prior = self._prior()
        mean, log_var, *features = self.encoder(self.given(x, labels), training=training)
        posterior = Gaussian(mean[None], log_var[None])
        latents = []
        for level in range(len(self.posteriors) + 1):
            if level:
                above = [latent.z for latent in latents]
                given = [repeat(feature, samples) for feature in features] + above
                posterior = Gaussian(*on_rows(self.posteriors[level - 1], given, training))
                prior = Gaussian(*on_rows(self.inner_priors[level - 1], above, training))
            seed = tf.random.experimental.stateless_fold_in(seed, level)
            shape = tf.concat([[samples], tf.shape(posterior.mean)[1:]], axis=0)
            z = posterior.sample(self.noise(shape, seed))
            latents.append(Latent(z, posterior, prior))
        return latents

    def noise(self, shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Standard normal draws of the reparameterization, float32 [samples, batch, dims]."""
        return replicas.normal(shape, seed, axis=1)

    def _prior(self) -> Gaussian | Mixture:
        """p(z) of the top latent."""

        def posterior(pseudo_inputs):
            # Pseudo-inputs have no class: a conditional encoder is told that all are as likely.
            count = tf.shape(pseudo_inputs)[0]
            labels = tf.fill([count, self.classes], 1.0 / max(1, self.classes))
            return self.encoder(self.given(pseudo_inputs, labels), training=False)[:2]

        return self.prior.distribution(posterior)

    def _log_likelihood(self, x, latents, labels, training):
        """Log p(x | z), [samples, batch]."""
        z = [latent.z for latent in latents]
        if self.classes:
            z.append(repeat(labels, tf.shape(z[0])[0]))
        return -self.pixels.negative_log(x, on_rows(self.decoder, z, training))

    def _with_free_bits(self, kl):
        """The KL of each dimension, at least `free_bits` on average over the batch."""
        mean = tf.stop_gradient(replicas.mean_of_batch(tf.reduce_mean(kl, axis=0)))
        return losses.free_bits(kl, mean, self.free_bits)

    def _negative_dreg(self, x, labels, latent, beta, training):
        """The loss, [batch]; log p(x | z) and log q(z | x) - log p(z), [samples, batch] each."""

        def log_weights(z):
            # Gradients reach the posterior through z alone (arXiv:1810.04152, eq. 8).
            fixed = Latent(z, Gaussian(*map(tf.stop_gradient, latent.q)), latent.p)
            log_p = self._log_likelihood(x, [fixed], labels, training)
            log_ratio = fixed.log_ratio()
            return log_p - beta * log_ratio, (log_p, log_ratio)

        return losses.negative_dreg(log_weights, latent.z)

    # What users call ----------------------------------------------------------------------------

    def log_weights(
        self, x: tf.Tensor, samples: int, seed: tf.Tensor, labels: Any = None
    ) -> tf.Tensor:
        """Log w of draws from the posterior, float32 [samples, batch].

        Args:
            x: pixels of 0..1, zeros and ones for the Bernoulli likelihood.
            samples: draws per image.
            seed: int32 [2].
            labels: integer or one-hot, for a conditional model.
        """
        x, labels = tf.cast(x, tf.float32), self.one_hot(labels)
        latents = self._infer(x, labels, samples, seed, training=False)
        log_p = self._log_likelihood(x, latents, labels, training=False)
        return log_p - sum(latent.log_ratio() for latent in latents)

    def encode(self, image: Any, labels: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log-variance of the highest latent, float32 [batch, latent_dim].

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
            labels: integer or one-hot, for a conditional model.
        """
        given = self.given(unit_pixels(image), self.one_hot(labels))
        mean, log_var, *_ = self.encoder(given, training=False)
        return mean, log_var

    def decode(self, z: Any, labels: Any = None) -> tf.Tensor:
        """Expected pixels of 0..1, float32 [batch, height, width, channels].

        Args:
            z: the highest latent, [batch, latent_dim]; lower ones are the means of their priors.
            labels: integer or one-hot, for a conditional model.
        """
        z = [tf.cast(z, tf.float32)]
        for inner in self.inner_priors:
            z.append(call(inner, z)[0])
        return self._expected_pixels(z, self.one_hot(labels))

    def reconstruct(self, image: Any, labels: Any = None) -> tf.Tensor:
        """Expected pixels of 0..1, decoded from the means of the posteriors.

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
            labels: integer or one-hot, for a conditional model.
        """
        labels = self.one_hot(labels)
        mean, _, *features = self.encoder(self.given(unit_pixels(image), labels), training=False)
        z = [mean]
        for posterior in self.posteriors:
            z.append(posterior([*features, *z], training=False)[0])
        return self._expected_pixels(z, labels)

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """`reconstruct`; in training, decoded from a draw of the posteriors."""
        x, labels = self.unpack(inputs)
        if not training:
            return self.reconstruct(x, labels)
        seed = replicas.next_seed(self.seed_generator)
        latents = self._infer(unit_pixels(x), labels, 1, seed, training=True)
        return self._expected_pixels([latent.z[0] for latent in latents], labels)

    def generate(self, count: int | tf.Tensor, seed: Any, labels: Any = None) -> tf.Tensor:
        """Draw from the prior, and decode to expected pixels of 0..1; for use inside a graph.

        Args:
            count: how many.
            seed: int32 [2].
            labels: integer or one-hot, for a conditional model.
        """

        def seed_of(i):
            return tf.random.experimental.stateless_fold_in(seed, i)

        noise = tf.random.stateless_normal([count, self.latent_dim], seed_of(0))
        z = [self._prior().sample(noise, seed_of(1))]
        for level, inner in enumerate(self.inner_priors):
            prior = Gaussian(*call(inner, z))
            noise = tf.random.stateless_normal(tf.shape(prior.mean), seed_of(2 + level))
            z.append(prior.sample(noise))
        return self._expected_pixels(z, self.one_hot(labels))

    def sample(self, count: int, seed: int = 0, labels: Any = None) -> np.ndarray:
        """Images from the prior, uint8 [count, height, width, channels].

        Args:
            count: how many.
            seed: the same seed gives the same images.
            labels: integer or one-hot, for a conditional model; drawn uniformly if None.
        """
        labels = self.drawn_labels(count, seed) if labels is None else labels
        return self.sample_images(self.generate, count, seed, labels)

    def _expected_pixels(self, z, labels):
        inputs = [*z, labels] if self.classes else list(z)
        return self.pixels.mean(call(self.decoder, inputs))

    # What Keras asks ----------------------------------------------------------------------------

    @property
    def input_shape(self) -> Any:
        """(None, height, width, channels), and (None, classes) for a conditional model."""
        return self.given((None, *self.image_shape), (None, self.classes))

    @property
    def levels(self) -> list[tuple[keras.Model, keras.Model]]:
        """Posterior and prior of each lower latent."""
        return list(zip(self.posteriors, self.inner_priors, strict=True))


def _summed(per_level):
    """The sum over levels and dimensions of KLs [samples, batch, dims or 1]: [samples, batch]."""
    return sum(tf.reduce_sum(kl, axis=-1) for kl in per_level)
