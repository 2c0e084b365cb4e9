"""From the model that was trained to the one that is evaluated, saved and served."""

from __future__ import annotations

from typing import Any

import keras


def for_inference(model: keras.Model) -> keras.Model:
    """The same model in float32 on one device, uncompiled.

    Sixteen bits, replicas and optimizers are for training; what is evaluated, saved and served
    runs anywhere.

    Args:
        model: built; stays as it is.
    """
    rebuilt = type(model).from_config(_plain(model.get_config()))
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def in_units(model: keras.Model, mean: float, std: float) -> keras.Model:
    """The same model, whose one output is a quantity in its own units.

    Args:
        model: trained on targets less `mean`, over `std`.
        mean: of the training targets.
        std: their standard deviation.

    Returns:
        What `model` takes -> "value" `[batch, 1]`.
    """
    layer = keras.layers.Rescaling(std, offset=mean, dtype="float32", name="value")
    return keras.Model(model.inputs[0], layer(model.outputs[0]), name=f"{model.name}_in_units")


def _plain(config: Any) -> Any:
    """A configuration whose layers compute in float32, and no part of which is compiled."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {name: _plain(part) for name, part in config.items() if name != "compile_config"}
    if isinstance(config, list | tuple):
        return type(config)(map(_plain, config))
    return config
