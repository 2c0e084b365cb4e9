"""The figures that runs are known by, of every kind of model: what they are called and show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from kapps.evaluation.metrics.history import column


class Measure(NamedTuple):
    """One figure of metrics.json, without the `test_` or `val_` before it.

    Attributes:
        words: what it is called in a table of runs, where space is short.
        form: of the number.
        unit: written after it.
        beside: other keys of metrics.json that belong beside it: key and words.
        best: "min" or "max".
    """

    words: str
    form: str
    unit: str = ""
    beside: tuple[tuple[str, str], ...] = ()
    best: str = "min"


SHARE = ".2%"
MEASURES = {  # the first that a run has is the one it is known by
    "bits_per_character": Measure(
        "bits",
        ".3f",
        "",
        (
            ("unigram_bits_per_character", "unigram"),
            ("five_gram_bits_per_character", "5-gram"),
            ("nine_gram_bits_per_character", "9-gram"),
            ("xz_bits_per_character", "xz"),
        ),
    ),
    "accuracy": Measure("", SHARE, best="max"),
    "nll": Measure(
        "NLL",
        ".2f",
        " nats",
        (("test_nll_error", "±"), ("test_nll_samples", "samples"), ("test_nll_floor", "floor")),
    ),
    "negative_elbo": Measure("-ELBO", ".2f", " nats"),
    "elbo": Measure("ELBO", ".2f", " nats", best="max"),
    "frechet": Measure("FD", ".3g", "", (("test_frechet_floor", "real against real"),)),
    "kid": Measure(
        "KID",
        ".2e",
        "",
        (("test_kid_error", "±"), ("test_kid_floor", "real against real")),
    ),
    "coverage": Measure("coverage", SHARE, "", (("test_coverage_floor", "real"),), best="max"),
    "mse": Measure("MSE", ".5f", "", (("pca_mse", "PCA"), ("trivial_mse", "always the mean"))),
    "r2": Measure(
        "R²",
        ".3f",
        "",
        (("gradient_boosting_r2", "gradient boosting"), ("linear_r2", "linear")),
        best="max",
    ),
    "mae": Measure("MAE", ".4g"),
    "rmse": Measure("RMSE", ".4g"),
    "nats_per_step": Measure(
        "nats a step",
        ".4g",
        "",
        (("trivial_nats_per_step", "no memory"), ("test_symbol_accuracy", "symbols right")),
    ),
    "tstr_accuracy": Measure("TSTR", SHARE, best="max"),
    "loss": Measure("loss", ".4f"),
}


def measured_lines(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each measure of generative models that a run has, for the terminal."""
    lines = []
    for name, measure in MEASURES.items():
        value = metrics.get(f"test_{name}")
        if name in ("accuracy", "loss") or not _is_number(value):
            continue
        notes = [
            f"{words} {_shown(metrics[key], measure.form)}"
            for key, words in measure.beside
            if _is_number(metrics.get(key))
        ]
        lines.append(
            (
                f"test {name.replace('_', ' ')}",
                _shown(value, measure.form)
                + measure.unit
                + f"  ({', '.join(notes)})" * bool(notes),
            )
        )
    return lines


def headline(metrics: Mapping[str, Any]) -> str:
    """The figure on the test split that a finished run is known by, "" without any."""
    for name, measure in MEASURES.items():
        if name != "loss" and _is_number(metrics.get(f"test_{name}")):
            return _short(measure, metrics[f"test_{name}"])
    return ""


def best_validation(history: Sequence[Mapping]) -> str:
    """The best value of the figure on the validation split that a run is known by."""
    for name, measure in MEASURES.items():
        values = column(history, f"val_{name}")
        values = values[np.isfinite(values)]
        if len(values):
            return _short(measure, values.max() if measure.best == "max" else values.min())
    return ""


def _short(measure: Measure, value: float) -> str:
    if measure.form == SHARE:
        return f"{measure.words} {100 * value:.2f} %".lstrip()
    return f"{measure.words} {_shown(value, measure.form)}"


def _shown(value: float, form: str) -> str:
    if float(value).is_integer() and abs(value) >= 1 and isinstance(value, int):
        return str(value)  # a count
    return format(value, form)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
