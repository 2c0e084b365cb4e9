"""Several networks in one, which are trained on different rows and agree on an answer.

A small ensemble: its members differ by their initial weights and by the rows of each step, are
computed together, and the epoch is kept in which they are best together (what is shared by the
batch ensembles of arXiv:2410.24210; their weights they do not share). While training a row is dealt
to one member, so that a batch has the loss and the targets of any network; afterwards each row goes
to all of them.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("kapps")
class Deal(keras.layers.Layer):
    """Rows [batch, features] -> what each member reads, side by side, [b, members * features].

    While training, b is batch / members: the first row goes to the first member, the second to the
    second, and so on; an incomplete last hand is filled with zeros. Otherwise b is the batch.

    Args:
        members: how many there are.
    """

    def __init__(self, members: int, **kwargs):
        super().__init__(**kwargs)
        self.members = members

    def call(self, x, training=None):
        """One row to each member, or all rows to all of them."""
        if not training:
            return tf.tile(x, (1, self.members))
        missing = -tf.shape(x)[0] % self.members
        return tf.reshape(tf.pad(x, ((0, missing), (0, 0))), (-1, self.members * x.shape[-1]))

    def compute_output_shape(self, input_shape):
        """[b, members * features]."""
        return (None, self.members * input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "members": self.members}


@keras.saving.register_keras_serializable("kapps")
class MembersDense(keras.layers.Layer):
    """A dense layer of each member: [b, members * features] -> [b, members * units].

    Args:
        units: of each member.
        members: how many there are.
        use_bias: whether each unit has a bias.
        kernel_initializer: of each member's kernel [features, units], by Keras' name.
    """

    def __init__(
        self,
        units: int,
        members: int,
        *,
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units, self.members, self.use_bias = units, members, use_bias
        self.kernel_initializer = kernel_initializer

    def build(self, input_shape):
        """Kernel [members, features, units] and bias [members * units]."""

        def of_each(shape, dtype):
            # Of all three axes Keras would take the first for pixels.
            each = [keras.initializers.get(self.kernel_initializer) for _ in range(self.members)]
            return ops.stack([draw(shape[1:], dtype) for draw in each])

        self.kernel = self.add_weight(
            shape=(self.members, input_shape[-1] // self.members, self.units),
            initializer=of_each,
            name="kernel",
        )
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.members * self.units,), initializer="zeros", name="bias"
            )

    def call(self, x):
        """Each member's part by its own kernel."""
        parts = ops.transpose(ops.reshape(x, (-1, *self.kernel.shape[:2])), (1, 0, 2))
        y = ops.transpose(ops.matmul(parts, self.kernel), (1, 0, 2))
        y = ops.reshape(y, (-1, self.members * self.units))
        return y + self.bias if self.use_bias else y

    def compute_output_shape(self, input_shape):
        """[b, members * units]."""
        return (*input_shape[:-1], self.members * self.units)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = ("units", "members", "use_bias", "kernel_initializer")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("kapps")
class Agree(keras.layers.Layer):
    """Answers side by side [b, members * outputs], and rows [batch, ...] -> [batch, outputs].

    While training each row has the answer of the member that it was dealt to. Otherwise it has the
    logarithm of the mean of their probabilities, or the mean of their numbers.

    Args:
        members: how many there are.
        classes: whether the answers are logits.
    """

    def __init__(self, members: int, classes: bool, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.members, self.classes = members, classes

    def call(self, answers, rows, training=None):
        """The answer of a member, or what they agree on."""
        outputs = answers.shape[-1] // self.members
        if training:
            return tf.reshape(answers, (-1, outputs))[: tf.shape(rows)[0]]
        each = tf.reshape(answers, (-1, self.members, outputs))
        if not self.classes:
            return tf.reduce_mean(each, axis=1)
        logs = tf.nn.log_softmax(each)
        return tf.reduce_logsumexp(logs, axis=1) - math.log(self.members)

    def compute_output_shape(self, answers_shape, rows_shape):
        """[batch, outputs]."""
        return (rows_shape[0], answers_shape[-1] // self.members)

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        return {**super().get_config(), "members": self.members, "classes": self.classes}
