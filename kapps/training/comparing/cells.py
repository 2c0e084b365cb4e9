"""Many small trainings that differ in nothing but their optimizer, rate, batch or schedule.

Every cell of a comparison begins with the weights of its seed, sees the pictures in the order of
its seed, and ends after the same number of pictures, so that two cells can be compared pairwise. A
cell is a function of (candidate, rate, seed): done again, it gives the same bits.

An epoch is one compiled loop over Keras' own `train_step`; rates are handed to it step by step,
so that all rates, schedules and seeds of an optimizer and a batch size share one graph.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kapps import losses
from kapps.errors import UserError
from kapps.training.optim.optimizers import optimizer
from kapps.training.optim.schedules import learning_rate_schedule
from kapps.training.seeds import seed_everything

if TYPE_CHECKING:
    from kapps.data import ImageData

EVALUATED_AT_ONCE = 512  # pictures
PLATEAU = {"factor": 0.2, "patience": 3}


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What is compared, but for the rate and the seed.

    Attributes:
        optimizer: name of an optimizer.
        batch_size: pictures per step.
        schedule: name of a learning-rate schedule.
        weight_decay: decoupled, times the rate.
    """

    optimizer: str
    batch_size: int
    schedule: str = "constant"
    weight_decay: float = 0.0


class Cells:
    """Runs the cells of one comparison.

    Args:
        network: makes the untrained model, from pictures uint8 to logits.
        images: what to train on; the test split is not touched.
        epochs: passes over the training pictures.
        batch_sizes: all that occur; each divides the largest, so that all cells are measured after
            the same numbers of pictures.
        measurements: how often a cell is measured in each epoch, at most.

    Attributes:
        pictures: training pictures that a cell sees in an epoch; those that it does not see, less
            than one largest batch for each measurement, are others in every epoch.
        interval: pictures between measurements.
        measurements: how many there are in an epoch.

    Raises:
        UserError: batch sizes that do not divide the largest, or exceed the training split.
    """

    def __init__(
        self,
        network: Callable[[], keras.Model],
        images: ImageData,
        *,
        epochs: int,
        batch_sizes: Sequence[int],
        measurements: int = 5,
    ):
        check_batch_sizes(batch_sizes)
        largest, available = max(batch_sizes), len(images.splits["train"])
        if largest > available:
            raise UserError(
                f"a batch of {largest} is more than the {available} training pictures: use "
                "smaller batch sizes"
            )
        groups = available // largest
        per_epoch = min(measurements, groups)
        self.interval = groups // per_epoch * largest
        self.pictures = per_epoch * self.interval
        self.measurements = per_epoch
        self.epochs = epochs
        self._network, self._images = network, images
        self._loops: dict[tuple, _Loop] = {}
        self._beginnings: dict[int, list[np.ndarray]] = {}

    def run(
        self,
        candidate: Candidate,
        rate: float,
        seed: int,
        *,
        keep_best: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> dict[str, Any]:
        """One cell: a training from the beginning to the end.

        Args:
            candidate: what is trained.
            rate: highest learning rate.
            seed: of the weights and of the order of the pictures.
            keep_best: also return the model, with the weights of the epoch that ended with the
                lowest validation loss.
            callbacks: told of the begin of training and of the begin and end of epochs.

        Returns:
            Lists with a number per measurement, the first before the first step: `examples`
            (pictures seen), `loss` (of the steps since the measurement before), `train_loss`,
            `train_accuracy` (of a part of the training split, in inference mode; NaN inside an
            epoch), `val_loss`, `val_accuracy`, `learning_rate` (of the last step). `seconds`, a
            number. With `keep_best`, `model`. A cell whose loss is not finite ends there, and its
            lists are filled up with NaN.
        """
        began = time.monotonic()
        loop = self._loop(candidate)
        loop.reset(self._beginning(seed))
        rows, best, best_weights = [], np.inf, None
        for new_rows in self._epochs(loop, candidate, rate, seed, callbacks):
            rows += new_rows
            if keep_best and rows[-1]["examples"] and rows[-1]["val_loss"] < best:
                best = rows[-1]["val_loss"]
                best_weights = [weight.numpy() for weight in loop.model.weights]
        measured = 1 + self.epochs * self.measurements
        rest = [float("nan")] * (measured - len(rows))
        result: dict[str, Any] = {
            name: [float(row[name]) for row in rows] + rest for name in rows[0]
        }
        result["examples"] = [self.interval * i for i in range(measured)]
        result["seconds"] = time.monotonic() - began
        if keep_best:
            result["model"] = self._network()
            if best_weights is not None:
                result["model"].set_weights(best_weights)
        return result

    def _epochs(self, loop, candidate, rate, seed, callbacks) -> Iterator[list[dict[str, float]]]:
        """The first measurement, then those of each epoch, until one is not finite."""
        batch = candidate.batch_size
        per_epoch, steps = self.pictures // batch, self.interval // batch
        rates = rate_table(candidate.schedule, rate, self.epochs * per_epoch)
        follows = candidate.schedule == "plateau"
        plateau = [keras.callbacks.ReduceLROnPlateau(**PLATEAU)] if follows else []
        for callback in (*plateau, *callbacks):
            callback.set_model(loop.model)
            callback.on_train_begin()
        yield [
            {"examples": 0, "loss": np.nan, "learning_rate": rates[0], **loop.measure(train=True)}
        ]
        for epoch in range(self.epochs):
            order = order_of_epoch(len(self._images.splits["train"]), seed, epoch)
            order = order[: self.pictures].reshape(-1, steps, batch)
            for callback in callbacks:
                callback.on_epoch_begin(epoch)
            rows = []
            for part, chosen in enumerate(order, start=1):
                seen = epoch * self.pictures + part * self.interval
                told = rates[seen // batch - steps : seen // batch]
                loss = loop.train(chosen, told)
                rows.append(
                    {
                        "examples": seen,
                        "loss": loss,
                        "learning_rate": told[-1],
                        **loop.measure(train=part == len(order)),
                    }
                )
                if not np.isfinite(rows[-1]["val_loss"]):
                    yield rows
                    return
            yield rows
            for callback in (*plateau, *callbacks):
                callback.on_epoch_end(epoch, {"val_loss": rows[-1]["val_loss"]})
            if follows:
                lowered = float(np.asarray(loop.model.optimizer.learning_rate))
                rates[(epoch + 1) * per_epoch :] = lowered

    def _beginning(self, seed: int) -> list[np.ndarray]:
        """Weights and random states of a fresh network of that seed."""
        if seed not in self._beginnings:
            seed_everything(seed)
            self._beginnings[seed] = [np.array(v) for v in self._network().variables]
        return self._beginnings[seed]

    def _loop(self, candidate: Candidate) -> _Loop:
        key = (candidate.optimizer, candidate.batch_size, candidate.weight_decay)
        if key not in self._loops:
            self._loops[key] = _Loop(self._network(), self._images, candidate)
        return self._loops[key]


class _Loop:
    """A network with an optimizer, and its compiled loops."""

    def __init__(self, model: keras.Model, images: ImageData, candidate: Candidate):
        model.compile(
            optimizer(
                candidate.optimizer,
                1.0,  # every step is told its own
                weight_decay=candidate.weight_decay,
            ),
            loss=losses.softmax_cross_entropy,
        )
        model.optimizer.build(model.trainable_variables)
        self.model = model
        train, validation = images.splits["train"], images.splits["validation"]
        self._fresh = [np.array(v) for v in model.optimizer.variables]
        # The same part of the training split in every cell, as many as there are for validation.
        count = min(len(train), len(validation))
        clean = np.sort(np.random.default_rng(0).choice(len(train), count, replace=False))
        self._measured = (
            ("train_", _chunks(clean)),
            ("val_", _chunks(np.arange(len(validation)))),
        )
        batch_size = candidate.batch_size
        labels = {"train_": train.labels, "val_": validation.labels}
        pictures = {"train_": train.images, "val_": validation.images}

        def load(prefix, rows):
            targets = tf.gather(tf.constant(labels[prefix], tf.int32), rows)
            return pictures[prefix](rows), tf.one_hot(targets, images.classes)

        # Loops are written out: Python's own would need AutoGraph, which is not at home everywhere.
        @tf.function(autograph=False, reduce_retracing=True)
        def train_steps(rows, rates):
            def one(step):
                model.optimizer.learning_rate.assign(rates[step])
                model.train_step(load("train_", tf.ensure_shape(rows[step], [batch_size])))
                return step + 1

            tf.while_loop(lambda step: step < tf.shape(rows)[0], one, (tf.constant(0),))
            return model.get_metrics_result()["loss"]

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.int64)])
        def evaluate_train(rows):
            return evaluate("train_", rows)

        @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.int64)])
        def evaluate_validation(rows):
            return evaluate("val_", rows)

        def evaluate(prefix, rows):
            x, y = load(prefix, rows)
            logits = model(x, training=False)
            right = tf.argmax(logits, -1) == tf.argmax(y, -1)
            loss = losses.softmax_cross_entropy(y, logits)
            return tf.stack([tf.reduce_sum(loss), tf.reduce_sum(tf.cast(right, tf.float32))])

        self._train_steps = train_steps
        self._evaluate = {"train_": evaluate_train, "val_": evaluate_validation}

    def reset(self, beginning: Sequence[np.ndarray]) -> None:
        """Back to the first step."""
        for variable, value in zip(self.model.variables, beginning, strict=True):
            variable.assign(value)
        for variable, value in zip(self.model.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)

    def train(self, rows: np.ndarray, rates: np.ndarray) -> float:
        """One step for each of `rows` [steps, batch]; their mean loss."""
        self.model.reset_metrics()
        return float(self._train_steps(tf.constant(rows, tf.int64), tf.constant(rates, tf.float32)))

    def measure(self, *, train: bool) -> dict[str, float]:
        """Loss and accuracy of validation and perhaps training pictures, in inference mode."""
        found = {"train_loss": float("nan"), "train_accuracy": float("nan")}
        for prefix, chunks in self._measured[0 if train else 1 :]:
            sums = [self._evaluate[prefix](chunk).numpy() for chunk in chunks]
            loss, right = np.sum(sums, axis=0) / sum(len(chunk) for chunk in chunks)
            found |= {f"{prefix}loss": loss, f"{prefix}accuracy": right}
        return found


def _chunks(rows: np.ndarray) -> list[tf.Tensor]:
    parts = np.array_split(rows, -(-len(rows) // EVALUATED_AT_ONCE))
    return [tf.constant(part, tf.int64) for part in parts]


def check_batch_sizes(batch_sizes: Sequence[int]) -> None:
    """Refuse batch sizes that cannot be measured at the same moments.

    Raises:
        UserError: one is under 1, or does not divide the largest.
    """
    for size in batch_sizes:
        if size < 1 or max(batch_sizes) % size:
            raise UserError(
                f"batch size {size}: it must be at least 1 and divide the largest, "
                f"{max(batch_sizes)}, so that all are measured after the same pictures"
            )


def order_of_epoch(examples: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of an epoch, int64 [examples], for every optimizer and batch size."""
    return np.random.default_rng([seed, epoch]).permutation(examples)


def rate_table(schedule: str, rate: float, steps: int) -> np.ndarray:
    """The learning rate of every step, float32 [steps]."""
    built = learning_rate_schedule(schedule, rate, steps=steps)
    if callable(built):
        built = built(tf.range(steps, dtype=tf.float32))
    return np.broadcast_to(np.float32(built), steps).copy()
