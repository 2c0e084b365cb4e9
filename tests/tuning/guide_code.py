"""Further examples of KerasTuner's guides and API pages, in small."""

import pathlib

import keras
import keras_tuner
import numpy as np
from keras import layers

from kapps import tuning


def too_large(error):
    """failed_trials: a model that raises where it has too many parameters."""

    def build_model(hp):
        units_1 = hp.Int("units_1", 10, 40, step=10)
        units_2 = hp.Int("units_2", 10, 30, step=10)
        model = keras.Sequential(
            [keras.Input((20,)), layers.Dense(units_1), layers.Dense(units_2), layers.Dense(1)]
        )
        model.compile(loss="mse")
        if model.count_params() > 1200:
            raise error(f"Model too large! It contains {model.count_params()} params.")
        return model

    return build_model


def mlp_or_cnn(hp):
    """visualize_tuning: one of two kinds of network, each with settings of its own."""
    inputs = keras.Input((10, 3, 1))
    if hp.Choice("model_type", ["mlp", "cnn"]) == "mlp":
        x = layers.Flatten()(inputs)
        for i in range(hp.Int("mlp_layers", 1, 2)):
            x = layers.Dense(hp.Int(f"units_{i}", 8, 16, step=8), activation="relu")(x)
    else:
        x = inputs
        for i in range(hp.Int("cnn_layers", 1, 2)):
            x = layers.Conv2D(hp.Int(f"filters_{i}", 2, 4, step=2), 3, padding="same")(x)
        x = layers.Flatten()(x)
    if hp.Boolean("dropout"):
        x = layers.Dropout(0.5)(x)
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    model.compile(loss="categorical_crossentropy", metrics=["accuracy"], optimizer="adam")
    return model


class Cropped(keras_tuner.HyperModel):
    """getting_started, "Tune data preprocessing": a setting used both in build and in fit."""

    def build(self, hp):
        size = hp.Int("size", 4, 10)
        model = keras.Sequential([keras.Input((size, 3)), layers.Flatten(), layers.Dense(10)])
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
        return model

    def fit(self, hp, model, x, y, validation_data=None, **kwargs):
        if hp.Boolean("normalize"):
            x = layers.Normalization(mean=0.5, variance=1.0)(x)
        size = hp.get("size")
        x_val, y_val = validation_data
        return model.fit(
            x[:, :size], y, shuffle=hp.Boolean("shuffle"),
            validation_data=(x_val[:, :size], y_val), **kwargs,
        )  # fmt: skip


class CustomMetric(keras.metrics.Metric):
    """getting_started, "Custom metric as the objective": a mean squared error of one's own."""

    def __init__(self, **kwargs):
        super().__init__(name="custom_metric", **kwargs)
        self.sum = self.add_weight(name="sum", initializer="zeros")
        self.count = self.add_weight(name="count", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        values = keras.ops.square(y_pred - keras.ops.cast(y_true, "float32"))
        self.sum.assign_add(keras.ops.sum(values))
        self.count.assign_add(float(y_true.shape[0]))

    def result(self):
        return self.sum / self.count


def regressor(metrics):
    def build(hp):
        model = keras.Sequential([layers.Dense(hp.Int("units", 8, 32, 8)), layers.Dense(1)])
        model.compile(optimizer="adam", loss="mean_squared_error", metrics=metrics())
        return model

    return build


class HyperRegressor(keras_tuner.HyperModel):
    """The same guide: fit returns a number to be small, or a dictionary."""

    def __init__(self, as_dictionary):
        super().__init__()
        self.as_dictionary = as_dictionary

    def build(self, hp):
        return regressor(list)(hp)

    def fit(self, hp, model, x, y, validation_data, **kwargs):
        model.fit(x, y, **kwargs)
        x_val, y_val = validation_data
        difference = model.predict(x_val, verbose=0) - y_val
        if not self.as_dictionary:
            return np.mean(np.abs(difference))
        return {
            "metric_a": -np.mean(np.abs(difference)),
            "metric_b": np.mean(np.square(difference)),
        }


class KeepsCodeSeparate(tuning.RandomSearch):
    """The same guide: build, train and save in one function that knows nothing of the tuner."""

    folder = "."

    def run_trial(self, trial, **kwargs):
        hp = trial.hyperparameters
        return self.keras_code(
            units=hp.Int("units", 8, 32, 8),
            optimizer=hp.Choice("optimizer", ["adam", "adadelta"]),
            saving_path=pathlib.Path(self.folder, f"{trial.trial_id}.keras"),
        )

    @staticmethod
    def keras_code(units, optimizer, saving_path):
        model = keras.Sequential([layers.Dense(units, activation="relu"), layers.Dense(1)])
        model.compile(optimizer=optimizer, loss="mean_squared_error")
        x, y = np.random.rand(40, 4), np.random.rand(40, 1)
        model.fit(x, y, verbose=0)
        model.save(saving_path)
        return np.mean(np.abs(model.predict(x, verbose=0) - y))


class SklearnTrials(tuning.BayesianOptimization):
    """The API page of SklearnTuner, as a run_trial: a model of scikit-learn."""

    def run_trial(self, trial, x, y, *args, **kwargs):
        from sklearn import ensemble, linear_model, model_selection

        hp = trial.hyperparameters
        if hp.Choice("model_type", ["random_forest", "ridge"]) == "random_forest":
            model = ensemble.RandomForestClassifier(
                n_estimators=hp.Int("n_estimators", 5, 10), max_depth=hp.Int("max_depth", 3, 5)
            )
        else:
            model = linear_model.RidgeClassifier(alpha=hp.Float("alpha", 1e-3, 1, sampling="log"))
        return -model_selection.cross_val_score(model, x, y, cv=3).mean()
