"""What a user of KerasTuner has: its documentation's own examples, and data. Nothing of kapps."""

import keras
import keras_tuner
import numpy as np
from keras import layers


class MyHyperModel(keras_tuner.HyperModel):
    """keras.io/guides/keras_tuner/getting_started, "Tune model training": build and fit."""

    def build(self, hp):
        model = keras.Sequential()
        model.add(layers.Flatten())
        model.add(
            layers.Dense(
                units=hp.Int("units", min_value=32, max_value=512, step=32),
                activation="relu",
            )
        )
        model.add(layers.Dense(10, activation="softmax"))
        model.compile(
            optimizer="adam",
            loss="categorical_crossentropy",
            metrics=["accuracy"],
        )
        return model

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(
            *args,
            shuffle=hp.Boolean("shuffle"),
            **kwargs,
        )


def build_model(hp):
    """The same guide, "Tune the model architecture": layers that show themselves while building."""
    model = keras.Sequential()
    model.add(layers.Flatten())
    for i in range(hp.Int("num_layers", 1, 3)):
        model.add(
            layers.Dense(
                units=hp.Int(f"units_{i}", min_value=32, max_value=512, step=32),
                activation=hp.Choice("activation", ["relu", "tanh"]),
            )
        )
    if hp.Boolean("dropout"):
        model.add(layers.Dropout(rate=0.25))
    model.add(layers.Dense(10, activation="softmax"))
    learning_rate = hp.Float("lr", min_value=1e-4, max_value=1e-2, sampling="log")
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate=learning_rate),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def data():
    """Pictures whose class is where their bright row is."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 120)
    x = rng.random((120, 10, 3)).astype("float32") * 0.5
    x[np.arange(120), labels] += 1.0
    y = keras.utils.to_categorical(labels, 10)
    return (x[:80], y[:80]), (x[80:], y[80:])
