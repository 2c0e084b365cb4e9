"""InceptionTime: convolutions of several lengths side by side, over time."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from kapps.blocks import BATCH_NORMALIZATION_MOMENTUM
from kapps.layers import BatchNormalization
from kapps.models import arguments, heads, padding

LENGTHS = (40, 20, 10)  # of the kernels
EVERY = 3  # modules: a shortcut
POOL = 3


def inception_time(
    features: int,
    outputs: int,
    *,
    depth: int = 6,
    filters: int = 32,
    dropout: float = 0.0,
    feature_mean: float | Sequence[float] = 0.0,
    feature_std: float | Sequence[float] = 1.0,
    per_series: bool = False,
    name: str = "inception_time",
) -> keras.Model:
    """One network of InceptionTime (arXiv:1909.04939, section 3.1; the paper averages five).

    A module narrows its input to `filters` features (unless there is one), convolves them with
    kernels of 40, 20 and 10 steps, and puts beside these a convolution of one step over a maximum
    of three; batch normalization and ReLU follow. Every third module ends in a shortcut. The mean
    over the valid steps goes into a linear layer. Padding counts in none of it, the statistics
    included.

    Args:
        features: values per step.
        outputs: logits of as many classes.
        depth: modules.
        filters: of each of the four convolutions of a module.
        dropout: part of the pooled features that is dropped while training; the paper drops none.
        feature_mean: of the training split, one number or one per feature.
        feature_std: the same, positive.
        per_series: bring each series to mean 0 and deviation 1 first.
        name: of the model.

    Returns:
        A functional model: "sequence" float32 [batch, steps, features] -> "logits"
        [batch, outputs].

    Raises:
        UserError: an argument is out of its range.
    """
    for label, value in (("depth", depth), ("filters", filters)):
        arguments.integer(label, value)
    sequence, x, lengths = padding.sequence_input(features, feature_mean, feature_std, per_series)
    valid = padding.ValidMask(name="valid")(x, lengths)

    def convolved(x, width, count, name):
        # No padding is needed where a kernel sees one step.
        return keras.layers.Conv1D(
            count, width, padding="same", use_bias=False, kernel_initializer="he_uniform", name=name
        )(x)

    def normalized(x, name):
        layer = BatchNormalization(momentum=BATCH_NORMALIZATION_MOMENTUM, name=name)
        return layer(x, mask=valid)

    def ended(x, name):
        x = keras.layers.Activation("relu", name=f"{name}_relu")(x)
        return padding.ZeroPadding(name=f"{name}_valid")(x, lengths)

    shortcut = x
    for i in range(1, depth + 1):
        inside = x
        if x.shape[-1] > 1:
            inside = convolved(x, 1, filters, f"module{i}_narrow")
        beside = [convolved(inside, n, filters, f"module{i}_conv{n}") for n in LENGTHS]
        highest = MaxOfSteps(POOL, name=f"module{i}_max")(x, lengths)
        beside.append(convolved(highest, 1, filters, f"module{i}_conv_max"))
        x = keras.layers.Concatenate(name=f"module{i}_concat")(beside)
        x = ended(normalized(x, f"module{i}_bn"), f"module{i}")
        if i % EVERY == 0:
            past = convolved(shortcut, 1, 4 * filters, f"shortcut{i}")
            x = keras.layers.Add(name=f"add{i}")([x, normalized(past, f"shortcut{i}_bn")])
            shortcut = x = ended(x, f"add{i}")
    x = padding.ReadOut("mean", name="global_pool")(x, lengths)
    return keras.Model(sequence, heads.logits(x, outputs, dropout), name=name)


@keras.saving.register_keras_serializable("kapps")
class MaxOfSteps(keras.layers.Layer):
    """The highest of so many steps around each, of those that are valid.

    Args:
        size: steps, an odd number.
    """

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, x, lengths):
        """[batch, steps, features] and int32 [batch] -> the same shape; 0 at padded steps."""
        valid = padding.valid_steps(x, lengths)
        highest = tf.nn.max_pool1d(tf.where(valid, x, x.dtype.min), self.size, 1, "SAME")
        return tf.where(valid, highest, tf.zeros([], x.dtype))

    def compute_output_spec(self, x, lengths):
        """As `x`."""
        return keras.KerasTensor(x.shape, x.dtype)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "size": self.size}
