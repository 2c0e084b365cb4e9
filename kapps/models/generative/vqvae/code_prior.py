"""An autoregressive prior over maps of codes: a gated PixelCNN (arXiv:1606.05328).

p(codes) is the product over the positions, row by row from the left, of p(code | those before).
Two stacks of convolutions see what comes before: one the rows above, one the row to the left; so
there is no blind spot, and nothing of what comes later is seen (section 2.1, figure 1 there).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps import replicas
from kapps.errors import UserError
from kapps.models import arguments
from kapps.models.generative.base import CustomStep, regularization


@keras.saving.register_keras_serializable("kapps")
class CodePrior(CustomStep, keras.Model):
    """How likely codes are: "codes" int [batch, h, w] (and labels) -> logits [batch, h, w, K].

    `code_prior` builds the network. Trained on `codes`; on `(codes, labels)` or `[codes, labels]`,
    the labels integers or one-hot, when it is conditional. Metrics: `code_nats`, nats per image,
    summed over its codes; and `loss`, the same with the penalties of regularizers.

    Args:
        network: codes, or [codes, one-hot labels] -> logits; those of a position may depend on the
            positions before it alone.

    Raises:
        UserError: the network's output does not fit its input.
    """

    def __init__(self, network: keras.Model, *, name: str = "code_prior", **kwargs: Any):
        codes = keras.Input(network.inputs[0].shape[1:], dtype="int32", name="codes")
        classes = network.inputs[1].shape[-1] if len(network.inputs) > 1 else 0
        inputs = [codes, keras.Input((classes,), name="labels")] if classes else codes
        logits = network(inputs)
        if tuple(logits.shape[1:3]) != tuple(codes.shape[1:]) or len(logits.shape) != 4:
            raise UserError(f"logits {logits.shape} do not fit codes {codes.shape}")
        super().__init__(inputs, logits, name=name, **kwargs)
        self.network = network
        self.code_shape = tuple(codes.shape[1:])
        self.codes, self.classes = logits.shape[-1], classes
        self.trackers = [keras.metrics.Mean("loss"), keras.metrics.Mean("code_nats")]

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step down the negative log-likelihood."""
        codes, labels = self.unpack(data)

        def objective():
            nats = self.negative_log_likelihood(codes, labels, training=True)
            loss = nats + regularization(self)
            return replicas.average(loss), {"loss": loss, "code_nats": nats}

        figures = replicas.minimize(self.optimizer, objective, self.trainable_variables)
        return self.track(**figures)

    def test_step(self, data: Any) -> dict[str, Any]:
        """The same figures, without dropout."""
        nats = self.negative_log_likelihood(*self.unpack(data))
        return self.track(loss=nats + regularization(self), code_nats=nats)

    def negative_log_likelihood(
        self, codes: Any, labels: Any = None, training: bool = False
    ) -> tf.Tensor:
        """-log p(codes) in nats, float32 [batch].

        Args:
            codes: int [batch, h, w].
            labels: integer or one-hot, for a conditional prior.
            training: whether layers train.
        """
        codes = tf.cast(codes, tf.int32)
        inputs = self.given(codes, self.one_hot(labels))
        logits = tf.cast(self(inputs, training=training), tf.float32)
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=codes, logits=logits)
        return tf.reduce_sum(nats, axis=[1, 2])

    def sample(self, count: int, seed: int = 0, labels: Any = None) -> np.ndarray:
        """Maps of codes from the prior, int32 [count, h, w].

        Args:
            count: how many.
            seed: the same seed gives the same codes.
            labels: integer or one-hot, for a conditional prior; drawn uniformly if None.
        """
        labels = self.drawn_labels(count, seed) if labels is None else labels
        chunks = self.sample_in_chunks(self.generate, count, seed, labels)
        return np.concatenate([np.zeros((0, *self.code_shape), np.int32), *chunks])

    def generate(self, count: int | tf.Tensor, seed: tf.Tensor, labels: Any = None) -> tf.Tensor:
        """As `sample`, for use inside a graph.

        Args:
            count: how many.
            seed: int32 [2].
            labels: integer or one-hot, for a conditional prior.
        """
        return self._draw(tf.convert_to_tensor(count), seed, self.one_hot(labels))

    @tf.function(autograph=False, reduce_retracing=True)
    def _draw(self, count, seed, labels):
        height, width = self.code_shape
        noise = tf.random.stateless_uniform([count, height * width], seed)
        places = tf.range(height * width)

        def place(i, flat):
            inputs = self.given(tf.reshape(flat, [count, height, width]), labels)
            logits = tf.reshape(self(inputs, training=False), [count, -1, self.codes])[:, i]
            # The inverse of the distribution function at a uniform number.
            below = tf.cumsum(tf.nn.softmax(tf.cast(logits, tf.float32)), axis=-1)
            code = tf.reduce_sum(tf.cast(below <= noise[:, i, None], tf.int32), axis=-1)
            code = tf.minimum(code, self.codes - 1)  # sums of shares may end below 1
            return i + 1, tf.where(places == i, code[:, None], flat)

        _, flat = tf.while_loop(
            lambda i, _: i < height * width,
            place,
            (tf.constant(0), tf.zeros([count, height * width], tf.int32)),
        )
        return tf.reshape(flat, [count, height, width])


def code_prior(
    code_shape: tuple[int, int],
    codes: int,
    *,
    filters: int = 64,
    depth: int = 4,
    dropout: float = 0.0,
    classes: int = 0,
    name: str = "code_prior",
) -> CodePrior:
    """A gated PixelCNN over maps of codes.

    A position sees up to `depth + 2` rows above it, and as many positions to its left in its row.

    Args:
        code_shape: (h, w) of a map.
        codes: K, how many there are.
        filters: channels of each stack.
        depth: gated layers after the first.
        dropout: fraction of the last features that is dropped while training.
        classes: conditional on one-hot labels of that many classes; 0 is not.
        name: of the model.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.integers("code_shape", list(code_shape))
    if len(shape) != 2:
        raise UserError(f"code_shape must be (height, width); got {code_shape!r}.")
    arguments.integer("codes", codes, minimum=2)
    arguments.integer("filters", filters)
    arguments.integer("depth", depth, minimum=0)
    arguments.rate("dropout", dropout)
    arguments.integer("classes", classes, minimum=0)
    inputs = keras.Input(shape, dtype="int32", name="codes")
    labels = keras.Input((classes,), name="labels") if classes else None
    x = keras.layers.Embedding(codes, filters, name="embed")(inputs)
    # Of the first layer's input the position itself is hidden: one row down, one column right.
    above = _shift(x, rows=1)
    left = _shift(x, columns=1)
    above, left = _gated(above, left, labels, filters, residual=False, name="gated0")
    for i in range(1, depth + 1):
        above, left = _gated(above, left, labels, filters, residual=True, name=f"gated{i}")
    y = keras.layers.Activation("relu", name="features")(left)
    y = keras.layers.Conv2D(filters, 1, activation="relu", name="mix")(y)
    if dropout:
        y = keras.layers.Dropout(dropout, name="dropout")(y)
    y = keras.layers.Conv2D(codes, 1, dtype="float32", name="logits")(y)
    network = keras.Model(inputs if labels is None else [inputs, labels], y, name="network")
    return CodePrior(network, name=name)


def _gated(above, left, labels, filters, residual, name):
    """Both stacks one layer further, tanh(a) * sigmoid(b) each: equation 2, figure 2."""
    down = keras.layers.ZeroPadding2D(((1, 0), (1, 1)), name=f"{name}_above_pad")(above)
    down = keras.layers.Conv2D(2 * filters, (2, 3), name=f"{name}_above")(down)
    right = keras.layers.ZeroPadding2D(((0, 0), (1, 0)), name=f"{name}_left_pad")(left)
    right = keras.layers.Conv2D(2 * filters, (1, 2), name=f"{name}_left")(right)
    from_above = keras.layers.Conv2D(2 * filters, 1, name=f"{name}_from_above")(down)
    right = keras.layers.Add(name=f"{name}_join")([right, from_above])
    above = _gate(down, labels, filters, f"{name}_above")
    y = keras.layers.Conv2D(filters, 1, name=f"{name}_out")(
        _gate(right, labels, filters, f"{name}_left")
    )
    if residual:
        y = keras.layers.Add(name=f"{name}_add")([left, y])
    return above, y


def _gate(x, labels, filters, name):
    """Half of the channels gates the other; the class shifts both: equation 4."""
    if labels is not None:
        shift = keras.layers.Dense(2 * filters, use_bias=False, name=f"{name}_labels")(labels)
        shift = keras.layers.Reshape((1, 1, 2 * filters), name=f"{name}_shift")(shift)
        x = keras.layers.Add(name=f"{name}_conditioned")([x, shift])
    value = keras.layers.Activation("tanh", name=f"{name}_tanh")(x[..., :filters])
    gate = keras.layers.Activation("sigmoid", name=f"{name}_sigmoid")(x[..., filters:])
    return keras.layers.Multiply(name=f"{name}_gate")([value, gate])


def _shift(x, rows=0, columns=0):
    """The map moved down and to the right, zeros coming in."""
    x = keras.layers.ZeroPadding2D(((rows, 0), (columns, 0)))(x)
    return keras.layers.Cropping2D(((0, rows), (0, columns)))(x)
