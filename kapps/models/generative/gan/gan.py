"""Generative adversarial networks (arXiv:1406.2661): one step, composed of independent choices.

    what the players minimize     `kapps.losses.ADVERSARIAL`
    slope penalties               R1, R2 (arXiv:1801.04406), gradient penalty (arXiv:1704.00028),
                                  `kapps.losses.penalties`; weight clipping (arXiv:1701.07875)
    normalization, conditioning   of the networks, `networks.py`
    augmentation                  of all that the discriminator sees, `diffaugment.py`

What moves when:

    discriminator_step   weights of the discriminator; its moving averages, by the real images and
                         then by the fakes; its spectral norms, once, before all else
    generator_step       weights of the generator and its moving averages; then the averaged copy

and nothing else: fakes for the discriminator leave the generator's moving averages alone, and
judging the generator leaves those of the discriminator alone. Real images and fakes never share a
batch. All passes in a step are in training mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps import losses, replicas
from kapps.models import arguments
from kapps.models.generative.base import ImageModel, regularization
from kapps.models.generative.gan import diffaugment, players, two_optimizers


@keras.saving.register_keras_serializable("kapps")
class GAN(ImageModel, keras.Model):
    """A generator and a discriminator, trained against each other by `fit`.

    `gan` builds both. Trained on `image` or `(image, labels)`: pixels of 0..255, [batch, height,
    width, channels], and integer or one-hot labels for a conditional model. A batch holds the real
    images of all `n_critic` steps of the discriminator: each gets an equal part that no other step
    has seen, and the generator's step pairs its fakes with the last part. What is left over where
    `n_critic` does not divide the batch is not used; a batch of fewer images than `n_critic` is
    used again from its start. Fakes are made for the labels of the real images.

    Metrics: `loss` (of both players together: it says whether training is finite, and nothing
    else), `discriminator_loss` and `generator_loss` (without penalties), `real_logits` and
    `fake_logits`, `penalty` (its part of the discriminator's loss), `class_loss` with an auxiliary
    classifier. In validation the fakes are those of the averaged generator, nothing is augmented
    and nothing is penalized.

    Args:
        generator: "z" [batch, latent_dim] (and one-hot labels) -> pixels of -1..1.
        discriminator: pixels of -1..1 (and labels) -> logits [batch, 1] (and class logits).
        loss: a name of `kapps.losses.ADVERSARIAL`.
        label_smoothing: see `kapps.losses.adversarial_loss`.
        r1: gamma of gamma / 2 E|gradient of the logit at real images|^2; 0 is off.
        r2: the same for fakes.
        gradient_penalty: lambda of lambda E(|gradient| - 1)^2 between real and fake; 0 is off.
        penalty_interval: k: penalties are computed in every k-th step and count k times
            (arXiv:1912.04958, appendix B).
        weight_clip: limit of every weight of the discriminator; 0 is off.
        n_critic: steps of the discriminator before each step of the generator.
        augment: parts of `kapps.models.generative.gan.diffaugment`: color, translation, cutout.
        class_weight: weight of the loss of an auxiliary classifier in both losses.
        ema: decay of the averaged generator, 0 for a plain copy; lower in the first steps.
        seed: of latent vectors, augmentation and penalties.

    Raises:
        UserError: an unknown name, a value out of range, or networks that do not fit together.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        loss: str = "non_saturating",
        label_smoothing: float | None = None,
        r1: float = 0.0,
        r2: float = 0.0,
        gradient_penalty: float = 0.0,
        penalty_interval: int = 1,
        weight_clip: float = 0.0,
        n_critic: int = 1,
        augment: Sequence[str] = (),
        class_weight: float = 1.0,
        ema: float = 0.999,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.generator, self.discriminator = generator, discriminator
        self.loss_name, self.label_smoothing = loss, label_smoothing
        self.adversarial = losses.adversarial_loss(loss, label_smoothing)
        self.r1, self.r2, self.gradient_penalty = r1, r2, gradient_penalty
        self.penalty_interval = arguments.integer("penalty_interval", penalty_interval)
        self.weight_clip, self.class_weight = weight_clip, class_weight
        self.n_critic = arguments.integer("n_critic", n_critic)
        self.augment = list(diffaugment.check_policy(augment))
        self.ema, self.seed = ema, seed
        players.check(self)

        self.image_shape = tuple(generator.outputs[0].shape[1:])
        self.latent_dim = generator.inputs[0].shape[-1]
        self.classes = generator.inputs[1].shape[-1] if len(generator.inputs) > 1 else 0
        self.auxiliary = len(discriminator.outputs) > 1
        self.generator_ema = players.averaged_copy(generator)

        # Seeds and lazy penalties depend on these counts, which are weights and saved as such.
        counter = dict(shape=(), dtype="int64", initializer="zeros", trainable=False)
        self.discriminator_steps = self.add_weight(**counter, name="discriminator_steps")
        self.generator_steps = self.add_weight(**counter, name="generator_steps")
        names = ["loss", "discriminator_loss", "generator_loss", "real_logits", "fake_logits"]
        names += ["penalty", *(["class_loss"] if self.auxiliary else [])]
        self.trackers = [keras.metrics.Mean(name) for name in names]
        self.build(self.input_shape)

    # The algorithm ------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, Any]:
        """`n_critic` steps of the discriminator, each on real images of its own; one of G."""
        x, labels = self.unpack(data)
        x = _signed_pixels(x)
        for part in range(self.n_critic):
            real, real_labels = self._part(x, part), self._part(labels, part)
            of_discriminator = self.discriminator_step(real, real_labels)
        of_generator = self.generator_step(real, real_labels)
        return self.track(loss=of_discriminator + of_generator)

    def discriminator_step(self, x: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """Move the discriminator, and nothing but the discriminator.

        Args:
            x: real pixels of -1..1, [batch, height, width, channels].
            labels: one-hot [batch, classes], for a conditional model.

        Returns:
            Its loss, penalties included, [batch].
        """
        of_z, of_real, of_fake, of_penalty = self._seeds(self.discriminator_steps, 0, 4)
        with keras.StatelessScope():  # what happens to the state of the generator is forgotten
            fake = self._generate(self.latents(tf.shape(x)[0], of_z), labels)
        players.update_spectral_norms(self.discriminator)

        def objective():
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch((x, fake))
                real_logits, real_classes = self._judge(x, labels, of_real)
                fake_logits, fake_classes = self._judge(fake, labels, of_fake)
                scaled = self._scaled(real_logits), self._scaled(fake_logits)
            loss = self.adversarial.discriminator(real_logits, fake_logits)
            class_loss = self._class_loss(labels, real_classes, fake_classes)
            penalty = self._every_kth_step(
                lambda: self._penalty(tape, scaled, x, fake, labels, of_penalty), x
            )
            total = loss + self.class_weight * class_loss + penalty
            total += regularization(self.discriminator)
            return replicas.average(total), {
                "total": total,
                "discriminator_loss": loss,
                "penalty": penalty,
                "class_loss": class_loss,
                "real_logits": real_logits,
                "fake_logits": fake_logits,
            }

        figures = replicas.minimize(
            self.discriminator_optimizer, objective, self.discriminator.trainable_variables
        )
        players.clip_weights(self.discriminator, self.weight_clip)
        self.discriminator_steps.assign_add(1)
        self.track(**figures)
        return figures["total"]

    def generator_step(self, x: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        """Move the generator, then its average, and nothing else.

        Args:
            x: real pixels of -1..1: how many fakes to make, and what relativistic losses compare
                them with.
            labels: one-hot [batch, classes], for a conditional model.

        Returns:
            Its loss, [batch].
        """
        of_z, of_real, of_fake = self._seeds(self.generator_steps, 1, 3)
        players.update_spectral_norms(self.generator)

        def objective():
            fake = self._generate(self.latents(tf.shape(x)[0], of_z), labels)
            with keras.StatelessScope():  # the state of the discriminator stays
                logits, classes = self._judge(fake, labels, of_fake)
                real = self._judge(x, labels, of_real)[0] if self.adversarial.paired else None
            loss = self.adversarial.generator(real, logits)
            total = loss + self.class_weight * self._class_loss(labels, classes)
            total += regularization(self.generator)
            return replicas.average(total), (total, loss)

        total, loss = replicas.minimize(
            self.optimizer, objective, self.generator.trainable_variables
        )
        players.move_average(self.generator_ema, self.generator, self.ema, self.generator_steps)
        self.generator_steps.assign_add(1)
        self.track(generator_loss=loss)
        return total

    def test_step(self, data: Any) -> dict[str, Any]:
        """Losses of the averaged generator and the discriminator as they are; moves nothing.

        The latent vectors depend on the images only: twice the same.
        """
        x, labels = self.unpack(data)
        x = _signed_pixels(x)
        seed = replicas.seed_of_batch(self.seed, x)
        with replicas.uneven_parts(tf.shape(x)[0]):
            z = self.latents(tf.shape(x)[0], seed)
        fake = self.generator_ema(self.given(z, labels), training=False)
        real_logits, real_classes = self._judge(x, labels)
        fake_logits, fake_classes = self._judge(fake, labels)
        values = {
            "discriminator_loss": self.adversarial.discriminator(real_logits, fake_logits),
            "generator_loss": self.adversarial.generator(real_logits, fake_logits),
            "class_loss": self._class_loss(labels, real_classes, fake_classes),
            "real_logits": real_logits,
            "fake_logits": fake_logits,
        }
        values["loss"] = values["discriminator_loss"] + values["generator_loss"]
        figures = self.track(**values)
        return {name: figure for name, figure in figures.items() if name in values}

    # The equations ------------------------------------------------------------------------------

    def latents(self, count: int | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Standard normal latent vectors, float32 [count, latent_dim].

        Args:
            count: how many.
            seed: int32 [2].
        """
        return replicas.normal([count, self.latent_dim], seed)

    def _generate(self, z, labels):
        return self.generator(self.given(z, labels), training=True)

    def _judge(self, x, labels, seed=None):
        """Logits [batch], class logits or None; with a seed as in training."""
        if seed is not None:
            x = diffaugment.differentiable_augmentation(x, seed, self.augment)
        inputs = [x, labels] if len(self.discriminator.inputs) > 1 else x
        outputs = self.discriminator(inputs, training=seed is not None)
        logits, classes = outputs if self.auxiliary else (outputs, None)
        return tf.squeeze(tf.cast(logits, tf.float32), axis=-1), classes

    def _class_loss(self, labels, *logits):
        """Cross-entropy of the auxiliary classifier, [batch], arXiv:1610.09585, eq. 3."""
        if not self.auxiliary:
            return 0.0
        return sum(losses.softmax_cross_entropy(labels, each) for each in logits)

    def _every_kth_step(self, penalty, x):
        """A penalty [batch] in every k-th step, k times as large."""
        if not (self.r1 or self.r2 or self.gradient_penalty):
            return tf.zeros(tf.shape(x)[:1])
        k = self.penalty_interval
        if k == 1:
            return penalty()
        due = tf.equal(tf.convert_to_tensor(self.discriminator_steps) % k, 0)
        return tf.cond(due, lambda: k * penalty(), lambda: tf.zeros(tf.shape(x)[:1]))

    def _penalty(self, tape, scaled, x, fake, labels, seed):
        """R1, R2 and gradient penalty of each example, [batch]."""
        total = tf.zeros(tf.shape(x)[:1])
        for gamma, logits, images in ((self.r1, scaled[0], x), (self.r2, scaled[1], fake)):
            if gamma:
                gradients = self._unscaled(tape.gradient(logits, images))
                total += losses.zero_centered_penalty(gradients, gamma)
        if self.gradient_penalty:
            of_alpha, of_augmentation = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
            alpha = replicas.uniform([tf.shape(x)[0], 1, 1, 1], of_alpha)
            between = fake + alpha * (x - fake)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(between)
                logits = self._scaled(self._judge(between, labels, of_augmentation)[0])
            gradients = self._unscaled(tape.gradient(logits, between))
            total += losses.one_centered_penalty(gradients, self.gradient_penalty)
        return total

    # Gradients with respect to images are taken of scaled logits, lest 16 bits lose them.

    def _scaled(self, logits):
        return self.discriminator_optimizer.scale_loss(logits)

    def _unscaled(self, gradients):
        return tf.cast(gradients, tf.float32) / self.discriminator_optimizer.scale_loss(1.0)

    def _seeds(self, step, player, count):
        """Seeds that depend on the count of a player's steps alone."""
        step = tf.cast(tf.convert_to_tensor(step), tf.int32)
        seed = tf.stack([self.seed, 2 * step + player])
        return tf.unstack(tf.random.experimental.stateless_split(seed, count))

    def _part(self, batch, part):
        """The examples of one of the `n_critic` steps."""
        if batch is None or self.n_critic == 1:
            return batch
        count = tf.shape(batch)[0]
        size = tf.maximum(1, count // self.n_critic)
        return tf.gather(batch, (part * size + tf.range(size)) % count)

    # What users call ----------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """Pixels of 0..1 for `z` or `(z, labels)`, by the averaged generator."""
        return self.generate(*self.unpack(inputs))

    def generate(self, z: Any, labels: Any = None) -> tf.Tensor:
        """Pixels of 0..1 by the averaged generator, float32 [batch, height, width, channels].

        Args:
            z: [batch, latent_dim].
            labels: integer or one-hot, for a conditional model.

        Raises:
            UserError: a conditional model without labels.
        """
        inputs = self.given(tf.cast(z, tf.float32), self.one_hot(labels))
        return 0.5 * (tf.cast(self.generator_ema(inputs, training=False), tf.float32) + 1.0)

    def judge(self, image: Any, labels: Any = None) -> tf.Tensor:
        """The discriminator's logits, higher for images that it takes for real, float32 [batch].

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
            labels: integer or one-hot, for a conditional model.

        Raises:
            UserError: a conditional model without labels.
        """
        return self._judge(_signed_pixels(image), self.one_hot(labels))[0]

    def sample(self, count: int, seed: int = 0, labels: Any = None) -> np.ndarray:
        """Images by the averaged generator, uint8 [count, height, width, channels].

        Args:
            count: how many.
            seed: the same seed gives the same images.
            labels: integer or one-hot, for a conditional model; None takes the classes in turn,
                0, 1, 2, ...
        """
        if self.classes and labels is None:
            labels = np.arange(count) % self.classes

        def draw(size, seed, labels):
            return self.generate(self.latents(size, seed), labels)

        return self.sample_images(draw, count, seed, labels)

    # What Keras asks ----------------------------------------------------------------------------

    @property
    def input_shape(self) -> Any:
        """(None, latent_dim), and (None, classes) for a conditional model."""
        return self.given((None, self.latent_dim), (None, self.classes))

    def compile(
        self, optimizer: Any = None, discriminator_optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Give each player its optimizer, built on its own weights.

        Where both learning rates are plain numbers, the discriminator's follows the generator's
        in their proportion, so that whoever sets `model.optimizer.learning_rate`, as Keras'
        callbacks do, moves both. Schedules are independent. Networks that compute in float16 have
        their losses scaled.

        Args:
            optimizer: the generator's; None is Adam with a rate of 2e-4 and beta_1 of 0.
            discriminator_optimizer: None is one like the generator's.
            kwargs: run_eagerly, steps_per_execution, jit_compile.

        Raises:
            UserError: one optimizer for both, or a loss or metrics.
        """
        with self.distribute_strategy.scope():
            optimizer, discriminator_optimizer = two_optimizers.prepare(
                optimizer, self.generator, discriminator_optimizer, self.discriminator
            )
            super().compile(optimizer, **{**kwargs, "auto_scale_loss": False})
        # Past the trackers of attributes, which see `optimizer` neither: `export` leaves both out.
        self.__dict__["discriminator_optimizer"] = discriminator_optimizer

    @property
    def further_optimizers(self) -> dict[str, keras.optimizers.Optimizer]:
        """The optimizers beside `optimizer`, which is the generator's."""
        return {"discriminator": self.discriminator_optimizer} if self.compiled else {}

    def get_compile_config(self) -> dict[str, Any]:
        """Both optimizers."""
        if not self.compiled:
            return {}
        both = {
            "optimizer": self.optimizer,
            "discriminator_optimizer": self.discriminator_optimizer,
        }
        return {name: keras.saving.serialize_keras_object(each) for name, each in both.items()}

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor; Keras has an attribute `loss` of its own."""
        return {**super().get_config(), "loss": self.loss_name}


def _signed_pixels(image):
    """Pixels of 0..255 as float32 of -1..1."""
    return tf.cast(image, tf.float32) / 127.5 - 1.0
