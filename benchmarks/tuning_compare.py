"""What searches find in equal minutes on Fashion-MNIST, and what it is worth on all of it.

    python benchmarks/tuning_compare.py

Random search, Hyperband, and TPE with the median rule look for a network among those with no more
multiply-adds than the default one and at most 100,000 parameters: trained on 12,000 pictures,
compared on 6,000 others (of 1,200, the standard deviation of an accuracy is as large as what
networks differ by). Each winner is trained anew on these, as the recipe does it, and so is the
default network, which is the first point of the space, with its own settings and without shifts of
the training pictures; with seed 0, these two and the winner of TPE are also trained on all 54,000.
The test pictures choose nothing.

Minutes are the unit: run it alone on the machine, or on a core of its own. Rows that the file of
results has for the same settings and the same code of the search are not run again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import sys
import tempfile
from typing import Any

import tyro

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from kapps import data, evaluation, files, models, training, tuning  # noqa: E402
from kapps.command_line import call  # noqa: E402
from recipes import tune_cnn  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "tuning_compare.json"
MOST_PARAMETERS = 100_000
# Plain random search is what others are compared with; Hyperband stops poor trials itself.
PRUNERS = {"random": "none", "tpe": "median", "tpe_local": "median", "hyperband": "none"}
# Rows that are not sought: what of the first point differs.
FIXED: dict[str, dict[str, Any]] = {"default": {}, "default_unshifted": {"crop": 0.0}}
KEPT = (
    "search_val_accuracy",
    "test_accuracy",
    "parameters",
    "multiply_adds",
    "trials",
    "trials_failed",
    "trials_pruned",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """How long, and on what."""

    minutes: float = 10.0
    """of each search"""
    seeds: tuple[int, ...] = (0, 1, 2)
    """of the searches by each algorithm"""
    algorithms: tuple[str, ...] = tuple(PRUNERS)
    """which"""
    filters: tuple[int, ...] = (8, 16, 32)
    """of the default network, whose multiply-adds are the limit"""
    train: int = 12_000
    """training pictures of the search"""
    epochs: int = 4
    """of a trial: short ones with a whole schedule say more than the beginnings of long ones"""
    winner_epochs: int = 20
    """of the winner and of the default network, on few pictures and on all"""
    tiny: bool = False
    """does it run at all? Two trials and an epoch on few pictures; nothing is written"""


def main(config: Config) -> None:
    """Run what is not there yet, seed by seed: what the machine does, it does to all."""
    if config.tiny:
        config = dataclasses.replace(
            config,
            seeds=(1,),
            algorithms=config.algorithms[:1],
            train=500,
            epochs=1,
            winner_epochs=1,
        )
    limit = multiply_adds(config.filters)
    common = settings(config, limit)
    there = json.loads(RESULTS.read_text()) if RESULTS.exists() and not config.tiny else {}
    rows = there["rows"] if {**there, "rows": 0} == {**common, "rows": 0} else []
    with tempfile.TemporaryDirectory() as root:
        few = subset(pathlib.Path(root), config.train)
        for seed in config.seeds:
            for name in (*config.algorithms, *FIXED):
                search = None if name in FIXED else code_of_the_search(name)
                row = {"name": name, "seed": seed, "search": search}
                if any(row.items() <= known.items() for known in rows):
                    continue
                rows = [one for one in rows if (one["name"], one["seed"]) != (name, seed)]
                base = tune_cnn.Config(
                    dataset=few,
                    epochs=config.epochs,
                    max_trials=2 if config.tiny else 10_000,
                    max_minutes=config.minutes,
                    max_parameters=MOST_PARAMETERS,
                    max_multiply_adds=limit,
                    workers=1,
                    winner_epochs=config.winner_epochs,
                    seed=seed,
                    run_dir=str(pathlib.Path(root, f"{name}-{seed}")),
                    export=False,
                )
                found = fixed(base, FIXED[name]) if name in FIXED else searched(base, name)
                rows.append({**row, **found})
                if not config.tiny:
                    files.write_json(RESULTS, {**common, "rows": rows})
                print(json.dumps(rows[-1]), flush=True)


def settings(config: Config, limit: int) -> dict[str, Any]:
    """What rows have to have in common to stand in one table."""
    made = {
        "command": "python benchmarks/tuning_compare.py",
        **dataclasses.asdict(config),
        "multiply_adds": limit,
        "processors": len(os.sched_getaffinity(0)),
        "machine": training.machine(),
        "versions": training.versions(),
    }
    del made["algorithms"], made["seeds"], made["tiny"]
    return json.loads(json.dumps(made))


def code_of_the_search(algorithm: str) -> str:
    """A digest of what searches; rows that other code has found are not kept."""
    paths = sorted((ROOT / "kapps" / "tuning").rglob("*.py"))
    if not algorithm.startswith("tpe"):
        paths = [path for path in paths if path.stem not in ("tpe", "neighbours")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def multiply_adds(filters: tuple[int, ...]) -> int:
    """Of the default network with these filters."""
    count = len(filters)
    _, cost = tuning.spaces.cnn_cost(
        (28, 28, 1),
        10,
        filters=filters,
        kernel_size=[3] * count,
        strides=[1] * count,
        padding=["same"] * count,
        convs_per_stage=[2] * count,
        pooling=["max"] * count,
        normalization="batch",
        dense_units=(),
    )
    return cost


def searched(base: tune_cnn.Config, algorithm: str) -> dict[str, Any]:
    """Search, and train the winner as the recipe does it and on all pictures."""
    config = dataclasses.replace(base, algorithm=algorithm, stop_early=PRUNERS[algorithm])
    metrics = call(tune_cnn, config)
    winner = tuning.read_results(config.run_dir).best_first()[0]
    found = {**{name: metrics[name] for name in KEPT}, "values": winner.values}
    return found | (on_all(config, winner.values) if algorithm.startswith("tpe") else {})


def fixed(base: tune_cnn.Config, change: dict[str, Any]) -> dict[str, Any]:
    """The first point of the space, or what is made of it, trained in the same two ways."""
    trials = tune_cnn.CnnTrials(base)
    values = tuning.spaces.declared(trials.space).values | change
    network, _ = trials.space(tuning.hyperparameters(space_of(trials), values))
    model = models.cnn((28, 28, 1), 10, **network)
    return {
        "test_accuracy": accuracy(base, base.dataset, values),
        "parameters": model.count_params(),
        "multiply_adds": models.multiply_adds(model),
        "values": values,
        **on_all(base, values),
    }


def on_all(config: tune_cnn.Config, values: dict[str, Any]) -> dict[str, float]:
    """Accuracy on test after training on all pictures, for the first seed."""
    if config.seed:
        return {}
    return {"test_accuracy_of_all": accuracy(config, "fashion_mnist", values)}


def space_of(trials: tune_cnn.CnnTrials) -> dict[str, Any]:
    """The space of a recipe's trials, as KerasTuner writes it."""
    return tuning.spaces.declared(trials.space).get_config()


def accuracy(config: tune_cnn.Config, dataset: str, values: dict[str, Any]) -> float:
    """On test, of a point trained on a data set; the best epoch is chosen on validation."""
    images = data.load(dataset, seed=config.seed)
    trials = tune_cnn.CnnTrials(config)
    point = tuning.hyperparameters(space_of(trials), values)
    epochs = config.winner_epochs
    model, (batches, validation, _) = trials.build(point, images, config.seed, epochs)
    with tempfile.TemporaryDirectory() as directory:
        training.fit(
            model,
            batches,
            validation,
            epochs=epochs,
            run=training.run_inside(directory, "tune_cnn"),
            monitor="val_accuracy",
            mode="max",
            verbose=2,
        )
    test = images.splits["test"]
    logits = evaluation.predict_logits(model, test)
    return float(np.mean(np.argmax(logits, axis=-1) == test.labels))


def subset(directory: pathlib.Path, examples: int) -> str:
    """A file with some training pictures of Fashion-MNIST, and all of validation and test."""
    images = data.load("fashion_mnist", seed=0)
    train, validation, test = (images.splits[name] for name in ("train", "validation", "test"))
    rows = np.sort(np.random.default_rng(0).permutation(len(train))[:examples])
    path = directory / "fashion.npz"
    np.savez(
        path,
        x_train=train.take(rows),
        y_train=train.labels[rows],
        x_val=validation.take(range(len(validation))),
        y_val=validation.labels,
        x_test=test.take(range(len(test))),
        y_test=test.labels,
        class_names=images.class_names,  # clothes may be mirrored, as digits may not
    )
    return f"npz:{path}"


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
