"""The figures that runs are known by, of every kind of model: what they are called and show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from kapps.evaluation.metrics.history import column
from kapps.evaluation.report.quantities import QUANTITIES

SHARE = ".2%"


class Measure(NamedTuple):
    """One figure of metrics.json, without the `test_` or `val_` before it.

    What it is printed like, its unit, and which way it is better stand in `quantities.QUANTITIES`.

    Attributes:
        words: what it is called in a table of runs, where space is short.
        beside: other keys of metrics.json that belong beside it: key and words.
    """

    words: str
    beside: tuple[tuple[str, str], ...] = ()


MEASURES = {  # the first that a run has is the one it is known by
    "bits_per_character": Measure(
        "bits",
        (
            ("unigram_bits_per_character", "unigram"),
            ("five_gram_bits_per_character", "5-gram"),
            ("nine_gram_bits_per_character", "9-gram"),
            ("xz_bits_per_character", "xz"),
        ),
    ),
    "accuracy": Measure(""),
    "micro_f1": Measure("F1"),
    "exact": Measure("all right"),
    "nll": Measure(
        "NLL",
        (
            ("test_nll_error", "standard error"),
            ("test_nll_samples", "samples"),
            ("test_nll_floor", "floor"),
        ),
    ),
    "negative_elbo": Measure("-ELBO"),
    "elbo": Measure("ELBO"),
    "frechet": Measure("FD", (("test_frechet_floor", "real against real"),)),
    "kid": Measure(
        "KID", (("test_kid_error", "standard error"), ("test_kid_floor", "real against real"))
    ),
    "coverage": Measure("coverage", (("test_coverage_floor", "real"),)),
    "mse": Measure("MSE", (("pca_mse", "PCA"), ("trivial_mse", "always the mean"))),
    "r2": Measure(
        "R²",
        (
            ("gradient_boosting_r2", "gradient boosting"),
            ("linear_r2", "linear"),
            ("features_linear_r2", "linear on features"),
        ),
    ),
    "mae": Measure("MAE"),
    "rmse": Measure("RMSE"),
    "nats_per_step": Measure(
        "nats a step",
        (("trivial_nats_per_step", "no memory"), ("test_symbol_accuracy", "symbols right")),
    ),
    "tstr_accuracy": Measure("TSTR"),
    "loss": Measure("loss"),
}


def measured_lines(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each measure of generative models that a run has, for the terminal."""
    lines = []
    for name, measure in MEASURES.items():
        value = metrics.get(f"test_{name}")
        if name in ("accuracy", "loss") or not _is_number(value):
            continue
        form, unit = _form(name), QUANTITIES[name].unit
        notes = [
            f"{words} {_shown(metrics[key], form)}"
            for key, words in measure.beside
            if _is_number(metrics.get(key))
        ]
        lines.append(
            (
                f"test {name.replace('_', ' ')}",
                _shown(value, form)
                + f" {unit}" * bool(unit)
                + f"  ({', '.join(notes)})" * bool(notes),
            )
        )
    return lines


def headline(metrics: Mapping[str, Any]) -> str:
    """The figure on the test split that a finished run is known by, "" without any."""
    for name in MEASURES:
        if name != "loss" and _is_number(metrics.get(f"test_{name}")):
            return _short(name, metrics[f"test_{name}"])
    return ""


def best_validation(history: Sequence[Mapping]) -> str:
    """The best value of the figure on the validation split that a run is known by."""
    for name in MEASURES:
        values = column(history, f"val_{name}")
        values = values[np.isfinite(values)]
        if len(values):
            best = values.max() if QUANTITIES[name].better == "higher" else values.min()
            return _short(name, best)
    return ""


def _short(name: str, value: float) -> str:
    words, form = MEASURES[name].words, _form(name)
    if form == SHARE:
        return f"{words} {100 * value:.2f} %".lstrip()
    return f"{words} {_shown(value, form)}"


def _form(name: str) -> str:
    form = QUANTITIES[name].form
    return SHARE if form == "%" else form


def _shown(value: float, form: str) -> str:
    if float(value).is_integer() and abs(value) >= 1 and isinstance(value, int):
        return str(value)  # a count
    return format(value, form)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
