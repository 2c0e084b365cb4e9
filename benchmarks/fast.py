"""How soon `--preset fast` gets where, and what each of its parts brings.

    python benchmarks/fast.py clock --seeds 5        # accuracy by seconds since the command
    python benchmarks/fast.py ablation --seeds 5     # the preset less one part, and AdamW alone
    python benchmarks/fast.py ablation --epochs 4 --seeds 1 --dataset digits
    python benchmarks/fast.py airbench --epochs 1 3  # airbench's recipe in PyTorch, Fashion-MNIST

Runs the recipe as a command, one after the other, on a machine that does nothing else: `clock`
counts from the start of the command to its end, with the import of TensorFlow, the choice of the
precision, and the test split, which each run looks at once. Writes benchmarks/results/fast_*.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.harness import machine, peers  # noqa: E402
from kapps import files, training  # noqa: E402

# What is left out of the preset, by name; and what it replaces.
PARTS = {
    "all of it": (),
    "without whitening": ("--whitening", "0"),
    "without the identity start": ("--no-identity-start",),
    "without alternating flips": ("--no-alternate-flips",),
    "without label smoothing": ("--label-smoothing", "0"),
    "without the average of the weights": ("--ema", "0"),
    "without test-time views": ("--no-test-views",),
    "AdamW for Muon": ("--optimizer", "adamw"),
}
PLAIN = ("--model", "resnet8_wide", "--batch-size", "256")  # none of it: the recipe's defaults
EPOCHS = (1, 3, 6, 12, 30)  # of `clock`


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("clock", "ablation", "airbench"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, nargs="+", help="default: those of the preset")
    parser.add_argument("--dataset", default="fashion_mnist")
    given = parser.parse_args()
    preset = ("--preset", "fast")
    run = functools.partial(timed, given.dataset)
    if given.what == "airbench":
        run = airbench
        rows = [
            (f"{epochs} epochs", ("--epochs", str(epochs))) for epochs in given.epochs or (1, 3)
        ]
    elif given.what == "clock":
        rows = [
            (f"{epochs} epochs", (*preset, "--epochs", str(epochs)))
            for epochs in given.epochs or EPOCHS
        ]
    else:
        rows = [
            (f"{name}, {epochs} epochs", (*flags, "--epochs", str(epochs)))
            for epochs in given.epochs or (10,)
            for name, flags in (
                *((name, (*preset, *less)) for name, less in PARTS.items()),
                ("none of it, AdamW", PLAIN),
            )
        ]
    found = []
    for name, flags in rows:
        with machine.Others() as others:
            runs = [run(seed, flags) for seed in range(given.seeds)]
        row: dict[str, Any] = {"name": name, "flags": " ".join(flags), "others": others.part}
        for figure in runs[0]:
            values = [run[figure] for run in runs]
            row[figure] = statistics.mean(values)
            row[f"{figure}_spread"] = statistics.stdev(values) if len(values) > 1 else 0.0
        found.append(row)
        print(
            f"{name:<45}test {row['test_accuracy']:.2%} ± {row['test_accuracy_spread']:.2%}, "
            f"{row['command_seconds']:.0f} s",
            flush=True,
        )
        result = {
            "command": f"python {' '.join(sys.argv)}",
            "dataset": given.dataset,
            "seeds": given.seeds,
            "rows": found,
            "machine": training.machine(),
            "versions": training.versions(),
        }
        files.write_json(ROOT / "benchmarks" / "results" / f"fast_{given.what}.json", result)


def timed(dataset: str, seed: int, flags: tuple[str, ...]) -> dict[str, float]:
    """One run of the recipe: its figures, and the seconds of the whole command."""
    with tempfile.TemporaryDirectory() as directory:
        where = ("--run-dir", f"{directory}/run", "--export-dir", f"{directory}/served")
        words = (sys.executable, str(ROOT / "recipes" / "image_classifier.py"))
        begun = time.monotonic()
        subprocess.run(
            [*words, "--dataset", dataset, "--seed", str(seed), *where, *flags],
            check=True,
            capture_output=True,
        )
        seconds = time.monotonic() - begun
        metrics = json.loads(pathlib.Path(directory, "run", "metrics.json").read_text())
    kept = ("test_accuracy", "test_loss", "train_seconds", "examples_per_second")
    return {"command_seconds": seconds, **{name: metrics[name] for name in kept}}


def airbench(seed: int, flags: tuple[str, ...]) -> dict[str, float]:
    """One run of airbench's recipe in the environment of the peers."""
    program = ROOT / "benchmarks" / "contestants" / "torch_airbench.py"
    words = (str(peers.python()), str(program), "--seed", str(seed), *flags)
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return {name: found[name] for name in ("test_accuracy", "command_seconds")}


if __name__ == "__main__":
    main()
