"""A point of a space as KerasTuner's HyperParameters."""

from __future__ import annotations

import copy
from typing import Any

import keras_tuner as kt


def hyperparameters(space: dict[str, Any], values: dict[str, Any] | None = None):
    """A point of a space.

    Args:
        space: `HyperParameters.get_config()`, or a dictionary with its "space". It stays as it is:
            KerasTuner's `from_config` would change what it is given, and fail the second time.
        values: active hyperparameters by name; default: those of `space`.

    Returns:
        `keras_tuner.HyperParameters`.
    """
    config = {"space": space["space"], "values": space.get("values") if values is None else values}
    return kt.HyperParameters.from_config(copy.deepcopy(config))
