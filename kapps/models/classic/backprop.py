"""Back-propagation by hand, for a network of two layers, in NumPy.

Of a batch of n examples, with the weights W1 [in, hidden], b1, W2 [hidden, out], b2 (Rumelhart,
Hinton and Williams 1986; the numbers are used below):

    forward     (F1)  a  = x W1 + b1          (F2)  h = phi(a)         (F3)  o = h W2 + b2
    loss        (L)   L  = mean over examples of the sum over outputs of
                           1/2 (o - y)^2, or the logistic loss log(1 + e^o) - y o

    output      (B1)  delta2 = dL/do = (o - y) / n, or (sigmoid(o) - y) / n
    hidden      (B2)  delta1 = dL/da = (delta2 W2^T) * phi'(a)
    weights     (B3)  dL/dW2 = h^T delta2,    dL/db2 = sum over examples of delta2
                (B4)  dL/dW1 = x^T delta1,    dL/db1 = sum over examples of delta1
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError

LOSSES = ("logistic", "squared_error")
STEP = 1e-5  # of finite differences in float64


class TwoLayers(NamedTuple):
    """The weights of a network of two layers, or the gradient with respect to each."""

    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray


class Forward(NamedTuple):
    """What equations F1 to F3 give: a and h [n, hidden], o [n, out]."""

    a: np.ndarray
    h: np.ndarray
    o: np.ndarray


def _sigmoid(a):
    return 0.5 * (1.0 + np.tanh(0.5 * a))


# Name: phi, and phi' as a function of a.
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "tanh": (np.tanh, lambda a: 1.0 - np.tanh(a) ** 2),
    "sigmoid": (_sigmoid, lambda a: _sigmoid(a) * (1.0 - _sigmoid(a))),
    "relu": (lambda a: np.maximum(a, 0.0), lambda a: (a > 0.0).astype(a.dtype)),
    "linear": (lambda a: a, np.ones_like),
}


def forward(weights: TwoLayers, x: np.ndarray, activation: str = "tanh") -> Forward:
    """Equations F1, F2 and F3 for x [n, in].

    Raises:
        UserError: an unknown activation.
    """
    if activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise UserError(f"activation {activation!r}: by hand it is one of {known}")
    a = x @ weights.W1 + weights.b1
    h = ACTIVATIONS[activation][0](a)
    return Forward(a, h, h @ weights.W2 + weights.b2)


def loss(o: np.ndarray, y: np.ndarray, kind: str = "logistic") -> float:
    """Equation L for outputs o and targets y, [n, out] both.

    Raises:
        UserError: an unknown loss.
    """
    _check(kind)
    each = np.logaddexp(0.0, o) - y * o if kind == "logistic" else 0.5 * (o - y) ** 2
    return float(each.sum(axis=1).mean())


def backward(
    weights: TwoLayers,
    x: np.ndarray,
    y: np.ndarray,
    activation: str = "tanh",
    kind: str = "logistic",
) -> TwoLayers:
    """The gradient of the loss with respect to every weight: equations B1 to B4.

    Args:
        weights: of the network.
        x: [n, in].
        y: [n, out].
        activation: of the hidden layer.
        kind: logistic or squared_error.

    Raises:
        UserError: an unknown activation or loss.
    """
    _check(kind)
    a, h, o = forward(weights, x, activation)
    delta2 = ((_sigmoid(o) if kind == "logistic" else o) - y) / len(x)  # B1
    delta1 = (delta2 @ weights.W2.T) * ACTIVATIONS[activation][1](a)  # B2
    return TwoLayers(
        W2=h.T @ delta2, b2=delta2.sum(axis=0), W1=x.T @ delta1, b1=delta1.sum(axis=0)
    )  # B3, B4


def finite_differences(
    weights: TwoLayers,
    x: np.ndarray,
    y: np.ndarray,
    activation: str = "tanh",
    kind: str = "logistic",
) -> TwoLayers:
    """The same gradient without any of B1 to B4: (L(w + e) - L(w - e)) / 2e for each weight."""
    gradients = []
    for i, part in enumerate(weights):
        slopes = np.zeros_like(part)
        for place in np.ndindex(part.shape):
            ends = []
            for sign in (1.0, -1.0):
                moved = part.copy()
                moved[place] += sign * STEP
                at = weights._replace(**{weights._fields[i]: moved})
                ends.append(loss(forward(at, x, activation).o, y, kind))
            slopes[place] = (ends[0] - ends[1]) / (2.0 * STEP)
        gradients.append(slopes)
    return TwoLayers(*gradients)


def tape_gradients(
    model: keras.Model, x: np.ndarray, y: np.ndarray, kind: str = "logistic"
) -> TwoLayers:
    """What `tf.GradientTape` says of a Keras model of two dense layers, float32."""
    _check(kind)
    y = tf.constant(y, tf.float32)
    with tf.GradientTape() as tape:
        o = model(tf.constant(x, tf.float32), training=True)
        if kind == "logistic":
            each = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=o)
        else:
            each = 0.5 * tf.square(o - y)
        total = tf.reduce_mean(tf.reduce_sum(each, axis=-1))
    found = tape.gradient(total, [variable.value for variable in model.trainable_variables])
    return TwoLayers(*(np.asarray(gradient) for gradient in found))


def two_layers(model: keras.Model) -> TwoLayers:
    """The weights of a Keras model of two dense layers, float64.

    Raises:
        UserError: it has other weights than two kernels and two biases.
    """
    weights = [np.asarray(weight, np.float64) for weight in model.get_weights()]
    if [weight.ndim for weight in weights] != [2, 1, 2, 1]:
        raise UserError("by hand a network has two dense layers, each with a kernel and a bias")
    return TwoLayers(*weights)


def _check(kind: str) -> None:
    if kind not in LOSSES:
        raise UserError(f"loss {kind!r}: by hand it is one of {', '.join(LOSSES)}")
