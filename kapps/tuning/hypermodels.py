"""A user's own KerasTuner code under the runner: `HyperModel.build(hp)` and `fit`, unchanged."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import pathlib
import types
from collections.abc import Callable
from typing import Any

import keras
import keras_tuner as kt
import numpy as np

from kapps import files, models
from kapps.tuning.callbacks import Reporter
from kapps.tuning.spaces.points import hyperparameters
from kapps.tuning.workers.trial import Trial
from kapps.tuning.workers.worker import copy_checkpoints

BEST = "best.weights.h5"
SHAPES = "build.json"  # what Keras needs to build the model again


@dataclasses.dataclass
class HyperModelTrials:
    """A target for `kapps.tuning.run_search`: builds and fits as KerasTuner's `Tuner` does.

    A trial that was interrupted goes on at its last epoch (Keras' BackupAndRestore: weights and
    optimizer; callbacks begin anew). One that Hyperband promotes goes on with the weights of the
    best epoch of the trial before it, as in KerasTuner.

    Attributes:
        hypermodel: a `HyperModel`, or a function `hp -> model`; None if `run_trial` does all.
        objective: to know the best epoch.
        fit_args: positional arguments of `fit`.
        fit_kwargs: its keyword arguments.
        run_trial: what a user's own `Tuner` does with a trial, `(trial, *args, **kwargs)`.
        compiled: arguments of `compile` that take the place of the model's own; None: it keeps it.
    """

    hypermodel: Any
    objective: kt.Objective
    fit_args: tuple = ()
    fit_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    run_trial: Callable[..., Any] | None = None
    compiled: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def model(self) -> kt.HyperModel:
        """As a HyperModel."""
        if isinstance(self.hypermodel, kt.HyperModel):
            return self.hypermodel
        model = kt.HyperModel()
        model.build = self.hypermodel
        return model

    def declare(self, given: dict[str, Any]) -> kt.HyperParameters:
        """All hyperparameters, as KerasTuner finds them.

        It builds until every conditional scope has been active once.

        Args:
            given: "space", a configuration of what the user has declared, which comes before what
                is found; "tune_new" and "allow_new", as KerasTuner's `..._entries`.
        """
        oracle = kt.oracles.RandomSearchOracle(
            objective=self.objective,
            hyperparameters=hyperparameters(given["space"]),
            tune_new_entries=given["tune_new"],
            allow_new_entries=given["allow_new"],
        )
        if self.hypermodel is not None:
            finder = types.SimpleNamespace(
                oracle=oracle, hypermodel=types.SimpleNamespace(build=self.build)
            )
            hp = oracle.get_space()
            self.model.declare_hyperparameters(hp)
            oracle.update_space(hp)
            kt.engine.base_tuner.BaseTuner._activate_all_conditions(finder)
        return oracle.hyperparameters

    def build(self, hp: kt.HyperParameters) -> keras.Model:
        """The model of a point.

        Raises:
            keras_tuner.errors.FatalTypeError: it is no Keras model.
        """
        model = self.model.build(hp)
        if not isinstance(model, keras.Model):
            raise kt.errors.FatalTypeError(
                f"build(hp) has to return a Keras model, and returned {type(model).__name__}"
                "; what is none can be tuned in a run_trial of one's own"
            )
        given = {name: value for name, value in self.compiled.items() if value is not None}
        if given:
            own = (model.get_compile_config() or {}) if model.optimizer else {}
            kept = {
                "optimizer": model.optimizer,
                "loss": getattr(model, "loss", None),
                "metrics": keras.saving.deserialize_keras_object(own.get("metrics")),
            }
            model.compile(**kept | copy.deepcopy(given))
        return model

    def __call__(self, trial: Trial) -> Any:
        """Build and fit one point."""
        keras.utils.set_random_seed(trial.seed)
        if self.run_trial is None:
            return self.run(trial)
        answer = self.run_trial(trial, *self.fit_args, **copy.copy(self.fit_kwargs))
        return self._metrics(answer, "run_trial()")

    def run(self, trial: Trial) -> Any:
        """Build and fit one point, with these arguments."""
        hp, hypermodel = trial.hp, self.model
        model = self.build(hp)
        kwargs = copy.copy(self.fit_kwargs)
        with contextlib.suppress(Exception):
            _build_on(model, self.fit_args, kwargs)
        if model.built:
            trial.facts["parameters"] = model.count_params()
            with contextlib.suppress(AttributeError, TypeError):
                trial.facts["multiply_adds"] = models.multiply_adds(model)
        first = int(hp.values.get("tuner/initial_epoch", 0))
        if trial.epochs is not None:
            kwargs["epochs"] = trial.epochs
        if first:
            copy_checkpoints(trial, BEST)
            # On a machine that does not share the chief's directory there is nothing to go on
            # with, and fresh weights need all of the epochs.
            if model.built and (trial.directory / BEST).exists():
                _load(model, trial.directory / BEST)
                kwargs["initial_epoch"] = first
        kwargs["callbacks"] = [
            *_callbacks_of(trial, kwargs.get("callbacks") or []),
            Reporter(trial),
            _SaveBest(trial.directory / BEST, self.objective),
            *self._backup(trial, model),
        ]
        answer = hypermodel.fit(hp, model, *self.fit_args, **kwargs)
        with contextlib.suppress(TypeError, ValueError, AttributeError):
            files.write_json(trial.directory / SHAPES, model.get_build_config())
        return self._metrics(answer, "fit() of the HyperModel")

    def load(self, directory: pathlib.Path, hp: kt.HyperParameters) -> keras.Model:
        """The model of a finished trial with the weights of its best epoch.

        Args:
            directory: of the trial's execution.
            hp: its point.
        """
        model = self.build(hp)
        with contextlib.suppress(Exception):
            _build_on(model, self.fit_args, self.fit_kwargs)
        if not model.built and (directory / SHAPES).exists():
            model.build_from_config(json.loads((directory / SHAPES).read_text()))
        _load(model, directory / BEST)
        return model

    def _backup(self, trial: Trial, model: keras.Model) -> list:
        if not model.built:
            return []  # there is nothing yet that could be given back
        return [keras.callbacks.BackupAndRestore(trial.directory / "backup")]

    def _metrics(self, answer: Any, who: str) -> Any:
        """What the user's code returns, as KerasTuner reads it; None for what epochs have told."""
        if answer is None:
            raise kt.errors.FatalTypeError(
                f"{who} returned None: return the history, a dictionary of metrics or the "
                "objective as a number"
            )
        if isinstance(answer, list):  # of several executions
            found = [self._metrics(one, who) for one in answer]
            if any(one is None for one in found):
                return None
            rows = [one if isinstance(one, dict) else {self.objective.name: one} for one in found]
            return {n: float(np.mean([row[n] for row in rows])) for n in rows[0]}
        return None if isinstance(answer, keras.callbacks.History) else answer


def run_one(trials: HyperModelTrials, trial: Trial) -> Any:
    """KerasTuner's `Tuner.run_trial` for a user's own that calls it: never None."""
    answer = trials.run(trial)
    return keras.callbacks.History() if answer is None else answer


def _callbacks_of(trial: Trial, given: list) -> list:
    """Copies of the user's callbacks for one trial; TensorBoard's write to a place of their own.

    Raises:
        keras_tuner.errors.FatalValueError: one of them cannot be copied.
    """
    try:
        copies = copy.deepcopy(given)
    except Exception as error:
        raise kt.errors.FatalValueError(f"callbacks have to be copied, and {error}") from None
    for callback in copies:
        if isinstance(callback, keras.callbacks.TensorBoard):
            place = pathlib.Path(callback.log_dir, trial.trial_id, f"execution{trial.execution}")
            callback.log_dir = str(place)
    return copies


class _SaveBest(keras.callbacks.Callback):
    """Keeps the weights of the epoch with the best objective, over restarts as well."""

    def __init__(self, path, objective):
        super().__init__()
        self.path, self.objective, self.best = path, objective, None

    def on_epoch_end(self, epoch, logs=None):
        value = (logs or {}).get(self.objective.name)
        if value is None or self.best is None or self.objective.better_than(value, self.best):
            self.best = value
            beside = self.path.with_name(f"new-{self.path.name}")
            self.model.save_weights(beside)
            beside.replace(self.path)


def _load(model: keras.Model, path: pathlib.Path) -> None:
    """Weights, and the state of the optimizer, which Keras gives to one that is built."""
    optimizer = getattr(model, "optimizer", None)  # a model that was never compiled has none
    if optimizer is not None and not optimizer.built:
        optimizer.build(model.trainable_variables)
    model.load_weights(path)


def _build_on(model: keras.Model, args: tuple, kwargs: dict[str, Any]) -> None:
    """Give a model without an input its weights, from what it will be fitted on."""
    if model.built:
        return
    x = args[0] if args else kwargs["x"]
    if hasattr(x, "shape"):
        model.build((None, *x.shape[1:]))
    else:
        batch = next(iter(x))
        model(batch[0] if isinstance(batch, tuple) else batch)
