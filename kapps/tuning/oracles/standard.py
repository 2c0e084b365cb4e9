"""Random, grid and Bayesian search."""

from __future__ import annotations

import warnings
from typing import Any

import keras_tuner as kt
import numpy as np
import threadpoolctl

from kapps.tuning.oracles.base import ResumableOracle, Values, draw_seed


class RandomOracle(ResumableOracle, kt.oracles.RandomSearchOracle):
    """Random search."""

    takes_cost = True


class BayesianOracle(ResumableOracle, kt.oracles.BayesianOptimizationOracle):
    """A Gaussian process and its upper confidence bound."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The point of the next trial."""
        self._random_state = np.random.RandomState(draw_seed(self.seed, len(self.trials)))
        # One thread: fitting a few dozen points, more are in each other's way.
        with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
            warnings.simplefilter("ignore")  # the process on a bound of its length scale
            answer = super().populate_space(trial_id)
        return answer if self.recorded is not None else self._fresh(answer)


class GridOracle(ResumableOracle, kt.oracles.GridSearchOracle):
    """All combinations, ten values of what is continuous."""

    replays_by_itself, takes_cost = True, True

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The point of the next trial; the first is the default one."""
        answer = super().populate_space(trial_id)
        if answer["status"] == "RUNNING" and not self.start_order:
            answer["values"] = self.canonical(answer["values"])
        return answer

    def _get_next_combination(self, values: Values) -> Values | None:
        """The next point that is canonical: the others are the same networks again."""
        while (values := super()._get_next_combination(values)) is not None:
            if self.canonical(values) == values:
                break
        return values
