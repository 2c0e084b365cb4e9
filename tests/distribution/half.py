"""A small training by one process or by several workers; how many images each has loaded."""

import pathlib

import keras
import numpy as np
import tensorflow as tf

from kapps import data, losses, training

EPOCHS, BATCH = 2, 64


def train(directory):
    """Writes DIRECTORY/WORKER.npz: `loaded`, steps of the training, and the weights at its end."""
    cluster = training.cluster()
    strategy = training.strategy("cpu")
    assert not cluster or training.strategy("cpu") is strategy
    images = data.load("digits")
    split, loaded = images.splits["train"], []

    def counted(rows):
        (rows,) = tf.numpy_function(lambda x: [loaded.append(len(x)), x][1:], [rows], [tf.int64])
        return split.images(tf.ensure_shape(rows, [None]))

    augmentation = data.Augmentation(crop=0.1, erasing=0.5, mixup=0.4)
    exact = data.classification_targets(10)
    batches = data.TrainingBatches(
        data.Split(split.labels, counted),
        BATCH,
        prepare=lambda x, y, seed, part: augmentation(x, exact(y), seed, part),
        neighbours=augmentation.neighbours,
    )
    validation = data.evaluation_batches(
        images.splits["validation"], 64, prepare=lambda x, y: (x, exact(y))
    )
    training.seed_everything(0)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Flatten(),
                keras.layers.Dense(10),
            ]
        )
        model.compile(keras.optimizers.SGD(0.1), losses.softmax_cross_entropy)
    training.fit(model, batches, validation, epochs=EPOCHS, verbose=0)
    weights = {f"w{i}": value for i, value in enumerate(model.get_weights())}
    name = f"{cluster.index if cluster else 'one'}.npz"
    np.savez(
        pathlib.Path(directory, name), loaded=sum(loaded), steps=EPOCHS * batches.steps, **weights
    )
