"""Curves by epoch of whatever a run has recorded, in small panels under one another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kapps.evaluation.metrics.history import column, epoch_numbers
from kapps.evaluation.plots.curves import CURVES
from kapps.evaluation.plots.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    YELLOW,
    calm,
    new_figure,
    shorten,
)
from kapps.training.fitting.kept_epoch import best_epoch

PANEL = 1.5  # inches
WIDTH = 66  # characters of a legend that have room above a panel
# Columns that belong into one panel though their names differ: what it is called, and they.
TOGETHER = {
    "Players": ("generator_loss", "discriminator_loss", "critic_loss"),
    "Logits": ("real_logits", "fake_logits"),
    "Learning rates": ("learning_rate", "discriminator_learning_rate"),
}
WORDS = {
    "kl": "KL",
    "elbo": "ELBO",
    "nll": "NLL",
    "fd": "FD",
    "kid": "KID",
    "mse": "MSE",
    "frechet": "Fréchet distance",
}
LOOKS = {prefix: {"linewidth": 1.6} | look for prefix, _, look in CURVES}
FURTHER = (GREEN, PINK, YELLOW, GREY, "#000000")
NOT_DRAWN = ("epoch", "seconds", "examples_per_second")


def training_curves(
    history: Sequence[Mapping],
    groups: Mapping[str, Sequence[str]] | None = None,
    *,
    monitor: str | None = None,
    mode: Literal["min", "max"] = "min",
) -> Figure:
    """A small panel per quantity, as far as the run has recorded it.

    Without `groups` every column is drawn: `kl`, `train_kl` and `val_kl` share a panel, and so do
    the losses of generator and discriminator, and the learning rates. A column without a finite
    number is left out, and a panel without a column.

    Args:
        history: a mapping per epoch, as metrics.csv.
        groups: title -> columns, to choose panels and their order.
        monitor: the column by which weights were kept; its best epoch is marked in all panels.
        mode: "min" or "max": which value of `monitor` is best.
    """
    panels = {
        title: [name for name in names if np.isfinite(column(history, name)).any()]
        for title, names in (groups or _groups(history)).items()
    }
    panels = {title: names for title, names in panels.items() if names}
    if not panels:
        figure = new_figure(1.2)
        figure.text(0.5, 0.5, "No epoch has been recorded yet.", ha="center", va="center")
        return figure
    figure = new_figure(PANEL * len(panels) + 0.5)
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    epochs, best = epoch_numbers(history), _best(history, monitor, mode)
    for axes, (title, names) in zip(all_axes, panels.items(), strict=True):
        _panel(axes, history, epochs, title, names)
        if best is not None:
            axes.axvline(epochs[best], color=GREY, linewidth=0.9, linestyle=":")
    all_axes[-1].set_xlabel(
        "Epoch" if best is None else f"Epoch (dotted: {epochs[best]:.0f}, kept)"
    )
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if epochs.min() == epochs.max():
        all_axes[-1].set_xlim(epochs.min() - 1, epochs.max() + 1)
    return figure


def _groups(history: Sequence[Mapping]) -> dict[str, list[str]]:
    names = list(dict.fromkeys(name for row in history for name in row if name not in NOT_DRAWN))
    groups: dict[str, list[str]] = {}
    for name in names:
        base = _split(name)[1]
        title = next((title for title, members in TOGETHER.items() if base in members), None)
        groups.setdefault(title or _words(base), []).append(name)
    rates = groups.pop("Learning rates", None)  # the least important one
    return groups | ({"Learning rates": rates} if rates else {})


def _panel(axes: Axes, history, epochs: np.ndarray, title: str, names: Sequence[str]) -> None:
    calm(axes)
    bases = list(dict.fromkeys(_split(name)[1] for name in names))
    for name in names:
        prefix, base = _split(name)
        look: dict[str, Any] = dict(LOOKS[prefix])
        if len(bases) > 1:  # colour for the quantity, dashes for validation
            look["color"] = (BLUE, ORANGE, *FURTHER)[bases.index(base) % (2 + len(FURTHER))]
            look["linestyle"] = (0, (4, 2)) if prefix == "val_" else "-"
        values = column(history, name)
        few = np.isfinite(values).sum() < 3
        marks: dict[str, Any] = {"marker": "o", "markersize": 4} if few else {}
        last = values[np.isfinite(values)][-1]
        label = _label(prefix, base if len(bases) > 1 else "").lstrip("_")
        axes.plot(epochs, values, label=f"{label} {last:.4g}", **look, **marks)
    if all("learning_rate" in name for name in names):
        values = np.concatenate([column(history, name) for name in names])
        positive = values[values > 0]
        if len(positive) and positive.max() > 5 * positive.min():
            axes.set_yscale("log")
    legend = axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 0.97),
        borderaxespad=0,
        ncols=2,
        frameon=False,
        fontsize=7.5,
        handlelength=1.4,
        columnspacing=1.0,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    title, labels = shorten(title, 40), [text.get_text() for text in legend.get_texts()]
    # Beside the legend if there is room, else above it.
    beside = 1.5 * len(title) + sum(5 + len(label) for label in labels) < WIDTH
    pad = 6 if beside and len(labels) <= 2 else 3 + 12 * math.ceil(len(labels) / 2)
    axes.set_title(title, pad=pad, loc="left", fontsize=9.5, fontweight="bold", parse_math=False)


def _best(history, monitor: str | None, mode: Literal["min", "max"]) -> int | None:
    return None if monitor is None else best_epoch(history, monitor, mode)


def _split(name: str) -> tuple[str, str]:
    """("val_", "kl") of "val_kl"."""
    prefix = next((p for p in LOOKS if p and name.startswith(p)), "")
    return prefix, name[len(prefix) :]


def _label(prefix: str, base: str) -> str:
    part = {"": "training", "train_": "training, evaluation mode", "val_": "validation"}[prefix]
    if not base:
        return part
    name = base
    for ending in ("_loss", "_logits", "_learning_rate"):
        name = name.removesuffix(ending)
    name = name.replace("_", " ")
    return f"{name}, {part}" if prefix else name


def _words(base: str) -> str:
    words = " ".join(WORDS.get(word, word) for word in base.split("_") if word)
    return words[:1].upper() + words[1:] if words else base
