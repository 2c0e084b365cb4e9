"""Checks of the builders' arguments: each returns the value or raises a UserError naming it."""

import math
import numbers
from collections.abc import Iterable, Sequence

import keras

from kapps.errors import UserError


def integer(name: str, value, minimum: int = 1) -> int:
    """`value` as an int of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < minimum:
        raise UserError(f"{name} must be an integer of at least {minimum}; got {value!r}.")
    return int(value)


def integers(name: str, values, minimum: int = 1) -> tuple[int, ...]:
    """`values` (a sequence, or one integer for a sequence of one) as a tuple of ints."""
    if not isinstance(values, list | tuple):
        values = (values,)
    return tuple(integer(f"{name}[{i}]", value, minimum) for i, value in enumerate(values))


def rate(name: str, value) -> float:
    """`value` as a dropout rate, the share of units that is dropped: 0 <= rate < 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= float(value) < 1:
        raise UserError(f"{name} must be at least 0 and below 1; got {value!r}.")
    return float(value)


def one_of(name: str, value, known: Sequence):
    """`value`, which has to be one of `known`."""
    if value not in known:
        raise UserError(f"{name} {value!r} is unknown; known: {', '.join(map(str, known))}.")
    return value


def per_stage(name: str, value, stages: int) -> tuple:
    """A tuple of `stages` values: a list or tuple as it is, anything else repeated."""
    if not isinstance(value, list | tuple):
        return (value,) * stages
    if len(value) != stages:
        raise UserError(
            f"{name} has {len(value)} values for {stages} stages: give one for all, or one each."
        )
    return tuple(value)


def activation(value) -> str:
    """The name of a Keras activation."""
    try:
        keras.activations.get(value)
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise UserError(
            "activation must be the name of a Keras activation, such as relu, gelu, silu, elu or "
            "tanh (https://keras.io/api/layers/activations)."
        )
    return value


def image_shape(value) -> tuple[int, int, int]:
    """(height, width, channels), all positive."""
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise UserError(f"image_shape must be (height, width, channels); got {value!r}.")
    height, width, channels = integers("image_shape", value)
    return height, width, channels


def per_channel(name: str, value, channels: int) -> list[float]:
    """A list of `channels` finite numbers: one number is repeated."""
    one = isinstance(value, numbers.Real)
    values = [value] * channels if one else list(value) if isinstance(value, Iterable) else []
    numeric = all(isinstance(v, numbers.Real) and math.isfinite(v) for v in values)
    if len(values) != channels or not numeric:
        raise UserError(
            f"{name} must be a finite number, or one for each of the {channels} channels; "
            f"got {value!r}."
        )
    return [float(v) for v in values]
