"""The gradient of depthwise kernels of 5 x 5: a training step by Keras' layer and by ours.

    python benchmarks/depthwise.py

The same network in turns, so that both see the same machine; all but `DepthwiseConv2D` is the same.
The ratio is the median of those of the turns. Writes benchmarks/results/depthwise.json.
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
BATCH, SIDE = 16, 160


def main() -> None:
    """Measure, print, write."""
    result = {"machine": training.machine(), "versions": training.versions(), "rows": []}
    for name in ("efficientnet_lite0", "efficientnet_b0"):
        backbone = models.backbone(name, weights="none", input_shape=(SIDE, SIDE, 3))
        ours = models.transfer_classifier(backbone, 10)
        both = {"ours": compiled(ours), "stock": compiled(with_keras_layer(ours))}
        seconds = {which: [] for which in both}
        for _ in range(TURNS):
            for which, model in both.items():
                seconds[which].append(step_seconds(model, BATCH, STEPS))
        pairs = zip(seconds["stock"], seconds["ours"], strict=True)
        row = {"network": name, "batch": BATCH, "seconds": seconds}
        row["ratio"] = statistics.median(stock / mine for stock, mine in pairs)
        result["rows"].append(row)
        print(f"{name}: Keras' layer / ours {row['ratio']:.2f}", flush=True)
    files.write_json(pathlib.Path(__file__).parent / "results" / "depthwise.json", result)


def with_keras_layer(model: keras.Model) -> keras.Model:
    """The same network on Keras' own DepthwiseConv2D; the batch normalization stays ours."""

    def clone(layer):
        ours = isinstance(layer, layers.DepthwiseConv2D)
        kind = keras.layers.DepthwiseConv2D if ours else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


if __name__ == "__main__":
    main()
