"""A training step on a CPU by Keras' layers and by ours, one kind of layer at a time.

    python benchmarks/layers.py

The same network in turns, so that both see the same machine; all but the one kind of layer is the
same. The ratio is the median of those of the turns. Writes benchmarks/results/layers.json.
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
FLOAT32, BFLOAT16 = "float32", "mixed_bfloat16"
STACKS = {  # of two recurrent layers: units of each, steps and features of an example, batch
    "two of 128 over 28 steps": (128, (28, 28), 128),
    "two of 256 over 50 steps": (256, (50, 64), 64),
    "two of 32 over 100 steps": (32, (100, 8), 64),
}
NETWORKS = (  # layer, precision, network, shape of an example, batch
    ("Conv2D", BFLOAT16, "resnet8_wide", (28, 28, 1), 256),
    ("Conv2D", BFLOAT16, "vgg11", (32, 32, 3), 64),
    ("Conv2D", BFLOAT16, "resnet18", (64, 64, 3), 64),
    ("DepthwiseConv2D", FLOAT32, "efficientnet_lite0", (160, 160, 3), 16),
    ("DepthwiseConv2D", FLOAT32, "efficientnet_b0", (160, 160, 3), 16),
    *(
        (layer, precision, name, shape, batch)
        for layer in ("LSTM", "GRU")
        for precision in (FLOAT32, BFLOAT16)
        for name, (_, shape, batch) in STACKS.items()
    ),
)


def main() -> None:
    """Measure, print, write."""
    result = {"machine": training.machine(), "versions": training.versions(), "rows": []}
    for layer, precision, name, shape, batch in NETWORKS:
        with training.precision_policy(precision):
            ours = network(layer, name, shape)
            both = {"ours": compiled(ours), "stock": compiled(with_keras_layer(ours, layer))}
        seconds = {which: [] for which in both}
        for _ in range(TURNS):
            for which, model in both.items():
                seconds[which].append(step_seconds(model, batch, STEPS, shape))
        pairs = zip(seconds["stock"], seconds["ours"], strict=True)
        row = {"layer": layer, "network": name, "precision": precision, "batch": batch}
        row["seconds"] = seconds
        row["ratio"] = statistics.median(stock / mine for stock, mine in pairs)
        result["rows"].append(row)
        print(f"{name}, {precision}: Keras' {layer} / ours {row['ratio']:.2f}", flush=True)
    files.write_json(pathlib.Path(__file__).parent / "results" / "layers.json", result)


def network(layer: str, name: str, shape: tuple[int, ...]) -> keras.Model:
    """A classifier of kapps', one on a backbone, or one of series."""
    if name in STACKS:
        units = (STACKS[name][0],) * 2
        return models.rnn(shape[-1], CLASSES, cell=layer.lower(), units=units)
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
