"""From the start of Python to the end of a first training step on scikit-learn's digits.

    python benchmarks/contestants/first_step.py kapps|stock

A command that is timed as a whole: the plain CNN of kapps, or the same from layers of Keras.
"""

from __future__ import annotations

import sys


def kapps() -> None:
    """By kapps: its reader, its network, its batches."""
    from kapps import data, losses, models, training

    images = data.load("digits")
    model = models.cnn(images.image_shape, images.classes)
    model.compile(training.optimizer("adam", 1e-3), losses.softmax_cross_entropy)
    batches = training.classifier_batches(images, 64, data.Augmentation(), seed=0)[0]
    model.fit(batches.dataset(0, 1), shuffle=False, verbose=0)


def stock() -> None:
    """By Keras alone."""
    import keras
    import numpy as np
    from sklearn.datasets import load_digits

    found = load_digits()
    x, y = found.images[..., None].astype("float32") * 16, np.eye(10)[found.target]
    layers = [keras.Input((8, 8, 1)), keras.layers.Rescaling(1 / 255)]
    for filters in (32, 64, 128):
        for _ in range(2):
            layers += [
                keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
            ]
        layers.append(keras.layers.MaxPooling2D(padding="same"))
    model = keras.Sequential(
        [*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    )
    model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
    model.fit(x[:64], y[:64], batch_size=64, verbose=0)


if __name__ == "__main__":
    {"kapps": kapps, "stock": stock}[sys.argv[1]]()
