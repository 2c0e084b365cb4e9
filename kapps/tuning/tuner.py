"""KerasTuner's `Tuner`, with the search of this package inside."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pathlib
import shutil
from typing import Any

import keras
import keras_tuner as kt

from kapps.errors import UserError
from kapps.tuning import oracles
from kapps.tuning.hypermodels import HyperModelTrials, run_one
from kapps.tuning.results import Record, Results, read_results
from kapps.tuning.search import run_search
from kapps.tuning.spaces.points import hyperparameters
from kapps.tuning.state import JOURNAL, Budget
from kapps.tuning.workers.agent import serve_chief
from kapps.tuning.workers.trial import SearchError
from kapps.tuning.workers.wire import remote_role

# Of KerasTuner's methods those that are never called here.
UNCALLED = (
    "on_search_begin", "on_search_end", "on_trial_begin", "on_trial_end", "on_epoch_begin",
    "on_epoch_end", "on_batch_begin", "on_batch_end", "pre_create_trial", "load_model",
    "save_model",
)  # fmt: skip
# Of its arguments those that there are not, and what to do instead.
INSTEAD = {
    "max_model_size": "raise keras_tuner.errors.FailedTrialError in build(hp)",
    "distribution_strategy": "build the model in strategy.scope() in build(hp)",
}
IGNORED = ("logger", "tuner_id")


class FatalError(UserError, kt.errors.FatalError):
    """What KerasTuner's code catches where its own search would end."""


class Tuner:
    """Searches as `keras_tuner.Tuner` does, with the same methods, for the same code.

    What is different: trials run in worker processes (`workers`), so what is passed has to be
    importable from them: functions and classes at the top of a module, the call under
    `if __name__ == "__main__":`, arrays and no `tf.data.Dataset`. Failed trials never end the
    search and are not tried again, since they would fail again: the seed is the same. The same
    script goes on with a search that was killed, or does nothing if it is done. With KerasTuner's
    environment variables, and a secret, it is a chief or a worker (`kapps.tuning.workers.wire`).

    Args:
        oracle: one of KerasTuner's.
        hypermodel: a `HyperModel`, or a function `hp -> model`; None if a subclass has a
            `run_trial` of its own that needs none.
        directory: as in KerasTuner.
        project_name: as in KerasTuner; the search is in `directory/project_name`.
        executions_per_trial: seeds per point.
        overwrite: throw away what is in that directory.
        workers: processes; 0 runs all trials in this one.
        optimizer: for the models, in place of their own.
        loss: likewise.
        metrics: likewise.
        options: further arguments of `kapps.tuning.run_search`: stop_early, cost, recycle ...

    Raises:
        UserError: an oracle that cannot be resumed, an objective that is not of validation, an
            argument or a method of KerasTuner's that there is not.
    """

    def __init__(
        self,
        oracle: kt.Oracle,
        hypermodel: Any = None,
        directory: str | None = None,
        project_name: str | None = None,
        *,
        executions_per_trial: int = 1,
        overwrite: bool = False,
        workers: int = 1,
        optimizer: Any = None,
        loss: Any = None,
        metrics: Any = None,
        **options: Any,
    ):
        options = {name: value for name, value in options.items() if name not in IGNORED}
        _check(type(self), hypermodel, options)
        own_fit = self._has_own_run_trial() or (
            isinstance(hypermodel, kt.HyperModel) and type(hypermodel).fit is not kt.HyperModel.fit
        )
        self.oracle, self.hypermodel = oracles.adopted(oracle, own_fit=own_fit), hypermodel
        self.directory = pathlib.Path(directory or ".", project_name or "untitled_project")
        self.options = options | {"executions": executions_per_trial, "workers": workers}
        self._results: Results | None = None
        self._compiled = {"optimizer": optimizer, "loss": loss, "metrics": metrics}
        self._trials = HyperModelTrials(hypermodel, self.oracle.objective, compiled=self._compiled)
        if overwrite and remote_role() != "worker":
            shutil.rmtree(self.directory, ignore_errors=True)

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process, which needs neither the oracle nor what was found."""
        return self.__dict__ | {"oracle": None, "_results": None}

    @property
    def results(self) -> Results:
        """What was found, by this process or by one before it.

        Raises:
            UserError: nothing has been searched yet.
        """
        if self._results is None:
            if not (self.directory / JOURNAL).exists():
                raise UserError(f"nothing has been searched in {self.directory} yet: call search()")
            self._results = read_results(self.directory)
        return self._results

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Search, or go on searching.

        Args:
            fit_args: of `fit`.
            fit_kwargs: of `fit`; its `epochs` are those of a trial, unless Hyperband decides.
        """
        run_trial = self.run_trial if self._has_own_run_trial() else None
        self._trials = HyperModelTrials(
            self.hypermodel,
            self.oracle.objective,
            fit_args,
            fit_kwargs,
            run_trial,
            self._compiled,
        )
        options: dict[str, Any] = {"budget": Budget(trials=self.oracle.limit)} | self.options
        try:
            if remote_role() == "worker":
                name = os.environ["KERASTUNER_TUNER_ID"]
                serve_chief(self._trials, f"{self.directory}-worker-{name}")
            else:
                self._results = run_search(self._trials, self.oracle, self.directory, **options)
        except SearchError as error:
            raise FatalError(str(error)) from None

    def run_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> Any:
        """Build and fit the model of a trial; a subclass may do something else.

        Args:
            trial: a `kapps.tuning.Trial`, with `hyperparameters` and `trial_id` as KerasTuner's.
            fit_args: of `search`.
            fit_kwargs: of `search`.

        Returns:
            As KerasTuner's: history, dictionary, number, or a list of one of these.
        """
        return run_one(
            dataclasses.replace(
                self._trials, fit_args=fit_args, fit_kwargs=fit_kwargs, run_trial=None
            ),
            trial,
        )

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[kt.HyperParameters]:
        """The points of the best trials."""
        return [self._hp(record) for record in self.results.best_first()[:num_trials]]

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """The models of the best trials, with the weights of their best epochs.

        For the best performance train the best point anew, on all data.
        """
        return [
            self._trials.load(
                self.directory / "trials" / f"{record.number:04d}" / "seed-0", self._hp(record)
            )
            for record in self.results.best_first()[:num_models]
        ]

    def search_space_summary(self, extended: bool = False) -> None:
        """Print the hyperparameters, one after the other.

        Args:
            extended: as in KerasTuner, where it changes nothing either.
        """
        space = self._trials.declare(
            {
                "space": self.oracle.hyperparameters.get_config(),
                "tune_new": self.oracle.tune_new_entries,
                "allow_new": self.oracle.allow_new_entries,
            }
        ).space
        print("Search space summary", f"Default search space size: {len(space)}", sep="\n")  # noqa: T201
        for hp in space:
            config = hp.get_config()
            print(f"{config.pop('name')} ({type(hp).__name__})", config, sep="\n")  # noqa: T201

    def results_summary(self, num_trials: int = 10) -> None:
        """Print the best trials.

        Args:
            num_trials: how many.
        """
        found = self.results
        lines = [
            "Results summary",
            f"Results in {self.directory}",
            f"Showing {num_trials} best trials",
            f'Objective(name="{found.objective}", direction="{found.direction}")',
        ]
        for record in found.best_first()[:num_trials]:
            lines += ["", f"Trial {record.number:04d} summary", "Hyperparameters:"]
            lines += [f"{name}: {value}" for name, value in record.values.items()]
            lines.append(f"Score: {record.score}")
        print("\n".join(lines))  # noqa: T201

    @property
    def remaining_trials(self) -> int | None:
        """How many trials the budget still has; None if there is no limit."""
        done = len(self.results.records) if (self.directory / JOURNAL).exists() else 0
        return None if self.oracle.limit is None else max(0, self.oracle.limit - done)

    def _has_own_run_trial(self) -> bool:
        return type(self).run_trial is not Tuner.run_trial

    def _hp(self, record: Record) -> kt.HyperParameters:
        return hyperparameters(self.results.space, record.values)


class _Named(Tuner):
    """A tuner with an oracle of its own, whose arguments it takes as well."""

    kind: type[kt.Oracle]

    def __init__(self, hypermodel: Any = None, *given: Any, **kwargs: Any):
        names = inspect.signature(self.kind).parameters.keys() & kwargs.keys()
        oracle = self.kind(*given, **{name: kwargs.pop(name) for name in names})
        super().__init__(oracle, hypermodel, **kwargs)


class RandomSearch(_Named):
    """`keras_tuner.RandomSearch`: its arguments, and those of `Tuner`."""

    kind = kt.oracles.RandomSearchOracle


class GridSearch(_Named):
    """`keras_tuner.GridSearch`: its arguments, and those of `Tuner`."""

    kind = kt.oracles.GridSearchOracle


class BayesianOptimization(_Named):
    """`keras_tuner.BayesianOptimization`: its arguments, and those of `Tuner`."""

    kind = kt.oracles.BayesianOptimizationOracle


class Hyperband(_Named):
    """`keras_tuner.Hyperband`: its arguments, and those of `Tuner`."""

    kind = kt.oracles.HyperbandOracle


def _check(kind: type, hypermodel: Any, options: dict[str, Any]) -> None:
    for name in options.keys() & INSTEAD.keys():
        if options.pop(name) is not None:
            raise UserError(f"there is no {name}= here: {INSTEAD[name]}")
    known = inspect.signature(run_search).parameters
    if unknown := [name for name in options if name not in known]:
        raise UserError(f"there is no {unknown[0]}= here")
    if called := [name for name in UNCALLED if hasattr(kind, name)]:
        raise UserError(
            f"{kind.__name__}.{called[0]} would not be called: trials run in other processes. Do "
            "it in run_trial, or in a callback of fit."
        )
    if hypermodel is None and kind.run_trial is Tuner.run_trial:
        raise UserError("a hypermodel is missing: give one, or a subclass with a run_trial")
