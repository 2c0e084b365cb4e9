"""Functions of two variables on which the paths of optimizers can be seen.

`SURFACES` holds one row each: the function from points [..., 2] to values [...], its minima, where
to start, and the part of the plane that is drawn. `descend` lets a Keras optimizer walk on them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kapps import training

PAPER = "adadelta, rate 1"  # Adadelta as its paper has it: without a rate to choose
RATES = tuple(float(f"{10 ** (k / 2):.3g}") for k in range(-9, 4))  # half decades
CONDITION = 100.0  # of both quadratics: largest over smallest curvature


def quadratic(point: keras.KerasTensor):
    """A long valley along the first axis, of condition number 100.

        f(x, y) = (x^2 + 100 y^2) / 2

    Gradient descent with rate r multiplies x by 1 - r and y by 1 - 100 r in each step, so it
    diverges for r > 2/100 (Nocedal and Wright, Numerical Optimization, 2nd ed., section 3.3).
    """
    x, y = point[..., 0], point[..., 1]
    return (ops.square(x) + CONDITION * ops.square(y)) / 2.0


def rotated_quadratic(point: keras.KerasTensor):
    """The same valley, turned by 45 degrees.

        f(x, y) = ((x + y)^2 / 2 + 100 (y - x)^2 / 2) / 2

    Gradient descent does not notice; methods that scale every coordinate by itself (Adadelta,
    RMSprop, Adam) lose the scaling that suits a valley along an axis.
    """
    x, y = point[..., 0], point[..., 1]
    return (ops.square(x + y) + CONDITION * ops.square(y - x)) / 4.0


def rosenbrock(point: keras.KerasTensor):
    """A flat valley along a parabola (Rosenbrock 1960, The Computer Journal 3, p. 175).

    f(x, y) = (1 - x)^2 + 100 (y - x^2)^2
    """
    x, y = point[..., 0], point[..., 1]
    return ops.square(1.0 - x) + 100.0 * ops.square(y - ops.square(x))


def beale(point: keras.KerasTensor):
    """Plateaus and steep walls (Beale 1958; no. 5 of More, Garbow and Hillstrom 1981, TOMS 7).

    f(x, y) = (1.5 - x + xy)^2 + (2.25 - x + xy^2)^2 + (2.625 - x + xy^3)^2
    """
    x, y = point[..., 0], point[..., 1]
    return (
        ops.square(1.5 - x * (1.0 - y))
        + ops.square(2.25 - x * (1.0 - y**2))
        + ops.square(2.625 - x * (1.0 - y**3))
    )


def saddle(point: keras.KerasTensor):
    """A saddle at the origin between two minima, at (0, -1) and (0, 1).

        f(x, y) = x^2 / 2 + y^4 / 4 - y^2 / 2

    Gradient descent that starts near the line y = 0 is drawn to the origin, where it lingers
    (Dauphin et al. 2014, arXiv:1406.2572); the example is Nesterov's (Introductory Lectures on
    Convex Optimization, 2004, example 1.2.2).
    """
    x, y = point[..., 0], point[..., 1]
    return ops.square(x) / 2.0 + y**4 / 4.0 - ops.square(y) / 2.0


@dataclasses.dataclass(frozen=True)
class Surface:
    """A function of two variables, and what is known about it.

    Attributes:
        function: points [..., 2] -> values [...].
        minima: where it is smallest.
        lowest: its value there.
        start: where a path begins.
        window: what is drawn: left, right, bottom, top.
    """

    function: Callable
    minima: tuple[tuple[float, float], ...]
    lowest: float
    start: tuple[float, float]
    window: tuple[float, float, float, float]

    def distance(self, points: np.ndarray) -> np.ndarray:
        """From points [..., 2] to the nearest minimum, [...]."""
        offsets = np.asarray(points)[..., None, :] - np.array(self.minima)
        return np.sqrt(np.square(offsets).sum(-1)).min(-1)


SURFACES = {
    "quadratic": Surface(quadratic, ((0.0, 0.0),), 0.0, (-1.8, 0.9), (-2, 1, -1.2, 1.2)),
    "rotated quadratic": Surface(
        rotated_quadratic, ((0.0, 0.0),), 0.0, (-1.9, -0.6), (-2.2, 1, -2, 1.2)
    ),
    "rosenbrock": Surface(rosenbrock, ((1.0, 1.0),), 0.0, (-1.2, 1.0), (-1.7, 1.7, -0.7, 1.7)),
    "beale": Surface(beale, ((3.0, 0.5),), 0.0, (1.0, 1.5), (-0.5, 4.2, -1.2, 2)),
    "saddle": Surface(saddle, ((0.0, -1.0), (0.0, 1.0)), -0.25, (1.5, 0.001), (-1, 1.8, -1.4, 1.4)),
}


def descend(
    optimizer: keras.optimizers.Optimizer,
    rates: Sequence[float],
    steps: int,
    surfaces: Mapping[str, Surface] = SURFACES,
) -> dict[str, np.ndarray]:
    """The paths of an optimizer from the start of every surface, for several learning rates.

    All surfaces are walked on at once, each by a variable of two entries of its own: what the
    optimizers here do to an entry depends on its own gradients alone.

    Args:
        optimizer: unused, with a number as learning rate, no clipping and no weight decay.
        rates: learning rates; each path starts with an optimizer that knows nothing.
        steps: how many steps each path has.
        surfaces: where to walk.

    Returns:
        The points by name of the surface, float32 [rates, steps + 1, 2]; not finite where a path
        has diverged.
    """
    points = [keras.Variable(surface.start, name="point") for surface in surfaces.values()]
    optimizer.build(points)
    variables = [*points, *optimizer.variables]
    fresh = [np.array(variable) for variable in variables]

    def step(number, path):
        with tf.GradientTape() as tape:
            values = [
                surface.function(point.value)
                for surface, point in zip(surfaces.values(), points, strict=True)
            ]
        optimizer.apply(tape.gradient(values, [point.value for point in points]), points)
        here = tf.stack([point.value for point in points])
        return number + 1, path.write(number, here)

    @tf.function(autograph=False)
    def walk():
        path = tf.TensorArray(tf.float32, steps + 1, element_shape=[len(points), 2])
        path = path.write(0, tf.stack([point.value for point in points]))
        return tf.while_loop(lambda number, _: number <= steps, step, (1, path))[1].stack()

    paths = []
    for rate in rates:
        for variable, value in zip(variables, fresh, strict=True):
            variable.assign(value)
        optimizer.learning_rate = rate
        paths.append(walk().numpy())
    stacked = np.stack(paths)
    return {name: stacked[:, :, i] for i, name in enumerate(surfaces)}


def best_path(surface: Surface, paths: np.ndarray) -> int:
    """Which of the paths [n, steps + 1, 2] is lowest at its end.

    The value decides, and not the distance, since a training sees no more of its goal: the highest
    one of the last tenth of the steps, so that a path that only passes by a minimum is none.
    """
    last = paths[:, -max(1, paths.shape[1] // 10) :].astype(np.float64)
    highest = np.asarray(surface.function(tf.constant(last))).max(-1)
    return int(np.argmin(np.where(np.isfinite(highest), highest, math.inf)))


def surface_walks(
    optimizers: Sequence[str],
    surfaces: Sequence[str],
    steps: int,
    keep: Callable[[str, Callable[[], dict[str, Any]]], dict[str, Any]] = lambda _, make: make(),
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, dict[str, float]]]:
    """The best path of every optimizer on every surface, among half decades of learning rates.

    Without weights to decay AdamW is Adam, and left out beside it. Adadelta also walks as its paper
    has it.

    Args:
        optimizers: their names.
        surfaces: names in `SURFACES`.
        steps: of each path.
        keep: (name, compute) -> what `compute` returns, plain numbers, which it may keep.

    Returns:
        Points [steps + 1, 2], and learning rates, by optimizer by surface.
    """
    # Without decay, and on vectors, they are one.
    alike = [name for name in ("adam", "adamw", "muon") if name in optimizers]
    names = [name for name in optimizers if name not in alike[1:]]
    wanted = {name: (name, RATES) for name in names}
    if "adadelta" in names:
        wanted[PAPER] = ("adadelta", (training.usual_learning_rate("adadelta"),))
    paths: dict[str, dict] = {name: {} for name in surfaces}
    rates: dict[str, dict] = {name: {} for name in surfaces}
    for label, (name, tried) in wanted.items() if surfaces else ():
        kept = keep(
            f"surfaces-{name}-{len(tried)}",
            lambda n=name, t=tried: _best_walks(training.optimizer(n, 1.0), t, steps, surfaces),
        )
        for surface, (rate, *points) in kept.items():
            rates[surface][label] = rate
            paths[surface][label] = np.array(points).reshape(-1, 2)
    return paths, rates


def _best_walks(optimizer, rates, steps, names) -> dict[str, list[float]]:
    """By surface the rate of the best path, then x and y of each of its points in turn."""
    on = {name: SURFACES[name] for name in names}
    walked = descend(optimizer, rates, steps, on)
    best = {name: best_path(on[name], paths) for name, paths in walked.items()}
    return {name: [rates[i], *walked[name][i].ravel().tolist()] for name, i in best.items()}
