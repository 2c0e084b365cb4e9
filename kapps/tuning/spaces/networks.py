"""Spaces of the other builders: keyword arguments of `kapps.models` from hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras_tuner as kt

from kapps.tuning.spaces.points import none, shrunk


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
    """Keyword arguments of `models.resnet`, which takes images of any size.

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
            "normalization": none(
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
