"""Adam's step as one operation of TensorFlow.

Keras writes it as some twenty operations for each variable, each of which reads and writes an array
as large as the variable. The fused kernel passes over the weights once; of networks with many
weights and little work for each (dense ones above all), that is a sixth of the training step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import tensorflow as tf

if TYPE_CHECKING:  # what it is mixed into
    _Adam = keras.optimizers.Adam
else:
    _Adam = object


def adam_step(
    variable, mean, square, gradient, *, rate, beta_1, beta_2, epsilon: float, count
) -> None:
    """Move a variable and its two averages.

    With the step t, arXiv:1412.6980, the form at the end of section 2:

        m <- b1 m + (1 - b1) g         s <- b2 s + (1 - b2) g^2
        w <- w - r sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(s) + epsilon)

    Args:
        variable: w, a `tf.Variable`; on several replicas, the copy of the one that is updated.
        mean: m, a `keras.Variable` of that shape.
        square: s, likewise.
        gradient: g; of embeddings perhaps as slices, which are added up first. (Keras' own step
            squares the slices of a row that occurs twice one by one.)
        rate: r, a number or a scalar.
        beta_1: b1, a number or a scalar.
        beta_2: b2, likewise.
        epsilon: a number.
        count: t, from 1 on.
    """
    kind = variable.dtype
    beta_1, beta_2 = (tf.cast(beta, kind) for beta in (beta_1, beta_2))
    count = tf.cast(count, kind)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=mean.value.handle,
        v=square.value.handle,
        beta1_power=tf.pow(beta_1, count),
        beta2_power=tf.pow(beta_2, count),
        lr=tf.cast(rate, kind),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=tf.cast(epsilon, kind),
        grad=tf.cast(tf.convert_to_tensor(gradient), kind),
    )


class FusedAdam(_Adam):
    """Mixed into Keras' Adam or AdamW: the same step by `adam_step`."""

    def update_step(self, gradient, variable, learning_rate):
        """One variable's step; that of AMSGrad, which has no fused kernel, is Keras' own."""
        if self.amsgrad:
            return super().update_step(gradient, variable, learning_rate)
        index = self._get_variable_index(variable)
        adam_step(
            variable,
            self._momentums[index],
            self._velocities[index],
            gradient,
            rate=learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            count=self.iterations + 1,
        )
        return None
