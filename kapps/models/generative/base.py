"""What generative models with a training step of their own share: plain functions to mix in.

    class VAE(CustomStep, keras.Model): ...

Each argument of such a model's constructor is kept as an attribute of the same name, from which
the configuration is made. The model sets `trackers`, its metrics; `classes`, of the labels it is
conditional on (0: none); and, if its steps draw noise, `seed_generator`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError

if TYPE_CHECKING:  # what a `CustomStep` is mixed into
    _Model = keras.Model
else:
    _Model = object

CHUNK = 256  # images sampled or measured at once
_NOISE = "noise"  # where the states of the random generators stand in a file of weights


class CustomStep(_Model):
    """Configuration, batches, metrics and files of a model with a `train_step` of its own."""

    classes: int
    trackers: list[keras.metrics.Metric]

    # Batches ------------------------------------------------------------------------------------

    def unpack(self, data: Any) -> tuple[Any, tf.Tensor | None]:
        """Inputs and one-hot labels (None unless conditional) of a batch, or of what is called.

        Args:
            data: `x`, `(x, labels)` or `([x, labels], anything)`.

        Raises:
            UserError: labels are missing or do not fit, or there are sample weights.
        """
        x, labels = unpack(data)
        if isinstance(x, list | tuple):
            x, labels = x
        return x, self.one_hot(labels)

    def one_hot(self, labels: Any) -> tf.Tensor | None:
        """Labels as float32 [batch, classes]; None for a model that is not conditional.

        Args:
            labels: integers [batch] or [batch, 1], or one-hot [batch, classes].

        Raises:
            UserError: they are missing, or have another shape.
        """
        if not self.classes:
            return None
        if labels is None:
            raise UserError(
                f"this model is conditional: give integer or one-hot labels of {self.classes} "
                "classes"
            )
        labels = tf.convert_to_tensor(labels)
        shape = labels.shape
        if shape.rank == 1 or (shape.rank == 2 and shape[-1] == 1 != self.classes):
            return tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), self.classes)
        if shape.rank not in (None, 2) or shape[-1:] not in ([None], [self.classes]):
            raise UserError(
                f"labels of shape {tuple(shape)}: integers [batch] or one-hot "
                f"[batch, {self.classes}] are needed"
            )
        return tf.cast(labels, tf.float32)

    def given(self, x: Any, labels: tf.Tensor | None) -> Any:
        """The inputs of a network that is told the class if the model is."""
        return [x, labels] if self.classes else x

    # Losses and metrics -------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.compile`, for a model whose loss and metrics are its own.

        Raises:
            UserError: a loss or metrics are given, which the step would ignore.
        """
        given = dict(
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
        )
        for name, value in given.items():
            if value:
                raise UserError(
                    f"compile({name}=...): the loss and the metrics of a {type(self).__name__} are "
                    "its own. Compile it with an optimizer only."
                )
        super().compile(optimizer, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile as `get_compile_config` says."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All that is reported; Keras resets them at the start of every epoch."""
        return list(self.trackers)

    def track(self, **values: tf.Tensor) -> dict[str, Any]:
        """Update the metrics of these names; the figures of all metrics."""
        for metric in self.metrics:
            if metric.name in values:
                metric.update_state(values[metric.name])
        return self.get_metrics_result()

    # Samples ------------------------------------------------------------------------------------

    def sample_in_chunks(
        self, draw: Callable, count: int, seed: int, labels: Any = None
    ) -> list[np.ndarray]:
        """What `draw` gives for `count` examples, in chunks of up to `CHUNK`.

        Args:
            draw: (size, seed int32 [2], labels [size, ...] or None) -> [size, ...].
            count: how many examples.
            seed: the seed of a chunk is (this, where the chunk begins).
            labels: [count] or [count, classes], or None.
        """
        chunks = []
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            part = None if labels is None else labels[start : start + size]
            chunks.append(draw(size, tf.constant([seed, start], tf.int32), part))
        return [np.asarray(chunk) for chunk in chunks]

    def sample_images(
        self, draw: Callable, count: int, seed: int, labels: Any = None
    ) -> np.ndarray:
        """`sample_in_chunks` of pixels of 0..1, as uint8 [count, height, width, channels]."""
        chunks = self.sample_in_chunks(draw, count, seed, labels)
        nothing = np.zeros((0, *self.image_shape), np.uint8)
        return np.concatenate([nothing, *(as_uint8(pixels) for pixels in chunks)])

    def drawn_labels(self, count: int, seed: int) -> np.ndarray | None:
        """Uniformly drawn one-hot labels [count, classes]; None unless conditional."""
        if not self.classes:
            return None
        drawn = np.random.default_rng(seed).integers(self.classes, size=count)
        return np.eye(self.classes, dtype=np.float32)[drawn]

    # Configuration and files --------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """Arguments of the constructor."""
        names = inspect.signature(type(self).__init__).parameters.keys() - {"self", "kwargs"}
        arguments = {name: getattr(self, name, None) for name in sorted(names | {"name"})}
        serialize = keras.saving.serialize_keras_object
        return {
            "trainable": self.trainable,
            **{name: serialize(value) for name, value in arguments.items()},
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> CustomStep:
        """The model of a configuration, with new weights."""
        deserialize = keras.saving.deserialize_keras_object
        return cls(**{name: deserialize(value, custom_objects) for name, value in config.items()})

    def save_own_variables(self, store: Any) -> None:
        """What Keras saves, and the states of the random generators, which it forgets.

        So noise goes on where it was, in a model that is loaded, too.
        """
        super().save_own_variables(store)
        states = [np.asarray(state) for state in self._noise_states()]
        if states:
            store[_NOISE] = np.stack(states)

    def load_own_variables(self, store: Any) -> None:
        """The counterpart of `save_own_variables`."""
        super().load_own_variables({key: store[key] for key in store.keys() if key != _NOISE})
        states = self._noise_states()
        if _NOISE in store.keys() and len(store[_NOISE]) == len(states):
            for state, value in zip(states, np.asarray(store[_NOISE]), strict=True):
                state.assign(value)

    def _noise_states(self) -> list[keras.Variable]:
        """Variables that are neither weights nor of metrics: states of `SeedGenerator`s."""
        others = {id(variable) for variable in (*self.weights, *self.metrics_variables)}
        return [variable for variable in self.variables if id(variable) not in others]


class ImageModel(CustomStep):
    """A `CustomStep` that gives pixels of 0..1, [batch, *image_shape]; from images, usually."""

    image_shape: tuple[int, int, int]

    def build(self, input_shape: Any) -> None:
        """Nothing is left to build; Keras notes the shape, for `export`."""

    @property
    def input_shape(self) -> Any:
        """(None, height, width, channels)."""
        return (None, *self.image_shape)

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """(None, height, width, channels)."""
        return (None, *self.image_shape)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """That of the images; `input_shape` is one shape, or a list with that of the labels."""
        nested = isinstance(input_shape[0], list | tuple)
        batch = input_shape[0][0] if nested else input_shape[0]
        return (batch, *self.image_shape)


def unpack(data: Any) -> tuple[Any, Any]:
    """A batch `x` or `(x, y)`; y is None without one.

    Raises:
        UserError: there are sample weights, or class weights, which Keras makes the same.
    """
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    if weight is not None:
        raise UserError(
            "sample_weight and class_weight have no meaning for a generative model: the examples "
            "are draws from what it learns. Repeat or leave out examples instead."
        )
    return x, y


def unit_pixels(image: Any) -> tf.Tensor:
    """Pixels of 0..255 as float32 of 0..1."""
    return tf.cast(image, tf.float32) / 255.0


def as_uint8(pixels: Any) -> np.ndarray:
    """Pixels of 0..1 as uint8."""
    return np.round(255.0 * np.clip(pixels, 0.0, 1.0)).astype(np.uint8)


def regularization(*networks: keras.Model) -> tf.Tensor | float:
    """The sum of the penalties of the networks' regularizers, float32 []; 0 without any.

    Activity regularizers count the last call. Added to the loss of each example it is right on any
    number of replicas, since `replicas.average` divides it as it does the losses.
    """
    terms = [tf.cast(loss, tf.float32) for network in networks for loss in network.losses]
    return tf.add_n(terms) if terms else 0.0
