"""KerasTuner's `Tuner`, with the runner inside."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import keras_tuner as kt

from kapps.tuning import oracles
from kapps.tuning.hypermodels import HyperModelTrials
from kapps.tuning.results import Record, Results
from kapps.tuning.search import Budget, run_search
from kapps.tuning.spaces.points import hyperparameters


class Tuner:
    """Searches as `keras_tuner.Tuner` does, with the same methods, for the same code.

    What is different: trials run in worker processes (`workers`), so what is passed has to be
    importable from them: functions and classes at the top of a module, the call under
    `if __name__ == "__main__":`. Failed trials never end the search. The same script goes on with
    a search that was killed.

    Args:
        oracle: one of KerasTuner's.
        hypermodel: a `HyperModel`, or a function `hp -> model`.
        directory: as in KerasTuner.
        project_name: as in KerasTuner; the search is in `directory/project_name`.
        executions_per_trial: seeds per point.
        workers: processes; 0 runs all trials in this one.
        options: further arguments of `kapps.tuning.run_search`: stop_early, cost, recycle ...

    Raises:
        UserError: an oracle that cannot be resumed, or an objective that is not of validation.
    """

    def __init__(
        self,
        oracle: kt.Oracle,
        hypermodel: Any,
        directory: str = ".",
        project_name: str = "untitled_project",
        *,
        executions_per_trial: int = 1,
        workers: int = 1,
        **options: Any,
    ):
        self.oracle, self.hypermodel = oracles.adopted(oracle), hypermodel
        self.directory = pathlib.Path(directory, project_name)
        self.options = options | {"executions": executions_per_trial, "workers": workers}
        self.results: Results | None = None
        self._trials: HyperModelTrials | None = None

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Search, or go on searching.

        Args:
            fit_args: of `fit`.
            fit_kwargs: of `fit`; its `epochs` are those of a trial, unless Hyperband decides.
        """
        self._trials = HyperModelTrials(
            self.hypermodel, self.oracle.objective, fit_args, fit_kwargs
        )
        self.options.setdefault("budget", Budget(trials=self.oracle.limit))
        self.results = run_search(self._trials, self.oracle, self.directory, **self.options)

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

    def _hp(self, record: Record) -> kt.HyperParameters:
        return hyperparameters(self.results.space, record.values)
