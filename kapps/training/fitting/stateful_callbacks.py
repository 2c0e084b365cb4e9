"""Keras callbacks that Keras lacks. Each keeps a state that a checkpoint can carry.

The protocol: `get_state() -> dict` of arrays and plain values, `set_state(dict)`. For Keras' own
callbacks the attributes that change while training stand in `KERAS_STATE`.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from kapps.errors import UserError
from kapps.training.fitting import state as states
from kapps.training.fitting.kept_epoch import best_epoch, ties_of
from kapps.training.run_directory import run as runs

# `on_train_begin` resets these, so Keras forgets its patience whenever a run is resumed.
KERAS_STATE = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}


def get_state(callback: keras.callbacks.Callback) -> dict[str, Any] | None:
    """What a callback has to remember over a restart; None if it has nothing."""
    if hasattr(callback, "get_state"):
        return callback.get_state()
    for kind, names in KERAS_STATE.items():
        if isinstance(callback, kind):
            return {name: np.asarray(getattr(callback, name, None)).item() for name in names}
    return None


def set_state(callback: keras.callbacks.Callback, state: dict[str, Any]) -> None:
    """Give a callback its memory back."""
    if hasattr(callback, "set_state"):
        callback.set_state(state)
    else:
        for name, value in state.items():
            setattr(callback, name, value)


def further_optimizers(model: keras.Model) -> dict[str, keras.optimizers.Optimizer]:
    """The optimizers beside `model.optimizer` by name: a GAN has one for its discriminator."""
    return getattr(model, "further_optimizers", {})


class WeightAverage(keras.callbacks.Callback):
    """Exponential moving average of the weights, BatchNormalization's statistics included.

    After every step `average <- decay * average + (1 - decay) * weight`, where the decay rises
    as `min(decay, (1 + t) / (10 + t))` so that the first steps are forgotten. Keras' optimizers
    average trainable weights only, which leaves averaged kernels with statistics that belong to
    others. Validation and everything inside `with average.swapped():` sees the averages.

    Args:
        decay: between 0 and 1; 0.999 averages over about the last thousand steps.

    Raises:
        UserError: a decay outside (0, 1).
    """

    def __init__(self, decay: float):
        super().__init__()
        if not 0.0 < decay < 1.0:
            raise UserError(f"ema {decay}: the decay must be between 0 and 1, 0.999 for example")
        self.decay = decay
        self._step = tf.Variable(0.0, trainable=False)
        self._averages: list[tf.Variable] = []
        self._inside = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Begin with the weights as they are."""
        if not self._averages:
            self._weights = [
                weight
                for weight in self.model.weights
                if keras.backend.is_float_dtype(weight.dtype)
            ]
            self._averages = [
                tf.Variable(weight.numpy(), trainable=False) for weight in self._weights
            ]
            self._update = tf.function(self._update_all, autograph=False)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move the averages."""
        self._update()

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Validate the averages."""
        self._exchange(inside=True)

    def on_test_end(self, logs: dict | None = None) -> None:
        """Train on the weights."""
        self._exchange(inside=False)

    @contextlib.contextmanager
    def swapped(self) -> Iterator[None]:
        """Averages in the model for as long as the context lasts."""
        self._exchange(inside=True)
        try:
            yield
        finally:
            self._exchange(inside=False)

    def get_state(self) -> dict[str, Any]:
        """Averages and the count of steps."""
        averages = {str(i): average.numpy() for i, average in enumerate(self._averages)}
        return {"step": float(self._step.numpy()), **averages}

    def set_state(self, state: dict[str, Any]) -> None:
        """Averages and the count of steps."""
        self._step.assign(state["step"])
        for i, average in enumerate(self._averages):
            average.assign(state[str(i)])

    def _update_all(self) -> None:
        decay = tf.minimum(self.decay, (1.0 + self._step) / (10.0 + self._step))
        for average, weight in zip(self._averages, self._weights, strict=True):
            value = tf.convert_to_tensor(weight.value)
            average.assign_sub((1.0 - tf.cast(decay, value.dtype)) * (average - value))
        self._step.assign_add(1.0)

    def _exchange(self, inside: bool) -> None:
        if inside == self._inside or not self._averages:
            return
        for average, weight in zip(self._averages, self._weights, strict=True):
            value = weight.numpy()
            weight.assign(average.numpy())
            average.assign(value)
        self._inside = inside


class CleanTrainMetrics(keras.callbacks.Callback):
    """Adds `train_*` to the epoch's logs: training data seen as validation data is seen.

    Keras' own training figures are running means over an epoch, with dropout and augmentation
    on; their distance to validation figures says little about over-fitting.

    Args:
        batches: a part of the training split, without augmentation.
        average: the weight average validation uses, if there is one.
    """

    def __init__(self, batches: tf.data.Dataset, average: WeightAverage | None = None):
        super().__init__()
        self.batches, self.average = batches, average

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Evaluate in inference mode."""
        with self.average.swapped() if self.average else contextlib.nullcontext():
            figures = self.model.evaluate(self.batches, verbose=0, return_dict=True)
        if logs is not None:
            logs.update({f"train_{name}": value for name, value in figures.items()})


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the best epoch on the disk or in memory, and puts them back.

    Which one that is `kapps.training.best_epoch` says.

    Args:
        monitor: name of the figure; smaller is better unless `mode` is "max".
        mode: "min" or "max".
        path: file to keep them in; None keeps them in memory.
        average: the weight average that was validated, if there is one.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: Literal["min", "max"] = "min",
        path: pathlib.Path | None = None,
        average: WeightAverage | None = None,
    ):
        super().__init__()
        self.monitor = monitor
        self.mode: Literal["min", "max"] = mode
        self.path, self.average = path, average
        self.figures: list[dict[str, float]] = []  # of each epoch so far
        self.best_epoch = 0  # none so far
        self._kept: states.State | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keep the weights if they are the best so far."""
        logs = logs or {}
        if logs.get(self.monitor) is None:
            raise UserError(f"nothing named {self.monitor!r} is measured; there is {sorted(logs)}")
        names = {self.monitor, ties_of(logs)} & logs.keys()
        self.figures.append({name: float(logs[name]) for name in sorted(names)})
        best = best_epoch(self.figures, self.monitor, self.mode)
        # No number is better than nothing, since some weights are needed.
        if best != len(self.figures) - 1 and self.best_epoch:
            return
        self.best_epoch = epoch + 1
        with self.average.swapped() if self.average else contextlib.nullcontext():
            arrays = {f"{i:04d}": weight.numpy() for i, weight in enumerate(self.model.weights)}
        self._kept = states.State(arrays, {"epoch": self.best_epoch})
        if self.path is not None:
            states.write(self.path, self._kept)
            self._kept = None

    def restore(self) -> None:
        """Put the best epoch's weights into the model.

        Raises:
            UserError: their file is damaged.
        """
        kept = self._kept if self.path is None else states.read(self.path)
        if kept is None:
            raise UserError(
                f"the best weights ({self.path}) cannot be read. Start the run afresh with "
                "--overwrite."
            )
        for i, weight in enumerate(self.model.weights):
            weight.assign(kept.arrays[f"{i:04d}"])

    def get_state(self) -> dict[str, Any]:
        """The figures of all epochs, and which is best."""
        return {"figures": self.figures, "best_epoch": self.best_epoch}

    def set_state(self, state: dict[str, Any]) -> None:
        """The figures of all epochs, and which is best."""
        self.figures, self.best_epoch = list(state["figures"]), state["best_epoch"]


class MetricsFile(keras.callbacks.Callback):
    """Keeps a row per epoch, and writes metrics.csv after each one.

    Args:
        path: the file; None keeps the rows in memory only.
    """

    def __init__(self, path: pathlib.Path | None = None):
        super().__init__()
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Add the epoch's row; the learning rate is the one that the next step would use."""
        row = {name: float(value) for name, value in (logs or {}).items()}
        row.pop("learning_rate", None)
        optimizers = {"": self.model.optimizer}
        for name, optimizer in further_optimizers(self.model).items():
            optimizers[f"{name}_"] = optimizer
        rates = {
            f"{name}learning_rate": float(np.asarray(optimizer.learning_rate))
            for name, optimizer in optimizers.items()
        }
        self.rows.append({"epoch": epoch + 1, **row, **rates})
        if self.path is not None:
            runs.write_rows(self.path, self.rows)

    def get_state(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def set_state(self, state: dict[str, Any]) -> None:
        """Back to the rows of the checkpoint; later ones are measured again."""
        self.rows = list(state["rows"])
        if self.path is not None and self.rows:
            runs.write_rows(self.path, self.rows)
