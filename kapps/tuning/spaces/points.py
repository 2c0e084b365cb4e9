"""Points of a space: all hyperparameters, their canonical values, choices that shrink."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import keras_tuner as kt

from kapps.tuning.spaces import steps

Space = Callable[[kt.HyperParameters], Any]

steps.mend()


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


def changes(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two spaces (`HyperParameters.get_config()`), in words.

    What only one of them says of a hyperparameter is no difference: a newer KerasTuner may say
    more.
    """

    def entries(space):
        return {f"{p['config']['name']} {p['config'].get('conditions')}": p for p in space["space"]}

    older, newer, told = entries(was), entries(now), []
    for place in dict.fromkeys([*older, *newer]):
        old, new = older.get(place), newer.get(place)
        name = next(one for one in (old, new) if one is not None)["config"]["name"]
        if old is None or new is None:
            told.append(f"{name} is {'new' if old is None else 'gone'}")
            continue
        shared = [key for key in old["config"] if key in new["config"]]
        said = [
            {"kind": one["class_name"]} | {key: one["config"][key] for key in shared}
            for one in (old, new)
        ]
        if said[0] != said[1]:
            told.append(f"{name} was {said[0]}, now {said[1]}")
    return told


def declared(*spaces: Space) -> kt.HyperParameters:
    """All hyperparameters of some spaces, with their default values."""
    hp = kt.HyperParameters()
    for space in spaces:
        space(hp)
    return hp


def canonical(*spaces: Space) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function that brings the values of a point into the form in which they are used."""

    def canonical_values(values: dict[str, Any]) -> dict[str, Any]:
        hp = kt.HyperParameters()
        hp.values = dict(values)
        for space in spaces:
            space(hp)
        for parameter in hp.space:
            if not hp.is_active(parameter):
                hp.values.pop(parameter.name, None)
        return hp.values

    return canonical_values


def shrunk(
    hp: kt.HyperParameters,
    name: str,
    values: Sequence[Any],
    allowed: Sequence[Any],
    default: Any = None,
) -> Any:
    """A choice among those of `values` that are `allowed`; None if it is not active.

    A value that is not allowed becomes one that is: the i-th of n becomes the (i m / n)-th of m.

    Args:
        hp: the point.
        name: of the hyperparameter.
        values: all that it may be, at any point.
        allowed: those of them that it may be at this point, in the same order; one at least.
        default: default value.
    """
    asked = hp.Choice(name, list(values), default=default)
    if asked is None or asked in allowed:
        return asked
    value = allowed[list(values).index(asked) * len(allowed) // len(values)]
    hp.values[name] = value
    return value


def none(value: str) -> str | None:
    """What a choice called "none" stands for."""
    return None if value == "none" else value
