"""GANs on Fashion-MNIST: ours, the keras.io examples, and every loss on three seeds.

    python benchmarks/gans.py                    every row, one after the other
    python benchmarks/gans.py default wgan_gp    these rows

Protocol: 54,000 training pictures in batches of 64, if the row does not say 32; 10,000
samples against the 10,000 test pictures, in the features of the packaged classifier (its hash is in
the results; its scale is its own and not that of Inception's FID). Rows that are compared make the
same number of generator steps: those of keras.io, whose learning rates are constant, are measured
after every epoch, and each of ours ends its schedule where it ends. Each row writes its figures to
benchmarks/results/gan_<row>_seed<seed>.json, the long ones after every epoch.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tyro

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks import keras_io_gans  # noqa: E402
from kapps import data, evaluation, files, losses, training  # noqa: E402
from kapps.command_line import call
from recipes import gan  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"
BATCH = 64
COMPARED_EPOCHS = 4  # 54,000 pictures in batches of 64: 3,372 generator steps
LADDER = dict(epochs=3, filters=12)  # half as wide: 21 trainings, which are only compared
# Row: what of the recipe's configuration differs from its defaults.
ROWS: dict[str, dict[str, Any]] = {
    "default_1": dict(epochs=1),
    "default_2": dict(epochs=2),
    "default": dict(epochs=COMPARED_EPOCHS),
    "longer": dict(epochs=8),
    "batches_of_32": dict(epochs=2, batch_size=32),  # the recipe's defaults
    "conditional": dict(conditioning="projection", epochs=12, learning_rate=3e-4),
    **{f"ladder_{loss}": dict(loss=loss, **LADDER) for loss in losses.ADVERSARIAL},
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which rows, and how."""

    rows: tyro.conf.Positional[tuple[str, ...]] = ()
    """rows; all of them if none is named: dcgan, wgan_gp (of keras.io) and those of the recipe"""
    seed: int = 0
    """seed of weights, order and draws"""
    shared: bool = False
    """other work runs on the machine: the seconds are marked as not measured alone"""


def main(config: Config) -> None:
    """Run the rows and write their results."""
    for name in config.rows or (*keras_io_gans.EXAMPLES, *ROWS):
        row = keras_io if name in keras_io_gans.EXAMPLES else of_recipe
        for found in row(name, config.seed):
            result = {
                **found,
                "measured_alone": not config.shared,
                "machine": training.machine(),
                "versions": training.versions(),
            }
            files.write_json(RESULTS / f"gan_{name}_seed{config.seed}.json", result)
            figures = result["metrics"]
            print(
                f"{name}, seed {config.seed}, {figures['generator_steps']} steps: "
                f"Frechet {figures['test_frechet']:.3f} (real "
                f"{figures['test_frechet_floor']:.3f}), coverage {figures['test_coverage']:.3f} in "
                f"{figures['train_seconds']:.0f} s",
                flush=True,
            )


def of_recipe(name: str, seed: int) -> Iterator[dict[str, Any]]:
    """The result of a row of the recipe."""
    with tempfile.TemporaryDirectory() as scratch:
        flags = {"batch_size": BATCH, **ROWS[name]}
        settings = gan.Config(dataset="fashion_mnist", seed=seed, run_dir=scratch, **flags)
        metrics = call(gan, dataclasses.replace(settings, export=False))
        rows = evaluation.read_history(scratch)
    shown = dataclasses.replace(settings, run_dir=None)
    command = training.command(shown, "recipes/gan.py")
    yield {"command": command, "metrics": metrics, "epochs": rows}


def keras_io(name: str, seed: int) -> Iterator[dict[str, Any]]:
    """A row of keras.io on the same data: its results after 1, 2, ... epochs."""
    training.seed_everything(seed)
    images = data.load("fashion_mnist", seed=seed)
    batches = data.TrainingBatches(
        images.splits["train"],
        BATCH,
        seed=seed,
        prepare=lambda image, label, seed: image,
    )
    example, optimizer = keras_io_gans.EXAMPLES[name]
    model = example()
    model.compile(optimizer())
    extractor = evaluation.feature_extractor(images)
    test = images.splits["test"].take(range(images.counts["test"]))
    floor = images.splits["validation"].take(range(images.counts["validation"]))
    rows, seconds = [], 0.0
    for epoch in range(COMPARED_EPOCHS):
        started = time.monotonic()
        model.fit(
            batches.dataset(epoch, epoch + 1),
            steps_per_epoch=batches.steps,
            shuffle=False,
            verbose=2,
            callbacks=[keras.callbacks.TerminateOnNaN()],
        )
        seconds += time.monotonic() - started
        found = evaluation.sample_quality(
            extractor, model.sample(len(test), seed), test, floor, seed=seed
        )
        metrics = {
            **{f"test_{name}": value for name, value in found.items()},
            "generator_steps": (epoch + 1) * batches.steps,
            "train_seconds": seconds,
            "precision": "float32",
            "parameters": int(sum(np.prod(w.shape) for w in model.trainable_weights)),
        }
        rows.append(metrics)
        yield {
            "command": f"python benchmarks/gans.py {name} --seed {seed}",
            "metrics": metrics,
            "epochs": rows,
        }


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
