"""Fused against stock BatchNormalization: seconds of a training step, as a ratio in one run.

    python benchmarks/batch_normalization.py

The same network with Keras' layer and with ours, in float32 and mixed_bfloat16, measured in turns
so that both see the same machine. Writes benchmarks/results/batch_normalization.json.
"""

from __future__ import annotations

import pathlib
import time

import keras
import numpy as np

from kapps import files, layers, losses, models, training

BATCH, TURNS, STEPS = 128, 5, 3


def main() -> None:
    """Measure, print, write."""
    result = {"machine": training.machine(), "versions": training.versions(), "rows": []}
    for policy in ("float32", "mixed_bfloat16"):
        with training.precision_policy(policy):
            network = models.resnet("resnet8_wide", (28, 28, 1), 10)
            fused, stock = compiled(network), compiled(with_keras_layer(network))
        seconds = {"stock": [], "fused": []}
        for _ in range(TURNS):
            seconds["stock"].append(step_seconds(stock))
            seconds["fused"].append(step_seconds(fused))
        best = {name: min(values) for name, values in seconds.items()}
        row = {"policy": policy, **best, "ratio": best["stock"] / best["fused"]}
        result["rows"].append(row)
        print(row)
    path = pathlib.Path(__file__).parent / "results" / "batch_normalization.json"
    files.write_json(path, result)


def compiled(model: keras.Model) -> keras.Model:
    """The model, ready for a step."""
    model.compile("adam", losses.softmax_cross_entropy, jit_compile=False)
    return model


def with_keras_layer(model: keras.Model) -> keras.Model:
    """The same network on Keras' own BatchNormalization."""

    def clone(layer):
        if isinstance(layer, layers.BatchNormalization):
            return keras.layers.BatchNormalization.from_config(layer.get_config())
        return layer.__class__.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def step_seconds(
    model: keras.Model,
    batch: int = BATCH,
    steps: int = STEPS,
    shape: tuple[int, ...] | None = None,
) -> float:
    """Mean of a few training steps on random pixels, after one that is not counted.

    `shape` is that of an example, if the model does not say.
    """
    random = np.random.default_rng(0)
    shape = shape or model.input_shape[1:]
    x = random.integers(0, 256, (batch, *shape)).astype("float32")
    y = np.eye(10, dtype="float32")[random.integers(0, 10, batch)]
    model.train_on_batch(x, y)
    begin = time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(x, y)
    return (time.perf_counter() - begin) / steps


if __name__ == "__main__":
    main()
