"""Search for a convolutional network, train the best one, explain and publish it.

    python recipes/tune_cnn.py
    python recipes/tune_cnn.py --dataset fashion_mnist --algorithm hyperband --epochs 9 --workers 2
    python recipes/tune_cnn.py --algorithm tpe --max-minutes 30 --cost multiply_adds

Filters, windows, strides, padding, pooling, depth, dropout, normalization, optimizer, learning
rate, schedule, batch size and shifts of the training pictures are sought on validation data; every
point of the space can be built.
The winner is trained anew and meets the test split once. The same command goes on with a search
that was killed, trial by trial and epoch by epoch; a larger budget makes it longer. On several
machines it is started on each, with KerasTuner's variables KERASTUNER_TUNER_ID (chief, or a name),
KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT and the secret KAPPS_TUNER_KEY.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import sys
from typing import Any, Literal

import kapps
from kapps import command_line, data, evaluation, models, serving, training, tuning
from kapps.errors import UserError


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is sought, on what, and for how long."""

    epochs: int = 8
    """of each trial; of the last round of a Hyperband bracket; of the winner"""
    batch_size: int = 64
    """the search tries half of it and twice of it, too"""
    learning_rate: float | None = None
    """fixes the highest learning rate; default: it is sought"""
    algorithm: Literal["random", "grid", "bayesian", "hyperband", "tpe", "tpe_local"] = "random"
    """what says which point comes next; tpe and tpe_local (which also tries neighbours of the best)
    need optuna"""
    max_trials: int = 20
    """budget in trials, those of earlier processes included"""
    max_minutes: float | None = None
    """budget in minutes of searching; trials that run then go on if there is more another day"""
    workers: int = 1
    """processes that try points at the same time; 0 tries them in this one"""
    recycle: int = 50
    """trials after which a worker process gives way to a new one, so that its memory stays small"""
    seeds_per_point: int = 1
    """how often each point is tried; the mean counts"""
    stop_early: Literal["auto", "none", "median", "asha"] = "auto"
    """how poor trials end (needs optuna); auto: by the median rule, but not under Hyperband"""
    cost: Literal["none", "parameters", "multiply_adds", "seconds"] = "none"
    """look for a Pareto front of accuracy and this"""
    max_stages: int = 3
    """most stages of the network"""
    max_parameters: int | None = 100_000
    """larger networks are not offered; 0 is no limit"""
    max_multiply_adds: int | None = None
    """the same for the work of one picture"""
    augment: bool = True
    """seek how far pictures are shifted, and mirror them unless they are digits or letters"""
    refit: Literal["validation", "all"] = "validation"
    """train the winner with validation kept (best epoch, calibration), or on train and validation
    for as many epochs as were best"""
    winner_epochs: int = 0
    """epochs of the winner; 0: three times those of a trial, with --refit all those of its trial"""
    validation_fraction: float = 0.1
    """part of the training data that is kept for validation, stratified"""
    image_size: int | None = None
    """side that pictures of a folder are resized to; default: chosen from the pictures"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    tuning.check_search(config)
    tuning.check_hyperband(config, config.epochs)
    training.check_common(config)
    for name, least in (
        ("max_stages", 1),
        ("max_parameters", 0),
        ("max_multiply_adds", 0),
        ("winner_epochs", 0),
    ):
        value = getattr(config, name)
        if value is not None and value < least:
            raise UserError(f"--{name.replace('_', '-')} {value}: it must be {least} or more")
    training.check_range(
        config, "validation_fraction", 0, 1, "between 0 and 1, ends excluded", ends=False
    )
    if config.algorithm == "bayesian" and config.cost != "none":
        raise UserError("--cost: the Gaussian process has one objective; tpe and hyperband do")
    if config.batch_size < 2:
        raise UserError("--batch-size must be at least 2: half of it is tried, too")
    training.check_batch(config.batch_size // 2, training.named_devices(config.devices))


def main(config: Config) -> dict[str, object]:
    """Run the recipe.

    Returns:
        The final figures, as in metrics.json.

    Raises:
        UserError: a mistake in the flags, the data or the run directory.
    """
    check(config)
    if tuning.remote_role() == "worker":
        return help_chief(config)
    with open_run(config) as run:
        if tuning.search_is_done(config, run):
            return run.metrics()
        return work(config, run)


def help_chief(config: Config) -> dict[str, object]:
    """Run trials for the same command on another machine (see `kapps.tuning.remote`)."""
    name = os.environ["KERASTUNER_TUNER_ID"]
    images = load(config)
    directory = f"{config.run_dir or 'runs/tune_cnn/search'}-worker-{name}"
    print(f"worker    {name}, own files in {directory}")
    trials = CnnTrials(config, images.image_shape, images.classes)
    count = tuning.serve_chief(trials, directory, identity={"data": images.fingerprint})
    print(f"the search is over; {count} trials were run here")
    return {"trials": count}


def open_run(config: Config) -> training.Run:
    """The run directory of this configuration; budgets and workers are not part of it."""
    return training.open_run("tune_cnn", config, name=config.dataset.split(":")[0])


def check_and_show(config: Config) -> None:
    """Before TensorFlow is imported: refuse mistakes, and show a search that is finished.

    Raises:
        UserError: a mistake in the flags, or a run directory of another configuration.
        SystemExit: there is nothing left to do.
    """
    check(config)
    if tuning.remote_role() != "worker":
        command_line.show_finished(open_run, config, tuning.search_is_done)


def work(config: Config, run: training.Run) -> dict[str, object]:
    """Search, train the winner, evaluate, export and report into an open run directory."""
    strategy = training.strategy(config.devices)  # before anything is computed
    images = load(config)
    run.record(
        data={"fingerprint": images.fingerprint, "class_names": list(images.class_names)},
        image_shape=list(images.image_shape),
    )
    print(
        f"data      {images.spec}: {images.counts}, {images.classes} classes, "
        f"pictures {'x'.join(map(str, images.image_shape))}\n"
        f"search    {config.algorithm}, {budget_in_words(config)}, {config.workers} workers\n"
        f"run       {run.path}"
    )
    for note in (*images.notes, *run.notes):
        print(f"note      {note}")
    results = search(config, run, images)
    tuning.check_found(results, run.path)
    tuning.write_hparams(run.path / "tensorboard" / "hparams", results)
    return finish(config, run, images, results, strategy)


def search(config: Config, run: training.Run, images: data.ImageData) -> tuning.Results:
    """Try points until the budget is used up."""
    trials = CnnTrials(config, images.image_shape, images.classes)
    oracle = tuning.oracle(
        config.algorithm,
        "val_accuracy",
        tuning.spaces.declared(trials.space),
        seed=config.seed,
        epochs=config.epochs,
        trials=config.max_trials,
    )
    return tuning.run_search(
        trials,
        oracle,
        run.path,
        identity={"data": images.fingerprint},
        canonical=tuning.spaces.canonical(trials.space),
        budget=tuning.Budget(trials=config.max_trials, minutes=config.max_minutes),
        epochs=config.epochs,
        executions=config.seeds_per_point,
        cost=None if config.cost == "none" else config.cost,
        stop_early=tuning.stop_rule(config),
        workers=config.workers,
        recycle=config.recycle,
        progress=tuning.print_trial,
    )


def load(config: Config) -> data.ImageData:
    """The data set."""
    return data.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
    )


@dataclasses.dataclass
class CnnTrials:
    """Trains a point of the space; what a worker process is given.

    Attributes:
        config: the recipe's.
        image_shape: (height, width, channels).
        classes: number of classes.
    """

    config: Config
    image_shape: tuple[int, int, int]
    classes: int

    @functools.cached_property
    def images(self) -> data.ImageData:
        """The data set, loaded once per process."""
        return load(self.config)

    @functools.cached_property
    def strategy(self) -> Any:
        """Where to train."""
        return training.strategy(self.config.devices)

    def space(self, hp: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Keyword arguments of the network, and how it is trained."""
        config, half = self.config, self.config.batch_size // 2
        network = tuning.spaces.cnn(
            hp,
            self.image_shape,
            self.classes,
            max_stages=config.max_stages,
            max_parameters=config.max_parameters or None,
            max_multiply_adds=config.max_multiply_adds or None,
        )
        how = tuning.spaces.optimization(
            hp,
            batch_sizes=(half, config.batch_size, 2 * config.batch_size),
            fixed_learning_rate=config.learning_rate,
        )
        shifts = (
            tuning.spaces.augmentation(hp, self.image_shape) if config.augment else {"crop": 0.0}
        )
        return network, how | shifts

    def __call__(self, trial: tuning.Trial) -> None:
        """Train one point, or go on with it."""
        strategy = self.strategy
        tuning.copy_checkpoints(trial)
        run = run_in(trial.directory)
        # Hyperband: the schedule ends with the round, since what is compared there has to have
        # settled. Who is promoted goes on in the middle of a longer schedule.
        model, batches, validation, _ = prepare(
            self, trial.hp, self.images, strategy, trial.seed, trial.epochs
        )
        trial.facts |= {
            "parameters": model.count_params(),
            "multiply_adds": models.multiply_adds(model),
            "devices": strategy.num_replicas_in_sync,
        }
        training.fit(
            model,
            batches,
            validation,
            epochs=trial.epochs,
            run=run,
            monitor="val_accuracy",
            mode="max",
            callbacks=[tuning.Reporter(trial)],
            verbose=0,
        )


def run_in(directory: pathlib.Path) -> training.Run:
    """A directory for checkpoints and metrics.csv inside the run directory."""
    run = training.Run(directory, "tune_cnn", {})
    run.checkpoints.mkdir(parents=True, exist_ok=True)
    return run


def prepare(trials: CnnTrials, hp: Any, images, strategy, seed: int, epochs: int) -> tuple:
    """A compiled model and its batches: training, validation, and a clean part of training."""
    network, how = trials.space(hp)
    config = trials.config
    training.seed_everything(seed)
    batches, validation, clean = batch(config, images, how, seed)
    mean, std = data.pixel_statistics(images.splits["train"])
    precision = "float32" if config.precision == "auto" else config.precision
    steps = epochs * batches.steps
    with strategy.scope(), training.precision_policy(precision):
        model = models.cnn(
            images.image_shape,
            images.classes,
            pixel_mean=tuple(mean.tolist()),
            pixel_std=tuple(std.tolist()),
            **network,
        )
        cycle = how["schedule"] == "one-cycle" and how["optimizer"] != "rmsprop"
        model.compile(
            training.optimizer(
                how["optimizer"],
                training.learning_rate_schedule(how["schedule"], how["learning_rate"], steps=steps),
                momentum_schedule=training.momentum_cycle(steps) if cycle else None,
                weight_decay=how["weight_decay"],
            ),
            loss=kapps.losses.softmax_cross_entropy,
            metrics=["accuracy"],
        )
    return model, batches, validation, clean


def batch(config: Config, images: data.ImageData, how: dict[str, Any], seed: int) -> tuple:
    """Training batches, validation batches, and a clean part of the training split."""
    # Mirrored digits and letters are other ones, or none.
    flip = any(len(name) > 1 and not name.isdigit() for name in images.class_names)
    augmentation = data.Augmentation(crop=how["crop"], flip=config.augment and flip)
    exact = data.classification_targets(images.classes)
    train, validation = images.splits["train"], images.splits["validation"]

    def augmented(pictures, labels, key):
        return augmentation(pictures, exact(labels), key)

    def clean(pictures, labels):
        return pictures, exact(labels)

    return (
        data.TrainingBatches(train, how["batch_size"], seed=seed, prepare=augmented),
        data.evaluation_batches(validation, 256, prepare=clean),
        data.evaluation_batches(train, 256, prepare=clean, limit=len(validation), seed=seed),
    )


def finish(config: Config, run: training.Run, images, results, strategy) -> dict[str, object]:
    """Train the winner, evaluate it once, export it and write the report."""
    import keras

    winner = results.best_first()[0]
    trials = CnnTrials(config, images.image_shape, images.classes)
    hp = tuning.hyperparameters(results.space, winner.values)
    everything = config.refit == "all"
    used = with_validation(images) if everything else images
    # A trial only has to be told from others. On all data nothing says when to stop, so there the
    # schedule is that of the trial, and ends where the trial was best.
    epochs = config.winner_epochs or config.epochs * (1 if everything else 3)
    last = min(epochs, winner.best_epoch) if everything else epochs
    model, batches, validation, clean = prepare(trials, hp, used, strategy, config.seed, epochs)
    size = f"{model.count_params():,} parameters"
    print(f"winner    trial {winner.number}: {size}; {told(config, last)}")
    inside = run_in(run.path / f"winner-{winner.number:04d}-{config.refit}-{last}")
    history = training.fit(
        model,
        batches,
        validation,
        epochs=last,
        run=inside,
        clean_train=clean,
        monitor="last" if everything else "val_accuracy",
        mode="max",
        callbacks=[
            *([tuning.LastEpoch()] if everything else []),
            keras.callbacks.TensorBoard(run.path / "tensorboard" / "winner", write_graph=False),
        ],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    model = serving.in_float32(model)
    print("evaluating on the test split, once")
    found = evaluation.explain_classifier(
        model, images, history.rows, clean_examples=images.counts["validation"]
    )
    metrics = {
        **found.metrics,
        "best_epoch": last if everything else history.best_epoch,
        "parameters": model.count_params(),
        "multiply_adds": models.multiply_adds(model),
        **tuning.search_metrics(results, config),
        "train_seconds": history.train_seconds,
        "examples_per_second": history.examples_per_second,
        "refit": config.refit,
        "exported": None,
    }
    temperature, verdict = found.temperature, found.verdict
    if everything:  # validation was trained on: it says nothing of over-fitting or calibration
        temperature, verdict, metrics["verdict"] = 1.0, None, None
        metrics["test_ece"] = metrics["test_ece_before_temperature"]
        metrics["temperature"] = 1.0
    model.save(run.path / "model.keras")
    training.write_rows(run.path / "metrics.csv", history.rows)
    if config.export:
        metrics["exported"] = export(config, run, model, images, temperature, winner, metrics)
    report(config, run, images, results, winner, found, verdict, metrics, history)
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


def with_validation(images: data.ImageData) -> data.ImageData:
    """The same data, validation being part of training as well."""
    import numpy as np
    import tensorflow as tf

    train, validation = images.splits["train"], images.splits["validation"]
    count = len(train)

    def pictures(rows):
        first = train.images(tf.minimum(rows, count - 1))
        second = validation.images(tf.maximum(rows - count, 0))
        return tf.where((rows < count)[:, None, None, None], first, second)

    labels = np.concatenate([train.labels, validation.labels])
    return dataclasses.replace(
        images, splits=images.splits | {"train": data.Split(labels, pictures)}
    )


def told(config: Config, epochs: int) -> str:
    """How the winner is trained, in words."""
    if config.refit == "all":
        return f"trained anew on train and validation, {epochs} epochs (those that were best)"
    return f"trained anew on train, {epochs} epochs, the best one chosen on validation"


def budget_in_words(config: Config) -> str:
    """The budget, for people."""
    minutes = f" or {config.max_minutes:g} minutes" if config.max_minutes else ""
    return f"{config.max_trials} trials{minutes}, {config.epochs} epochs each at most"


def export(config, run, model, images, temperature, winner, metrics) -> str:
    """Publish the next version of the SavedModel, unless this winner has been published already."""
    known = run.facts().get("published", {})
    path = known.get(str(winner.number))
    if path and pathlib.Path(path).exists():
        return path
    accuracy, low, high = (metrics[f"test_accuracy{part}"] for part in ("", "_low", "_high"))
    card = (
        f"A convolutional network found by {config.algorithm} search on {images.spec} "
        f"({images.counts['train']} pictures, fingerprint {images.fingerprint[:12]}), seed "
        f"{config.seed}: trial {winner.number} of {metrics['trials']}, "
        f"{told(config, metrics['best_epoch'])}.\n\n"
        f"Test accuracy {accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, "
        f"{metrics['test_examples']} pictures), calibration error {metrics['test_ece']:.2%}.\n\n"
        f"Run directory: {run.path.name}\n"
    )
    version = serving.export(
        model,
        config.export_dir or "saved_models/tune_cnn",
        images.class_names,
        temperature=temperature,
        card=card,
        sample_images=images.splits["validation"].take(range(min(8, images.counts["validation"]))),
    )
    kapps.files.write_json(
        run.path / "config.json",
        run.facts() | {"published": known | {str(winner.number): str(version)}},
    )
    print(f"published {version}")
    return str(version)


def report(config, run, images, results, winner, found, verdict, metrics, history) -> None:
    """Write report.html and the pictures."""
    explained = evaluation.explain_search(results)
    figures = [*explained.figures, *((f"Winner: {t}", f, c) for t, f, c in found.figures)]
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    commands = {"Repeat, resume or enlarge": training.command(config, "recipes/tune_cnn.py")}
    if metrics["exported"]:
        commands["Predict"] = f"kapps predict {metrics['exported']} PICTURE.png"
    commands["Look at all trials"] = f"tensorboard --logdir {run.path / 'tensorboard'}"
    values = ", ".join(f"{name} {value}" for name, value in winner.values.items())
    evaluation.write_report(
        run.path / "report.html",
        title=f"Search for a network on {images.spec}",
        verdict=verdict,
        metrics=metrics,
        figures=figures,
        tables=[*explained.tables, *found.tables],
        config=run.config,
        commands=commands,
        notes=(
            f"The winner is trial {winner.number}: {values}.",
            f"It was {told(config, metrics['best_epoch'])}. The objective was measured on "
            f"{images.counts['validation']} validation pictures and is the best of "
            f"{len(results.ended_well)} trials: expect less of it on new data, as on test.",
            *explained.notes,
            *images.notes,
            *run.notes,
            *history.notes,
        ),
    )


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
