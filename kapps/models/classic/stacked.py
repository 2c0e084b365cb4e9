"""Many copies of one small network, each with initial weights of its own, trained at once.

The weights of a layer of all copies are one tensor with a leading axis, so a step of all costs
about as much as a step of one. The loss is the sum over copies: the gradient of a copy's weights is
that of its own loss, and an optimizer that works weight by weight (all of Keras' do, without
clipping or norms) moves each copy as if it were alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.models import arguments

LOSSES = ("logistic", "squared_error")


def stacked_mlp(
    copies: int,
    features: int,
    units: int | tuple[int, ...] = (4,),
    outputs: int = 1,
    *,
    activation: str = "tanh",
    spread: float = 0.0,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    seed: int = 0,
    name: str = "stacked_mlp",
) -> keras.Model:
    """`copies` multilayer perceptrons on the same points.

    Kernels are drawn as Keras' default for dense layers draws them (Glorot uniform). Copy i of a
    model is the same whatever the number of copies.

    Args:
        copies: how many networks.
        features: length of a point.
        units: of each hidden layer; none: a linear network.
        outputs: per network.
        activation: of hidden units.
        mean: subtracted from the points inside the model, a number or one per feature.
        std: what they are divided by then.
        spread: biases of the first hidden layer are drawn so that its units bend at places evenly
            spread over -spread..spread, and not all at 0; its kernel is as steep as `units` such
            bends side by side need. 0 keeps Keras' zeros.
        seed: of the initial weights.
        name: of the model.

    Returns:
        "points" `[batch, features]` -> `[batch, copies, outputs]`.

    Raises:
        UserError: an argument is out of its range.
    """
    (copies,) = arguments.integers("copies", copies)
    features, outputs = (
        arguments.integer("features", features),
        arguments.integer("outputs", outputs),
    )
    units = arguments.integers("units", units)
    arguments.activation(activation)
    if spread < 0:
        raise UserError(f"spread {spread}: it must be 0 or more")
    mean = arguments.per_channel("mean", mean, features)
    std = arguments.per_channel("std", std, features)
    if min(std) <= 0:
        raise UserError(f"std must be positive; got {std!r}.")
    points = keras.Input((features,), name="points")
    offset = [-m / s for m, s in zip(mean, std, strict=True)]
    scale = [1 / s for s in std]
    x = keras.layers.Rescaling(scale, offset, dtype="float32", name="rescaling")(points)
    x = keras.layers.RepeatVector(copies, name="copies")(x)
    for i, width in enumerate((*units, outputs), start=1):
        last = i > len(units)
        layer = keras.layers.EinsumDense(
            "nci,cio->nco",
            (copies, width),
            bias_axes="co",
            activation=None if last else activation,
            dtype="float32" if last else None,
            name="output" if last else f"hidden{i}",
        )
        x = layer(x)
        drawn = [
            _drawn((seed, copy, i), layer.kernel.shape[1:], spread if i == 1 and units else 0.0)
            for copy in range(copies)
        ]
        layer.set_weights([np.stack(part) for part in zip(*drawn, strict=True)])
    return keras.Model(points, x, name=name)


def copy_of(model: keras.Model, copy: int, name: str = "mlp") -> keras.Model:
    """One of the networks of a `stacked_mlp` as a model of Keras' dense layers.

    Args:
        model: of `stacked_mlp`.
        copy: which, from 0.
        name: of the new model.

    Returns:
        "points" `[batch, features]` -> `[batch, outputs]`.
    """
    points = keras.Input(model.input_shape[1:], name="points")
    rescaling = model.get_layer("rescaling")
    x = keras.layers.Rescaling.from_config(rescaling.get_config())(points)
    for stacked in model.layers:
        if not isinstance(stacked, keras.layers.EinsumDense):
            continue
        kernel, bias = (weight[copy] for weight in stacked.get_weights())
        layer = keras.layers.Dense(
            kernel.shape[1], activation=stacked.activation, dtype="float32", name=stacked.name
        )
        x = layer(x)
        layer.set_weights([kernel, bias])
    return keras.Model(points, x, name=name)


def stacked_loss(kind: str):
    """The loss of a `stacked_mlp` for `compile`: the sum over copies of each copy's loss.

    Args:
        kind: logistic, of targets 0 or 1 and logits, in nats; or squared_error. Both are summed
            over a network's outputs.

    Returns:
        (y [batch, 1, outputs], outputs [batch, copies, outputs]) -> float32 [batch].

    Raises:
        UserError: an unknown name.
    """
    return _LOSSES[arguments.one_of("loss", kind, LOSSES)]


@keras.saving.register_keras_serializable("kapps")
def logistic(y: tf.Tensor, out: tf.Tensor) -> tf.Tensor:
    """`stacked_loss("logistic")`, under a name that a saved model can refer to."""
    return tf.reduce_sum(losses_of_copies("logistic", y, out), axis=-1)


@keras.saving.register_keras_serializable("kapps")
def squared_error(y: tf.Tensor, out: tf.Tensor) -> tf.Tensor:
    """`stacked_loss("squared_error")`, under a name that a saved model can refer to."""
    return tf.reduce_sum(losses_of_copies("squared_error", y, out), axis=-1)


_LOSSES = {"logistic": logistic, "squared_error": squared_error}


def losses_of_copies(kind: str, y: tf.Tensor, out: tf.Tensor) -> tf.Tensor:
    """Of every copy on every example, float32 [batch, copies]; arguments as `stacked_loss` has."""
    out = tf.cast(out, tf.float32)
    y = tf.broadcast_to(tf.cast(y, tf.float32), tf.shape(out))
    if kind == "logistic":
        each = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=out)
    else:
        each = tf.square(out - y)
    return tf.reduce_sum(each, axis=-1)


def _drawn(seed, shape, spread):
    """Kernel and bias of one copy, [in, out] and [out]."""
    rng = np.random.default_rng(seed)
    limit = np.sqrt(6.0 / sum(shape))
    kernel, bias = rng.uniform(-limit, limit, shape), np.zeros(shape[1])
    if spread:
        # Nguyen and Widrow 1990: steepness 0.7 units^(1 / inputs), bends anywhere in the range.
        norms = np.linalg.norm(kernel, axis=0, keepdims=True)
        kernel *= 0.7 * shape[1] ** (1.0 / shape[0]) / (norms * spread)
        bends = rng.uniform(-spread, spread, shape)
        bias = -np.sum(kernel * bends, axis=0)
    return kernel.astype(np.float32), bias.astype(np.float32)
