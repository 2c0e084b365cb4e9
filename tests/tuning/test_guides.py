"""Every example of KerasTuner's guides and API pages that test_tuner.py has not."""

import keras
import keras_tuner
import numpy as np
import pytest

from kapps import tuning
from kapps.errors import UserError
from tuning import guide_code, user_code

pytestmark = pytest.mark.usefixtures("eager")
RNG = np.random.default_rng(0)
ROWS = (RNG.random((40, 20)), RNG.random((40, 1)))
VALIDATION = (RNG.random((20, 20)), RNG.random((20, 1)))


def made(tmp_path, hypermodel, objective=None, kind=tuning.RandomSearch, **options):
    options = {"max_trials": 2, "workers": 0, "seed": 1} | options
    return kind(hypermodel, objective, directory=tmp_path, project_name="p", **options)


def on_rows(tuner):
    tuner.search(x=ROWS[0], y=ROWS[1], validation_data=VALIDATION, verbose=0)
    return tuner.results.records


@pytest.mark.slow
def test_failed_trials_are_told_and_the_grid_is_played_to_its_end(tmp_path, capsys):
    build = guide_code.too_large(keras_tuner.errors.FailedTrialError)
    tuner = made(
        tmp_path, build, "val_loss", tuning.GridSearch, overwrite=True,
        max_retries_per_trial=3, max_consecutive_failed_trials=8, max_trials=None,
    )  # fmt: skip
    records = on_rows(tuner)
    # Parameters by hand: 20 u1 + u1, u1 u2 + u2, u2 + 1.
    large = {
        r.number
        for r in records
        if 21 * (a := r.values["units_1"]) + r.values["units_2"] * (a + 2) + 1 > 1200
    }
    assert len(records) == 12 and len(large) == 5
    assert {r.number for r in records if r.status == "failed"} == large
    assert all("Model too large!" in r.reason for r in records if r.number in large)
    tuner.results_summary()
    assert capsys.readouterr().out.count("Score: ") == 7


@pytest.mark.slow
def test_a_fatal_error_ends_the_search_and_is_caught_by_its_name(tmp_path):
    build = guide_code.too_large(keras_tuner.errors.FatalError)
    tuner = made(tmp_path, build, "val_loss", tuning.GridSearch, max_trials=None)
    with pytest.raises(keras_tuner.errors.FatalError, match="Model too large!"):
        on_rows(tuner)
    assert not any(r.status == "failed" for r in tuner.results.records)


@pytest.mark.slow
def test_settings_that_belong_to_one_kind_of_network(tmp_path):
    """Four points are an mlp, so that five have both kinds among them."""
    (x, y), _ = user_code.data()
    hp = keras_tuner.HyperParameters()
    for name, value in (("dropout", False), ("mlp_layers", 1), ("cnn_layers", 1)):
        hp.Fixed(name, value)
    tuner = made(tmp_path, guide_code.mlp_or_cnn, "val_accuracy", max_trials=5, hyperparameters=hp)
    tuner.search(x[:40, ..., None], y[:40], validation_split=0.2, epochs=1, verbose=0)
    values = [r.values for r in tuner.results.records]
    assert not tuner.results.failures() and {v["model_type"] for v in values} == {"mlp", "cnn"}


@pytest.mark.slow
def test_a_setting_of_build_that_fit_uses_and_the_best_point_trained_again(tmp_path):
    (x, y), validation = user_code.data()
    tuner = made(tmp_path, guide_code.Cropped(), "val_accuracy", max_trials=3)
    tuner.search(x, y, epochs=1, validation_data=validation, verbose=0)
    assert not tuner.results.failures()
    best = tuner.get_best_hyperparameters(5)[0]
    hypermodel = guide_code.Cropped()
    model = hypermodel.build(best)
    hypermodel.fit(best, model, x, y, validation_data=validation, verbose=0)
    assert model.input_shape == (None, best.get("size"), 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metrics"),
    [
        ("val_mean_absolute_error", lambda: [keras.metrics.MeanAbsoluteError()]),
        ("val_custom_metric", lambda: [guide_code.CustomMetric()]),
    ],
)
def test_other_metrics_as_objectives(tmp_path, name, metrics):
    objective = keras_tuner.Objective(name, direction="min")
    records = on_rows(made(tmp_path, guide_code.regressor(metrics), objective))
    for record in records:
        assert record.score == record.curves[0][0][name]
        if name == "val_custom_metric":
            assert record.score == pytest.approx(record.metrics["val_loss"], rel=1e-5)


@pytest.mark.slow
def test_what_fit_returns_is_the_objective(tmp_path):
    numbers = on_rows(made(tmp_path / "a", guide_code.HyperRegressor(False)))
    objective = keras_tuner.Objective("metric_a", "max")
    tuner = made(tmp_path / "b", guide_code.HyperRegressor(True), objective)
    dictionaries = on_rows(tuner)
    assert [r.score for r in numbers] == pytest.approx([-r.score for r in dictionaries])
    assert all(r.metrics["metric_b"] > 0 for r in dictionaries)
    assert tuner.results.best_first()[0].score == max(r.score for r in dictionaries)


@pytest.mark.slow
def test_code_that_knows_nothing_of_the_tuner(tmp_path):
    tuner = made(tmp_path, None, kind=guide_code.KeepsCodeSeparate)
    tuner.folder = str(tmp_path)
    tuner.search()
    best = tuner.get_best_hyperparameters()[0]
    number = tuner.results.best_first()[0].number
    model = keras.models.load_model(tmp_path / f"{number:04d}.keras", compile=False)
    assert model.layers[0].units == best.get("units")
    tuner.keras_code(**best.values, saving_path=tmp_path / "best.keras")


@pytest.mark.slow
def test_a_model_of_scikit_learn(tmp_path):
    from sklearn.datasets import load_iris

    options = {"kind": guide_code.SklearnTrials, "num_initial_points": 2, "max_trials": 4}
    tuner = made(tmp_path, None, **options)
    tuner.search(*load_iris(return_X_y=True))
    assert not tuner.results.failures() and tuner.results.best_first()[0].score < -0.8


@pytest.mark.slow
def test_arguments_of_compile_take_the_place_of_the_models_own(tmp_path):
    tuner = made(
        tmp_path, guide_code.regressor(lambda: [keras.metrics.MeanAbsoluteError()]), "val_loss",
        optimizer=keras.optimizers.Adam(1e-2), loss="mae",
    )  # fmt: skip
    records = on_rows(tuner)
    for record in records:
        figures = record.metrics
        assert figures["val_loss"] == pytest.approx(figures["val_mean_absolute_error"], rel=1e-5)
    (model,) = tuner.get_best_models()
    assert model.loss == "mae" and float(model.optimizer.learning_rate) == pytest.approx(1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["HyperXception", "HyperResNet", "HyperEfficientNet"])
def test_ready_made_hypermodels(tmp_path, name, monkeypatch):
    """With one rate to seek, as in tailor_the_search_space; a small net in place of the large."""
    seen = []
    application = getattr(keras_tuner.applications, name)(input_shape=(32, 32, 3), classes=10)

    def small(hp):
        seen.append(hp.Choice("learning_rate", [1e-4]))
        model = keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax")]
        )
        model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
        return model

    monkeypatch.setattr(application, "build", small)
    hp = keras_tuner.HyperParameters()
    hp.Choice("learning_rate", values=[1e-2, 1e-3, 1e-4])
    tuner = made(
        tmp_path, application, "val_accuracy", hyperparameters=hp, tune_new_entries=False,
        loss="sparse_categorical_crossentropy", metrics=["accuracy"],
    )  # fmt: skip
    x, y = RNG.random((20, 4, 4, 3)), RNG.integers(0, 10, (20, 1))
    tuner.search(x, y, epochs=1, validation_data=(x, y), verbose=0)
    assert not tuner.results.failures() and len(tuner.results.records) == 2
    assert {r.values["learning_rate"] for r in tuner.results.records} <= {1e-2, 1e-3, 1e-4}


def test_a_strategy_is_refused_with_what_to_do(tmp_path):
    """distributed_tuning: the same by building in its scope."""
    with pytest.raises(UserError, match="strategy.scope"):
        made(
            tmp_path, user_code.build_model, "val_accuracy", tuning.Hyperband, max_trials=None,
            distribution_strategy=object(), overwrite=True,
        )  # fmt: skip


def test_a_tuner_on_another_machine_is_a_worker(tmp_path, monkeypatch):
    """distributed_tuning: KerasTuner's variables, and nothing else of the script, say it."""
    from kapps.tuning import tuner as module

    for name, value in (
        ("KERASTUNER_TUNER_ID", "tuner0"), ("KERASTUNER_ORACLE_IP", "127.0.0.1"),
        ("KERASTUNER_ORACLE_PORT", "8000"), ("KAPPS_TUNER_KEY", "secret"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    served = []
    monkeypatch.setattr(module, "serve_chief", lambda *given: served.append(given))
    (tmp_path / "p").mkdir()
    tuner = made(tmp_path, user_code.build_model, "val_accuracy", overwrite=True)
    tuner.search(ROWS[0], epochs=1)
    ((target, directory),) = served
    assert target.fit_args[0] is ROWS[0] and directory.endswith("p-worker-tuner0")
    assert (tmp_path / "p").is_dir()  # the chief's, which alone may throw it away
