"""Greedy pre-training: the layers of a dense autoencoder, one after the other."""

from __future__ import annotations

import keras
import tensorflow as tf

from kapps import replicas
from kapps.errors import UserError
from kapps.models.generative.autoencoders.autoencoder import Autoencoder, reconstruction_losses
from kapps.models.generative.autoencoders.corruption import corrupt
from kapps.models.generative.base import unit_pixels, unpack
from kapps.training.distributed.patch import patch_for_replicas

# What may stand between the dense layers of a network that is trained layer by layer.
_OF_CHAINS = (
    keras.layers.InputLayer,
    keras.layers.Flatten,
    keras.layers.Dense,
    keras.layers.BatchNormalization,
    keras.layers.Activation,
    keras.layers.Reshape,
)


def greedy_pretrain(
    model: Autoencoder,
    batches: tf.data.Dataset,
    *,
    epochs: int = 10,
    steps_per_epoch: int | None = None,
    learning_rate: float = 1e-3,
    verbose: str | int = 0,
) -> list[float]:
    """Train the layers of a dense autoencoder one after the other, the lowest first.

    The k-th layer of the encoder and the k-th of the decoder, counted from the picture, become an
    autoencoder of the codes that the k - 1 layers below give (Hinton and Salakhutdinov 2006,
    Bengio et al. 2007); the layers below stay as they are. With `corruption` its input is
    corrupted, too (Vincent et al. 2010, section 4.1). Train the whole model afterwards.

    Args:
        model: from `dense_autoencoder`; its weights are changed.
        batches: of `image` or `(image, anything)`; one epoch, or all with `steps_per_epoch`.
        epochs: for each layer.
        steps_per_epoch: batches in an epoch; all that there are when None.
        learning_rate: of Adam, for each layer anew; falls to 0 along half a cosine.
        verbose: as in `keras.Model.fit`.

    Returns:
        The squared error per value of each layer's autoencoder, after its training.

    Raises:
        UserError: the model is none of dense layers.
    """
    up, down = (_dense_stages(part) for part in (model.encoder, model.decoder))
    if len(up) != len(down):
        raise UserError(f"{model.name} has {len(up)} layers there and {len(down)} back")
    total = epochs * (steps_per_epoch or int(batches.cardinality()))
    errors = []
    for level in range(len(up)):
        layer = _Layer(model, up[:level], up[level], down[-1 - level])
        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, max(1, total))
        layer.compile(keras.optimizers.Adam(schedule))
        patch_for_replicas(layer)
        history = layer.fit(
            batches, epochs=epochs, steps_per_epoch=steps_per_epoch, verbose=verbose, shuffle=False
        )
        errors.append(history.history["mse"][-1])
    return errors


class _Layer(keras.Model):
    """A layer of the encoder and one of the decoder, as an autoencoder of the codes below.

    Args:
        model: the whole.
        below: stages of the encoder under this one, fixed.
        encode: a stage of the encoder.
        decode: the decoder's counterpart.
    """

    def __init__(self, model, below, encode, decode):
        super().__init__(name=f"layer{len(below) + 1}")
        self.below, self.encode, self.decode = below, encode, decode
        self.reconstruction, self.seed_generator = model.reconstruction, model.seed_generator
        self.corruption, self.corruption_amount = model.corruption, model.corruption_amount
        self.moved = [w for layer in (*encode, *decode) for w in layer.trainable_variables]
        self.tracker = keras.metrics.Mean("mse")
        self.built = True

    def compile(self, optimizer):
        """The optimizer moves this layer alone."""
        super().compile(optimizer)
        optimizer.build(self.moved)

    def train_step(self, data):
        """One step on the squared error of the codes below; of pictures, the model's own loss."""
        x = _apply(self.below, unit_pixels(unpack(data)[0]), training=False)
        x = tf.cast(x, tf.float32)
        given, kind = x, self.corruption
        if kind is not None:
            seed = replicas.next_seed(self.seed_generator)
            given = corrupt(x, kind, self.corruption_amount, seed)
        loss = "squared_error" if self.below else self.reconstruction

        def objective():
            y = _apply(self.decode, _apply(self.encode, given, training=True), training=True)
            loss_of_each, squared_error = reconstruction_losses(loss, x, y)
            return replicas.average(loss_of_each), squared_error

        self.tracker.update_state(replicas.minimize(self.optimizer, objective, self.moved))
        return {"mse": self.tracker.result()}

    @property
    def metrics(self):
        """Reset at the start of every epoch."""
        return [self.tracker]


def _dense_stages(network) -> list[list[keras.layers.Layer]]:
    """A chain of layers cut into pieces with one dense layer each."""
    stages = []
    for layer in network.layers:
        if not isinstance(layer, _OF_CHAINS):
            raise UserError(f"{layer.name}: layer by layer, only dense layers can be trained")
        if isinstance(layer, keras.layers.Dense) and stages and _has_dense(stages[-1]):
            stages.append([])
        stages = stages or [[]]
        if not isinstance(layer, keras.layers.InputLayer):
            stages[-1].append(layer)
    return stages


def _has_dense(stage):
    return any(isinstance(layer, keras.layers.Dense) for layer in stage)


def _apply(stages, x, training):
    """The output of layers, or of lists of them, one after the other."""
    for part in stages:
        if isinstance(part, list | tuple):
            x = _apply(part, x, training)
        elif isinstance(part, keras.layers.BatchNormalization):
            x = part(x, training=training)
        else:
            x = part(x)
    return x
