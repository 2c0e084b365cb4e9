"""Points near to another one: what local search and evolution are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import keras_tuner as kt
import numpy as np

MOST_CHANGES = 2
REACH = 0.25  # standard deviation of a step, as a part of the range


def moved(
    space: Sequence[kt.engine.hyperparameters.HyperParameter],
    values: dict[str, Any],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The values of a point with one or two of them changed.

    Which ones is drawn from families, `filters_1` and `filters_2` being one, so that a setting
    that stands alone, as the learning rate does, is not lost among those of many stages.

    Args:
        space: all hyperparameters.
        values: of those that are active.
        rng: what draws.
    """
    families: dict[str, list] = {}
    for hp in space:
        if hp.name in values and len(_around(hp)) != 1:
            families.setdefault(re.sub(r"_\d+$", "", hp.name), []).append(hp)
    found = dict(values)
    if not families:
        return found
    count = min(int(rng.integers(1, MOST_CHANGES + 1)), len(families))
    for name in rng.choice(sorted(families), count, replace=False):
        members = families[name]
        hp = members[rng.integers(len(members))]
        found[hp.name] = _step(hp, values[hp.name], rng)
    return found


def _step(hp: kt.engine.hyperparameters.HyperParameter, value: Any, rng: np.random.Generator):
    """Another value: the next one up or down where there is an order, any other where not."""
    listed = _around(hp)
    if listed:
        categories = isinstance(value, str | bool)
        # The nearest, since steps of floats add up to what is nearly a value.
        distances = [x != value if categories else abs(x - value) for x in listed]
        place = int(np.argmin(distances))
        others = [
            i for i in range(len(listed)) if i != place and (categories or abs(i - place) < 2)
        ]
        return listed[others[rng.integers(len(others))]]
    low, high = hp.min_value, hp.max_value
    if hp.sampling == "linear":
        return float(np.clip(value + rng.normal() * REACH * (high - low), low, high))
    factor = math.exp(rng.normal() * REACH * math.log(high / low))
    return float(np.clip(value * factor, low, high))


def _around(hp: kt.engine.hyperparameters.HyperParameter) -> list[Any]:
    """All values in their order; none where they are a continuum."""
    if isinstance(hp, kt.engine.hyperparameters.Fixed):
        return [hp.value]
    if isinstance(hp, kt.engine.hyperparameters.Choice):
        return sorted(hp.values) if hp.ordered else list(hp.values)
    if isinstance(hp, kt.engine.hyperparameters.Float) and hp.step is None:
        return []
    return list(hp.values)
