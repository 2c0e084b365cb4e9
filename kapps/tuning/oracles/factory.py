"""An oracle by its name, or from KerasTuner's own."""

from __future__ import annotations

from typing import Any

import keras_tuner as kt

from kapps.errors import UserError
from kapps.tuning.oracles.base import ResumableOracle
from kapps.tuning.oracles.brackets import rounds_for
from kapps.tuning.oracles.hyperband import HyperbandOracle
from kapps.tuning.oracles.objectives import validation_objective
from kapps.tuning.oracles.standard import BayesianOracle, GridOracle, RandomOracle

ALGORITHMS = ("random", "grid", "bayesian", "hyperband", "tpe", "tpe_local")
# KerasTuner's class: ours, and what is copied from a given one.
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


def oracle(
    algorithm: str,
    objective: str | kt.Objective,
    space: kt.HyperParameters,
    *,
    seed: int = 0,
    epochs: int = 100,
    factor: int = 3,
    trials: int | None = None,
) -> kt.Oracle:
    """An oracle by name.

    Args:
        algorithm: one of `ALGORITHMS`; "tpe" and "tpe_local" (which also tries the neighbours of
            the best points) need Optuna.
        objective: a figure of validation, its direction guessed from its name where that is known.
        space: all hyperparameters.
        seed: of what is drawn.
        epochs: hyperband: what the last round of a bracket is trained for.
        factor: hyperband: one in how many is promoted.
        trials: hyperband: the budget that the first bracket has to fit into; then no round has
            fewer than two epochs. Default: brackets from one epoch on, as in the paper. A search
            that goes on with a larger budget keeps its brackets.

    Raises:
        UserError: an unknown algorithm or objective, Optuna is missing, or a budget that is too
            small for Hyperband.
    """
    if algorithm not in ALGORITHMS:
        raise UserError(f"algorithm {algorithm!r}: it is one of {', '.join(ALGORITHMS)}")
    given: dict[str, Any] = {
        "objective": validation_objective(objective),
        "hyperparameters": space,
    }
    if algorithm == "hyperband":
        made = HyperbandOracle(**given, max_epochs=epochs, factor=factor)
        if trials is not None:
            made.limit_rounds(rounds_for(trials, epochs, factor))
            made.open = frozenset({"rounds"})
    elif algorithm.startswith("tpe"):
        from kapps.tuning.oracles import tpe

        made = {"tpe": tpe.TPEOracle, "tpe_local": tpe.TPELocalOracle}[algorithm](**given)
    else:
        known = {"random": RandomOracle, "grid": GridOracle, "bayesian": BayesianOracle}
        made = known[algorithm](**given)
    return _prepared(made, seed)


def adopted(given: kt.Oracle, *, own_fit: bool = False) -> kt.Oracle:
    """KerasTuner's own oracle, as a user has made it, in its resumable form.

    Args:
        given: of one of KerasTuner's classes; its seed may have been drawn by KerasTuner, so a
            search that goes on takes the one of its journal.
        own_fit: whether the objective is whatever the user's own `fit` returns.

    Raises:
        UserError: it is of a class of the user's: nothing is known of how to replay it.
    """
    if isinstance(given, ResumableOracle):
        return given
    for theirs, (ours, names) in OURS.items():
        if type(given) is theirs:
            made = ours(
                objective=validation_objective(given.objective, own_fit=own_fit),
                hyperparameters=given.hyperparameters,
                tune_new_entries=given.tune_new_entries,
                allow_new_entries=given.allow_new_entries,
                **{name: getattr(given, name) for name in names},
            )
            made.limit, made.open = given.max_trials, frozenset({"seed"})
            return _prepared(made, given.seed)
    raise UserError(
        f"an oracle of the class {type(given).__name__} cannot be resumed. Use one of KerasTuner's "
        f"own ({', '.join(theirs.__name__ for theirs in OURS)})."
    )


def _prepared(made: kt.Oracle, seed: int) -> kt.Oracle:
    made.seed = seed  # KerasTuner takes 0 for none
    made.verbose = 0
    made.max_trials = None  # the search counts, so that a budget may grow
    return made
