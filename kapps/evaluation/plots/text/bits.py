"""Pictures of character models: bits by epoch, and where in a text the bits go."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kapps.evaluation.metrics.history import column, epoch_numbers
from kapps.evaluation.plots.curves import CURVES, LINE
from kapps.evaluation.plots.figure import GREEN, GREY, PINK, YELLOW, calm, new_figure
from kapps.training.fitting.kept_epoch import best_epoch

LINES = ((GREY, ":"), (GREEN, "--"), (PINK, "-."), (YELLOW, (0, (1, 1))))
COLUMNS = 56  # characters of a line: what a phone's width holds, each in a field of its own
WRAPPED = 78  # and without fields
MOST_BITS = 8.0  # the darkest colour
ORANGES = LinearSegmentedColormap.from_list("bits", ("#FFFFFF", "#FBD9A5", "#E69F00", "#D55E00"))


def bits_curves(history: Sequence[Mapping], baselines: Mapping[str, float] | None = None) -> Figure:
    """Bits per character by epoch, beside what the validation part costs without a network.

    Args:
        history: a mapping per epoch, as metrics.csv: `bits_per_character`, with `train_` and
            `val_`, as far as they are there.
        baselines: name -> bits per character, drawn as level lines.
    """
    figure = new_figure(3.4)
    axes = calm(figure.subplots())
    epochs, highest = epoch_numbers(history), 0.0
    for prefix, label, look in CURVES:
        values = column(history, f"{prefix}bits_per_character")
        if np.isfinite(values).any():
            few = np.isfinite(values).sum() < 3
            marks: dict[str, Any] = {"marker": "o", "markersize": 4} if few else {}
            axes.plot(epochs, values, label=label, **LINE | look | marks)
            highest = max(highest, float(np.nanmax(values)))
    lowest_bits = best_epoch(history, "val_bits_per_character")
    if lowest_bits is not None:
        axes.axvline(epochs[lowest_bits], color=GREY, linewidth=0.9, linestyle=":")
    for (name, bits), (colour, style) in zip(
        (baselines or {}).items(), LINES * len(baselines or {}), strict=False
    ):
        axes.axhline(bits, color=colour, linestyle=style, linewidth=1.2, label=f"{name} {bits:.3f}")
    if len(epochs) and epochs.min() == epochs.max():
        axes.set_xlim(epochs.min() - 1, epochs.max() + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Bits per character")
    figure.legend(loc="outside upper left", frameon=False, fontsize=8.5, ncols=2)
    return figure


def coloured_text(text: str, bits: np.ndarray) -> Figure:
    """A text, each character on the colour of the bits it cost: white is foreseen.

    Args:
        text: not more than some twenty lines of 56 characters.
        bits: of each character, [len(text)].
    """
    if len(text) != len(bits):
        raise ValueError(f"{len(bits)} numbers for {len(text)} characters")
    lines, line = [], []
    for character, cost in zip(text, bits, strict=True):
        line.append(("↵" if character == "\n" else character, float(cost)))
        if character == "\n" or len(line) == COLUMNS:
            lines.append(line)
            line = []
    lines += [line] if line else []
    costs = np.full((max(len(lines), 1), COLUMNS), np.nan)
    figure = new_figure(0.165 * len(costs) + 0.55)
    axes = figure.subplots()
    for row, characters in enumerate(lines):
        for place, (character, cost) in enumerate(characters):
            costs[row, place] = cost
            axes.text(
                place,
                row,
                character,
                family="monospace",
                fontsize=7,
                ha="center",
                va="center",
                parse_math=False,
                color="#BBBBBB" if character == "↵" else "black",
            )
    picture = axes.imshow(
        np.ma.masked_invalid(costs), cmap=ORANGES, norm=Normalize(0.0, MOST_BITS), aspect="auto"
    )
    axes.set_axis_off()
    bar = figure.colorbar(picture, ax=axes, orientation="horizontal", fraction=0.06, pad=0.02)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("bits", fontsize=7)
    return figure


def text_samples(texts: Sequence[str], epochs: Sequence[int], most: int = 6) -> Figure:
    """What a model wrote after some of its epochs, the first and the last among them.

    Args:
        texts: one per epoch.
        epochs: their numbers.
        most: how many to show.
    """
    chosen = np.unique(np.linspace(0, len(texts) - 1, min(most, len(texts))).round().astype(int))
    blocks = []
    for i in chosen:
        lines = [
            part
            for line in texts[int(i)].splitlines() or [""]
            for part in textwrap.wrap(line, WRAPPED, drop_whitespace=False) or [""]
        ]
        blocks.append((f"epoch {epochs[i]}", lines[:8]))
    rows = sum(len(lines) + 2 for _, lines in blocks)
    figure = new_figure(0.155 * rows + 0.1)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(rows, 0))
    row = 0.5
    for title, lines in blocks:
        axes.text(0, row, title, fontsize=8, fontweight="bold", va="center")
        for number, line in enumerate(lines, start=1):
            axes.text(
                0, row + number, line, family="monospace", fontsize=7, va="center", parse_math=False
            )
        row += len(lines) + 2
    return figure
