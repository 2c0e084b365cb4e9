"""An oracle by its name, or from KerasTuner's own."""

from __future__ import annotations

from typing import Any

import keras_tuner as kt

from kapps.errors import UserError
from kapps.tuning.oracles.base import ResumableOracle
from kapps.tuning.oracles.hyperband import HyperbandOracle
from kapps.tuning.oracles.objectives import validation_objective
from kapps.tuning.oracles.standard import BayesianOracle, GridOracle, RandomOracle

OURS = {
    kt.oracles.RandomSearchOracle: (RandomOracle, ()),
    kt.oracles.GridSearchOracle: (GridOracle, ()),
    kt.oracles.BayesianOptimizationOracle: (
        BayesianOracle,
        ("num_initial_points", "alpha", "beta"),
    ),
    kt.oracles.HyperbandOracle: (
        HyperbandOracle,
        ("max_epochs", "factor", "hyperband_iterations"),
    ),
}


ALGORITHMS = ("random", "grid", "bayesian", "hyperband", "tpe")


def oracle(
    algorithm: str,
    objective: str | kt.Objective,
    space: kt.HyperParameters,
    *,
    seed: int = 0,
    epochs: int = 100,
    factor: int = 3,
) -> kt.Oracle:
    """An oracle by name.

    Args:
        algorithm: one of `ALGORITHMS`; "tpe" needs optuna.
        objective: a figure of validation, its direction guessed from its name where that is known.
        space: all hyperparameters.
        seed: of what is drawn.
        epochs: hyperband: what the last round of a bracket is trained for.
        factor: hyperband: one in how many is promoted.

    Raises:
        UserError: an unknown algorithm or objective, or optuna is missing.
    """
    goal = validation_objective(objective)
    given: dict[str, Any] = {"objective": goal, "hyperparameters": space}
    if algorithm == "hyperband":
        given |= {"max_epochs": epochs, "factor": factor}
    if algorithm == "tpe":
        from kapps.tuning.oracles.tpe import TPEOracle

        made = TPEOracle(**given)
    else:
        classes = {
            "random": RandomOracle,
            "grid": GridOracle,
            "bayesian": BayesianOracle,
            "hyperband": HyperbandOracle,
        }
        if algorithm not in classes:
            raise UserError(f"algorithm {algorithm!r}: it is one of {', '.join(ALGORITHMS)}")
        made = classes[algorithm](**given)
    return _prepared(made, seed)


def adopted(given: kt.Oracle) -> kt.Oracle:
    """KerasTuner's own oracle, as a user has made it, in its careful form.

    Raises:
        UserError: it is of a class of the user's: nothing is known of how to replay it.
    """
    if isinstance(given, ResumableOracle):
        return given
    for theirs, (ours, names) in OURS.items():
        if type(given) is theirs:
            made = ours(
                objective=validation_objective(given.objective),
                hyperparameters=given.hyperparameters,
                tune_new_entries=given.tune_new_entries,
                allow_new_entries=given.allow_new_entries,
                **{name: getattr(given, name) for name in names},
            )
            made.limit = given.max_trials
            return _prepared(made, given.seed)
    raise UserError(
        f"an oracle of the class {type(given).__name__} cannot be resumed. Use one of KerasTuner's "
        f"own ({', '.join(theirs.__name__ for theirs in OURS)})."
    )


def _prepared(made: kt.Oracle, seed: int) -> kt.Oracle:
    made.seed = seed  # KerasTuner takes any other for 0
    made.verbose = 0
    made.max_trials = None  # the runner counts, so that a budget may grow
    if not hasattr(made, "limit"):
        made.limit = None
    return made
