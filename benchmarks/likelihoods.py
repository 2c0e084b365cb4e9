"""Test likelihoods of VAEs on dynamically binarized Fashion-MNIST, in nats per picture.

    python benchmarks/likelihoods.py              every row, one after the other
    python benchmarks/likelihoods.py dense vamp   these rows

Protocol of arXiv:2004.04795 (table "density estimation"): 50,000 training pictures whose pixels
are drawn as zeros and ones anew in every step, 10,000 validation and 10,000 test pictures drawn
once (seed 777); the epoch that is best on validation is kept; the test figure is importance
sampled, -log 1/S sum_s w_s with S = 5000, and the test pictures are looked at once. Ours differ in
the split (stratified), in batch size and schedule (AdamW, a moving average of the weights), in the
number of epochs, which is what two CPU cores can do, and in where some rows begin: with the best
weights of another row, the VampPrior with training pictures as pseudo-inputs.

A row that was killed is gone on with. Each writes its figures and its curve to
benchmarks/results/likelihood_<row>_seed<seed>.json.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from typing import Any

import keras
import numpy as np
import tyro

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from kapps import data, evaluation, files, models, training  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"


@dataclasses.dataclass(frozen=True)
class Row:
    """A model and how it is trained."""

    builder: str
    settings: dict[str, Any]
    epochs: int
    batch_size: int
    learning_rate: float
    warmup: float  # share of the steps in which the KL's weight rises
    reference: str | None = None  # what others have measured; None: a first part, only trained
    ema: float = 0.999
    weight_decay: float = 0.0
    precision: str = "float32"
    schedule: str = "one-cycle"
    begin: str | None = None  # the row whose best weights it begins with


# A high rate and a long average of the weights for most of the way, then a falling rate: bound on
# validation 230.25 after 390 epochs; 200 of one-cycle, over-fitted as much, ended at 230.91.
HIGH = dict(learning_rate=1.5e-3, schedule="constant", ema=0.9998, weight_decay=0.01)
FALLING = dict(learning_rate=1e-3, schedule="cosine", warmup=0.0, weight_decay=0.01)
VAMP = dict(pseudo_inputs=500)
ROWS = {
    "dense_high_rate": Row(
        "dense_vae",
        {},
        epochs=330,
        batch_size=128,
        warmup=4 / 33,
        **HIGH,
    ),
    "dense": Row(
        "dense_vae",
        {},
        epochs=60,
        batch_size=128,
        **FALLING,
        begin="dense_high_rate",
        reference="228.70 +- 0.15, VAE (MLP 2 x 300 gated, z = 40)",
    ),
    # Every step encodes all pseudo-inputs: larger batches make fewer of them.
    "vamp_high_rate": Row(
        "dense_vae",
        VAMP,
        epochs=60,
        batch_size=250,
        warmup=0.0,
        **HIGH,
        precision="mixed_bfloat16",
        begin="dense_high_rate",
    ),
    "vamp": Row(
        "dense_vae",
        VAMP,
        epochs=40,
        batch_size=250,
        **FALLING,
        begin="vamp_high_rate",
        reference="227.35 +- 0.05, the same with a VampPrior",
    ),
    "iwae50": Row(
        "dense_vae",
        {"objective": "iwae", "samples": 50},
        epochs=20,
        batch_size=100,
        learning_rate=1e-3,
        warmup=0.0,
        schedule="cosine",
        begin="dense_high_rate",
        reference="none published that we know",
    ),
    "hierarchical": Row(
        "hierarchical_vae",
        {},
        epochs=60,
        batch_size=100,
        learning_rate=1.5e-3,
        warmup=0.1,
        ema=0.9995,
        precision="mixed_bfloat16",
        reference="225.38 +- 0.08, ConvHVAE (full resolution, up to 2000 epochs)",
    ),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which rows, and how."""

    rows: tyro.conf.Positional[tuple[str, ...]] = ()
    """rows of the table; all of them if none is named"""
    seed: int = 0
    """seed of the split, the weights, the order and the draws"""
    samples: int = 5000
    """importance samples per test picture"""
    shared: bool = False
    """other work runs on the machine: the seconds are marked as not measured alone"""
    runs: str = "runs/likelihoods"
    """where the run directories go"""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What a run directory belongs to."""

    row: str
    seed: int
    run_dir: str
    overwrite: bool = False


def main(config: Config) -> None:
    """Train and measure the rows, and write their results."""
    for name in config.rows or [name for name, row in ROWS.items() if row.reference]:
        result = measure(name, ROWS[name], config)
        path = RESULTS / f"likelihood_{name}_seed{config.seed}.json"
        files.write_json(path, result)
        print(
            f"{name}: {result['test_nll']:.2f} +- {result['test_nll_error']:.2f} nats "
            f"({result['reference']}) in {result['train_seconds']:.0f} s"
        )


def measure(name: str, row: Row, config: Config) -> dict[str, Any]:
    """The result of one row."""
    images = data.load("fashion_mnist", validation_fraction=1 / 6, seed=config.seed)
    model, parts = trained(name, config, images)
    test = images.splits["test"]
    pictures = data.binarized(test, seed=777).take(range(len(test)))
    figures = model.evaluate(pictures, batch_size=500, verbose=0, return_dict=True)
    likelihood = evaluation.importance_nll(
        model.log_weights, pictures / np.float32(255), samples=config.samples, seed=config.seed
    )
    grey = test.take(range(len(test))) / 255.0
    return {
        "test_nll": likelihood.nll,
        "test_nll_error": likelihood.error,
        "trend": likelihood.trend,
        "samples": config.samples,
        "test_negative_elbo": figures["negative_elbo"],
        "test_kl": figures["kl"],
        "active_units": figures["active_units"],
        "floor": evaluation.binarization_entropy(grey),
        "reference": row.reference,
        "parameters": sum(int(np.prod(w.shape)) for w in model.trainable_weights),
        "train_seconds": sum(part["train_seconds"] for part in parts),
        "measured_alone": not config.shared,
        "parts": parts,
        "command": f"python benchmarks/likelihoods.py {name} --seed {config.seed} "
        f"--samples {config.samples}",
        "machine": training.machine(),
        "versions": training.versions(),
    }


def trained(
    name: str, config: Config, images: data.ImageData
) -> tuple[keras.Model, list[dict[str, Any]]]:
    """The model of a row with its best weights, and how it and what it begins with were trained."""
    row = ROWS[name]
    start, parts = trained(row.begin, config, images) if row.begin else (None, [])
    training.seed_everything(config.seed)
    batches = data.TrainingBatches(
        images.splits["train"],
        row.batch_size,
        seed=config.seed,
        prepare=lambda image, label, seed: image,
    )
    with training.precision_policy(row.precision):
        model = build(row, row.epochs * batches.steps, images.image_shape, config.seed)
    if start:
        begin_with(model, start, images.splits["train"])
    directory = str(pathlib.Path(config.runs) / f"{name}_seed{config.seed}")
    with training.open_run("likelihoods", RunConfig(name, config.seed, directory)) as run:
        history = training.fit(
            model,
            batches,
            data.evaluation_batches(
                data.binarized(images.splits["validation"], seed=777),
                500,
                prepare=lambda image, label: image,
            ),
            epochs=row.epochs,
            run=run,
            ema=row.ema,
            verbose=2,
        )
    part = {
        "row": dataclasses.asdict(row),
        "best_epoch": history.best_epoch,
        "train_seconds": history.train_seconds,
        "epochs": history.rows,
    }
    return model, [*parts, part]


def begin_with(model: models.VAE, start: models.VAE, train: data.Split) -> None:
    """Take over encoder, decoder and prior; a new VampPrior begins with training pictures."""
    for layer, other in zip(model.layers, start.layers, strict=False):
        layer.set_weights(other.get_weights())
    if hasattr(model.prior, "pseudo_inputs") and not hasattr(start.prior, "pseudo_inputs"):
        pseudo = model.prior.pseudo_inputs
        pseudo.assign(train.take(range(pseudo.shape[0])) / np.float32(255))


def build(row: Row, steps: int, image_shape: tuple[int, int, int], seed: int):
    """The compiled model of a row."""
    beta = models.KLWarmup(round(row.warmup * steps)) if row.warmup else 1.0
    model = getattr(models, row.builder)(image_shape, beta=beta, seed=seed, **row.settings)
    schedule = training.learning_rate_schedule(row.schedule, row.learning_rate, steps=steps)
    model.compile(training.optimizer("adamw", schedule, weight_decay=row.weight_decay))
    return model


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Config, description=__doc__)))
