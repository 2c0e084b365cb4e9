"""Search spaces: functions from hyperparameters to keyword arguments of the ordinary builders.

    model = models.cnn(image_shape, classes, **spaces.cnn(hp, image_shape, classes))

Every point can be built. Where a choice depends on those before it (a window has to fit the map
that reaches it, a network has to stay under its number of parameters), it is declared in full, so
that the space is known before the first trial, and then shrunk: a value that is not possible at its
place gives way to one that is, spread evenly over them; too many filters become fewer in every
stage. The value that is used is written back into `hp.values`, which is the canonical form of the
point: reports show what was built, and two names of the same network count once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras_tuner as kt

from kapps.errors import UserError
from kapps.models import geometry

Space = Callable[[kt.HyperParameters], Any]

FILTERS = (8, 16, 24, 32, 48, 64, 96, 128)
OPTIMIZERS = ("adamw", "nesterov", "adam", "rmsprop")


def declared(*spaces: Space) -> kt.HyperParameters:
    """All hyperparameters of some spaces, with their default values."""
    hp = kt.HyperParameters()
    for space in spaces:
        space(hp)
    return hp


def canonical(*spaces: Space) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function that brings the values of a point into the form in which they are used."""

    def canonical_values(values: dict[str, Any]) -> dict[str, Any]:
        hp = kt.HyperParameters()
        hp.values = dict(values)
        for space in spaces:
            space(hp)
        for parameter in hp.space:
            if not hp.is_active(parameter):
                hp.values.pop(parameter.name, None)
        return hp.values

    return canonical_values


def shrunk(
    hp: kt.HyperParameters,
    name: str,
    values: Sequence[Any],
    allowed: Sequence[Any],
    default: Any = None,
) -> Any:
    """A choice among those of `values` that are `allowed`; None if it is not active.

    A value that is not allowed becomes one that is: the i-th of n becomes the (i m / n)-th of m.

    Args:
        hp: the point.
        name: of the hyperparameter.
        values: all that it may be, at any point.
        allowed: those of them that it may be at this point, in the same order; one at least.
        default: default value.
    """
    asked = hp.Choice(name, list(values), default=default)
    if asked is None or asked in allowed:
        return asked
    value = allowed[list(values).index(asked) * len(allowed) // len(values)]
    hp.values[name] = value
    return value


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
        image_shape: (height, width, channels) of the pictures.
        classes: number of classes.
        max_stages: most stages.
        filters: numbers of filters to choose from, rising.
        kernel_sizes: sides of the filters to choose from, rising.
        max_parameters: of the network; more filters than fit are not offered.
        max_multiply_adds: the same for the work of one picture.

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
            f"no network stays below {told} on pictures of this size. Raise the limit, or offer "
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
        "pooling": tuple(_none(row["pooling"]) for row in rows),
        "normalization": _none(normalization),
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


def _windows(hp, stage, row, sides, kernel_sizes, fits) -> tuple[int, int]:
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


def optimization(
    hp: kt.HyperParameters,
    *,
    optimizers: Sequence[str] = OPTIMIZERS,
    schedules: Sequence[str] = ("one-cycle", "cosine", "constant"),
    batch_sizes: Sequence[int] = (32, 64, 128),
    fixed_learning_rate: float | None = None,
) -> dict[str, Any]:
    """Optimizer, learning rate, schedule, weight decay and batch size.

    The learning rate is sought as a factor on the optimizer's usual one, so that it means the same
    for each of them. Its range is wide upwards: a small network in a few epochs of a schedule that
    ends at zero is often best at many times the usual rate.

    Args:
        hp: the point.
        optimizers: names to choose from (`training.optimizer`).
        schedules: names to choose from (`training.learning_rate_schedule`).
        batch_sizes: to choose from; the default is the middle one.
        fixed_learning_rate: not sought, but this.
    """
    from kapps import training

    optimizer = hp.Choice("optimizer", list(optimizers))
    rate = fixed_learning_rate
    if rate is None:
        factor = hp.Float("learning_rate_factor", 0.3, 10.0, sampling="log", default=1.0)
        rate = training.usual_learning_rate(optimizer) * factor
    return {
        "optimizer": optimizer,
        "learning_rate": rate,
        "weight_decay": training.usual_weight_decay(optimizer),
        "schedule": hp.Choice("schedule", list(schedules)),
        "batch_size": hp.Choice(
            "batch_size", list(batch_sizes), default=batch_sizes[len(batch_sizes) // 2]
        ),
    }


def augmentation(
    hp: kt.HyperParameters, image_shape: tuple[int, int, int], *, most: float = 0.1
) -> dict[str, Any]:
    """How far training pictures are shifted: keyword arguments of `data.Augmentation`.

    Small networks in few epochs learn less from shifted pictures than from those that are there;
    large ones in many over-fit without. The default, `most`, is what the recipes do.

    Args:
        hp: the point.
        image_shape: (height, width, channels); of parts that are the same number of pixels only
            one is offered.
        most: the largest part of a side; half of it and none are tried, too.
    """
    parts: dict[tuple[int, ...], float] = {}
    for part in (0.0, most / 2, most):
        parts.setdefault(tuple(round(part * side) for side in image_shape[:2]), part)
    return {"crop": hp.Choice("crop", list(parts.values()), default=max(parts.values()))}


def mlp(
    hp: kt.HyperParameters, *, max_layers: int = 3, units: Sequence[int] = (32, 64, 128, 256, 512)
) -> dict[str, Any]:
    """Keyword arguments of `models.mlp`.

    Args:
        hp: the point.
        max_layers: most hidden layers.
        units: widths to choose from.
    """
    count = hp.Int("layers", 0, max_layers, default=min(2, max_layers))
    widths = _per_layer(hp, "units", list(units), count, 1, max_layers)
    normalization = hp.Choice("normalization", ["none", "batch"])
    return {
        "units": widths,
        "normalization": None if normalization == "none" else normalization,
        "activation": hp.Choice("activation", ["relu", "gelu", "tanh"]),
        "dropout": hp.Float("dropout", 0.0, 0.5, step=0.1),
    }


def resnet(
    hp: kt.HyperParameters, *, variants: Sequence[str] = ("resnet20", "resnet8_wide", "resnet10")
) -> dict[str, Any]:
    """Keyword arguments of `models.resnet`, which takes pictures of any size.

    Args:
        hp: the point.
        variants: names to choose from.
    """
    return {
        "variant": hp.Choice("variant", list(variants)),
        "activation": hp.Choice("activation", ["relu", "silu"]),
        "zero_gamma": hp.Boolean("zero_gamma"),
        "dropout": hp.Float("dropout", 0.0, 0.5, step=0.1),
    }


def rnn(
    hp: kt.HyperParameters, *, max_layers: int = 3, units: Sequence[int] = (16, 32, 64, 128)
) -> dict[str, Any]:
    """Keyword arguments of `models.rnn`.

    Args:
        hp: the point.
        max_layers: most recurrent layers.
        units: widths to choose from.
    """
    count = hp.Int("layers", 1, max_layers)
    return {
        "cell": hp.Choice("cell", ["gru", "lstm", "simple"]),
        "units": _per_layer(hp, "units", list(units), count, 1, max_layers),
        "bidirectional": hp.Boolean("bidirectional"),
        "residual": hp.Boolean("residual"),
        "pooling": hp.Choice("pooling", ["last", "mean", "max"]),
        "dropout": hp.Float("dropout", 0.0, 0.5, step=0.1),
        "recurrent_dropout": hp.Float("recurrent_dropout", 0.0, 0.3, step=0.1),
    }


def vae(
    hp: kt.HyperParameters,
    image_shape: tuple[int, int, int],
    *,
    max_stages: int = 3,
    filters: Sequence[int] = (16, 32, 64),
) -> dict[str, Any]:
    """Keyword arguments of `models.conv_vae`; its convolutions halve the map while it has a side.

    `beta` is left out: the bounds of two values cannot be compared.

    Args:
        hp: the point.
        image_shape: (height, width, channels).
        max_stages: most halvings.
        filters: channels to choose from.
    """
    halvings = max(1, math.ceil(math.log2(min(image_shape[:2]))))
    values = list(range(1, max_stages + 1))
    allowed = [n for n in values if n <= halvings]
    count = shrunk(hp, "stages", values, allowed, default=min(2, allowed[-1]))
    return {
        "latent_dim": hp.Choice("latent_dim", [8, 16, 32, 64], default=32),
        "filters": _per_layer(hp, "filters", list(filters), count, 1, max_stages, "stages"),
        "units": hp.Choice("units", [64, 128, 256], default=128),
        "free_bits": hp.Choice("free_bits", [0.0, 0.05, 0.1]),
    }


def gan(hp: kt.HyperParameters) -> dict[str, dict[str, Any]]:
    """Keyword arguments of `models.gan_generator`, `gan_discriminator` and `GAN`, by these names.

    A gradient penalty asks for layers that it can go through: R1 goes with any but batch
    normalization, which the discriminator is not offered.
    """
    latent_dim = hp.Choice("latent_dim", [32, 64, 128], default=64)
    filters = hp.Choice("filters", [8, 16, 24, 32], default=16)
    dense_units = hp.Choice("dense_units", [0, 128, 512], default=128)
    return {
        "generator": {
            "latent_dim": latent_dim,
            "filters": filters,
            "dense_units": dense_units,
            "normalization": hp.Choice("generator_normalization", ["batch", "layer"]),
            "upsampling": hp.Choice("upsampling", ["transposed", "nearest", "bilinear"]),
        },
        "discriminator": {
            "filters": filters,
            "dense_units": dense_units,
            "normalization": _none(
                hp.Choice("discriminator_normalization", ["none", "spectral", "layer"])
            ),
        },
        "gan": {
            "loss": hp.Choice("loss", ["non_saturating", "hinge"]),
            "r1": hp.Choice("r1", [0.0, 0.1, 1.0], default=0.1),
        },
    }


def transfer_head(hp: kt.HyperParameters, *, max_stages: int = 2) -> dict[str, Any]:
    """What is open when a classifier is put on a trained backbone.

    Args:
        hp: the point.
        max_stages: most stages of the backbone that are tuned.

    Returns:
        `dropout` of `models.transfer_classifier`, `tuned_stages` for `models.transfer.last_stages`,
        and factors on the usual learning rate for the head, and for the stages where there are any.
    """
    count = hp.Int("tuned_stages", 0, max_stages)
    with hp.conditional_scope("tuned_stages", list(range(1, max_stages + 1))):
        factor = hp.Float("tuned_rate_factor", 0.01, 0.3, sampling="log", default=0.1)
    return {
        "dropout": hp.Float("dropout", 0.0, 0.5, step=0.1, default=0.2),
        "tuned_stages": count,
        "head_rate_factor": hp.Float("head_rate_factor", 0.1, 3.0, sampling="log", default=1.0),
        "tuned_rate_factor": factor if count else None,
    }


def _per_layer(hp, name, values, count, first, most, parent="layers") -> tuple[int, ...]:
    """A choice for each of `count` layers, declared for `most`."""
    found = []
    for layer in range(first, most + 1):
        with hp.conditional_scope(parent, list(range(layer, most + 1))):
            value = hp.Choice(f"{name}_{layer}", values, default=values[len(values) // 2])
        if layer <= count:
            found.append(value)
    return tuple(found)


def _none(value: str) -> str | None:
    """What a choice called "none" stands for."""
    return None if value == "none" else value
