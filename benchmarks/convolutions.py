"""Gradients of 1 x 1 and of wide depthwise kernels: a training step by Keras' layers and by ours.

    python benchmarks/convolutions.py

The same network in turns, so that both see the same machine; everything but the layers `Conv2D` and
`DepthwiseConv2D` is the same. Medians. Writes benchmarks/results/convolutions.json.
"""

from __future__ import annotations

import pathlib
import statistics
import time

import keras
import numpy as np

from kapps import files, layers, losses, models, training

TURNS, STEPS = 5, 3
# Backbone: its images, its batch.
NETWORKS = {
    "efficientnet_lite0": ((160, 160, 3), 16),
    "mobilenet_v2": ((160, 160, 3), 16),
    "resnet50": ((128, 128, 3), 8),
}


def main() -> None:
    """Measure, print, write."""
    result = {"machine": training.machine(), "versions": training.versions(), "rows": []}
    for name, (shape, batch) in NETWORKS.items():
        for policy in ("float32", "mixed_bfloat16"):
            with training.precision_policy(policy):
                network = models.backbone(name, weights="none", input_shape=shape)
                ours = compiled(models.transfer_classifier(network, 10))
                stock = compiled(with_keras_convolutions(models.transfer_classifier(network, 10)))
            seconds = {"stock": [], "ours": []}
            for _ in range(TURNS):
                seconds["stock"].append(step_seconds(stock, shape, batch))
                seconds["ours"].append(step_seconds(ours, shape, batch))
            middle = {which: statistics.median(values) for which, values in seconds.items()}
            ratio = middle["stock"] / middle["ours"]
            row = {"network": name, "policy": policy, "batch": batch, **middle, "ratio": ratio}
            result["rows"].append(row)
            print(row, flush=True)
    files.write_json(pathlib.Path(__file__).parent / "results" / "convolutions.json", result)


def compiled(model: keras.Model) -> keras.Model:
    """The model, ready for a step."""
    model.compile("adam", losses.softmax_cross_entropy, jit_compile=False)
    return model


def with_keras_convolutions(model: keras.Model) -> keras.Model:
    """The same network on Keras' own convolutions; the batch normalization stays ours."""

    def clone(layer):
        ours = isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D)
        kind = getattr(keras.layers, type(layer).__name__) if ours else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def step_seconds(model: keras.Model, shape: tuple[int, int, int], batch: int) -> float:
    """Mean of a few training steps, after one that is not counted."""
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (batch, *shape)).astype("float32")
    y = np.eye(10, dtype="float32")[random.integers(0, 10, batch)]
    model.train_on_batch(x, y)
    begin = time.perf_counter()
    for _ in range(STEPS):
        model.train_on_batch(x, y)
    return (time.perf_counter() - begin) / STEPS


if __name__ == "__main__":
    main()
