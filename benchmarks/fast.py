"""How soon `--preset fast` gets where, and what each of its parts brings.

    python benchmarks/fast.py clock --seeds 5        # accuracy by seconds since the command
    python benchmarks/fast.py clock --only "90 %"    # one row of it anew
    python benchmarks/fast.py clock --only "94" --seeds 5 --add     # rows with fewer get the rest
    python benchmarks/fast.py ablation --seeds 5     # the preset with one part changed; none of it
    python benchmarks/fast.py ablation --epochs 4 --seeds 1 --dataset digits
    python benchmarks/fast.py adamw --epochs 4       # the preset beside AdamW at several rates
    python benchmarks/fast.py airbench --epochs 1 3  # airbench's recipe in PyTorch, Fashion-MNIST

Runs the recipe as a command, one after the other, on a machine that does nothing else: `seconds`
are those from the start of the command until the accuracy on the test split is known, which each
run looks at once: with the import of TensorFlow and the choice of the precision. `command_seconds`
go on to the end of the command: the simple peers, the report, and the SavedModel; airbench has none
of these. Writes benchmarks/results/fast_*.json.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.harness import machine, peers  # noqa: E402
from kapps import files, training  # noqa: E402

# What is left out of the preset, by name; and what it replaces.
PARTS = {
    "all of it": (),
    "without whitening": ("--whitening", "0", "--whitening-strides", "1"),
    "whitening of all patches": ("--whitening", "3", "--whitening-strides", "1"),
    "without the identity start": ("--no-identity-start",),
    "without alternating flips": ("--no-alternate-flips",),
    "without label smoothing": ("--label-smoothing", "0"),
    "with shifts": ("--crop", "0.07"),
    "with an average of the weights": ("--ema", "0.99"),
    "without test-time views": ("--no-test-views",),
    "AdamW for Muon": ("--optimizer", "adamw", "--learning-rate", "0.003"),
    "ResNet": ("--model", "resnet8_wide"),
}
# None of it: the recipe's defaults of then.
PLAIN = ("--model", "vgg7", "--batch-size", "128", "--crop", "0.1")
# Of `adamw`: the preset, and rates in it, among which the validation split chooses.
BESIDE_ADAMW: dict[str, tuple[str, ...]] = {
    "Muon": (),
    **{f"Muon, {rate}": ("--learning-rate", f"{rate}") for rate in (0.012, 0.016)},
    **{
        f"AdamW, {rate}": ("--optimizer", "adamw", "--learning-rate", f"{rate}")
        for rate in (0.0015, 0.003, 0.006, 0.012, 0.024)
    },
    # With a first layer that whitens every patch, not every other one.
    "Muon, all patches, 0.016": (*PARTS["whitening of all patches"], "--learning-rate", "0.016"),
    **{
        f"AdamW, all patches, {rate}": (
            *PARTS["whitening of all patches"],
            *("--optimizer", "adamw", "--learning-rate", f"{rate}"),
        )
        for rate in (0.006, 0.012, 0.024)
    },
}
# Of `clock`: what was to be reached when, and flags beside those of the preset.
GOALS = {
    "90 % in 30 s": ("--epochs", "1"),
    "92 % in 75 s": ("--epochs", "2"),
    "93 % in 2 min": ("--epochs", "4"),
    "94.0 % in 5 min": ("--epochs", "10"),
    "94.5 % in 12 min": ("--epochs", "16", "--model", "vgg9", "--crop", "0.036"),
}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("clock", "ablation", "adamw", "airbench"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--epochs", type=int, nargs="+", help="not of clock, whose goals have theirs"
    )
    parser.add_argument("--only", default="", help="rows whose name begins so; others are kept")
    parser.add_argument("--add", action="store_true", help="seeds to those that a row has")
    parser.add_argument("--dataset", default="fashion_mnist")
    given = parser.parse_args()
    preset, quick = ("--preset", "fast"), ("--no-peers", "--no-export")
    run = functools.partial(timed, given.dataset)
    if given.what == "airbench":
        run = airbench
        rows = [
            (f"{epochs} epochs", ("--epochs", str(epochs))) for epochs in given.epochs or (1, 3)
        ]
    elif given.what == "clock":
        rows = [(name, (*preset, *flags)) for name, flags in GOALS.items()]
    else:
        changes = BESIDE_ADAMW if given.what == "adamw" else PARTS
        variants = {name: (*preset, *change) for name, change in changes.items()}
        if given.what == "ablation":
            variants["none of it, AdamW"] = PLAIN
        rows = [
            (f"{name}, {epochs} epochs", (*flags, *quick, "--epochs", str(epochs)))
            for epochs in given.epochs or (2,)
            for name, flags in variants.items()
        ]
    path = ROOT / "benchmarks" / "results" / f"fast_{given.what}.json"
    kept = path.exists() and (given.only or given.add)
    before = json.loads(path.read_text())["rows"] if kept else []
    found = {row["name"]: row for row in before}
    for name, flags in (row for row in rows if row[0].startswith(given.only)):
        there = found.get(name) if given.add else None
        first = there["seeds"] if there else 0
        if first >= given.seeds:
            continue
        with machine.Others() as others:
            runs = [run(seed, flags) for seed in range(first, given.seeds)]
        row = {"name": name, "flags": " ".join(flags), "seeds": given.seeds}
        row |= together(runs, others.part, there)
        found[name] = row
        print(
            f"{name:<45}test {row['test_accuracy']:.2%} ± {row['test_accuracy_spread']:.2%}, "
            f"{row['seconds']:.0f} s, to the end {row['command_seconds']:.0f} s",
            flush=True,
        )
        result = {
            "command": f"python {' '.join(sys.argv)}",
            "dataset": given.dataset,
            "rows": [*found.values()],
            "machine": training.machine(),
            "versions": training.versions(),
        }
        files.write_json(path, result)


def together(
    runs: Sequence[dict[str, float]], others: float, there: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Means and spreads of runs, and of those in a row that is there.

    Of a figure that the row has not, what the new ones had would be called the mean of all: it is
    left out. A load of the machine that was not known stays so.
    """
    load = there["others"] if there else 0.0
    row: dict[str, Any] = {"others": None if load is None else max(others, load)}
    for figure in runs[0]:
        if there and figure not in there:
            continue
        known = (there[figure], there[f"{figure}_spread"], there["seeds"]) if there else None
        row[figure], row[f"{figure}_spread"] = pooled([run[figure] for run in runs], known)
    return row


def pooled(
    values: Sequence[float], known: tuple[float, float, int] | None = None
) -> tuple[float, float]:
    """Mean and standard deviation, with those of so many values before, which are not there."""
    mean, spread, n = known or (0.0, 0.0, 0)
    together = (n * mean + sum(values)) / (n + len(values))
    squares = (n - 1) * spread**2 if n else 0.0
    squares += n * (mean - together) ** 2 + sum((value - together) ** 2 for value in values)
    return together, math.sqrt(squares / max(n + len(values) - 1, 1))


def timed(dataset: str, seed: int, flags: tuple[str, ...]) -> dict[str, float]:
    """One run of the recipe: its figures, and the seconds of the whole command."""
    with tempfile.TemporaryDirectory() as directory:
        where = ("--run-dir", f"{directory}/run", "--export-dir", f"{directory}/served")
        words = (sys.executable, str(ROOT / "recipes" / "image_classifier.py"))
        words = (*words, "--dataset", dataset, "--seed", str(seed), *where, *flags)
        known, begun = None, time.monotonic()
        with subprocess.Popen(
            [*words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        ) as process:
            for line in process.stdout or ():
                if known is None and line.startswith("test accuracy"):
                    known = time.monotonic() - begun
        seconds = time.monotonic() - begun
        if process.returncode or known is None:
            raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
        metrics = json.loads(pathlib.Path(directory, "run", "metrics.json").read_text())
        with open(pathlib.Path(directory, "run", "metrics.csv"), newline="") as curves:
            validated = [float(row["val_accuracy"]) for row in csv.DictReader(curves)]
    kept = ("test_accuracy", "test_loss", "train_seconds", "examples_per_second")
    figures = {name: metrics[name] for name in kept}
    figures["validation_accuracy"] = validated[metrics["best_epoch"] - 1]
    return {"seconds": known, "command_seconds": seconds, **figures}


def airbench(seed: int, flags: tuple[str, ...]) -> dict[str, float]:
    """One run of airbench's recipe in the environment of the peers."""
    program = ROOT / "benchmarks" / "contestants" / "torch_airbench.py"
    words = (str(peers.python()), str(program), "--seed", str(seed), *flags)
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    seconds = found["command_seconds"]
    figures = {"seconds": seconds, "command_seconds": seconds}
    return {**figures, "test_accuracy": found["test_accuracy"]}


if __name__ == "__main__":
    main()
