"""The variational autoencoder (arXiv:1312.6114), one or several levels of latents deep.

In the notation of the paper, for a picture x and latents z:

    log w   =  log p(x | z) + log p(z) - log q(z | x),   z ~ q(z | x)
    ELBO    =  E[log w]  =  E[log p(x | z)] - KL(q(z | x) || p(z))  <=  log p(x)
    IWAE_K  =  E[log 1/K sum_k w_k]  <=  log p(x)         (arXiv:1509.00519, eq. 8)

The loss is minus one of the two bounds, in nats per picture: summed over pixels and over latents,
averaged over the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kapps import losses, replicas
from kapps.errors import UserError
from kapps.models.generative.vae import priors

OBJECTIVES = ("elbo", "iwae", "dreg")
_SAMPLED_TOGETHER = 256  # pictures decoded at once by `sample`


class Latent(NamedTuple):
    """One level of latents; all float32 [samples, batch, dims].

    Attributes:
        z: drawn from the posterior.
        mean: of the posterior.
        log_var: of the posterior.
        prior: (mean, log_var) of the prior, or None where it is a mixture.
    """

    z: tf.Tensor
    mean: tf.Tensor
    log_var: tf.Tensor
    prior: tuple[Any, Any] | None


@keras.saving.register_keras_serializable("kapps")
class VAE(keras.Model):
    """A VAE made of networks; `dense_vae`, `conv_vae` and `hierarchical_vae` build them.

    Trained on `image` or `(image, labels)`: pixels of 0..255, [batch, height, width, channels],
    and one-hot labels for a conditional model (labels are ignored otherwise). With the Bernoulli
    likelihood every step draws zeros and ones from the greys anew; pictures that are zeros and
    ones already stay as they are.

    Metrics: `loss` (in training with the weight of the KL of that step, in validation with
    beta = 1), `reconstruction`, `kl`, `negative_elbo` (beta = 1, nats per picture) and
    `active_units` (arXiv:1509.00519, section 5.3).

    Args:
        encoder: x, pixels of 0..1 [batch, height, width, channels] (and labels) -> [mean, log_var,
            features...]; mean and log_var of the highest latent, features for the lower levels.
        decoder: all latents, highest first (and labels) -> parameters of the likelihood.
        levels: for each lower latent, in this order, a pair of models: (features and all latents
            above) -> [mean, log_var] of its posterior; all latents above -> [mean, log_var] of its
            prior.
        prior: None for N(0, I), or a `VampPrior` for the highest latent.
        likelihood: see `kapps.losses.likelihood`.
        scale: standard deviation of a gaussian likelihood; None learns it.
        objective: elbo, iwae, or dreg: IWAE with doubly reparameterized gradients
            (arXiv:1810.04152, eq. 8), for one level and N(0, I).
        samples: K, draws per picture and step.
        beta: weight of the KL, a number or a function of the step (`KLWarmup`, `CyclicKL`).
        free_bits: nats below which the KL of a dimension, averaged over the batch, costs nothing
            (arXiv:1606.04934, appendix C.8).
        seed: of all draws.

    Raises:
        UserError: an unknown likelihood or objective, or a combination that has no meaning.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        levels: Sequence[tuple[keras.Model, keras.Model]] = (),
        prior: priors.VampPrior | None = None,
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
        _check(objective, samples, beta, free_bits, prior, levels)
        self.encoder, self.decoder, self.prior = encoder, decoder, prior
        self.posteriors = [posterior for posterior, _ in levels]
        self.inner_priors = [inner for _, inner in levels]
        self.likelihood, self.scale = likelihood, scale
        self.objective, self.samples = objective, samples
        self.beta, self.free_bits, self.seed = beta, free_bits, seed
        self.pixels = losses.likelihood(likelihood, scale)
        shapes = [tensor.shape for tensor in encoder.inputs]
        self.image_shape = tuple(shapes[0][1:])
        self.classes = shapes[1][-1] if len(shapes) > 1 else 0
        self.latent_dim = encoder.outputs[0].shape[-1]
        self.seed_generator = keras.random.SeedGenerator(seed)
        means = ("loss", "reconstruction", "kl", "negative_elbo")
        self.trackers = [keras.metrics.Mean(name) for name in means]
        self.active_units = ActiveUnits(self.latent_dim)
        self.build(self.input_shape)

    # What Keras calls ---------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step on minus the bound."""
        drawn = self._drawn(data)

        def objective():
            loss, terms = self._bound(*drawn, training=True)
            return replicas.average(loss), (loss, *terms)

        return self._log(replicas.minimize(self.optimizer, objective, self.trainable_variables))

    def training_loss(self, data: Any) -> tf.Tensor:
        """What a step on this batch would minimise, float32 []: for `training.GradientFlow`."""
        return replicas.average(self._bound(*self._drawn(data), training=True)[0])

    def test_step(self, data: Any) -> dict[str, Any]:
        """The same terms with beta = 1. The draws depend on the pictures only: twice the same."""
        x, labels = self._unpack(data)
        seed = replicas.seed_of_batch(self.seed, x)
        with replicas.uneven_parts(tf.shape(x)[0]):
            x = self._binarize(x, seed)
            seed = tf.random.experimental.stateless_fold_in(seed, 1)
            loss, terms = self._bound(x, labels, seed, 1.0, training=False)
        return self._log((loss, *terms))

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """Reconstructed pixels of 0..1, from the mean of the posterior (training: from a draw)."""
        x, labels = self._unpack(inputs)
        if training:
            latents = self._infer(x, labels, 1, replicas.next_seed(self.seed_generator), True)
            return self.pixels.mean(self._decode([latent.z[0] for latent in latents], labels))
        return self._reconstruct(x, labels)

    def build(self, input_shape: Any) -> None:
        """Nothing is left to build; Keras notes the shape, for `export`."""

    @property
    def input_shape(self) -> Any:
        """(None, height, width, channels), and (None, classes) for a conditional model."""
        image = (None, *self.image_shape)
        return [image, (None, self.classes)] if self.classes else image

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """(None, height, width, channels)."""
        return (None, *self.image_shape)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """That of the pictures."""
        image = input_shape[0] if self.classes else input_shape
        return (image[0], *self.image_shape)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All that is reported; Keras resets them at the start of every epoch."""
        return [*self.trackers, self.active_units]

    # The equations ------------------------------------------------------------------------------

    def log_weights(
        self, x: tf.Tensor, samples: int, seed: tf.Tensor, labels: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Log w of that many draws from the posterior, float32 [samples, batch].

        Args:
            x: pixels of 0..1, zeros and ones for the Bernoulli likelihood.
            samples: draws per picture.
            seed: int32 [2].
            labels: one-hot, for a conditional model.
        """
        x = tf.cast(x, tf.float32)
        latents = self._infer(x, labels, samples, seed, training=False)
        return self._log_likelihood(x, latents, labels, False) - sum(self._log_ratios(latents))

    def _drawn(self, data):
        """Binarised pictures, labels, a seed, and beta of this step."""
        x, labels = self._unpack(data)
        binarized = self._binarize(x, replicas.next_seed(self.seed_generator))
        seed = replicas.next_seed(self.seed_generator)
        beta = self.beta(self.optimizer.iterations) if callable(self.beta) else self.beta
        return binarized, labels, seed, beta

    def _bound(self, x, labels, seed, beta, training):
        """Loss [batch], then reconstruction, KL, -ELBO [batch] and the means of the posterior."""
        latents = self._infer(x, labels, self.samples, seed, training)
        if self.objective == "dreg":
            return self._doubly_reparameterized(x, labels, latents, beta, training)
        log_p = self._log_likelihood(x, latents, labels, training)  # [samples, batch]
        per_level = [self._kl(latent) for latent in latents]  # [samples, batch, dims or 1]
        kl = sum(tf.reduce_sum(level, axis=-1) for level in per_level)
        terms = [tf.reduce_mean(term, axis=0) for term in (-log_p, kl, kl - log_p)]
        if self.objective == "iwae":
            loss = -_log_mean_exp(log_p - beta * sum(self._log_ratios(latents)))
        else:
            cost = sum(tf.reduce_sum(self._free(level), -1) for level in per_level)
            loss = terms[0] + beta * tf.reduce_mean(cost if training else kl, axis=0)
        return loss, (*terms, latents[0].mean[0])

    def _infer(self, x, labels, samples, seed, training) -> list[Latent]:
        """Draw from q(z | x), level by level."""
        mean, log_var, *features = self.encoder(self._with(x, labels), training=training)
        mean, log_var = mean[None], log_var[None]
        latents = []
        for level in range(len(self.posteriors) + 1):
            if level:
                above = [latent.z for latent in latents]
                given = [_repeat(feature, samples) for feature in features] + above
                mean, log_var = _on_rows(self.posteriors[level - 1], given, training)
                prior = tuple(_on_rows(self.inner_priors[level - 1], above, training))
            else:
                prior = None if self.prior else (0.0, 0.0)
            seed = tf.random.experimental.stateless_fold_in(seed, level)
            shape = tf.concat([[samples], tf.shape(mean)[1:]], axis=0)
            z = mean + tf.exp(0.5 * log_var) * self.noise(shape, seed)
            latents.append(Latent(z, mean, log_var, prior))
        return latents

    def noise(self, shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Standard normal draws of the reparameterization, float32."""
        return replicas.normal(shape, seed, axis=1)

    def _log_likelihood(self, x, latents, labels, training):
        """Log p(x | z), [samples, batch]."""
        z = [latent.z for latent in latents]
        if self.classes:
            z.append(_repeat(self._labels(labels), tf.shape(z[0])[0]))
        return -self.pixels.negative_log(x, _on_rows(self.decoder, z, training))

    def _log_ratios(self, latents):
        """Log q(z | x) - log p(z) of every level, [samples, batch]."""
        for latent in latents:
            log_q = losses.gaussian_log_density(latent.z, latent.mean, latent.log_var)
            yield log_q - self._log_prior(latent)

    def _log_prior(self, latent):
        if latent.prior is None:
            return self.prior.log_density(latent.z, *self._pseudo_posteriors())
        mean, log_var = (tf.broadcast_to(part, tf.shape(latent.z)) for part in latent.prior)
        return losses.gaussian_log_density(latent.z, mean, log_var)

    def _kl(self, latent):
        """KL of a level: of each dimension where it is known, else one draw of the whole."""
        if latent.prior is None:
            (ratio,) = self._log_ratios([latent])
            return ratio[..., None]
        return losses.gaussian_kl_per_dimension(latent.mean, latent.log_var, *latent.prior)

    def _free(self, kl):
        """`free_bits` where the batch's mean KL of a dimension is below it.

        The mean over the batch is then max(free_bits, mean KL), and so is its gradient.
        """
        if not self.free_bits:
            return kl
        mean = tf.stop_gradient(tf.reduce_mean(kl, axis=(0, 1)))
        context = tf.distribute.get_replica_context()
        if context and context.num_replicas_in_sync > 1:
            mean = context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
        return tf.where(mean > self.free_bits, kl, self.free_bits)

    def _doubly_reparameterized(self, x, labels, latents, beta, training):
        """IWAE whose encoder's gradient has no score term: sum w~^2 d log w / dz dz / d phi."""
        (latent,) = latents
        z = tf.stop_gradient(latent.z)
        with tf.GradientTape() as tape:
            tape.watch(z)
            fixed = latent._replace(
                z=z,
                mean=tf.stop_gradient(latent.mean),
                log_var=tf.stop_gradient(latent.log_var),
            )
            log_p = self._log_likelihood(x, [fixed], labels, training)
            (ratio,) = self._log_ratios([fixed])
            log_w = log_p - beta * ratio
            bound = _log_mean_exp(log_w)
        weight = tf.nn.softmax(tf.stop_gradient(log_w), axis=0)[..., None]
        direction = tf.stop_gradient(tape.gradient(bound, z) * weight)
        path = tf.reduce_sum(direction * latent.z, axis=(0, 2))
        # The value is the bound's; the gradient is the bound's for the decoder, and the path's.
        loss = -bound - (path - tf.stop_gradient(path))
        terms = [tf.reduce_mean(term, axis=0) for term in (-log_p, ratio, ratio - log_p)]
        return loss, (*terms, latent.mean[0])

    def _pseudo_posteriors(self):
        pictures = tf.convert_to_tensor(self.prior.pseudo_inputs)
        if self.classes:  # the prior does not know the class
            labels = tf.fill([self.prior.count, self.classes], 1.0 / self.classes)
            return self.encoder([pictures, labels], training=False)[:2]
        return self.encoder(pictures, training=False)[:2]

    # What users call ----------------------------------------------------------------------------

    def encode(self, image: Any, labels: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log-variance of the highest latent, float32 [batch, latent_dim].

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
            labels: one-hot [batch, classes], for a conditional model.
        """
        mean, log_var, *_ = self.encoder(self._with(_scale(image), labels), training=False)
        return mean, log_var

    def decode(self, z: Any, labels: Any = None) -> tf.Tensor:
        """Expected pixels of 0..1, float32 [batch, height, width, channels].

        Args:
            z: the highest latent, [batch, latent_dim]; lower ones are the means of their priors.
            labels: one-hot [batch, classes], for a conditional model.
        """
        z = [tf.cast(z, tf.float32)]
        for inner in self.inner_priors:
            z.append(_call(inner, z, False)[0])
        return self.pixels.mean(self._decode(z, labels))

    def reconstruct(self, image: Any, labels: Any = None) -> tf.Tensor:
        """Pixels of 0..1 decoded from the means of the posteriors.

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
            labels: one-hot [batch, classes], for a conditional model.
        """
        return self._reconstruct(_scale(image), labels)

    def generate(self, count: int | tf.Tensor, seed: Any, labels: Any = None) -> tf.Tensor:
        """Expected pixels of 0..1 of draws from the prior, for use inside a graph.

        Args:
            count: how many.
            seed: int32 [2].
            labels: one-hot [count, classes], for a conditional model.
        """
        fold = tf.random.experimental.stateless_fold_in
        noise = tf.random.stateless_normal([count, self.latent_dim], fold(seed, 0))
        if self.prior:
            means, log_vars = self._pseudo_posteriors()
            chosen = tf.random.stateless_uniform(
                [count], fold(seed, 1), 0, self.prior.count, tf.int32
            )
            noise = tf.gather(means, chosen) + tf.exp(0.5 * tf.gather(log_vars, chosen)) * noise
        z = [noise]
        for level, inner in enumerate(self.inner_priors):
            mean, log_var = _call(inner, z, False)
            z.append(
                mean
                + tf.exp(0.5 * log_var)
                * tf.random.stateless_normal(tf.shape(mean), fold(seed, 2 + level))
            )
        return self.pixels.mean(self._decode(z, labels))

    def sample(self, count: int, seed: int = 0, labels: Any = None) -> np.ndarray:
        """Pictures from the prior, uint8 [count, height, width, channels].

        Args:
            count: how many.
            seed: the same seed gives the same pictures.
            labels: one-hot [count, classes], for a conditional model; drawn uniformly if None.
        """
        if self.classes and labels is None:
            drawn = np.random.default_rng(seed).integers(self.classes, size=count)
            labels = np.eye(self.classes, dtype=np.float32)[drawn]
        pictures = [np.zeros((0, *self.image_shape), np.uint8)]
        for start in range(0, count, _SAMPLED_TOGETHER):
            size = min(_SAMPLED_TOGETHER, count - start)
            part = None if labels is None else labels[start : start + size]
            pixels = self.generate(size, tf.constant([seed, start], tf.int32), part)
            pictures.append(tf.cast(tf.round(255.0 * pixels), tf.uint8).numpy())
        return np.concatenate(pictures)

    # Plumbing -----------------------------------------------------------------------------------

    def _reconstruct(self, x, labels):
        mean, _, *features = self.encoder(self._with(x, labels), training=False)
        z = [mean]
        for posterior in self.posteriors:
            z.append(posterior([*features, *z], training=False)[0])
        return self.pixels.mean(self._decode(z, labels))

    def _decode(self, z, labels):
        inputs = [*z, self._labels(labels)] if self.classes else list(z)
        return _call(self.decoder, inputs, False)

    def _unpack(self, data):
        image, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        if isinstance(image, (list, tuple)):  # the inputs of a conditional model, whatever follows
            image, labels = image
        return _scale(image), self._labels(labels) if self.classes else None

    def _with(self, x, labels):
        return [x, self._labels(labels)] if self.classes else x

    def _labels(self, labels):
        if labels is None:
            raise UserError(f"this model is conditional: give one-hot labels of {self.classes}")
        return tf.cast(labels, tf.float32)

    def _binarize(self, x, seed):
        if self.likelihood != "bernoulli":
            return x
        return tf.cast(replicas.uniform(tf.shape(x), seed) < x, tf.float32)

    def _log(self, values):
        *values, means = values
        for tracker, value in zip(self.trackers, values, strict=True):
            tracker.update_state(value)
        self.active_units.update_state(means)
        return {metric.name: metric.result() for metric in self.metrics}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        parts = {
            "encoder": self.encoder,
            "decoder": self.decoder,
            "prior": self.prior,
            "levels": list(zip(self.posteriors, self.inner_priors, strict=True)),
            "beta": self.beta,
        }
        plain = ("likelihood", "scale", "objective", "samples", "free_bits", "seed")
        return {
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            **{name: getattr(self, name) for name in plain},
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> VAE:
        """The model of a configuration, with new weights."""
        config = dict(config)
        for name in ("encoder", "decoder", "prior", "levels", "beta"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        return cls(config.pop("encoder"), config.pop("decoder"), **config)


@keras.saving.register_keras_serializable("kapps")
class ActiveUnits(keras.metrics.Metric):
    """How many latents depend on the picture: Var_x(E_q[z_d]) > 0.01 (arXiv:1509.00519, sec. 5.3).

    Args:
        dims: latent dimensions.
        threshold: variance of the mean from which a unit counts.
    """

    def __init__(self, dims: int, threshold: float = 0.01, name: str = "active_units"):
        super().__init__(name=name)
        self.threshold = threshold
        zeros = "zeros"
        self.count = self.add_variable((), zeros, name="count")
        self.sum = self.add_variable((dims,), zeros, name="sum")
        self.squares = self.add_variable((dims,), zeros, name="squares")

    def update_state(self, means: tf.Tensor, sample_weight: Any = None) -> None:
        """Count posterior means, [batch, dims]."""
        means = tf.cast(means, tf.float32)
        self.count.assign_add(tf.cast(tf.shape(means)[0], tf.float32))
        self.sum.assign_add(tf.reduce_sum(means, axis=0))
        self.squares.assign_add(tf.reduce_sum(tf.square(means), axis=0))

    def result(self) -> tf.Tensor:
        """The number of active units."""
        count = tf.maximum(tf.convert_to_tensor(self.count), 1.0)
        mean = tf.convert_to_tensor(self.sum) / count
        variance = tf.convert_to_tensor(self.squares) / count - tf.square(mean)
        return tf.reduce_sum(tf.cast(variance > self.threshold, tf.float32))


def _check(objective, samples, beta, free_bits, prior, levels) -> None:
    if objective not in OBJECTIVES:
        raise UserError(f"unknown objective {objective!r}: it is one of {', '.join(OBJECTIVES)}")
    if samples < 1:
        raise UserError(f"samples {samples}: at least one is needed")
    if free_bits < 0 or (not callable(beta) and beta < 0):
        raise UserError("beta and free_bits must not be negative")
    if free_bits and objective != "elbo":
        raise UserError("free bits belong to the objective elbo")
    if free_bits and prior is not None:
        raise UserError("free bits need a KL of each dimension, which a mixture prior has not")
    if objective == "dreg" and (prior is not None or levels):
        raise UserError("dreg is for one level of latents and the prior N(0, I)")


def _scale(image):
    return tf.cast(image, tf.float32) / 255.0


def _log_mean_exp(log_w):
    """Log of the mean of w over the samples, [batch]."""
    samples = tf.cast(tf.shape(log_w)[0], log_w.dtype)
    return tf.reduce_logsumexp(log_w, axis=0) - tf.math.log(samples)


def _repeat(x, samples):
    """[batch, ...] -> [samples, batch, ...]."""
    return tf.broadcast_to(x[None], tf.concat([[samples], tf.shape(x)], axis=0))


def _call(model, inputs, training):
    """A functional model; one that has a single input does not take a list."""
    return model(inputs if len(inputs) > 1 else inputs[0], training=training)


def _on_rows(model, inputs, training):
    """A model of [rows, ...] on tensors of [samples, batch, ...]."""
    leading = tf.shape(inputs[0])[:2]
    rows = [tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], axis=0)) for x in inputs]
    for row, x in zip(rows, inputs, strict=True):
        row.set_shape([None, *x.shape[2:]])
    outputs = _call(model, rows, training)

    def unroll(y):
        return tf.reshape(y, tf.concat([leading, tf.shape(y)[1:]], axis=0))

    return [unroll(y) for y in outputs] if isinstance(outputs, (list, tuple)) else unroll(outputs)
