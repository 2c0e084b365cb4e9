"""How a network is trained, as a space: optimizer, rate, schedule, batch size, augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras_tuner as kt

OPTIMIZERS = ("adamw", "nesterov", "adam", "rmsprop")


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


def optimizer(how: dict[str, Any], steps: int) -> Any:
    """The Keras optimizer of a point.

    Args:
        how: what `optimization` returns.
        steps: of the whole training, which the schedule ends with.
    """
    from kapps import training

    name = how["optimizer"]
    cycle = how["schedule"] == "one-cycle" and name != "rmsprop"
    return training.optimizer(
        name,
        training.learning_rate_schedule(how["schedule"], how["learning_rate"], steps=steps),
        momentum_schedule=training.momentum_cycle(steps) if cycle else None,
        weight_decay=how["weight_decay"],
    )


def augmentation(
    hp: kt.HyperParameters, image_shape: tuple[int, int, int], *, most: float = 0.1
) -> dict[str, Any]:
    """How far training images are shifted: keyword arguments of `data.Augmentation`.

    Small networks in few epochs learn less from shifted images than from those that are there;
    large ones in many over-fit without. The default, `most`, is what the recipes do.

    Args:
        hp: the point.
        image_shape: (height, width, channels); of parts that are the same number of pixels only
            one is offered.
        most: the largest part of a side; half of it and none are tried, too. 0: nothing is
            sought.
    """
    if not most:
        return {"crop": 0.0}
    parts: dict[tuple[int, ...], float] = {}
    for part in (0.0, most / 2, most):
        parts.setdefault(tuple(round(part * side) for side in image_shape[:2]), part)
    return {"crop": hp.Choice("crop", list(parts.values()), default=max(parts.values()))}
