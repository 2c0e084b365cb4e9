"""Fused against stock BatchNormalization in a pre-trained backbone: seconds, as a ratio in one run.

    python benchmarks/backbones.py [--backbone NAME]

The same network with Keras' layer and with ours under a head of ten classes: a training step in
which everything moves, and a prediction. Both are measured in turns, so that they see the same
machine; the best turn counts, and the ratio of each turn is written down beside it. That both
compute the same is measured, too. Writes benchmarks/results/backbones.json. Run it alone on the
machine, or say --shared.

Measured on a busy machine, EfficientNet-Lite0 at 160x160, batch 32, float32: a training step 2.1
times as fast (median of 30 turns 1.8), a prediction 1.5 times (1.4).
"""

from __future__ import annotations

import dataclasses
import pathlib
import statistics
import sys
import time

import tyro

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kapps import files, training  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured, and how often."""

    backbone: str = "efficientnet_lite0"
    """one of kapps.models.backbone_names()"""
    side: int = 160
    """of the pictures"""
    batch_size: int = 32
    """pictures per step"""
    turns: int = 30
    """stock and fused, one after the other, that often"""
    steps: int = 1
    """steps per turn, after one that is not counted before the first turn"""
    shared: bool = False
    """other work runs on the machine: the seconds are marked as not measured alone"""
    results: str = str(RESULTS)
    """where the result goes"""


def main(config: Config) -> dict:
    """Measure, print, write."""
    import numpy as np

    random = np.random.default_rng(0)
    x = random.integers(0, 256, (config.batch_size, config.side, config.side, 3)).astype("float32")
    y = np.eye(10, dtype="float32")[random.integers(0, 10, config.batch_size)]
    networks = {"stock": network(config, fused=False), "fused": network(config, fused=True)}
    networks["fused"].set_weights(networks["stock"].get_weights())
    outputs = {kind: model.predict_on_batch(x) for kind, model in networks.items()}
    gap = np.abs(outputs["fused"] - outputs["stock"]).max() / np.abs(outputs["stock"]).max()
    work = {
        "training step": lambda model: model.train_on_batch(x, y),
        "prediction": lambda model: model.predict_on_batch(x),
    }
    rows = [measured(config, name, step, networks) for name, step in work.items()]
    result = {
        "settings": {name: getattr(config, name) for name in NAMES},
        "outputs_differ_by": float(gap),  # relative to the largest
        "rows": rows,
        "measured_alone": not config.shared,
        "machine": training.machine(),
        "versions": training.versions(),
    }
    files.write_json(pathlib.Path(config.results, "backbones.json"), result)
    return result


NAMES = ("backbone", "side", "batch_size", "turns", "steps")


def network(config: Config, fused: bool):
    """The backbone under a head, ready for a step; all weights may move."""
    import keras

    from kapps import losses, models

    base = models.backbone(
        config.backbone, weights="none", input_shape=(config.side, config.side, 3), fused=fused
    )
    pooled = keras.layers.GlobalAveragePooling2D()(base.output)
    model = keras.Model(base.input, keras.layers.Dense(10)(pooled))
    model.compile("adam", losses.softmax_cross_entropy, jit_compile=False)
    return model


def measured(config: Config, name: str, step, networks: dict) -> dict:
    """Seconds of a step: the best turn of each network, their ratio, and those of all turns."""
    for model in networks.values():
        step(model)
    seconds = {kind: [] for kind in networks}
    for _ in range(config.turns):
        for kind, model in networks.items():
            begin = time.perf_counter()
            for _ in range(config.steps):
                step(model)
            seconds[kind].append((time.perf_counter() - begin) / config.steps)
    best = {kind: min(values) for kind, values in seconds.items()}
    ratios = [a / b for a, b in zip(seconds["stock"], seconds["fused"], strict=True)]
    row = {
        "work": name,
        **best,
        "ratio": best["stock"] / best["fused"],
        "median_ratio": statistics.median(ratios),
        "ratios": ratios,
    }
    print({key: value for key, value in row.items() if key != "ratios"}, flush=True)
    return row


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
