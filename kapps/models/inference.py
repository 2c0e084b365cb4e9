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
    if type(model).train_step is keras.Model.train_step:
        rebuilt = keras.models.clone_model(model, clone_function=_in_float32, recursive=True)
    else:
        rebuilt = type(model).from_config(_without_16_bits(model.get_config()))
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _in_float32(layer: keras.Layer) -> keras.Layer:
    return layer.__class__.from_config(layer.get_config() | {"dtype": "float32"})


def _without_16_bits(config: Any) -> Any:
    """A configuration whose layers compute in float32."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return {**config, "config": {**config["config"], "name": "float32"}}
        return {name: _without_16_bits(part) for name, part in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(map(_without_16_bits, config))
    return config
