"""The space of convolutional networks: every point can be built and stays below its limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras_tuner as kt

from kapps.errors import UserError
from kapps.models import geometry
from kapps.tuning.spaces.points import none, shrunk

FILTERS = (8, 16, 24, 32, 48, 64, 96, 128)


def cnn(
    hp: kt.HyperParameters,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    max_stages: int = 4,
    filters: Sequence[int] = FILTERS,
    kernel_sizes: Sequence[int] = (3, 5, 7),
    max_parameters: int | None = None,
    max_multiply_adds: int | None = None,
) -> dict[str, Any]:
    """Keyword arguments of `models.cnn`: depth, filters, windows, strides, padding, pooling ...

    Args:
        hp: the point.
        image_shape: (height, width, channels) of the images.
        classes: number of classes.
        max_stages: most stages.
        filters: numbers of filters to choose from, rising.
        kernel_sizes: sides of the filters to choose from, rising.
        max_parameters: of the network; more filters than fit are not offered.
        max_multiply_adds: the same for the work of one image.

    Raises:
        UserError: the limits are below the smallest network.
    """
    smallest = {
        "filters": filters[0],
        "kernel_size": kernel_sizes[0],
        "strides": 2,
        "padding": "same",
        "convs_per_stage": 1,
        "pooling": "max",
    }

    def fits(rows: Sequence[dict[str, Any]], units: int = 0, normalization: str = "batch") -> bool:
        """Whether stages stay below the limits, whatever they leave open being smallest."""
        rows = [smallest | {k: v for k, v in row.items() if v is not None} for row in rows]
        parameters, work = cnn_cost(
            image_shape,
            classes,
            normalization=normalization,
            dense_units=(units,) if units else (),
            **{name: [row[name] for row in rows] for name in smallest},
        )
        return parameters <= (max_parameters or math.inf) and work <= (
            max_multiply_adds or math.inf
        )

    counts = range(1, max_stages + 1)
    possible = [n for n in counts if fits([{}] * n)]
    if not possible:
        limits = {"parameters": max_parameters, "multiply-adds": max_multiply_adds}
        told = " and ".join(f"{limit} {name}" for name, limit in limits.items() if limit)
        raise UserError(
            f"no network stays below {told} on images of this size. Raise the limit, or offer "
            "fewer filters."
        )
    count = hp.Int("stages", 1, max_stages, default=min(3, max_stages))
    if count not in possible:
        count = hp.values["stages"] = possible[-1]
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    sides = image_shape[:2]
    for stage in counts:
        active = stage <= count
        row = rows[stage - 1] if active else {}
        with _from_stage(hp, stage, max_stages):
            sides = _windows(hp, stage, row, sides, kernel_sizes, active and (lambda: fits(rows)))
    for stage in counts:
        with _from_stage(hp, stage, max_stages):
            default = filters[min(2 * stage - 1, len(filters) - 1)]
            asked = hp.Choice(f"filters_{stage}", list(filters), default=default)
        if stage <= count:
            rows[stage - 1]["filters"] = asked
    _narrow(hp, rows, filters, lambda: fits(rows))
    normalization = hp.Choice("normalization", ["batch", "none"])
    units = [0, 32, 64, 128]
    number = shrunk(hp, "dense_units", units, [n for n in units if not n or fits(rows, n)])
    return {
        **{name: tuple(row[name] for row in rows) for name in smallest},
        "pooling": tuple(none(row["pooling"]) for row in rows),
        "normalization": none(normalization),
        "dense_units": (number,) if number else (),
        "dropout": hp.Float("dropout", 0.0, 0.5, step=0.1, default=0.0),
        "stage_dropout": hp.Float("stage_dropout", 0.0, 0.3, step=0.1, default=0.0),
    }


def _narrow(hp, rows, filters: Sequence[int], fits: Callable[[], bool]) -> None:
    """Make all stages narrower by one factor, the largest with which the network fits.

    So it keeps its shape, and is near its limit.
    """
    asked = [row["filters"] for row in rows]
    factors = sorted({1.0, *(n / most for n in filters for most in asked if n < most)})
    while not fits():
        factor = factors.pop()  # the last is what makes every stage the narrowest that there is
        for stage, (row, most) in enumerate(zip(rows, asked, strict=True), start=1):
            row["filters"] = max([n for n in filters if n <= factor * most], default=filters[0])
            hp.values[f"filters_{stage}"] = row["filters"]


def _from_stage(hp: kt.HyperParameters, stage: int, most: int):
    return hp.conditional_scope("stages", list(range(stage, most + 1)))


def _windows(hp, stage, row, sides, kernel_sizes, fits) -> tuple[int, ...]:
    """Fill in what shapes one stage; the sides of the map that leaves it.

    `fits` says whether the network stays below its limits with what is in `row`; False where the
    stage is not active.
    """
    small = min(sides)

    def choose(name, label, values, allowed, default=None):
        if fits:
            allowed = [v for v in allowed if _with(row, name, v, fits)] or allowed[:1]
        row[name] = shrunk(hp, f"{label}_{stage}", values, allowed, default)

    choose("convs_per_stage", "convs", [1, 2, 3], [1, 2, 3], 2)
    convs = row["convs_per_stage"] or 1
    # Without padding each convolution takes a window's side off; all of them have to fit. And
    # then nothing is sure of strides and pools to come: what fits has to fit without them.
    paddings = ["same"]
    if convs * (kernel_sizes[0] - 1) < small:
        bare = {"padding": "valid", "strides": 1, "pooling": "none"}
        if not fits or _with_all(row, bare, fits):
            paddings.append("valid")
    row["padding"] = shrunk(hp, f"padding_{stage}", ["same", "valid"], paddings)
    if row["padding"] == "valid":
        row |= {"strides": 1, "pooling": "none"}
        windows = [k for k in kernel_sizes if convs * (k - 1) < small]
    else:  # a window wider than twice the map sees nothing but zeros at its ends
        windows = [k for k in kernel_sizes if k <= 2 * small + 1] or [kernel_sizes[0]]
    choose("kernel_size", "kernel_size", kernel_sizes, windows)

    def after(strides: int, pool: str) -> tuple[int, ...]:
        windows = [
            geometry.Window("conv", row["kernel_size"], strides if i == 0 else 1, row["padding"])
            for i in range(convs)
        ]
        if pool != "none":
            windows.append(geometry.Window("pool", 2, 2, row["padding"]))
        found = []
        for side in sides:
            for window in windows:
                side = geometry.output_side(side, window) if side >= 1 else 0
            found.append(side)
        return tuple(found)

    strides, pools = [1, 2], ["max", "average", "none"]
    if fits and (small == 1 or min(after(2, "none")) < 1):
        strides = [1]
    choose("strides", "strides", [1, 2], strides)
    if fits and min(after(row["strides"], "none")) < 2:
        pools = ["none"]
    choose("pooling", "pooling", ["max", "average", "none"], pools)
    return after(row["strides"], row["pooling"]) if fits else sides


def _with(row: dict[str, Any], name: str, value: Any, fits: Callable[[], bool]) -> bool:
    return _with_all(row, {name: value}, fits)


def _with_all(row: dict[str, Any], values: dict[str, Any], fits: Callable[[], bool]) -> bool:
    """Whether the network would fit if the stage had these values."""
    before = dict(row)
    row |= values
    answer = fits()
    row.clear()
    row |= before
    return answer


def cnn_cost(
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    filters: Sequence[int],
    kernel_size: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[str],
    convs_per_stage: Sequence[int],
    pooling: Sequence[str | None],
    normalization: str | None,
    dense_units: Sequence[int],
    **others: Any,
) -> tuple[int, int]:
    """Parameters and multiply-adds of `models.cnn`, without building it.

    Args:
        image_shape: (height, width, channels).
        classes: number of classes.
        filters: as all others, an argument of `models.cnn` with a value per stage.
        kernel_size: see there.
        strides: see there.
        padding: see there.
        convs_per_stage: see there.
        pooling: see there.
        normalization: see there.
        dense_units: see there.
        others: arguments that cost nothing.
    """
    each = 4 if normalization else 1  # scale, offset and two statistics, or a bias
    (height, width, channels), parameters, work = image_shape, 0, 0
    rows = zip(filters, kernel_size, strides, padding, convs_per_stage, pooling, strict=True)
    for n, k, step, pad, convs, pool in rows:
        for i in range(convs):
            window = geometry.Window("conv", k, step if i == 0 else 1, pad)
            height, width = (geometry.output_side(s, window) for s in (height, width))
            kernel = k * k * channels * n
            parameters += kernel + each * n
            work += kernel * height * width
            channels = n
        if pool not in (None, "none"):
            window = geometry.Window("pool", 2, 2, pad)
            height, width = (geometry.output_side(s, window) for s in (height, width))
    inputs = channels * height * width if dense_units else channels
    for n in dense_units:
        parameters += inputs * n + each * n
        work += inputs * n
        inputs = n
    return parameters + inputs * classes + classes, work + inputs * classes
