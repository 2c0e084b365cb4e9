"""GANs on Fashion-MNIST: our default, the keras.io examples, and every loss on three seeds.

    python benchmarks/gans.py                    every row, one after the other
    python benchmarks/gans.py default wgan_gp    these rows

Protocol: 54,000 training pictures; 10,000 samples against the 10,000 test pictures, in the
features of the packaged classifier (its hash is in the results; its scale is its own and not that
of Inception's FID). Rows that are compared make the same number of generator steps. Each writes
its figures to benchmarks/results/gan_<row>_seed<seed>.json.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import tempfile
import time
from typing import Any

import keras
import numpy as np
import tyro

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from benchmarks import keras_io_gans  # noqa: E402
from kapps import data, evaluation, files, losses, training  # noqa: E402
from recipes import gan  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"
COMPARED_EPOCHS = 4  # 54,000 pictures in batches of 64: 3,372 generator steps
LADDER_EPOCHS = 2
# Row: what of the recipe's configuration differs from its defaults.
ROWS: dict[str, dict[str, Any]] = {
    "default": dict(epochs=COMPARED_EPOCHS),
    "longer": dict(),
    "conditional": dict(conditioning="projection"),
    **{f"ladder_{loss}": dict(loss=loss, epochs=LADDER_EPOCHS) for loss in losses.ADVERSARIAL},
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
        result = {
            **row(name, config.seed),
            "measured_alone": not config.shared,
            "machine": training.machine(),
            "versions": training.versions(),
        }
        files.write_json(RESULTS / f"gan_{name}_seed{config.seed}.json", result)
        figures = result["metrics"]
        print(
            f"{name}, seed {config.seed}: Frechet {figures['test_frechet']:.3f} (real "
            f"{figures['test_frechet_floor']:.3f}), coverage {figures['test_coverage']:.3f} in "
            f"{figures['train_seconds']:.0f} s"
        )


def of_recipe(name: str, seed: int) -> dict[str, Any]:
    """A row of the recipe."""
    with tempfile.TemporaryDirectory() as scratch:
        settings = gan.Config(dataset="fashion_mnist", seed=seed, run_dir=scratch, **ROWS[name])
        metrics = gan.main(dataclasses.replace(settings, export=False))
        rows = evaluation.read_history(scratch)
    shown = dataclasses.replace(settings, run_dir=None)
    command = training.command(shown, "recipes/gan.py")
    return {"command": command, "metrics": metrics, "epochs": rows}


def keras_io(name: str, seed: int) -> dict[str, Any]:
    """A row of keras.io: as many generator steps as the default row, on the same data."""
    training.seed_everything(seed)
    images = data.load("fashion_mnist", seed=seed)
    batches = data.TrainingBatches(
        images.splits["train"],
        gan.Config().batch_size,
        seed=seed,
        prepare=lambda image, label, seed: image,
    )
    example, optimizer = keras_io_gans.EXAMPLES[name]
    model = example()
    model.compile(optimizer())
    started = time.monotonic()
    model.fit(
        batches.dataset(0, COMPARED_EPOCHS),
        epochs=COMPARED_EPOCHS,
        steps_per_epoch=batches.steps,
        shuffle=False,
        verbose=2,
        callbacks=[keras.callbacks.TerminateOnNaN()],
    )
    seconds = time.monotonic() - started
    test = images.splits["test"].take(range(images.counts["test"]))
    found = evaluation.sample_quality(
        evaluation.feature_extractor(images),
        model.sample(len(test), seed),
        test,
        images.splits["validation"].take(range(images.counts["validation"])),
        seed=seed,
    )
    metrics = {f"test_{name}": value for name, value in found.items()}
    return {
        "command": f"python benchmarks/gans.py {name} --seed {seed}",
        "metrics": {
            **metrics,
            "generator_steps": COMPARED_EPOCHS * batches.steps,
            "train_seconds": seconds,
            "precision": "float32",
            "parameters": int(sum(np.prod(w.shape) for w in model.trainable_weights)),
        },
    }


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
