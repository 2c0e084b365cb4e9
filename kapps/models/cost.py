"""What a model costs: multiply-adds of one forward pass."""

from __future__ import annotations

import math

import keras


def size(model: keras.Model) -> str:
    """Parameters and multiply-adds of one forward pass, in words."""
    return f"{model.count_params():,} parameters, {multiply_adds(model) / 1e6:.1f} M multiply-adds"


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds of the convolutions and dense layers for one example.

    Every kernel entry is used once per output position (per input position for transposed
    convolutions). Normalisations, activations and pooling are left out, as papers do.

    Args:
        model: built, with known spatial sizes.
    """
    total = 0
    for layer in model._flatten_layers(include_self=False, recursive=True):
        kernel = getattr(layer, "kernel", None)
        if kernel is None or not isinstance(getattr(layer, "input", None), keras.KerasTensor):
            continue
        transposed = "Transpose" in type(layer).__name__
        shape = layer.input.shape if transposed else layer.output.shape
        channels_first = getattr(layer, "data_format", None) == "channels_first"
        positions = shape[2:] if channels_first else shape[1:-1]
        total += math.prod(kernel.shape) * math.prod(positions)
    return total
