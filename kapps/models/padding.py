"""Layers for padded series: their length, normalization, reversal, and what is read out.

A batch of series of unequal lengths is one array [batch, steps, features] whose shorter series are
filled up at the end with NaN in every feature. NaN marks the padding without a second input, and
cannot be taken for a measured zero. `ValidSteps` counts them; from there
on padded steps are zeros and the lengths go beside the values, so that nothing depends on how much
padding there is: a recurrence that runs forwards has not seen it at the last valid step, and one
that runs backwards is given the valid steps alone turned round (`TurnSteps`).
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from kapps.errors import UserError
from kapps.models import arguments


class _Float32(keras.layers.Layer):
    """A layer of raw values and lengths: no policy may round them."""

    def __init__(self, **kwargs):
        kwargs.setdefault("dtype", "float32")
        super().__init__(autocast=False, **kwargs)


@keras.saving.register_keras_serializable("kapps")
class ValidSteps(_Float32):
    """Series padded with NaN -> (normalized values, lengths).

    A step is valid unless all its features are NaN; a series is as long as its last valid step
    says. Values become `(x - mean) / std`, with the statistics of the training split; with
    `per_series` each feature of each series is first brought to mean 0 and deviation 1 over its
    valid steps (a constant one becomes 0). NaN among valid steps and padded steps become 0, the
    mean.

    Args:
        mean: one number per feature.
        std: one positive number per feature.
        per_series: normalize each series by itself.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], per_series=False, **kwargs):
        super().__init__(**kwargs)
        self.mean, self.std, self.per_series = list(mean), list(std), per_series

    def call(self, x):
        """[batch, steps, features] -> the same, and int32 [batch]."""
        x = tf.cast(x, tf.float32)
        here = tf.math.logical_not(tf.math.is_nan(x))
        lengths = last_true(tf.reduce_any(here, axis=-1))
        if self.per_series:
            x = _standardized(x, here)
        x = (x - tf.constant(self.mean)) / tf.constant(self.std)
        return tf.where(here, x, 0.0), lengths

    def compute_output_spec(self, x):
        """Values as they came, and a length each."""
        return (
            keras.KerasTensor(x.shape, "float32"),
            keras.KerasTensor(x.shape[:1], "int32"),
        )

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        own = {"mean": self.mean, "std": self.std, "per_series": self.per_series}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("kapps")
class Frames(_Float32):
    """Every `size` steps become one of `size * features` values; zeros fill the last one up.

    A series of 150 steps is then one of 30, through which a gradient gets more easily, and which
    takes a fifth of the time.
    """

    def __init__(self, size: int, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, x, lengths):
        """[batch, steps, features] and int32 [batch] -> the same of frames."""
        steps, values = tf.shape(x)[1], self.size * x.shape[-1]
        frames = -(-steps // self.size)
        padded = tf.pad(x, [[0, 0], [0, frames * self.size - steps], [0, 0]])
        framed = tf.reshape(padded, [tf.shape(x)[0], frames, values])
        known = None if x.shape[1] is None else -(-x.shape[1] // self.size)
        return tf.ensure_shape(framed, [None, known, values]), -(-lengths // self.size)

    def compute_output_spec(self, x, lengths):
        """Frames, and their number in each series."""
        steps = None if x.shape[1] is None else -(-x.shape[1] // self.size)
        shape = (x.shape[0], steps, self.size * x.shape[-1])
        return keras.KerasTensor(shape, "float32"), keras.KerasTensor(lengths.shape, "int32")

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("kapps")
class TurnSteps(keras.layers.Layer):
    """The valid steps of each series in the opposite order; padding stays at the end."""

    def call(self, x, lengths):
        """[batch, steps, features] and int32 [batch] -> the same shape."""
        return tf.reverse_sequence(x, lengths, seq_axis=1, batch_axis=0)

    def compute_output_spec(self, x, lengths):
        """As `x`."""
        return keras.KerasTensor(x.shape, x.dtype)


@keras.saving.register_keras_serializable("kapps")
class ReadOut(keras.layers.Layer):
    """One vector per series: what the layers below return once they have seen all of it.

    Args:
        pooling: "last" (the last valid step), "mean" or "max" (over valid steps).
        backwards: how many of the features, counted from the last, come from a layer that ran
            backwards: "last" takes them at the first step, where that layer has seen everything.
    """

    def __init__(self, pooling: str = "last", backwards: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.pooling, self.backwards = pooling, backwards

    def call(self, x, lengths):
        """[batch, steps, features] and int32 [batch] -> [batch, features]; 0 if all is padding."""
        valid = valid_steps(x, lengths)
        if self.pooling == "max":
            found = tf.reduce_max(tf.where(valid, x, x.dtype.min), axis=1)
        elif self.pooling == "mean":
            count = tf.cast(tf.maximum(lengths, 1), x.dtype)[:, None]
            found = tf.reduce_sum(tf.where(valid, x, 0), axis=1) / count
        else:
            ahead = x.shape[-1] - self.backwards
            last = tf.gather(x, tf.maximum(lengths - 1, 0), axis=1, batch_dims=1)
            found = tf.concat([last[:, :ahead], x[:, 0, ahead:]], axis=-1)
        return tf.where(lengths[:, None] > 0, found, tf.zeros([], x.dtype))

    def compute_output_spec(self, x, lengths):
        """One vector per series."""
        return keras.KerasTensor((x.shape[0], x.shape[-1]), x.dtype)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "pooling": self.pooling, "backwards": self.backwards}


@keras.saving.register_keras_serializable("kapps")
class ZeroPadding(keras.layers.Layer):
    """Zeros at padded steps, so that what follows sees no more of them than the edge of a series.

    Args:
        steps: if given, the result has that many steps: zeros are added, or what is beyond is cut.
    """

    def __init__(self, steps: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.steps = steps
        self.supports_masking = True  # the mask ends here: what follows gets the lengths

    def compute_mask(self, *args):
        """None: padding is zeros now."""
        return None

    def call(self, x, lengths):
        """[batch, steps, features] and int32 [batch] -> the same shape, or `self.steps` steps."""
        x = tf.where(valid_steps(x, lengths), x, tf.zeros([], x.dtype))
        if self.steps is None:
            return x
        x = x[:, : self.steps]
        x = tf.pad(x, [[0, 0], [0, self.steps - tf.shape(x)[1]], [0, 0]])
        return tf.ensure_shape(x, [None, self.steps, x.shape[-1]])

    def compute_output_spec(self, x, lengths):
        """As `x`, but for the number of steps."""
        shape = (x.shape[0], self.steps or x.shape[1], x.shape[2])
        return keras.KerasTensor(shape, x.dtype)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "steps": self.steps}


@keras.saving.register_keras_serializable("kapps")
class ValidMask(keras.layers.Layer):
    """Which steps are valid, bool [batch, steps], as Keras' layers want a mask."""

    def call(self, x, lengths):
        """[batch, steps, features] and int32 [batch] -> bool [batch, steps]."""
        return valid_steps(x, lengths)[..., 0]

    def compute_output_spec(self, x, lengths):
        """A truth value per step."""
        return keras.KerasTensor(x.shape[:2], "bool")


def sequence_input(
    features: int, feature_mean, feature_std, per_series: bool = False
) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
    """The input layer "sequence", its normalized values, and the length of each series.

    `feature_mean` and `feature_std` are those of the training split, one number or one per feature
    (with `per_series`, of the series after each was normalized by itself: 0 and 1).

    Raises:
        UserError: an argument is out of its range.
    """
    arguments.integer("features", features)
    mean = arguments.per_channel("feature_mean", feature_mean, features)
    std = arguments.per_channel("feature_std", feature_std, features)
    if min(std) <= 0:
        raise UserError(f"feature_std must be positive; got {feature_std!r}.")
    sequence = keras.Input((None, features), name="sequence", dtype="float32")
    x, lengths = ValidSteps(mean, std, per_series, name="valid_steps")(sequence)
    return sequence, x, lengths


def last_true(valid: tf.Tensor) -> tf.Tensor:
    """One more than the place of the last True in each row, int32 [batch]; 0 without any."""
    places = tf.range(1, tf.shape(valid)[1] + 1, dtype=tf.int32)
    return tf.reduce_max(tf.where(valid, places, 0), axis=1, keepdims=False)


def valid_steps(x: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Which steps are within the lengths, bool [batch, steps, 1]."""
    return (tf.range(tf.shape(x)[1], dtype=tf.int32) < lengths[:, None])[..., None]


def _standardized(x, here):
    count = tf.reduce_sum(tf.cast(here, x.dtype), axis=1, keepdims=True)
    mean = tf.reduce_sum(tf.where(here, x, 0.0), axis=1, keepdims=True) / tf.maximum(count, 1.0)
    centred = x - mean
    square = tf.reduce_sum(tf.where(here, tf.square(centred), 0.0), axis=1, keepdims=True)
    std = tf.sqrt(square / tf.maximum(count, 1.0))
    # What is constant to within rounding is constant: its noise is not to be blown up.
    return centred / tf.where(std > 1e-6 * (1.0 + tf.abs(mean)), std, 1.0)
