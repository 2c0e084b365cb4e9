"""What a user of KerasTuner has: its documentation's own examples, and data."""

import keras
import keras_tuner
import numpy as np
from keras import layers

from kapps.tuning import RandomSearch


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
    """Images whose class is where their bright row is."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 120)
    x = rng.random((120, 10, 3)).astype("float32") * 0.5
    x[np.arange(120), labels] += 1.0
    y = keras.utils.to_categorical(labels, 10)
    return (x[:80], y[:80]), (x[80:], y[80:])


def shared(hp):
    """keras.io/guides/keras_tuner/tailor_the_search_space: a model of other people."""
    model = keras.Sequential([layers.Flatten()])
    for i in range(hp.Int("num_layers", 1, 3)):
        model.add(layers.Dense(hp.Int(f"units_{i}", 32, 64, step=32), activation="relu"))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(
        optimizer=keras.optimizers.Adam(
            hp.Float("learning_rate", min_value=1e-4, max_value=1e-2, sampling="log")
        ),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


class OwnLoop(keras_tuner.HyperModel):
    """keras.io/guides/keras_tuner/custom_tuner: a training loop that calls the callbacks."""

    def build(self, hp):
        return keras.Sequential(
            [layers.Flatten(), layers.Dense(hp.Int("units", 8, 16, step=8)), layers.Dense(10)]
        )

    def fit(self, hp, model, x, y, validation_data, callbacks=None, **kwargs):
        import tensorflow as tf

        batch_size = hp.Int("batch_size", 20, 40, step=20, default=40)
        train = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)
        optimizer = keras.optimizers.Adam(hp.Float("learning_rate", 1e-3, 1e-1, sampling="log"))
        loss_fn = keras.losses.CategoricalCrossentropy(from_logits=True)
        epoch_loss = keras.metrics.Mean()
        for callback in callbacks:
            callback.set_model(model)
        best = float("inf")
        for epoch in range(2):
            for images, labels in train:
                with tf.GradientTape() as tape:
                    loss = loss_fn(labels, model(images))
                gradients = tape.gradient(loss, model.trainable_variables)
                optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            epoch_loss.update_state(loss_fn(validation_data[1], model(validation_data[0])))
            value = float(epoch_loss.result())
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs={"my_metric": value})
            epoch_loss.reset_state()
            best = min(best, value)
        return best


class OwnFigures(keras_tuner.HyperModel):
    """The getting-started guide, "Specify the tuning objective": what fit returns."""

    def build(self, hp):
        return build_model(hp)

    def fit(self, hp, model, *args, **kwargs):
        return {"accuracy": hp.get("lr"), "vector": np.ones(3)}


class BatchSizes(RandomSearch):
    """custom_tuner and the FAQ: hyperparameters of the search's own arguments."""

    def run_trial(self, trial, *args, **kwargs):
        hp = trial.hyperparameters
        kwargs["batch_size"] = hp.Int("batch_size", 20, 80, step=20)
        return super().run_trial(trial, *args, **kwargs)


class BlackBox(RandomSearch):
    """The getting-started guide, "Use Keras Tuner as a black-box optimizer"."""

    def run_trial(self, trial, *args, **kwargs):
        hp = trial.hyperparameters
        x = hp.Float("x", min_value=-1.0, max_value=1.0)
        return x * x + 1


class Listens(RandomSearch):
    """A method that KerasTuner calls."""

    def on_epoch_end(self, trial, model, epoch, logs=None):
        pass
