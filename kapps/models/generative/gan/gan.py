"""Generative adversarial networks (arXiv:1406.2661): one step, composed of independent choices.

    what the players minimise     `kapps.losses.ADVERSARIAL`
    gradient regularizers         R1, R2 (arXiv:1801.04406), gradient penalty (arXiv:1704.00028),
                                  weight clipping (arXiv:1701.07875)
    normalisation, conditioning   of the networks, `networks.py`
    augmentation                  of all that the discriminator sees, `diffaugment.py`

What moves when:

    discriminator_step   weights of the discriminator; its moving averages, by the pictures that are
                         real and then by the fakes; its spectral norms, once, before all else
    generator_step       weights of the generator and its moving averages; then the averaged copy

and nothing else: fakes for the discriminator leave the generator's moving averages alone, and
judging the generator leaves those of the discriminator alone. Real pictures and fakes never share
a batch. All passes in a step are in training mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps import losses, replicas
from kapps.errors import UserError
from kapps.layers import SpectralNormalization
from kapps.models import arguments
from kapps.models.generative.gan import diffaugment

_SAMPLED_TOGETHER = 256  # pictures made at once by `sample`
_EPSILON = 1e-4  # under the root of the gradient penalty, whose slope at zero is infinite


@keras.saving.register_keras_serializable("kapps")
class GAN(keras.Model):
    """A generator and a discriminator, trained against each other by `fit`.

    Trained on `image` or `(image, labels)`: pixels of 0..255, [batch, height, width, channels],
    and one-hot labels for a conditional model. A batch holds the real pictures of all `n_critic`
    steps of the discriminator: each gets an equal part that no other step has seen, and the
    generator's step pairs its fakes with the last part. Fakes are made for the labels of the real
    pictures.

    Metrics: `loss` (of both players together: it says whether training is finite, and nothing
    else), `discriminator_loss` and `generator_loss` (without penalties), `real_logits` and
    `fake_logits`, `penalty` (its part of the discriminator's loss), `class_loss` with an auxiliary
    classifier. In validation the fakes are those of the averaged generator, nothing is augmented
    and nothing is penalised.

    Args:
        generator: "z" [batch, latent_dim] (and one-hot labels) -> pixels of -1..1.
        discriminator: pixels of -1..1 (and labels) -> logits [batch, 1] (and class logits).
        loss: a name of `kapps.losses.ADVERSARIAL`.
        label_smoothing: see `kapps.losses.adversarial_loss`.
        r1: gamma of gamma / 2 E|gradient of the logit by real pictures|^2; 0 is off.
        r2: the same for fakes.
        gradient_penalty: lambda of lambda E(|gradient| - 1)^2 between real and fake; 0 is off.
        penalty_interval: k: penalties are computed in every k-th step and count k times.
        weight_clip: limit of every weight of the discriminator; 0 is off.
        n_critic: steps of the discriminator before each step of the generator.
        augment: parts of `kapps.models.generative.gan.diffaugment`: color, translation, cutout.
        class_weight: weight of the loss of an auxiliary classifier in both losses.
        ema: decay of the averaged generator, 0 for a plain copy. It begins lower, as
            min(ema, (1 + t) / (10 + t)), to forget the first steps.
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
        _check(self)

        self.image_shape = tuple(generator.outputs[0].shape[1:])
        self.latent_dim = generator.inputs[0].shape[-1]
        self.classes = generator.inputs[1].shape[-1] if len(generator.inputs) > 1 else 0
        self.auxiliary = len(discriminator.outputs) > 1

        self.generator_ema = keras.models.clone_model(generator)
        self.generator_ema.set_weights(generator.get_weights())  # a clone draws its own ones
        self.generator_ema.trainable = False

        def counter(name):
            return self.add_weight(
                shape=(), dtype="int64", initializer="zeros", trainable=False, name=name
            )

        self.discriminator_steps = counter("discriminator_steps")
        self.generator_steps = counter("generator_steps")
        names = ["loss", "discriminator_loss", "generator_loss", "real_logits", "fake_logits"]
        names += ["penalty", *(["class_loss"] if self.auxiliary else [])]
        self.trackers = [keras.metrics.Mean(name) for name in names]
        self.built = True

    # The algorithm ------------------------------------------------------------------------------

    def train_step(self, data: Any) -> dict[str, Any]:
        """`n_critic` steps of the discriminator, each on real pictures of its own; one of G."""
        x, labels = self._unpack(data)
        for part in range(self.n_critic):
            real, real_labels = self._part(x, part), self._part(labels, part)
            of_discriminator = self.discriminator_step(real, real_labels)
        of_generator = self.generator_step(real, real_labels)
        self._track(loss=of_discriminator + of_generator)
        return {metric.name: metric.result() for metric in self.metrics}

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
        _update_spectral_norms(self.discriminator)

        def objective():
            with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
                tape.watch((x, fake))
                real_logits, real_classes = self._judge(x, labels, of_real)
                fake_logits, fake_classes = self._judge(fake, labels, of_fake)
                scale = self.discriminator_optimizer.scale_loss
                scaled = scale(real_logits), scale(fake_logits)
            loss = self.adversarial.discriminator(real_logits, fake_logits)
            class_loss = self._class_loss(labels, real_classes, fake_classes)
            penalty = self._every_kth_step(
                lambda: self._penalty(tape, scaled, x, fake, labels, of_penalty), x
            )
            total = loss + self.class_weight * class_loss + penalty
            return replicas.average(total), (
                total,
                loss,
                penalty,
                class_loss,
                real_logits,
                fake_logits,
            )

        total, loss, penalty, class_loss, real_logits, fake_logits = replicas.minimize(
            self.discriminator_optimizer, objective, self.discriminator.trainable_variables
        )
        self._clip_weights()
        self.discriminator_steps.assign_add(1)
        self._track(
            discriminator_loss=loss,
            penalty=penalty,
            class_loss=class_loss,
            real_logits=real_logits,
            fake_logits=fake_logits,
        )
        return total

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
        _update_spectral_norms(self.generator)

        def objective():
            fake = self._generate(self.latents(tf.shape(x)[0], of_z), labels)
            with keras.StatelessScope():  # the state of the discriminator stays
                logits, classes = self._judge(fake, labels, of_fake)
                real = self._judge(x, labels, of_real)[0] if self.adversarial.paired else None
            loss = self.adversarial.generator(real, logits)
            total = loss + self.class_weight * self._class_loss(labels, classes)
            return replicas.average(total), (total, loss)

        total, loss = replicas.minimize(
            self.optimizer, objective, self.generator.trainable_variables
        )
        self._move_average()
        self.generator_steps.assign_add(1)
        self._track(generator_loss=loss)
        return total

    def test_step(self, data: Any) -> dict[str, Any]:
        """Losses of the averaged generator and the discriminator as they are; moves nothing.

        The latent vectors depend on the pictures only: twice the same.
        """
        x, labels = self._unpack(data)
        seed = replicas.seed_of_batch(self.seed, x)
        with replicas.uneven_parts(tf.shape(x)[0]):
            z = self.latents(tf.shape(x)[0], seed)
        fake = self.generator_ema(self._with(z, labels), training=False)
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
        self._track(**values)
        return {m.name: m.result() for m in self.metrics if m.name in values}

    # The equations ------------------------------------------------------------------------------

    def latents(self, count: int | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Standard normal latent vectors, float32 [count, latent_dim].

        Args:
            count: how many.
            seed: int32 [2].
        """
        return replicas.normal([count, self.latent_dim], seed)

    def _generate(self, z, labels):
        return self.generator(self._with(z, labels), training=True)

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
        """A penalty [batch] now and then, as many times as it was left out (arXiv:1912.04958)."""
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
        for gamma, logits, pictures in ((self.r1, scaled[0], x), (self.r2, scaled[1], fake)):
            if gamma:
                total += 0.5 * gamma * self._squared_slope(tape, logits, pictures)
        if self.gradient_penalty:
            of_alpha, of_augmentation = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
            alpha = replicas.uniform([tf.shape(x)[0], 1, 1, 1], of_alpha)
            between = fake + alpha * (x - fake)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(between)
                logits, _ = self._judge(between, labels, of_augmentation)
                logits = self.discriminator_optimizer.scale_loss(logits)
            slope = tf.sqrt(self._squared_slope(tape, logits, between) + _EPSILON)
            total += self.gradient_penalty * tf.square(slope - 1.0)
        return total

    def _squared_slope(self, tape, scaled, pictures):
        """|d logit / d picture|^2 over height, width and channels, float32 [batch].

        The logits are scaled as losses are, lest 16 bits lose their gradients, so each
        picture's gradient is divided by the scale.
        """
        gradient = tf.cast(tape.gradient(scaled, pictures), tf.float32)
        gradient /= self.discriminator_optimizer.scale_loss(1.0)
        return tf.reduce_sum(tf.square(gradient), axis=(1, 2, 3))

    def _clip_weights(self):
        if self.weight_clip:
            for weight in self.discriminator.trainable_variables:
                weight.assign(tf.clip_by_value(weight, -self.weight_clip, self.weight_clip))

    def _move_average(self):
        """Averages of weights and moving statistics, after step t = 0, 1, ..."""
        t = tf.cast(tf.convert_to_tensor(self.generator_steps), tf.float32)
        decay = tf.minimum(self.ema, (1.0 + t) / (10.0 + t))
        pairs = zip(self.generator_ema.weights, self.generator.weights, strict=True)
        for average, weight in pairs:
            average.assign(decay * average + (1.0 - decay) * weight)

    # What users call ----------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """Pixels of 0..1 for `z` or `(z, labels)`, by the averaged generator."""
        z, labels = inputs if isinstance(inputs, list | tuple) else (inputs, None)
        return self.generate(z, labels)

    def generate(self, z: Any, labels: Any = None) -> tf.Tensor:
        """Pictures of latent vectors by the averaged generator.

        Args:
            z: [batch, latent_dim].
            labels: one-hot [batch, classes], for a conditional model.

        Returns:
            Pixels of 0..1, float32 [batch, height, width, channels].

        Raises:
            UserError: a conditional model without labels.
        """
        inputs = self._with(tf.cast(z, tf.float32), self._labels(labels))
        return 0.5 * (tf.cast(self.generator_ema(inputs, training=False), tf.float32) + 1.0)

    def judge(self, image: Any, labels: Any = None) -> tf.Tensor:
        """What the discriminator thinks of pictures: logits, higher for real ones, float32 [batch].

        Args:
            image: pixels of 0..255, [batch, height, width, channels].
            labels: one-hot [batch, classes], for a conditional model.

        Raises:
            UserError: a conditional model without labels.
        """
        return self._judge(_scale(image), self._labels(labels))[0]

    def sample(self, count: int, seed: int = 0, labels: Any = None) -> np.ndarray:
        """Pictures by the averaged generator, uint8 [count, height, width, channels].

        Args:
            count: how many.
            seed: the same seed gives the same pictures.
            labels: one-hot [count, classes], for a conditional model; None takes the classes in
                turn, 0, 1, 2, ...
        """
        if self.classes and labels is None:
            labels = np.eye(self.classes, dtype=np.float32)[np.arange(count) % self.classes]
        pictures = [np.zeros((0, *self.image_shape), np.uint8)]
        for start in range(0, count, _SAMPLED_TOGETHER):
            size = min(_SAMPLED_TOGETHER, count - start)
            z = self.latents(size, tf.constant([seed, start], tf.int32))
            part = labels[start : start + size] if self.classes else None
            pixels = self.generate(z, part)
            pictures.append(tf.cast(tf.round(255.0 * pixels), tf.uint8).numpy())
        return np.concatenate(pictures)

    # Two optimizers -----------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = None,
        discriminator_optimizer: Any = None,
        **kwargs,
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
            UserError: one optimizer for both.
        """
        if optimizer is None:
            optimizer = keras.optimizers.Adam(2e-4, beta_1=0.0, beta_2=0.99)
        optimizer = keras.optimizers.get(optimizer)
        if discriminator_optimizer is None:
            discriminator_optimizer = type(optimizer).from_config(optimizer.get_config())
        discriminator_optimizer = keras.optimizers.get(discriminator_optimizer)
        if optimizer is discriminator_optimizer:
            raise UserError("generator and discriminator need an optimizer each, not one for both.")
        with self.distribute_strategy.scope():
            optimizer = _scaling(optimizer, self.generator)
            discriminator_optimizer = _scaling(discriminator_optimizer, self.discriminator)
            _follow(optimizer, discriminator_optimizer)
            if not optimizer.built:
                optimizer.build(self.generator.trainable_variables)
            if not discriminator_optimizer.built:
                discriminator_optimizer.build(self.discriminator.trainable_variables)
            kwargs.update(loss=None, auto_scale_loss=False)
            super().compile(optimizer=optimizer, **kwargs)
            self.discriminator_optimizer = discriminator_optimizer

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

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as `get_compile_config` says."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    # Plumbing -----------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All that is reported; Keras resets them at the start of every epoch."""
        return list(self.trackers)

    def _track(self, **values):
        for tracker in self.trackers:
            if tracker.name in values:
                tracker.update_state(values[tracker.name])

    def _seeds(self, step, player, count):
        """Seeds that depend on the step alone, whose count is a weight and saved as such.

        The state of a `SeedGenerator` is in no file that Keras writes.
        """
        step = tf.cast(tf.convert_to_tensor(step), tf.int32)
        seed = tf.stack([self.seed, 2 * step + player])
        return tf.unstack(tf.random.experimental.stateless_split(seed, count))

    def _part(self, batch, part):
        if batch is None or self.n_critic == 1:
            return batch
        return tf.split(batch, self.n_critic)[part]

    def _unpack(self, data):
        image, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        return _scale(image), self._labels(labels)

    def _labels(self, labels):
        if not self.classes:
            return None
        if labels is None:
            raise UserError(f"this model is conditional: give one-hot labels of {self.classes}")
        return tf.cast(labels, tf.float32)

    def _with(self, z, labels):
        return [z, labels] if self.classes else z

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        parts = {"generator": self.generator, "discriminator": self.discriminator}
        return {
            **{name: keras.saving.serialize_keras_object(part) for name, part in parts.items()},
            "loss": self.loss_name,
            **{name: getattr(self, name) for name in _SETTINGS},
            "augment": list(self.augment),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> GAN:
        """The model of a configuration, with new weights."""
        config = dict(config)
        for name in ("generator", "discriminator"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        return cls(config.pop("generator"), config.pop("discriminator"), **config)


@keras.saving.register_keras_serializable("kapps")
class ProportionalRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is always a multiple of another optimizer's.

    Args:
        factor: the multiple.
        leader: the other optimizer; whoever compiles a saved model sets it.
    """

    def __init__(self, factor: float, leader: keras.optimizers.Optimizer | None = None):
        self.factor, self.leader = factor, leader

    def __call__(self, step: Any) -> tf.Tensor:
        """The rate, float32 []."""
        return self.factor * tf.convert_to_tensor(self.leader.learning_rate)

    def get_config(self) -> dict[str, float]:
        """The factor."""
        return {"factor": self.factor}


_SETTINGS = (
    "label_smoothing",
    "r1",
    "r2",
    "gradient_penalty",
    "penalty_interval",
    "weight_clip",
    "n_critic",
    "class_weight",
    "ema",
    "seed",
)


def _scale(image):
    return tf.cast(image, tf.float32) / 127.5 - 1.0


def _check(gan):
    """Refuses values out of range and networks that do not fit together."""
    for name in ("r1", "r2", "gradient_penalty", "weight_clip", "class_weight"):
        if not getattr(gan, name) >= 0.0:
            raise UserError(f"{name} {getattr(gan, name)}: it must be 0 or more")
    arguments.rate("ema", gan.ema)
    made, judged = gan.generator.outputs[0].shape, gan.discriminator.inputs[0].shape
    if made[1:] != judged[1:]:
        raise UserError(f"the generator makes {made[1:]}, the discriminator takes {judged[1:]}.")
    inputs, outputs = gan.discriminator.inputs, gan.discriminator.outputs
    ends = [tensor.shape[-1] for tensor in (*inputs[1:], *outputs[1:])]
    classes = [tensor.shape[-1] for tensor in gan.generator.inputs[1:]]
    if ends != classes:
        raise UserError(
            f"the generator is conditional on {classes or 'no'} classes, the discriminator on "
            f"{ends or 'no'}: build both with the same number, and the discriminator with a "
            "conditioning."
        )
    mixes = any(
        isinstance(layer, keras.layers.BatchNormalization)
        for layer in gan.discriminator._flatten_layers()
    )
    if mixes and (gan.r1 or gan.r2 or gan.gradient_penalty):
        raise UserError(
            "r1, r2 and gradient_penalty bound the slope of each picture's logit, and batch "
            "normalization makes it depend on other pictures. Use a discriminator with "
            "normalization None, 'layer' or 'spectral'."
        )


def _update_spectral_norms(network):
    for layer in network._flatten_layers():
        if isinstance(layer, SpectralNormalization):
            layer.update()


def _scaling(optimizer, network):
    """An optimizer that scales losses, if the network needs one."""
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if network.compute_dtype != "float16" or scales:
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


def _follow(leader, follower):
    """Let one plain learning rate be the multiple of another that it is now."""
    inner = getattr(follower, "inner_optimizer", follower)
    rates = [
        getattr(optimizer, "inner_optimizer", optimizer).get_config()["learning_rate"]
        for optimizer in (leader, follower)
    ]
    if isinstance(inner._learning_rate, ProportionalRate):
        inner._learning_rate.leader = leader
    elif all(isinstance(rate, float) for rate in rates) and rates[0] > 0.0:
        inner.learning_rate = ProportionalRate(rates[1] / rates[0], leader)
