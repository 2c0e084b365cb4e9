"""A user's own KerasTuner code under the runner: `HyperModel.build(hp)` and `fit`, unchanged."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import pathlib
import types
from typing import Any

import keras
import keras_tuner as kt

from kapps import models
from kapps.tuning.callbacks import Reporter
from kapps.tuning.workers.trial import Trial
from kapps.tuning.workers.worker import copy_checkpoints

BEST = "best.weights.h5"


@dataclasses.dataclass
class HyperModelTrials:
    """A target for `kapps.tuning.run_search`: builds and fits as KerasTuner's `Tuner` does.

    A trial that was interrupted goes on at its last epoch (Keras' BackupAndRestore: weights and
    optimizer; callbacks begin anew). One that Hyperband promotes goes on with the weights of the
    best epoch of the trial before it, as in KerasTuner.

    Attributes:
        hypermodel: a `HyperModel`, or a function `hp -> model`.
        objective: to know the best epoch.
        fit_args: positional arguments of `fit`.
        fit_kwargs: its keyword arguments.
    """

    hypermodel: Any
    objective: kt.Objective
    fit_args: tuple = ()
    fit_kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def model(self) -> kt.HyperModel:
        """As a HyperModel."""
        if isinstance(self.hypermodel, kt.HyperModel):
            return self.hypermodel
        model = kt.HyperModel()
        model.build = self.hypermodel
        return model

    def declare(self) -> kt.HyperParameters:
        """All hyperparameters, as KerasTuner finds them.

        It builds until every conditional scope has been active once.
        """
        oracle = kt.oracles.RandomSearchOracle(objective=self.objective)
        seeker = types.SimpleNamespace(oracle=oracle, hypermodel=self.model)
        hp = oracle.get_space()
        seeker.hypermodel.declare_hyperparameters(hp)
        oracle.update_space(hp)
        kt.engine.base_tuner.BaseTuner._activate_all_conditions(seeker)
        return oracle.hyperparameters

    def __call__(self, trial: Trial) -> Any:
        """Build and fit one point."""
        keras.utils.set_random_seed(trial.seed)
        hp, hypermodel = trial.hp, self.model
        model = hypermodel.build(hp)
        if not isinstance(model, keras.Model):
            raise kt.errors.FatalTypeError(
                f"build(hp) has to return a Keras model, and returned {type(model).__name__}"
            )
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
            kwargs["initial_epoch"] = first
            copy_checkpoints(trial, BEST)
            if model.built and (trial.directory / BEST).exists():
                _load(model, trial.directory / BEST)
        kwargs["callbacks"] = [
            *copy.deepcopy(self.fit_kwargs.get("callbacks", [])),
            Reporter(trial),
            _SaveBest(trial.directory / BEST, self.objective),
            *self._backup(trial, model),
        ]
        return self._metrics(hypermodel.fit(hp, model, *self.fit_args, **kwargs))

    def load(self, directory: pathlib.Path, hp: kt.HyperParameters) -> keras.Model:
        """The model of a finished trial with the weights of its best epoch.

        Args:
            directory: of the trial's execution.
            hp: its point.
        """
        model = self.model.build(hp)
        with contextlib.suppress(Exception):
            _build_on(model, self.fit_args, self.fit_kwargs)
        _load(model, directory / BEST)
        return model

    def _backup(self, trial: Trial, model: keras.Model) -> list:
        if not model.built:
            return []  # there is nothing yet that could be given back
        return [keras.callbacks.BackupAndRestore(trial.directory / "backup")]

    def _metrics(self, answer: Any) -> Any:
        """What `fit` returns, as KerasTuner reads it; None for what the epochs have told."""
        if answer is None:
            raise kt.errors.FatalTypeError(
                "fit() of the HyperModel returned None: return the history, a dictionary of "
                "metrics or the objective as a number"
            )
        return None if isinstance(answer, keras.callbacks.History) else answer


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
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
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
