"""Gradients of kernels on a CPU: a training step by Keras' convolutions and by ours.

    python benchmarks/convolutions.py

The same network in turns, so that both see the same machine; all but the one kind of layer is the
same. The ratio is the median of those of the turns. Writes benchmarks/results/convolutions.json.
"""

from __future__ import annotations

import pathlib
import statistics
import sys

import keras

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.batch_normalization import compiled, step_seconds  # noqa: E402
from kapps import files, layers, models, training  # noqa: E402

TURNS, STEPS, CLASSES = 15, 2, 10
NETWORKS = (  # layer, network, sides, batch
    ("Conv2D", "resnet8_wide", (28, 28, 1), 256),
    ("Conv2D", "vgg11", (32, 32, 3), 64),
    ("Conv2D", "resnet18", (64, 64, 3), 64),
    ("DepthwiseConv2D", "efficientnet_lite0", (160, 160, 3), 16),
    ("DepthwiseConv2D", "efficientnet_b0", (160, 160, 3), 16),
)
PRECISION = {"Conv2D": "mixed_bfloat16", "DepthwiseConv2D": "float32"}  # that they pay in


def main() -> None:
    """Measure, print, write."""
    result = {"machine": training.machine(), "versions": training.versions(), "rows": []}
    for layer, name, shape, batch in NETWORKS:
        with training.precision_policy(PRECISION[layer]):
            ours = network(name, shape)
            both = {"ours": compiled(ours), "stock": compiled(with_keras_layer(ours, layer))}
        seconds = {which: [] for which in both}
        for _ in range(TURNS):
            for which, model in both.items():
                seconds[which].append(step_seconds(model, batch, STEPS))
        pairs = zip(seconds["stock"], seconds["ours"], strict=True)
        row = {"layer": layer, "network": name, "precision": PRECISION[layer], "batch": batch}
        row["seconds"] = seconds
        row["ratio"] = statistics.median(stock / mine for stock, mine in pairs)
        result["rows"].append(row)
        print(f"{name}: Keras' {layer} / ours {row['ratio']:.2f}", flush=True)
    files.write_json(pathlib.Path(__file__).parent / "results" / "convolutions.json", result)


def network(name: str, shape: tuple[int, int, int]) -> keras.Model:
    """A classifier of kapps', or one on a backbone."""
    if name not in models.backbone_table.BACKBONES:
        return models.classifier(name, shape, CLASSES)
    backbone = models.backbone(name, weights="none", input_shape=shape)
    return models.transfer_classifier(backbone, CLASSES)


def with_keras_layer(model: keras.Model, name: str) -> keras.Model:
    """The same network on Keras' own layer of that name; all others stay ours."""

    def clone(layer):
        ours = isinstance(layer, getattr(layers, name))
        kind = getattr(keras.layers, name) if ours else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


if __name__ == "__main__":
    main()
