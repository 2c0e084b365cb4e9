"""Reconstruction error of the autoencoder recipe on Fashion-MNIST, beside PCA's.

    python benchmarks/autoencoders.py                         every row, one after the other
    python benchmarks/autoencoders.py linear_64 residual_64   these rows

Protocol: 60,000 training pictures, of which 6,000 (stratified, seeded) are validation; the best
epoch on validation is kept; the 10,000 test pictures are looked at once. The error is the mean
squared error of a pixel in units of 0..1, nothing clipped; PCA is of the same training pictures and
has as many components as the code has values. Each row writes
benchmarks/results/autoencoder_<row>_seed<seed>.json: the command, the figures, the seconds of
training (validation after every epoch included, training layer by layer and evaluation of the test
split not), the machine. Run it alone on the machine.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import tempfile
from typing import Any

import tyro

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # recipes are no package

from kapps import command_line, evaluation, files, training  # noqa: E402
from recipes import autoencoder  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"
DENSE = dict(latent_dim=64, batch_size=256, learning_rate=1e-3, epochs=30)
STACKED = dict(DENSE, model="stacked", units=(1024, 1024))
RESIDUAL = dict(model="residual", width=512, depth=3, batch_size=256, learning_rate=1e-3, epochs=30)
CONV = dict(model="conv", filters=(32, 64), batch_size=128, learning_rate=3e-3, epochs=20)
# Row: what of the recipe's configuration differs from its defaults.
ROWS: dict[str, dict[str, Any]] = {
    "linear_64": dict(model="linear", latent_dim=64, batch_size=256, learning_rate=3e-3, epochs=20),
    "dense_64": dict(DENSE, model="dense", units=(1024,)),
    "stacked_64": STACKED,
    "stacked_64_pretrained": dict(STACKED, pretrain=5),
    "residual_64": dict(RESIDUAL, latent_dim=64),
    "residual_128": dict(RESIDUAL, latent_dim=128),
    "conv_64": dict(CONV, latent_dim=64),
    "conv_128": dict(CONV, latent_dim=128),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which rows, and with which seed."""

    rows: tyro.conf.Positional[tuple[str, ...]] = ()
    """rows of the table; all of them if none is named"""
    seed: int = 0
    """seed of the split, the weights and the order"""
    shared: bool = False
    """other work runs on the machine: the seconds are marked as not measured alone"""
    results: str = str(RESULTS)
    """where the results go"""


def main(config: Config) -> None:
    """Run the rows and write their results."""
    for name in config.rows or ROWS:
        with tempfile.TemporaryDirectory() as scratch:
            settings = autoencoder.Config(
                dataset="fashion_mnist", seed=config.seed, run_dir=scratch, **ROWS[name]
            )
            shown = dataclasses.replace(settings, run_dir=None)
            metrics = command_line.call(autoencoder, dataclasses.replace(settings, export=False))
            rows = evaluation.read_history(scratch)
        result = {
            "command": training.command(shown, "python recipes/autoencoder.py"),
            "metrics": metrics,
            "epochs": rows,
            "measured_alone": not config.shared,
            "machine": training.machine(),
            "versions": training.versions(),
        }
        path = pathlib.Path(config.results, f"autoencoder_{name}_seed{config.seed}.json")
        files.write_json(path, result)
        print(
            f"{name}: {metrics['test_mse']:.5f} (PCA {metrics['pca_mse']:.5f}) in "
            f"{metrics['train_seconds']:.0f} s"
        )


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
