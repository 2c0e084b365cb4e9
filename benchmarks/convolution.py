"""The gradient of kernels in small maps: a training step in bfloat16 by Keras' layer and by ours.

    python benchmarks/convolution.py

The same network in turns, so that both see the same machine; all but `Conv2D` is the same. The
ratio is the median of those of the turns. Writes benchmarks/results/convolution.json.
"""

from __future__ import annotations

import pathlib
import statistics
import sys

import keras

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks.batch_normalization import compiled, step_seconds  # noqa: E402
from kapps import files, layers, models, training  # noqa: E402

TURNS, STEPS = 15, 2
NETWORKS = (  # name, sides, batch
    ("resnet8_wide", (28, 28, 1), 256),
    ("vgg11", (32, 32, 3), 64),
    ("resnet18", (64, 64, 3), 64),
)


def main() -> None:
    """Measure, print, write."""
    result = {"machine": training.machine(), "versions": training.versions(), "rows": []}
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    for name, shape, batch in NETWORKS:
        ours = models.classifier(name, shape, 10)
        both = {"ours": compiled(ours), "stock": compiled(with_keras_layer(ours))}
        seconds = {which: [] for which in both}
        for _ in range(TURNS):
            for which, model in both.items():
                seconds[which].append(step_seconds(model, batch, STEPS))
        pairs = zip(seconds["stock"], seconds["ours"], strict=True)
        row = {"network": name, "batch": batch, "seconds": seconds}
        row["ratio"] = statistics.median(stock / mine for stock, mine in pairs)
        result["rows"].append(row)
        print(f"{name}: Keras' layer / ours {row['ratio']:.2f}", flush=True)
    files.write_json(pathlib.Path(__file__).parent / "results" / "convolution.json", result)


def with_keras_layer(model: keras.Model) -> keras.Model:
    """The same network on Keras' own Conv2D; the batch normalization stays ours."""

    def clone(layer):
        kind = keras.layers.Conv2D if isinstance(layer, layers.Conv2D) else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


if __name__ == "__main__":
    main()
