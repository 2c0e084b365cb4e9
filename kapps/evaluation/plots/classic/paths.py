"""Paths of optimizers on functions of two variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation.plots.curves import RUN_COLOURS, RUN_STYLES
from kapps.evaluation.plots.figure import calm, new_figure

if TYPE_CHECKING:
    from kapps.evaluation.classic.surfaces import Surface

RESOLUTION = 120  # points along each side of the drawn window
LEVELS = 18
FLOOR = 1e-8  # distances below it are drawn there


def surface_paths(name: str, surface: Surface, paths: Mapping[str, np.ndarray]) -> Figure:
    """Contour lines with the paths over them, and the distance to the minimum by step.

    Args:
        name: of the surface.
        surface: what was walked on.
        paths: points [steps + 1, 2] by label; what is not finite is not drawn.
    """
    left, right, bottom, top = surface.window
    figure = new_figure(6.4 + 0.09 * len(paths))
    plane, curves = figure.subplots(2, height_ratios=(3, 2))
    x, y = np.meshgrid(np.linspace(left, right, RESOLUTION), np.linspace(bottom, top, RESOLUTION))
    height = np.asarray(surface.function(np.stack([x, y], -1)), np.float64) - surface.lowest
    # Even steps of the root's logarithm would crowd at the minimum; these are even to the eye.
    levels = np.geomspace(max(height.max() * 1e-4, 1e-9), height.max(), LEVELS)
    plane.contour(x, y, height, levels, colors="#B8B8B8", linewidths=0.7)
    calm(curves)
    for i, (label, path) in enumerate(paths.items()):
        look = {
            "color": RUN_COLOURS[i % len(RUN_COLOURS)],
            "linestyle": RUN_STYLES[i // len(RUN_COLOURS) % len(RUN_STYLES)],
        }
        path = np.where(np.isfinite(path).all(-1, keepdims=True), path, np.nan)
        plane.plot(path[:, 0], path[:, 1], linewidth=1.3, label=label, **look)
        plane.plot(*path[-1], "o", color=look["color"], markersize=4)
        distance = np.maximum(surface.distance(path), FLOOR)
        curves.plot(distance, linewidth=1.3, **look)
    plane.plot(*surface.start, "s", color="black", markersize=5)
    for minimum in surface.minima:
        plane.plot(*minimum, "*", color="black", markersize=10)
    plane.set_xlim(left, right)
    plane.set_ylim(bottom, top)
    plane.set_title(name.capitalize(), loc="left", fontsize=10, fontweight="bold")
    curves.set_yscale("log")
    curves.set_xlabel("Step", fontsize=9)
    curves.set_title("Distance to the minimum", loc="left", fontsize=10, fontweight="bold")
    figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8.5)
    return figure
