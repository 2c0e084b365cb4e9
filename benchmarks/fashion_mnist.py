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
import pathlib
import sys
import tempfile
from typing import Any

import tyro

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # recipes are no package

from kapps import evaluation, files, training  # noqa: E402
from kapps.command_line import call
from recipes import image_classifier  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"
WIDE = dict(model="resnet8_wide", batch_size=256, learning_rate=0.01)
LONGER = dict(WIDE, learning_rate=0.005, crop=0.07)
# Row: what of the recipe's configuration differs from its defaults.
ROWS: dict[str, dict[str, Any]] = {
    # Five epochs are over before anything is learnt by heart: augmentation would only slow down.
    "resnet_5_epochs": dict(WIDE, epochs=5, augment=False),
    "cnn": dict(filters=(16, 32, 64), epochs=20, batch_size=128, learning_rate=0.01, crop=0.07),
    "mlp": dict(model="mlp", epochs=60, batch_size=256, crop=0.04, flip="no", dropout=0.2),
    "resnet_20_epochs": dict(LONGER, epochs=20),
    "resnet_20_epochs_no_augmentation": dict(WIDE, learning_rate=0.005, epochs=20, augment=False),
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
            metrics = call(image_classifier, dataclasses.replace(settings, export=False))
            rows = evaluation.read_history(scratch)
        result = {
            "command": training.command(shown, "recipes/image_classifier.py"),
            "metrics": metrics,
            "epochs": rows,
            "machine": training.machine(),
            "versions": training.versions(),
        }
        files.write_json(RESULTS / f"fashion_mnist_{name}_seed{config.seed}.json", result)
        print(f"{name}: {metrics['test_accuracy']:.4f} in {metrics['train_seconds']:.0f} s")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
