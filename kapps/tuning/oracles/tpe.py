"""Optuna's tree-structured Parzen estimator as an oracle of KerasTuner's, and a local search."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import keras_tuner as kt
import numpy as np

from kapps.errors import UserError
from kapps.tuning.oracles import neighbours
from kapps.tuning.oracles.base import DRAWS, ResumableOracle, Values, draw_seed

try:
    import optuna
except ImportError:
    raise UserError(
        "algorithms tpe and tpe_local need Optuna: pip install 'kapps[optuna]'"
    ) from None


PARENTS = 3  # points whose neighbours are tried
STARTUP = 5  # random points, after the default one: a poor one costs as much as a good one


class TPEOracle(ResumableOracle, kt.Oracle):
    """TPE (Bergstra et al. 2011; Watanabe 2023, arXiv:2304.11127) by Optuna's sampler.

    Optuna is asked afresh for every trial with a seed of its own and told all that is known, so
    there is no state that could be lost. Trials that still run count as bad ones ("constant
    liar"), trials that failed are left out. With a cost, the sampler is that of two objectives.
    """

    takes_cost = True

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The point of the next trial."""
        self._seed_state = draw_seed(self.seed, len(self.trials))
        if self.recorded is not None:
            return {"status": "RUNNING", "values": dict(self.recorded)}
        return self._fresh({"status": "RUNNING", "values": self._next_values()})

    def _next_values(self) -> Values | None:
        return self._ask() if self.trials else self._random_values()

    def _ask(self) -> dict[str, Any]:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of its arguments are experimental
            sampler = optuna.samplers.TPESampler(
                seed=draw_seed(self.seed, len(self.trials)),
                constant_liar=True,
                n_startup_trials=STARTUP,
            )
            best = "maximize" if self.objective.direction == "max" else "minimize"
            directions: list[Literal["maximize", "minimize"]] = [best]
            if self.cost_of is not None:
                directions.append("minimize")
            study = optuna.create_study(sampler=sampler, directions=directions)
            study.add_trials([t for t in map(self._told, self.trials.values()) if t])
            asked = study.ask()
            return self._values(lambda hp: _suggested(asked, hp))

    def _told(self, trial: kt.engine.trial.Trial):
        """A trial as Optuna's, or None if there is nothing to tell."""
        if trial.status not in ("COMPLETED", "RUNNING"):
            return None
        values, hps = trial.hyperparameters.values, kt.HyperParameters()
        params, distributions = {}, {}
        for hp in self.hyperparameters.space:
            hps.merge([hp])
            if hp.name in values and not isinstance(hp, kt.engine.hyperparameters.Fixed):
                params[hp.name] = values[hp.name]
                distributions[hp.name] = _distribution(hp)
        done = trial.status == "COMPLETED"
        told = [trial.score] if done else []
        if done and self.cost_of is not None:
            told.append(self.cost_of(trial.trial_id))
            if not math.isfinite(told[1]):
                return None  # of an unknown cost there is nothing to be learnt
        states = optuna.trial.TrialState
        return optuna.trial.create_trial(
            params=params,
            distributions=distributions,
            values=told if done else None,
            state=states.COMPLETE if done else states.RUNNING,
        )


class TPELocalOracle(TPEOracle):
    """TPE for one point in three; the others are neighbours of one of the three best so far.

    A neighbour has one or two settings changed (`kapps.tuning.oracles.neighbours`). What TPE draws
    differs from the best point in many of twenty settings; where a search has dozens of trials and
    not thousands, small changes to what is good find more. Of the best one alone they would be
    stuck with the first that is lucky.
    """

    takes_cost = False

    def _next_values(self) -> Values | None:
        number, ended = len(self.trials), [t for t in self.trials.values() if t.score is not None]
        if number <= STARTUP or number % 3 == 0 or not ended:
            return super()._next_values()
        rng = np.random.default_rng(draw_seed(self.seed, number))
        parents = [t.hyperparameters.values for t in self._best_first(ended)[:PARENTS]]
        for _ in range(DRAWS):
            parent = parents[rng.integers(len(parents))]
            moved = neighbours.moved(self.hyperparameters.space, parent, rng)
            values = self._values(lambda hp, moved=moved: moved.get(hp.name, hp.default))
            if not self._duplicate(values):
                break
        return values


def _distribution(hp: kt.engine.hyperparameters.HyperParameter):
    """A hyperparameter as Optuna's; steps of a logarithm are a choice there."""
    distributions = optuna.distributions
    numeric = isinstance(hp, kt.engine.hyperparameters.Int | kt.engine.hyperparameters.Float)
    even = numeric and hp.sampling == "linear"
    if not even and not (numeric and hp.sampling == "log" and hp.step is None):
        return distributions.CategoricalDistribution(sorted(hp.values))
    ends = hp.min_value, hp.max_value
    if isinstance(hp, kt.engine.hyperparameters.Int):
        return distributions.IntDistribution(*ends, log=not even, step=hp.step or 1)
    return distributions.FloatDistribution(*ends, log=not even, step=hp.step or None)


def _suggested(trial: optuna.Trial, hp: kt.engine.hyperparameters.HyperParameter) -> Any:
    if isinstance(hp, kt.engine.hyperparameters.Fixed):
        return hp.value
    value = trial._suggest(hp.name, _distribution(hp))
    if getattr(hp, "step", None) and hp.sampling == "linear":
        return min(hp.values, key=lambda known: abs(known - value))  # 0.3, and not 0.1 + 0.2
    return value
