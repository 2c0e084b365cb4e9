"""Objectives: figures of validation data, and the direction in which they are better."""

from __future__ import annotations

import keras_tuner as kt

from kapps.errors import UserError


def validation_objective(
    objective: str | kt.Objective | None, *, own_fit: bool = False
) -> kt.Objective:
    """The objective, which has to be measured on validation data.

    Args:
        objective: None if what `fit` returns is a number to be small.
        own_fit: whether it is whatever the user's own `fit` returns; then only test data are
            refused.

    Raises:
        UserError: it is measured on training or test data, or its direction is not known.
    """
    if isinstance(objective, list | tuple) or hasattr(objective, "objectives"):
        raise UserError(
            "several objectives: KerasTuner adds them up, which says little. Give one objective, "
            "and cost='multiply_adds', 'parameters' or 'seconds' for a Pareto front."
        )
    name = objective if isinstance(objective, str) or objective is None else objective.name
    if name is not None and name.startswith("test"):
        raise UserError(
            f"objective {name!r}: the test split is for the winner, once. Use val_..., the same "
            "figure on validation data."
        )
    of_training = name is not None and not name.startswith("val_") and not own_fit
    if of_training and _direction_is_known(f"val_{name}"):
        raise UserError(
            f"objective {name!r} is measured on training data, which always asks for a larger "
            f"network. Use val_{name}."
        )
    try:
        return kt.engine.oracle.Oracle(objective=objective).objective
    except ValueError:
        raise UserError(
            f"objective {name!r}: is more better or worse? Say it with "
            f'keras_tuner.Objective({name!r}, direction="min") or "max" '
            f"(on the command line --objective {name}:min or {name}:max)."
        ) from None


def _direction_is_known(name: str) -> bool:
    try:
        kt.engine.oracle.Oracle(objective=name)
    except ValueError:
        return False
    return True
