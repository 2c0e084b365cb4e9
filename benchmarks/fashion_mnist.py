"""Accuracy and minutes of the image classifier recipe on the whole of Fashion-MNIST.

    python benchmarks/fashion_mnist.py            every row, one after the other
    python benchmarks/fashion_mnist.py mlp cnn    these rows

Protocol: 60,000 training pictures, of which 6,000 (stratified, seeded) are validation; the best
epoch on validation is kept; the 10,000 test pictures are looked at once. Each row writes
benchmarks/results/fashion_mnist_<row>_seed<seed>.json: the command, the figures, the seconds of
training (validation after every epoch included, evaluation of the test split not), the machine.
Run it alone on the machine.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import platform
import sys
import tempfile
from typing import Any

import tyro

from kapps import files, training
from recipes import image_classifier

RESULTS = pathlib.Path(__file__).parent / "results"
WIDE = dict(model="resnet8_wide", batch_size=256)
# Row: what of the recipe's configuration differs from its defaults.
ROWS: dict[str, dict[str, Any]] = {
    "mlp": dict(model="mlp", epochs=20, batch_size=256, dropout=0.3, augment=False),
    "cnn": dict(model="cnn", epochs=20, batch_size=256),
    "resnet_5_epochs": dict(WIDE, epochs=5),
    "resnet_10_minutes": dict(WIDE, epochs=10),
    "resnet_20_epochs": dict(WIDE, epochs=20),
    "no_augmentation": dict(model="cnn", epochs=20, batch_size=256, augment=False),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which rows, and with which seed."""

    rows: tyro.conf.Positional[tuple[str, ...]] = ()
    """rows of the table; all of them if none is named"""
    seed: int = 0
    """seed of the split, the weights and the order"""


def main(config: Config) -> None:
    """Run the rows and write their results."""
    for name in config.rows or ROWS:
        with tempfile.TemporaryDirectory() as scratch:
            settings = image_classifier.Config(
                dataset="fashion_mnist", seed=config.seed, run_dir=scratch, **ROWS[name]
            )
            shown = dataclasses.replace(settings, run_dir=None)
            metrics = image_classifier.main(dataclasses.replace(settings, export=False))
            rows = training.read_rows(pathlib.Path(scratch, "metrics.csv"))
        result = {
            "command": training.command(shown, "recipes/image_classifier.py"),
            "metrics": metrics,
            "epochs": rows,
            "machine": machine(),
            "versions": training.versions(),
        }
        files.write_json(RESULTS / f"fashion_mnist_{name}_seed{config.seed}.json", result)
        print(f"{name}: {metrics['test_accuracy']:.4f} in {metrics['train_seconds']:.0f} s")


def machine() -> dict[str, Any]:
    """What the seconds depend on."""
    model = platform.processor()
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
        flags = next(line for line in lines if line.startswith("flags"))
    except (OSError, StopIteration):
        flags = ""
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {"cpu": model, "cores": os.cpu_count(), "flags": [f for f in wanted if f in flags]}


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
