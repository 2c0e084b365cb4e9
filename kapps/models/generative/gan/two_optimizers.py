"""The optimizers of a GAN's two players."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from kapps.errors import UserError


def prepare(
    optimizer: Any, generator: keras.Model, discriminator_optimizer: Any, discriminator: keras.Model
) -> tuple[keras.optimizers.Optimizer, keras.optimizers.Optimizer]:
    """An optimizer for each player, built on its own weights, as `GAN.compile` says.

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
    optimizer = _scaling(optimizer, generator)
    discriminator_optimizer = _scaling(discriminator_optimizer, discriminator)
    _follow(optimizer, discriminator_optimizer)
    for each, network in ((optimizer, generator), (discriminator_optimizer, discriminator)):
        if not each.built:
            each.build(network.trainable_variables)
    return optimizer, discriminator_optimizer


@keras.saving.register_keras_serializable("kapps")
class ProportionalRate(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is always a multiple of another optimizer's.

    Args:
        factor: the multiple.
        leader: the other optimizer; whoever compiles a saved model sets it.
    """

    def __init__(self, factor: float, leader: Any = None):
        self.factor, self.leader = factor, leader

    def __call__(self, step: Any) -> tf.Tensor:
        """The rate, float32 []."""
        return self.factor * tf.convert_to_tensor(self.leader.learning_rate)

    def get_config(self) -> dict[str, float]:
        """The factor."""
        return {"factor": self.factor}


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
