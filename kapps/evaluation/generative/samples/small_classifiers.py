"""Small networks that are trained in order to measure something with them.

Training one leaves no trace: the random states of Python and NumPy and the precision policy of
Keras are as before. A measurement must not change what a seeded program does next, all the more as
a network found in the cache is not trained.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np

from kapps import models
from kapps.evaluation.metrics.classification import predict_logits

if TYPE_CHECKING:
    import tensorflow as tf

    from kapps.data.images.dataset import Split

FEATURES = 64
BATCH_SIZE = 128
STEPS = 2500  # about six epochs of 54,000 pictures
MOST_EPOCHS = 40
LEARNING_RATE = 2e-3
DROPOUT = 0.3
_SMALLEST_MAP = 4


@contextlib.contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Keras layers made inside start from `seed`, in float32; afterwards all is as before."""
    # Initializers and random layers without a seed draw theirs from Python's generator.
    states = random.getstate(), np.random.get_state()
    policy = keras.config.dtype_policy()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        random.setstate(states[0])
        np.random.set_state(states[1])


def build(image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Pixels 0..255 -> logits; a dense layer of 64 features before them; up to 150k weights.

    Stages of two convolutions halve the picture until the longer side has four pixels at most;
    the last two have 32 and 64 filters, those before 16.
    """
    side, halvings = max(image_shape[:2]), 0
    while side > _SMALLEST_MAP or halvings < 2:
        side, halvings = -(-side // 2), halvings + 1
    return models.cnn(
        image_shape,
        classes,
        filters=(*(16,) * (halvings - 2), 32, 64),
        dense_units=FEATURES,
        dropout=DROPOUT,
    )


def epochs_for(examples: int) -> int:
    """How many epochs make a training of a few thousand steps, small datasets' fewer."""
    steps = max(1, examples // BATCH_SIZE)
    return min(MOST_EPOCHS, -(-STEPS // steps))


def train(
    model: keras.Model,
    split: Split,
    *,
    epochs: int | None = None,
    seed: int = 0,
    verbose: str | int = 0,
) -> None:
    """Fit a classifier with Adam and a cosine schedule; batches are a function of the seed.

    Args:
        model: pixels -> logits.
        split: pictures and class numbers.
        epochs: None for a few thousand steps.
        seed: seed of the order.
        verbose: as in `keras.Model.fit`.
    """
    from kapps.data.pipeline import TrainingBatches

    epochs = epochs or epochs_for(len(split))
    batches = TrainingBatches(split, BATCH_SIZE, seed=seed, prepare=_picture_and_label)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, epochs * batches.steps)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        batches.dataset(0, epochs),
        epochs=epochs,
        steps_per_epoch=batches.steps,
        shuffle=False,
        verbose=verbose,
    )


def trained(
    split: Split,
    classes: int,
    *,
    epochs: int | None = None,
    seed: int = 0,
    verbose: str | int = 0,
) -> keras.Model:
    """A small classifier, built and trained on a split; the program's random states are kept."""
    with isolated(seed):
        model = build(tuple(split.take([0]).shape[1:]), classes)
        train(model, split, epochs=epochs, seed=seed, verbose=verbose)
    return model


def accuracy(model: keras.Model, split: Split) -> float:
    """Share of a split whose most probable class is its own."""
    logits = predict_logits(model, split)
    return float(np.mean(logits.argmax(axis=-1) == split.labels))


def array_split(pictures: np.ndarray, labels: np.ndarray) -> Split:
    """Pictures uint8 [n,H,W,C] in memory and their class numbers as a split."""
    import tensorflow as tf

    from kapps.data.images.dataset import Split

    with tf.device("CPU:0"):
        held = tf.constant(pictures)
    return Split(np.asarray(labels, np.int32), lambda rows: tf.gather(held, rows))


def _picture_and_label(pictures: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple:
    return pictures, labels
