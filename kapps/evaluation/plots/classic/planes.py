"""Where a classifier of points in the plane draws its lines, and what a linear one looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kapps.evaluation.plots.figure import BLUE, GREY, ORANGE, calm, new_figure

CLASS_COLOURS = (ORANGE, BLUE)  # of class 0 and class 1
MARGIN = 0.15  # around the points, as a part of their range
TINT = 0.3  # of the class' colour in its region
SIDE = 160  # pixels of a frame
FEW = 50  # points that are drawn large

Scores = Callable[[np.ndarray], np.ndarray]


def box_around(x: np.ndarray) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) of a square around points [n, 2]."""
    middle = (x.min(axis=0) + x.max(axis=0)) / 2
    half = (0.5 + MARGIN) * float(np.ptp(x, axis=0).max() or 1.0)
    return (middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half)


def decision_frame(
    scores: Scores, x: np.ndarray, classes: np.ndarray, *, side: int = SIDE
) -> np.ndarray:
    """Regions of two classes and the points in them, as one frame of a film: uint8 [H, W, 3].

    Args:
        scores: points float32 [n, 2] -> [n]; class 1 where positive.
        x: the points that are drawn, [n, 2].
        classes: 0 or 1, [n].
        side: of the frame in pixels.
    """
    box = box_around(x)
    _, sure = _grid(scores, box, side)
    colours = np.array([to_rgb(colour) for colour in CLASS_COLOURS])
    inside = colours[(sure > 0).astype(int)]
    frame = 1.0 - TINT * (1.0 - inside)
    frame[_edges(sure > 0)] = 0.15
    column = (x[:, 0] - box[0]) / (box[1] - box[0]) * (side - 1)
    row = (box[3] - x[:, 1]) / (box[3] - box[2]) * (side - 1)
    size = 1 if len(x) > FEW else 3
    for j, i, c in zip(np.rint(column).astype(int), np.rint(row).astype(int), classes, strict=True):
        frame[max(0, i - size) : i + size + 1, max(0, j - size) : j + size + 1] = colours[int(c)]
    return np.rint(255 * frame).astype(np.uint8)


def decision_regions(
    scores: Scores,
    x: np.ndarray,
    classes: np.ndarray,
    class_names: Sequence[str] = ("0", "1"),
) -> Figure:
    """The plane, shaded by score, the line where the class changes, and points.

    Rings are points on the wrong side. Arguments as `decision_frame`, and the names of the classes.
    """
    box = box_around(x)
    axis, sure = _grid(scores, box, 200)
    figure = new_figure(4.4)
    axes = figure.subplots()
    limit = float(np.abs(sure).max()) or 1.0
    scaled = np.where(sure > 0, 0.25 + 0.75 * sure / limit, -0.25 + 0.75 * sure / limit)
    tint = np.ones((*sure.shape, 3))
    for sign, colour in ((-1, CLASS_COLOURS[0]), (1, CLASS_COLOURS[1])):
        share = np.clip(sign * scaled, 0, 1)[..., None] * 0.55
        tint = np.where(share > 0, 1 - share * (1 - np.array(to_rgb(colour))), tint)
    axes.imshow(tint, extent=box, interpolation="bilinear")
    if (sure > 0).any() and (sure <= 0).any():
        axes.contour(axis[0], axis[1][::-1], sure[::-1], levels=[0.0], colors="#222222")
    right = (scores(x.astype(np.float32)) > 0) == (np.asarray(classes) == 1)
    size = 14 if len(x) > FEW else 70
    for c, (name, colour) in enumerate(zip(class_names, CLASS_COLOURS, strict=False)):
        of_class = np.asarray(classes) == c
        axes.scatter(*x[of_class & right].T, s=size, color=colour, ec="white", lw=0.4, label=name)
        axes.scatter(*x[of_class & ~right].T, s=1.7 * size, fc="white", ec=colour, lw=1.6)
    axes.set(xlim=box[:2], ylim=box[2:])
    axes.set_aspect("equal")
    legend = axes.legend(
        title="Class", frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0)
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure


def weight_pictures(weights: np.ndarray, *, limit: float | None = None) -> np.ndarray:
    """Weights of pixels as colours: blue speaks for the class, orange against it.

    Args:
        weights: [n, H, W] or [n, H, W, C], whose channels are averaged.
        limit: the weight of full colour; the largest of each picture when None.

    Returns:
        uint8 [n, H, W, 3].
    """
    weights = np.asarray(weights, np.float64)
    weights = weights.mean(axis=-1) if weights.ndim == 4 else weights
    largest = np.abs(weights).max(axis=(1, 2), keepdims=True) if limit is None else limit
    share = np.clip(weights / np.where(np.asarray(largest) > 0, largest, 1.0), -1, 1)[..., None]
    colour = np.where(share > 0, np.array(to_rgb(BLUE)), np.array(to_rgb(ORANGE)))
    return np.rint(255 * (1 - np.abs(share) * (1 - colour))).astype(np.uint8)


def updates_and_bound(history: Sequence[Mapping[str, float]], bound: float | None) -> Figure:
    """How many updates a perceptron has made by the end of each epoch, beside Novikoff's bound.

    Args:
        history: a mapping per epoch, with `updates`.
        bound: the most there can be; None where no plane separates the classes.
    """
    made = np.cumsum([row["updates"] for row in history])
    figure = new_figure(2.6)
    axes = calm(figure.subplots())
    epochs = np.arange(1, len(made) + 1)
    axes.plot(epochs, made, color=BLUE, marker="o", markersize=3, label=f"updates {made[-1]:.0f}")
    if bound is not None:
        label = f"bound (R / γ)² = {bound:,.0f}"
        axes.axhline(bound, color=ORANGE, linestyle=(0, (4, 2)), label=label)
        if bound > 10 * max(made[-1], 1):
            axes.set_yscale("log")
    else:
        axes.plot([], [], color=GREY, label="no bound: no plane separates the classes")
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_title("Updates so far", loc="left", fontsize=9.5, fontweight="bold")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _grid(scores: Scores, box, side: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Coordinates of columns and rows (from the top), and the scores [side, side]."""
    columns = np.linspace(box[0], box[1], side)
    rows = np.linspace(box[3], box[2], side)
    points = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2).astype(np.float32)
    return (columns, rows), np.asarray(scores(points), np.float64).reshape(side, side)


def _edges(inside: np.ndarray) -> np.ndarray:
    """Pixels at which a region ends."""
    edges = np.zeros_like(inside)
    edges[1:] |= inside[1:] != inside[:-1]
    edges[:, 1:] |= inside[:, 1:] != inside[:, :-1]
    return edges
