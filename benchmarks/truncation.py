"""What truncation costs: the adding problem by the number of steps that an error is sent back.

    python benchmarks/truncation.py

Two numbers of a series are marked, one in either half, and their sum is asked for at its last step
(Hochreiter and Schmidhuber 1997). The whole error arises there. Every k trains an LSTM for the same
number of updates on the same fresh series, k1 = k2 = k; each series is a stream of its own, whose
chunks before the last one only carry the state on.

Measured, mean of three seeds of a series of 100 steps: k = 2 learns nothing (always answering 1 has
an error of 1/6); 5 and 10 do on some seeds; 25 and 50 reach 0.01; all 100 steps reach 0.002.
Truncated gradients see the few marks that happen to stand near the end, and what is learned there
holds at every step, since the weights are the same; but it is learned later, and how long to
remember is not in the gradient. Writes benchmarks/results/truncation.json and truncation.png.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import time

import tyro

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kapps import files, training  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"


@dataclasses.dataclass(frozen=True)
class Config:
    """How long, and how often."""

    length: int = 100
    """steps of a series; k are those of its divisors that are listed"""
    ks: tuple[int, ...] = (2, 5, 10, 25, 50, 100)
    """steps that an error is propagated back"""
    cells: tuple[str, ...] = ("lstm",)
    """recurrent layers"""
    units: int = 48
    """of the layer"""
    updates: int = 2000
    """series batches that each k sees"""
    batch_size: int = 64
    """series per update"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """of weights and series"""
    shared: bool = False
    """other work runs on the machine: the seconds are marked as not measured alone"""
    results: str = str(RESULTS)
    """where the result goes"""


def main(config: Config) -> None:
    """Train every k, and write figures and picture."""
    rows = []
    for cell in config.cells:
        for k in config.ks:
            for seed in config.seeds:
                row = {"cell": cell, "k": k, "seed": seed, **one(config, cell, k, seed)}
                print(row, flush=True)
                rows.append(row)
    result = {
        "settings": {name: getattr(config, name) for name in NAMES},
        "baseline_mse": 1 / 6,
        "rows": rows,
        "measured_alone": not config.shared,
        "machine": training.machine(),
        "versions": training.versions(),
    }
    files.write_json(pathlib.Path(config.results, "truncation.json"), result)
    draw(config, rows)


NAMES = ("length", "ks", "cells", "units", "updates", "batch_size", "seeds")


def one(config: Config, cell: str, k: int, seed: int) -> dict[str, float]:
    """Train one network; its mean squared error on 2,000 new series."""
    import keras
    import tensorflow as tf

    from kapps import models, replicas
    from kapps.data.series.memory_tasks import adding

    training.seed_everything(seed)
    rows, length = config.batch_size, config.length
    network = models.rnn(
        2, 1, cell=cell, units=config.units, return_sequences=True, carry_state=True
    )
    model = models.TruncatedBPTT(
        network, k1=k, lanes=rows, loss="squared_error", clip=1.0, name="adding"
    )
    schedule = training.learning_rate_schedule("cosine", 5e-3, steps=config.updates, warmup=0.02)
    optimizer = keras.optimizers.Adam(schedule)
    optimizer.build(model.trainable_variables)
    chunks = length // k

    def carried(x):
        """The states before the last chunk."""
        remembered = model.memory.read(tf.range(rows), tf.ones([rows], tf.int32))
        for chunk in range(chunks - 1):
            _, remembered = model.unroll(x[:, chunk * k : (chunk + 1) * k], remembered)
        return remembered

    @tf.function(autograph=False)
    def update(step):
        x, y = adding(rows, length, tf.stack([step, seed]))
        remembered = carried(x)

        def objective():
            outputs, _ = model.unroll(x[:, -k:], remembered, training=True)
            loss = tf.reduce_mean(tf.square(outputs[:, -1] - y))
            return loss, loss

        return replicas.minimize(
            optimizer, objective, model.trainable_variables, model.settings["clip"]
        )

    began = time.monotonic()
    for step in range(config.updates):
        update(tf.constant(step))
    seconds = time.monotonic() - began
    x, y = adding(2000, length, tf.constant([seed, 1_000_000]))
    outputs = model.predict(x, batch_size=500, verbose=0)[:, -1]
    return {"mse": float(((outputs - y.numpy()) ** 2).mean()), "seconds": seconds}


def draw(config: Config, rows: list[dict]) -> None:
    """MSE by k, a line per cell, a dot per seed."""
    import numpy as np

    from kapps.evaluation.plots.figure import BLUE, GREY, ORANGE, calm, new_figure, save_png

    figure = new_figure(3.0)
    axes = calm(figure.subplots())
    for cell, colour in zip(config.cells, (BLUE, ORANGE), strict=False):
        found = [row for row in rows if row["cell"] == cell]
        axes.plot([r["k"] for r in found], [r["mse"] for r in found], "o", color=colour, ms=4)
        means = [np.mean([r["mse"] for r in found if r["k"] == k]) for k in config.ks]
        axes.plot(config.ks, means, color=colour, label=cell)
    axes.axhline(1 / 6, color=GREY, linestyle=":", label="always answering 1")
    axes.set(xscale="log", yscale="log", xticks=config.ks, xticklabels=config.ks)
    axes.minorticks_off()
    axes.set_xlabel(f"k: steps that an error is sent back, of {config.length}")
    axes.set_ylabel("mean squared error")
    axes.legend(frameon=False, fontsize=8.5)
    save_png(figure, pathlib.Path(config.results, "truncation.png"), dpi=100)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
