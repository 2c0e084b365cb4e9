"""What inputs were like in training, and how many of those that are served are unlike it.

A feature is a channel of pictures, a variable of series, a coordinate of points, a column of a
table. Of each example it has one value, the mean over everything else (pixels, steps); NaN does not
count. `assets.extra/input_statistics.json` holds mean and standard deviation of these values over
the training examples:

    {"image": {"mean": [72.9], "std": [32.1]}}

An example is unlike them where a value is further than four standard deviations from the mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kapps import files

FILE = Path("assets.extra", "input_statistics.json")
FAR = 4.0  # standard deviations
MOST_FEATURES = 64  # of an input: each has counters of its own
Statistics = Mapping[str, Mapping[str, list[float]]]


def values_of(examples: np.ndarray) -> np.ndarray:
    """The value of each feature: [n, ..., features], or [n] of one feature -> [n, features].

    NaN where an example has none.
    """
    examples = np.asarray(examples, np.float64)
    if examples.ndim == 1:
        examples = examples[:, None]
    flat = examples.reshape(len(examples), math.prod(examples.shape[1:-1]), examples.shape[-1])
    there = ~np.isnan(flat)
    with np.errstate(invalid="ignore"):  # 0 / 0 where there is nothing
        return np.where(there, flat, 0.0).sum(axis=1) / there.sum(axis=1)


def statistics_of(examples: np.ndarray) -> dict[str, list[float]]:
    """Mean and standard deviation of each feature over examples [n, ..., features]."""
    values = values_of(examples)
    return {
        "mean": np.nanmean(values, axis=0).tolist(),
        "std": np.nanstd(values, axis=0).tolist(),
    }


def write(directory: Path, statistics: Statistics | None) -> None:
    """Puts statistics into a version, where there are any."""
    if statistics:
        (directory / FILE).parent.mkdir(exist_ok=True)
        files.write_json(directory / FILE, dict(statistics))


def read(directory: Path) -> dict[str, dict[str, list[float]]]:
    """Those that a version brings; none where it has no such file, or a broken one."""
    try:
        held = json.loads((directory / FILE).read_text(encoding="utf-8"))
        return {
            name: {key: [float(number) for number in said[key]] for key in ("mean", "std")}
            for name, said in held.items()
            if 0 < len(said["mean"]) == len(said["std"]) <= MOST_FEATURES
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


class Watch:
    """Counts examples, and those that are unlike the training examples, until it is asked."""

    def __init__(self, statistics: Statistics):
        self._of = {
            name: tuple(np.array(said[key], np.float64) for key in ("mean", "std"))
            for name, said in statistics.items()
        }
        self._counts: dict[str, np.ndarray] = {}

    def see(self, inputs: Mapping[str, Any]) -> None:
        """Counts the examples of a request; inputs of another number of features are passed by."""
        for name, (mean, std) in self._of.items():
            array = inputs.get(name)
            if array is None or not np.ndim(array) or array.dtype.kind not in "iuf":
                continue
            values = values_of(array)
            if values.shape[1] != len(mean):
                continue
            known = np.isfinite(values)
            # What was always the same in training may differ by a rounding.
            allowed = FAR * std + 1e-6 * np.maximum(1.0, np.abs(mean))
            far = ~(np.abs(values - mean) <= allowed) & ~np.isnan(values)
            total = np.where(known, values, 0.0).sum(axis=0)
            found = np.stack([(~np.isnan(values)).sum(axis=0), far.sum(axis=0), total])
            self._counts[name] = self._counts.get(name, 0.0) + found

    def take(self) -> dict[str, list[list[float]]]:
        """Per input: examples, those far off, and the sum of values, of each feature; then anew."""
        said = {name: counts.tolist() for name, counts in self._counts.items()}
        self._counts = {}
        return said
