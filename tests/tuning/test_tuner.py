"""A user's own KerasTuner code under the runner."""

import keras
import keras_tuner
import numpy as np
import pytest

from kapps import tuning
from kapps.errors import UserError
from kapps.tuning.workers import pool
from tuning import user_code

pytestmark = pytest.mark.usefixtures("eager")


@pytest.mark.slow
def test_the_documented_hypermodel_runs_unchanged(tmp_path):
    (x_train, y_train), (x_val, y_val) = user_code.data()
    tuner = tuning.Tuner(
        keras_tuner.oracles.RandomSearchOracle("val_accuracy", max_trials=2, seed=1),
        user_code.MyHyperModel(),
        directory=tmp_path,
        project_name="tune_hypermodel",
        workers=0,
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


@pytest.mark.slow
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


@pytest.mark.parametrize(("kept", "trained"), [(True, [3]), (False, [1, 2, 3])])
def test_what_is_promoted_on_another_machine_is_trained_from_its_first_epoch(
    kept, trained, tmp_path
):
    """Without the directory of the trial before it there are no weights to go on with."""
    (x, y), validation = user_code.data()
    hp = keras_tuner.HyperParameters()
    user_code.build_model(hp)
    target = tuning.HyperModelTrials(
        user_code.build_model, keras_tuner.Objective("val_loss", "min"), (x, y),
        {"validation_data": validation, "verbose": 0},
    )  # fmt: skip
    values = dict(hp.values)
    job = {
        "number": 0, "values": values, "space": hp.get_config()["space"], "seeds": [1],
        "epochs": 2, "past": None, "directory": str(tmp_path / "0000"),
    }  # fmt: skip
    first = tuning.Trial(job, 0, lambda message: True)
    target(first)
    first.close()
    if not kept:
        (tmp_path / "0000").rename(tmp_path / "elsewhere")
    told = []
    promoted = job | {
        "number": 1, "values": values | {"tuner/initial_epoch": 2, "tuner/epochs": 3},
        "epochs": 3, "past": str(tmp_path / "0000"), "directory": str(tmp_path / "0001"),
    }  # fmt: skip
    second = tuning.Trial(promoted, 0, lambda message: told.extend(message["rows"]) or True)
    told.clear()  # what it came with
    target(second)
    second.close()
    assert [row["epoch"] for row in told] == trained
    assert [row["epoch"] for row in second.rows] == [1, 2, 3]


class Interrupted(BaseException):
    pass


@pytest.mark.slow
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


def made(tmp_path, hypermodel=user_code.build_model, objective="val_loss", kind=None, **options):
    options = {"max_trials": 3, "seed": 1, "workers": 0} | options
    kind = kind or tuning.RandomSearch
    return kind(hypermodel, objective, directory=tmp_path, project_name="p", **options)


@pytest.mark.slow
def test_fixed_hyperparameters_with_two_workers(tmp_path):
    """tailor_the_search_space: one is fixed, the others are found; today 1 of 6 trials."""
    hp = keras_tuner.HyperParameters()
    hp.Fixed("learning_rate", value=1e-3)
    (x, y), validation = user_code.data()
    tuner = made(
        tmp_path, user_code.shared, hyperparameters=hp, max_trials=4, workers=2, overwrite=True
    )
    tuner.search(x, y, epochs=1, validation_data=validation)
    records = tuner.results.records
    assert len(records) == 4 and {r.status for r in records} == {"completed"}
    assert {r.values["learning_rate"] for r in records} == {1e-3}
    assert len({str(r.values) for r in records}) == 4


@pytest.mark.slow
def test_only_what_was_declared_is_sought(tmp_path):
    hp = keras_tuner.HyperParameters()
    hp.Float("learning_rate", min_value=1e-4, max_value=1e-2, sampling="log")
    (x, y), validation = user_code.data()
    tuner = made(tmp_path / "a", user_code.shared, hyperparameters=hp, tune_new_entries=False)
    tuner.search(x, y, epochs=1, validation_data=validation)
    assert len({r.values["learning_rate"] for r in tuner.results.records}) == 3
    assert {r.values.get("num_layers", 1) for r in tuner.results.records} == {1}
    tuner = made(tmp_path / "b", user_code.shared, hyperparameters=hp, allow_new_entries=False)
    with pytest.raises(UserError, match="allow_new_entries"):
        tuner.search(x, y, epochs=1, validation_data=validation)
    assert not (tmp_path / "b" / "p" / "trials").exists()


@pytest.mark.slow
def test_run_trial_may_tune_the_arguments_of_search(tmp_path):
    (x, y), validation = user_code.data()
    tuner = made(tmp_path, kind=user_code.BatchSizes)
    tuner.search(x, y, epochs=1, validation_data=validation)
    records = tuner.results.records
    assert not tuner.results.failures() and len(records[0].curves[0]) == 1
    assert len({r.values["batch_size"] for r in records}) > 1


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_black_box_needs_no_model(tmp_path, workers):
    """Its space is found in the first trial; it is not taken for an exhausted one."""
    tuner = made(tmp_path, None, None, kind=user_code.BlackBox, max_trials=5, workers=workers)
    tuner.search()
    records = tuner.results.records
    assert len(records) == 5 and len({r.values.get("x") for r in records}) == 5
    assert all(r.score == pytest.approx(r.values["x"] ** 2 + 1) for r in records)


@pytest.mark.slow
def test_models_of_a_training_loop_of_ones_own(tmp_path):
    (x, y), (x_val, y_val) = user_code.data()
    tuner = made(tmp_path, user_code.OwnLoop(), keras_tuner.Objective("my_metric", "min"))
    tuner.search(x, y, validation_data=(x_val, y_val))
    assert not tuner.results.failures()
    (model,) = tuner.get_best_models()
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)(y_val, model(x_val))
    assert float(loss) == pytest.approx(tuner.results.best_first()[0].score, rel=1e-4)
    again = made(tmp_path, user_code.OwnLoop(), keras_tuner.Objective("my_metric", "min"))
    (model,) = again.get_best_models()  # of another process
    assert float(keras.losses.CategoricalCrossentropy(from_logits=True)(y_val, model(x_val))) == (
        pytest.approx(float(loss))
    )


def test_a_figure_that_ones_own_fit_returns_is_an_objective(tmp_path, capfd):
    tuner = made(tmp_path, user_code.OwnFigures(), keras_tuner.Objective("accuracy", "max"))
    tuner.search()
    records = tuner.results.records
    assert [r.score for r in records] == [r.values["lr"] for r in records]
    assert set(records[0].metrics) == {"accuracy"}
    with pytest.raises(UserError, match="Use val_accuracy"):
        made(tmp_path, user_code.build_model, keras_tuner.Objective("accuracy", "max"))


@pytest.mark.slow
def test_again_more_and_anew(tmp_path):
    (x, y), validation = user_code.data()
    tuner = made(tmp_path, max_trials=2, seed=None)
    tuner.search(x, y, epochs=1, validation_data=validation)
    first = [r.values for r in tuner.results.records]
    tuner.search(x, y, epochs=1, validation_data=validation)
    assert [r.values for r in tuner.results.records] == first and tuner.remaining_trials == 0
    more = made(tmp_path, max_trials=3, seed=None)
    assert more.remaining_trials == 1
    more.search(x, y, epochs=1, validation_data=validation)
    assert [r.values for r in more.results.records][:2] == first
    anew = made(tmp_path, overwrite=True)
    with pytest.raises(UserError, match="nothing has been searched"):
        anew.get_best_hyperparameters()


@pytest.mark.slow
def test_summaries(tmp_path, capsys):
    (x, y), validation = user_code.data()
    tuner = made(tmp_path, max_trials=2)
    tuner.search_space_summary()
    told = capsys.readouterr().out
    assert "num_layers (Int)" in told and "lr (Float)" in told
    tuner.search(x, y, epochs=1, validation_data=validation)
    tuner.results_summary()
    told = capsys.readouterr().out
    assert told.count("Score: ") == 2 and "num_layers: " in told


@pytest.mark.slow
def test_tensorboard_writes_to_a_place_of_each_trial(tmp_path):
    (x, y), validation = user_code.data()
    tuner = made(tmp_path, max_trials=2)
    board = keras.callbacks.TensorBoard(tmp_path / "logs")
    tuner.search(x, y, epochs=1, validation_data=validation, callbacks=[board])
    found = {p.relative_to(tmp_path / "logs").parts[0] for p in tmp_path.glob("logs/**/*events*")}
    assert found == {"0000", "0001"}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("GridSearch", {"max_trials": 2}),
        ("BayesianOptimization", {"max_trials": 2, "num_initial_points": 2}),
        ("Hyperband", {"max_epochs": 2, "factor": 2, "hyperband_iterations": 1}),
    ],
)
def test_keras_tuners_names(tmp_path, name, options):
    tuner = getattr(tuning, name)(
        user_code.build_model, "val_loss", directory=tmp_path, workers=0, seed=2, **options
    )
    theirs = getattr(keras_tuner.oracles, f"{name}Oracle")
    assert isinstance(tuner.oracle, theirs) and tuner.oracle.seed == 2
    for key, value in options.items():
        assert getattr(tuner.oracle, "limit" if key == "max_trials" else key) == value


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": user_code.Listens}, "Listens.on_epoch_end would not be called"),
        ({"objective": ["val_loss", "val_accuracy"]}, "several objectives"),
        ({"distribution_strategy": object()}, "strategy.scope"),
        ({"max_model_size": 10}, "raise keras_tuner.errors.FailedTrialError"),
        ({"colour": "red"}, "no colour="),
        ({"hypermodel": None}, "a hypermodel is missing"),
    ],
)
def test_what_cannot_run_is_refused_before_a_trial(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        made(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_what_is_no_keras_model_is_refused_before_a_trial(tmp_path):
    from sklearn.linear_model import LogisticRegression

    tuner = made(tmp_path, lambda hp: LogisticRegression(C=hp.Float("c", 0.1, 1.0)))
    with pytest.raises(UserError, match="returned LogisticRegression"):
        tuner.search()
    assert not (tmp_path / "p" / "trials").exists()


def test_a_dataset_cannot_go_to_a_worker(tmp_path):
    import tensorflow as tf

    (x, y), _ = user_code.data()
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(20)
    tuner = made(tmp_path / "a", workers=1)
    with pytest.raises(UserError, match="workers=0"):
        tuner.search(batches, validation_data=batches)
    tuner = made(tmp_path / "b", max_trials=1)
    tuner.search(batches, validation_data=batches)
    assert tuner.results.complete


def test_what_is_defined_in_a_notebook_cannot_go_to_a_worker(monkeypatch):
    main = pool.sys.modules["__main__"]
    monkeypatch.setattr(main, "model_of_a_cell", lambda hp: None, raising=False)
    main.model_of_a_cell.__module__ = "__main__"
    main.model_of_a_cell.__qualname__ = "model_of_a_cell"
    monkeypatch.setattr(main, "__file__", "<stdin>", raising=False)
    with pytest.raises(UserError, match="notebook or on standard input.*workers=0"):
        pool.pickled(main.model_of_a_cell)


def test_a_users_environment_comes_before_a_fair_share(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert "OMP_NUM_THREADS" not in pool.environments(2, [])[0]
