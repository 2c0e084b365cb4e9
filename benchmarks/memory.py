"""What keeps gradients alive: schedules, clipping, residual layers, ReLU and gates, on one task.

    python benchmarks/memory.py
    python benchmarks/memory.py --only gru --seeds 3

The adding problem (`kapps.data.memory_task`): who remembers nothing has a mean squared error of
1/6. Every row is trained for the same number of steps on fresh series; beside its error stand the
norm of the gradient with respect to the first step's values, relative to that of the last step's
(does it vanish on its way back? before training and after), and the largest norm of the gradient of
all weights (does it explode?). Each remedy stands beside the row that lacks it. Rows go into
benchmarks/results/memory.json one by one, and the picture is docs/memory.png.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from kapps import data, evaluation, files, models, training
from kapps.evaluation.plots.classic.comparison import Panel, seed_curves
from kapps.evaluation.plots.gradients import layer_norms

ROOT = pathlib.Path(__file__).parents[1]
RESULTS, PICTURE = ROOT / "benchmarks" / "results" / "memory.json", ROOT / "docs" / "memory.png"
LONG, MIDDLE, SHORT = 200, 100, 30  # steps of the series
IDENTITY = {"cell": "simple", "activation": "relu", "units": 64}
DEEP = {"cell": "simple", "units": (24,) * 20}

# Name: what it shows, against which row, steps of the series, network, rate, schedule, clip.
ROWS = {
    "simple": ("no remedy", None, LONG, {"cell": "simple"}, 3e-3, "one-cycle", 1.0),
    "lstm": ("gates", "simple", LONG, {"cell": "lstm"}, 1e-2, "one-cycle", 1.0),
    "gru": ("gates", "simple", LONG, {"cell": "gru"}, 1e-2, "one-cycle", 1.0),
    "lstm-chrono": (
        "gates that begin open",
        "lstm",
        LONG,
        {"cell": "lstm", "memory": LONG},
        1e-2,
        "one-cycle",
        1.0,
    ),
    "gru-chrono": (
        "gates that begin open",
        "gru",
        LONG,
        {"cell": "gru", "memory": LONG},
        1e-2,
        "one-cycle",
        1.0,
    ),
    "simple-100": ("no remedy", None, MIDDLE, {"cell": "simple"}, 3e-3, "one-cycle", 1.0),
    "relu": ("ReLU and identity", "simple-100", MIDDLE, IDENTITY, 3e-3, "one-cycle", 1.0),
    "relu-no-clip": ("no clipping", "relu", MIDDLE, IDENTITY, 3e-3, "one-cycle", 0.0),
    "relu-constant": ("no schedule", "relu", MIDDLE, IDENTITY, 3e-3, "constant", 1.0),
    "relu-bare": ("neither", "relu", MIDDLE, IDENTITY, 3e-3, "constant", 0.0),
    "deep": ("20 layers", None, SHORT, DEEP, 3e-3, "one-cycle", 1.0),
    "deep-residual": (
        "residual layers",
        "deep",
        SHORT,
        {**DEEP, "residual": True},
        3e-3,
        "one-cycle",
        1.0,
    ),
}
NOTHING = 1e-12  # of the gradient of the last step: not drawn below
BATCH, STEPS, EVERY, TESTED = 64, 1500, 100, 1000


def reach(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Norm of the gradient of the output with respect to each step's values, mean over series."""
    values = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(values)
        total = tf.reduce_sum(model(values, training=False))
    return np.linalg.norm(tape.gradient(total, values), axis=-1).mean(axis=0)


def first_to_last(norms: np.ndarray) -> float:
    """How much of the gradient is left at the first step; 0 where none is left anywhere."""
    return float(norms[0] / norms[-1]) if norms[-1] else 0.0


def measure(name: str, seed: int) -> dict:
    """Train one row from one seed."""
    _, _, length, network, rate, schedule, clip = ROWS[name]
    start = time.monotonic()
    training.seed_everything(seed)
    model = models.rnn(2, 1, output_mean=1.0, output_std=math.sqrt(1 / 6), **network)
    model.compile(
        training.optimizer(
            "adam",
            training.learning_rate_schedule(schedule, rate, steps=STEPS),
            global_clipnorm=clip,
        ),
        loss="mse",
    )
    batches = data.IndexedBatches(
        BATCH * EVERY,
        BATCH,
        seed=seed,
        load=lambda rows, key: data.memory_task("adding", BATCH, length, key),
    )
    x, y = data.memory_task("adding", TESTED, length, tf.constant([7, -1]))
    tested = tf.data.Dataset.from_tensor_slices((x, y)).batch(TESTED // 4)
    flow = training.GradientFlow(next(iter(batches.dataset(0, 1))))
    before = reach(model, x[:200])
    history = training.fit(
        model, batches, tested, epochs=STEPS // EVERY, callbacks=[flow], verbose=0
    )
    # `fit` gives the best epoch's weights back; the task has no end of data, so nothing is chosen
    # by luck: the error is that of the last epoch.
    errors = [row["val_loss"] for row in history.rows]
    after = reach(model, x[:200])
    norms = [math.hypot(*layer_norms([row])[1].ravel()) for row in flow.rows]
    return {
        "error": errors[-1],
        "errors": errors,
        "reach_before": before.tolist(),
        "reach_after": after.tolist(),
        "first_to_last_before": first_to_last(before),
        "first_to_last_after": first_to_last(after),
        "largest_gradient": float(np.max(norms)),
        "parameters": model.count_params(),
        "seconds": time.monotonic() - start,
    }


def summary(found: dict) -> list[dict]:
    """The table: a row per row, means over the seeds."""
    table = []
    for name, runs in found.items():
        shows, against, length, network, rate, schedule, clip = ROWS[name]
        errors = [run["error"] for run in runs]
        table.append(
            {
                "row": name,
                "shows": shows,
                "against": against,
                "length": length,
                "network": network,
                "learning_rate": rate,
                "schedule": schedule,
                "clip": clip,
                "error": float(np.mean(errors)),
                "errors_by_seed": errors,
                "solved": int(np.sum(np.asarray(errors) < 0.01)),
                "seeds": len(runs),
                "first_to_last_before": float(np.mean([r["first_to_last_before"] for r in runs])),
                "first_to_last_after": float(np.mean([r["first_to_last_after"] for r in runs])),
                "largest_gradient": float(np.max([r["largest_gradient"] for r in runs])),
            }
        )
    return table


def draw(found: dict) -> None:
    """Errors by step, and how far the gradient reaches before training."""
    panels = []
    for title, length in (
        (f"Gates: {LONG} steps", LONG),
        (f"ReLU, clipping, schedule: {MIDDLE} steps", MIDDLE),
        (f"Residual layers: {SHORT} steps, 20 layers", SHORT),
    ):
        rows = {name: runs for name, runs in found.items() if ROWS[name][2] == length}
        if rows:
            steps = np.arange(1, STEPS // EVERY + 1) * EVERY
            curves = {n: (steps, np.array([r["errors"] for r in runs])) for n, runs in rows.items()}
            panels.append(
                Panel(title, "steps of training; 1/6 is no memory", curves, y_scale="log")
            )
    for when in ("before", "after"):
        back = {}
        for name, runs in found.items():
            norms = np.array([run[f"reach_{when}"] for run in runs])[:, ::-1]
            norms = norms / np.where(norms[:, :1] > 0, norms[:, :1], np.nan)
            back[name] = (np.arange(norms.shape[1]), np.where(norms > NOTHING, norms, np.nan))
        panels.append(
            Panel(f"Gradient {when} training", "steps back from the end", back, y_scale="log")
        )
    evaluation.plots.save_png(seed_curves(panels), PICTURE)


def main() -> None:
    """Rows by name, each written when it is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--draw", action="store_true", help="draw what is there, measure nothing")
    options = parser.parse_args()
    if options.draw:
        draw(json.loads(RESULTS.read_text())["runs"])
        return
    for name in options.only:
        runs = [measure(name, seed) for seed in range(options.seeds)]
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"runs": {}}
        known["runs"][name] = runs
        known["runs"] = {row: known["runs"][row] for row in ROWS if row in known["runs"]}
        known |= {
            "measured_alone": False,
            "steps": STEPS,
            "batch_size": BATCH,
            "baseline": 1 / 6,
            "table": summary(known["runs"]),
            "machine": training.machine(),
            "versions": training.versions(),
        }
        files.write_json(RESULTS, known)
        draw(known["runs"])
        row = next(r for r in known["table"] if r["row"] == name)
        print({k: row[k] for k in ("row", "error", "first_to_last_before", "largest_gradient")})


if __name__ == "__main__":
    main()
