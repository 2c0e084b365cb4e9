"""A function of one number, and what the hidden units of a network add to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from kapps.evaluation.plots.figure import BLUE, GREY, ORANGE, SKY, calm, new_figure

_TITLE = {"loc": "left", "fontsize": 9.5, "fontweight": "bold"}


def function_fit(
    x: np.ndarray,
    truth: np.ndarray,
    fitted: np.ndarray,
    contributions: np.ndarray,
    examples: tuple[np.ndarray, np.ndarray],
) -> Figure:
    """The function, the network and its training examples; below, what each unit adds.

    Args:
        x: where they are drawn, [n], rising.
        truth: the function there, [n].
        fitted: the network there, [n].
        contributions: of each hidden unit there, output weight times activation, [n, units]; with
            the output's bias they add up to `fitted`.
        examples: x [m] and y [m] of training.
    """
    figure = new_figure(4.8)
    above, below = figure.subplots(2, sharex=True, height_ratios=(1.2, 1.0))
    above.plot(x, truth, color=GREY, lw=3.0, alpha=0.5, label="function")
    above.plot(*examples, ".", color=SKY, markersize=2.5, label="training examples")
    above.plot(x, fitted, color=ORANGE, lw=1.4, label="network")
    calm(above).set_title("The function and the network", **_TITLE)
    above.legend(frameon=False, fontsize=7.5)
    colours = colormaps["viridis"](np.linspace(0.0, 0.9, contributions.shape[1]))
    for values, colour in zip(contributions.T, colours, strict=True):
        below.plot(x, values - values.mean(), color=colour, lw=1.0)
    calm(below).set_title("What each hidden unit adds (centred)", **_TITLE)
    return figure


def error_by_width(cells: Sequence[Mapping[str, float]]) -> Figure:
    """The error over the number of hidden units: median, and the range of all seeds.

    Args:
        cells: mappings with `units`, `median`, `lowest` and `highest`, in any order.
    """
    cells = sorted(cells, key=lambda cell: cell["units"])
    widths = [cell["units"] for cell in cells]
    figure = new_figure(2.8)
    axes = calm(figure.subplots())
    low, high = ([cell[name] for cell in cells] for name in ("lowest", "highest"))
    axes.fill_between(widths, low, high, color=BLUE, alpha=0.15, label="all seeds")
    axes.plot(widths, [cell["median"] for cell in cells], color=BLUE, marker="o", label="median")
    axes.set(xscale="log", yscale="log", xlabel="Hidden units")
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()
    axes.set_title("Root mean squared error on test points", **_TITLE)
    axes.legend(frameon=False, fontsize=8)
    return figure


def success_rates(cells: Sequence[Mapping[str, float]]) -> Figure:
    """The share of seeds that succeed, by width, a curve per optimizer.

    Args:
        cells: mappings with `optimizer`, `units` and `solved`, a share.
    """
    figure = new_figure(3.0)
    axes = calm(figure.subplots())
    names = list(dict.fromkeys(cell["optimizer"] for cell in cells))
    colours = colormaps["viridis"](np.linspace(0.0, 0.9, len(names)))
    for name, colour, marker in zip(names, colours, "osD^vP*Xd<>"[: len(names)], strict=True):
        own = sorted((c for c in cells if c["optimizer"] == name), key=lambda c: c["units"])
        axes.plot(
            [str(cell["units"]) for cell in own], [100 * cell["solved"] for cell in own],
            color=colour, marker=marker, markersize=4, label=name,
        )  # fmt: skip
    axes.set(ylim=(-3, 103), xlabel="Hidden units")
    axes.set_title("Seeds that solve it, %", **_TITLE)
    axes.legend(frameon=False, fontsize=8)
    return figure


def curve_frame(
    x: np.ndarray, y: np.ndarray, said: np.ndarray, *, height: int = 120, width: int = 240
) -> np.ndarray:
    """A curve over training values, as one frame of a film: uint8 [height, width, 3].

    Args:
        x: rising, [n].
        y: the values there, [n]; the frame reaches a quarter beyond them.
        said: the network there, [n].
        height: in pixels.
        width: in pixels.
    """
    low, high = y.min() - 0.25 * np.ptp(y), y.max() + 0.25 * np.ptp(y)
    frame = np.full((height, width, 3), 255, np.uint8)
    columns = np.arange(width)
    at = x[0] + (x[-1] - x[0]) * columns / (width - 1)
    for values, colour in ((y, SKY), (said, ORANGE)):
        share = (high - np.interp(at, x, np.nan_to_num(values))) / (high - low)
        rows = np.clip(np.rint(share * (height - 1)), 0, height - 1).astype(int)
        before = np.concatenate([rows[:1], rows[:-1]])
        for column, top, bottom in zip(
            columns, np.minimum(rows, before), np.maximum(rows, before), strict=True
        ):
            frame[top : bottom + 2, column] = np.rint(255 * np.array(to_rgb(colour)))
    return frame
