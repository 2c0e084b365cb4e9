"""A user's own KerasTuner code under the runner."""

import keras_tuner
import numpy as np
import pytest

from kapps import tuning
from kapps.errors import UserError
from tuning import user_code


def test_the_documented_hypermodel_runs_unchanged(tmp_path):
    (x_train, y_train), (x_val, y_val) = user_code.data()
    tuner = tuning.Tuner(
        keras_tuner.oracles.RandomSearchOracle("val_accuracy", max_trials=2, seed=1),
        user_code.MyHyperModel(),
        directory=tmp_path,
        project_name="tune_hypermodel",
        workers=1,
    )
    tuner.search(x_train, y_train, epochs=2, validation_data=(x_val, y_val))
    records = tuner.results.records
    assert [r.status for r in records] == ["completed"] * 2
    assert all(set(r.values) == {"units"} or set(r.values) == {"units", "shuffle"} for r in records)
    assert "shuffle" in records[-1].values  # it showed itself in fit, and is sought since then
    for record in records:
        assert (
            record.facts["multiply_adds"]
            == 30 * record.values["units"] + 10 * record.values["units"]
        )
        assert len(record.curves[0]) == 2
        assert record.score == max(row["val_accuracy"] for row in record.curves[0])
    best = tuner.get_best_hyperparameters()[0]
    assert best.get("units") == tuner.results.best_first()[0].values["units"]
    (model,) = tuner.get_best_models()
    accuracy = model.evaluate(x_val, y_val, verbose=0)[1]
    assert accuracy == pytest.approx(tuner.results.best_first()[0].score, abs=1e-6)


def test_hyperband_goes_on_with_the_weights_of_the_trial_before(tmp_path):
    (x_train, y_train), validation = user_code.data()
    tuner = tuning.Tuner(
        keras_tuner.oracles.HyperbandOracle("val_loss", max_epochs=2, factor=2, seed=1),
        user_code.build_model,
        directory=tmp_path,
        workers=0,
        budget=tuning.Budget(trials=5),
    )
    tuner.search(x_train, y_train, validation_data=validation)
    promoted = [r for r in tuner.results.records if r.past is not None]
    assert promoted and not tuner.results.failures()
    assert any("units_1" in r.values for r in tuner.results.records)
    for record in promoted:
        past = tuner.results.records[record.past]
        assert [row["epoch"] for row in record.curves[0]] == list(range(1, record.epochs + 1))
        assert record.curves[0][: past.epochs] == past.curves[0]
        # It begins where the other ended, and not where a network begins.
        assert record.curves[0][past.epochs]["loss"] < past.curves[0][0]["loss"]


class Interrupted(BaseException):
    pass


def test_an_interrupted_trial_goes_on_at_its_last_epoch(tmp_path):
    (x_train, y_train), validation = user_code.data()
    seen, stop_at = [], 2

    class Model(keras_tuner.HyperModel):
        def build(self, hp):
            return user_code.build_model(hp)

        def fit(self, hp, model, *args, callbacks, **kwargs):
            import keras

            class Stop(keras.callbacks.Callback):
                def on_epoch_begin(self, epoch, logs=None):
                    if epoch == stop_at:
                        raise Interrupted
                    seen.append(epoch)

            return model.fit(*args, callbacks=[*callbacks, Stop()], **kwargs)

    def search():
        tuner = tuning.Tuner(
            keras_tuner.oracles.RandomSearchOracle("val_loss", max_trials=1, seed=1),
            Model(),
            directory=tmp_path,
            workers=0,
        )
        tuner.search(x_train, y_train, epochs=4, validation_data=validation)
        return tuner.results.records[0]

    with pytest.raises(Interrupted):
        search()
    assert seen == [0, 1]
    stop_at = 99
    record = search()
    assert seen == [0, 1, 2, 3] and record.epochs == 4
    losses = [row["loss"] for row in record.curves[0]]
    assert losses == sorted(losses, reverse=True)


def test_fit_may_return_numbers(tmp_path):
    class Model(keras_tuner.HyperModel):
        def build(self, hp):
            return user_code.build_model(hp)

        def fit(self, hp, model, *args, **kwargs):
            return np.float32(hp.get("lr"))

    tuner = tuning.Tuner(
        keras_tuner.oracles.RandomSearchOracle(max_trials=2, seed=1),
        Model(),
        directory=tmp_path,
        workers=0,
    )
    tuner.search()
    assert [r.score for r in tuner.results.records] == pytest.approx(
        [r.values["lr"] for r in tuner.results.records]
    )
    best = tuner.get_best_hyperparameters()[0]
    assert best.get("lr") == min(r.values["lr"] for r in tuner.results.records)


def test_what_keras_tuner_calls_fatal_ends_the_search(tmp_path):
    tuner = tuning.Tuner(
        keras_tuner.oracles.RandomSearchOracle("val_loss", max_trials=2, seed=1),
        lambda hp: "no model",
        directory=tmp_path,
        workers=0,
    )
    with pytest.raises(UserError, match="returned str"):
        tuner.search()
