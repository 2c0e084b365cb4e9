"""What a game asks of its players' networks: that they fit, and what moves beside the optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import tensorflow as tf

from kapps.errors import UserError
from kapps.layers import SpectralNormalization
from kapps.models import arguments

if TYPE_CHECKING:
    from kapps.models.generative.gan.gan import GAN


def check(gan: GAN) -> None:
    """Refuse values out of range and networks that do not fit together.

    Raises:
        UserError: the first of them.
    """
    for name in ("r1", "r2", "gradient_penalty", "weight_clip", "class_weight"):
        if not getattr(gan, name) >= 0.0:
            raise UserError(f"{name} {getattr(gan, name)}: it must be 0 or more")
    arguments.rate("ema", gan.ema)
    made, judged = gan.generator.outputs[0].shape, gan.discriminator.inputs[0].shape
    if made[1:] != judged[1:]:
        raise UserError(f"the generator makes {made[1:]}, the discriminator takes {judged[1:]}.")
    inputs, outputs = gan.discriminator.inputs, gan.discriminator.outputs
    heads = [tensor.shape[-1] for tensor in (*inputs[1:], *outputs[1:])]
    classes = [tensor.shape[-1] for tensor in gan.generator.inputs[1:]]
    if heads != classes:
        raise UserError(
            f"the generator is conditional on {classes or 'no'} classes, the discriminator on "
            f"{heads or 'no'}: build both with the same number, and the discriminator with a "
            "conditioning."
        )
    layers = gan.discriminator._flatten_layers()
    mixes = any(isinstance(layer, keras.layers.BatchNormalization) for layer in layers)
    if mixes and (gan.r1 or gan.r2 or gan.gradient_penalty):
        raise UserError(
            "r1, r2 and gradient_penalty bound the slope of each image's logit, and batch "
            "normalization makes it depend on other images. Use a discriminator with "
            "normalization None, 'layer' or 'spectral'."
        )
    for layer in gan.discriminator._flatten_layers():
        if getattr(layer, "activity_regularizer", None) is not None:
            raise UserError(
                f"{layer.name} of the discriminator has an activity_regularizer: a step judges "
                "real images and fakes, and which of them it is for is unclear. Regularize "
                "kernels, or use r1, r2 or gradient_penalty."
            )


def averaged_copy(generator: keras.Model) -> keras.Model:
    """A copy with the same weights, for `move_average` to move."""
    copy = keras.models.clone_model(generator)
    copy.set_weights(generator.get_weights())  # a clone draws its own
    copy.trainable = False
    return copy


def move_average(copy: keras.Model, generator: keras.Model, decay: float, steps: tf.Tensor) -> None:
    """Move the averages of weights and moving statistics, after step 0, 1, ...

    The decay begins lower, as (1 + t) / (10 + t), to forget the first steps.
    """
    t = tf.cast(tf.convert_to_tensor(steps), tf.float32)
    decay = tf.minimum(decay, (1.0 + t) / (10.0 + t))
    for average, weight in zip(copy.weights, generator.weights, strict=True):
        average.assign(decay * average + (1.0 - decay) * weight)


def update_spectral_norms(network: keras.Model) -> None:
    """One step of the power iteration in each spectrally normalized layer."""
    for layer in network._flatten_layers():
        if isinstance(layer, SpectralNormalization):
            layer.update()


def clip_weights(network: keras.Model, limit: float) -> None:
    """No trainable weight beyond +-limit; 0 clips nothing."""
    for weight in network.trainable_variables if limit else ():
        weight.assign(tf.clip_by_value(weight, -limit, limit))
