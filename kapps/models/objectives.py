"""What models with a training step of their own do with Keras' settings of a loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from kapps.errors import UserError

_REFUSED = ("loss", "loss_weights", "metrics", "weighted_metrics")


def refuse_loss(model: keras.Model, settings: Mapping[str, Any], instead: str) -> None:
    """Refuse what `compile` was given and the model's own step would not look at.

    Args:
        model: whose `compile` is called.
        settings: its arguments by name.
        instead: what to do.

    Raises:
        UserError: there is a loss or a metric among them.
    """
    given = [name for name in _REFUSED if settings.get(name)]
    if given:
        raise UserError(
            f"{model.name}: compile({given[0]}=...) would do nothing, since "
            f"{type(model).__name__} has a loss and metrics of its own; {instead}"
        )


def with_regularizers(loss: tf.Tensor, model: keras.Model) -> tf.Tensor:
    """This replica's part of a loss and of the penalties on weights, float32 [].

    Gradients are summed over the replicas, and so is this.

    Args:
        loss: this replica's part.
        model: whose layers have regularizers, or none.
    """
    penalties = model.losses
    if not penalties:
        return loss
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync if context else 1
    return loss + tf.add_n([tf.cast(each, tf.float32) for each in penalties]) / replicas


def compile_from_config(model: keras.Model, config: dict[str, Any]) -> None:
    """What Keras does for a loaded model, unless its class has a `compile` of its own."""
    model.compile(**keras.saving.deserialize_keras_object(config))
    if model.built:
        model.optimizer.build(model.trainable_variables)
