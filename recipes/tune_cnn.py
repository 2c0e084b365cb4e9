"""Search for a convolutional network, train the best one, explain and publish it.

    python recipes/tune_cnn.py
    python recipes/tune_cnn.py --dataset fashion_mnist --algorithm hyperband --epochs 9 --workers 2
    python recipes/tune_cnn.py --algorithm tpe --max-minutes 30 --cost multiply_adds

    image -> stages of (convolution, normalization, activation), pool -> dense -> logits

Filters, kernel sizes, strides, padding, pooling, depth, dropout, normalization, optimizer, learning
rate, schedule, batch size and shifts of the training images are chosen on validation data; every
point of the space can be built. The winner is retrained and evaluated once on the test split. Run
the same command again to resume a killed search, trial by trial and epoch by epoch; a larger budget
extends it. On several machines, start it on each, with KerasTuner's variables KERASTUNER_TUNER_ID
(chief, or a name), KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT and the secret KAPPS_TUNER_KEY.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, Any, ClassVar, Literal

import kapps
from kapps import command_line, data, evaluation, models, serving, training, tuning

AtLeastTwo = Annotated[int, training.Range(1, 2**31, "at least 2: half of it is tried, too", False)]


@dataclasses.dataclass(frozen=True)
class Config(tuning.RefitFlags, tuning.SearchFlags, training.ImageFlags, training.CommonFlags):
    """Data, search space and budget."""

    epochs: training.PositiveInt = 8
    """epochs of each trial, of the last round of a Hyperband bracket, and of the winner"""
    batch_size: AtLeastTwo = 64
    """the search also tries half and twice this"""
    learning_rate: training.Positive | None = None
    """fixes the peak learning rate; default: it is searched over"""
    cost: Literal["none", "parameters", "multiply_adds", "seconds"] = "none"
    """search for a Pareto front of accuracy and this (tpe), or only record it (random, grid)"""
    max_stages: training.PositiveInt = 3
    """maximum number of stages"""
    max_parameters: training.NonNegativeInt | None = 100_000
    """maximum number of parameters; 0 is no limit"""
    max_multiply_adds: training.NonNegativeInt | None = None
    """maximum multiply-adds per image; 0 is no limit"""
    augment: bool = True
    """search over how far to shift images, and mirror them unless they are digits or letters"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        (
            lambda c: c.algorithm not in ("random", "grid", "tpe") and c.cost != "none",
            "--cost: tpe looks for both, random and grid note it; the others have one objective",
        ),
        (lambda c: c.jit == "on", "--jit on: trials are trained without XLA"),
    )


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    tuning.check_search(config)
    tuning.check_hyperband(config, config.epochs)
    training.check(config)
    training.check_batch(config.batch_size // 2, training.named_devices(config.devices))


def batches(config: Config, images: data.ImageData, how: dict[str, Any], seed: int) -> tuple:
    """Training batches, validation batches, and training images as they are."""
    flags = training.AugmentationFlags(augment=config.augment, crop=how["crop"])
    augmentation = flags.augmentation(images.class_names)
    return training.classifier_batches(images, how["batch_size"], augmentation, seed=seed)


@dataclasses.dataclass
class CnnTrials:
    """Trains a point of the space; what a worker process is given.

    Attributes:
        config: the recipe's.
    """

    config: Config

    @functools.cached_property
    def images(self) -> data.ImageData:
        """The data set, loaded once per process."""
        return training.load_images(self.config)

    @functools.cached_property
    def devices(self) -> Any:
        """Where to train."""
        return training.strategy(self.config.devices)

    def space(self, hp: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Keyword arguments of the network, and how it is trained."""
        config, half = self.config, self.config.batch_size // 2
        network = tuning.spaces.cnn(
            hp,
            self.images.image_shape,
            self.images.classes,
            max_stages=config.max_stages,
            max_parameters=config.max_parameters or None,
            max_multiply_adds=config.max_multiply_adds or None,
        )
        how = tuning.spaces.optimization(
            hp,
            batch_sizes=(half, config.batch_size, 2 * config.batch_size),
            fixed_learning_rate=config.learning_rate,
        )
        most = 0.1 if config.augment else 0.0
        return network, how | tuning.spaces.augmentation(hp, self.images.image_shape, most=most)

    def build(self, hp: Any, images: data.ImageData, seed: int, epochs: int) -> tuple:
        """The compiled network of a point, and its batches."""
        network, how = self.space(hp)
        training.seed_everything(seed)
        found = batches(self.config, images, how, seed)
        mean, std = data.pixel_statistics(images.splits["train"])
        precision = "float32" if self.config.precision == "auto" else self.config.precision
        with self.devices.scope(), training.precision_policy(precision):
            model = models.cnn(
                images.image_shape,
                images.classes,
                pixel_mean=tuple(mean.tolist()),
                pixel_std=tuple(std.tolist()),
                **network,
            )
            model.compile(
                tuning.spaces.optimizer(how, epochs * found[0].steps),
                loss=kapps.losses.softmax_cross_entropy,
                metrics=["accuracy", training.CalibratedLoss()],
            )
        return model, found

    def __call__(self, trial: tuning.Trial) -> None:
        """Train one point, or go on with it."""
        self.devices  # noqa: B018  # before anything is computed
        tuning.copy_checkpoints(trial)
        # Hyperband: the schedule ends with the round, since what is compared there has to have
        # settled. A promoted trial goes on in the middle of a longer schedule.
        model, found = self.build(trial.hp, self.images, trial.seed, trial.epochs)
        trial.facts |= {
            "parameters": model.count_params(),
            "multiply_adds": models.multiply_adds(model),
            "devices": self.devices.num_replicas_in_sync,
        }
        training.fit(
            model,
            *found[:2],
            epochs=trial.epochs,
            run=training.run_inside(trial.directory, "tune_cnn"),
            monitor="val_accuracy",
            mode="max",
            callbacks=[tuning.Reporter(trial)],
            verbose=0,
        )


def instead(config: Config) -> dict[str, object] | None:
    """Run trials for the same command on another machine (see `kapps.tuning.workers`)."""
    if tuning.remote_role() != "worker":
        return None
    identity = {"data": training.load_images(config).fingerprint}
    return tuning.serve_instead("tune_cnn", config, lambda directory: CnnTrials(config), identity)


def search(config: Config, run: training.Run, trials: CnnTrials) -> tuning.Results:
    """Try points until the budget is used up."""
    return tuning.search_with_flags(
        config,
        run,
        dataclasses.replace(trials),  # workers load the data by themselves
        tuning.spaces.declared(trials.space),
        "val_accuracy",
        identity={"data": trials.images.fingerprint},
        most_epochs=config.epochs,
        epochs=config.epochs,
        canonical=tuning.spaces.canonical(trials.space),
        cost=None if config.cost == "none" else config.cost,
    )


def fit(config: Config, run: training.Run) -> tuple:
    """Search, and train the winner; returns the model, the data, the history and the results."""
    trials = CnnTrials(config)
    trials.devices  # noqa: B018  # before anything is computed
    images = trials.images
    run.record_data(images)
    minutes = f" or {config.max_minutes:g} minutes" if config.max_minutes else ""
    run.announce(
        images,
        f"sought by {config.algorithm} in {config.max_trials} trials{minutes}, {config.epochs} "
        f"epochs each at most, {config.workers} workers",
    )
    results = search(config, run, trials)
    winner, everything = results.best_first()[0], config.refit == "all"
    hp = tuning.hyperparameters(results.space, winner.values)
    epochs, last = config.epochs_of(winner, config.epochs)
    used = data.with_validation(images) if everything else images
    model, (train, validation, clean) = trials.build(hp, used, config.seed, epochs)
    print(f"winner    trial {winner.number}: {models.size(model)}; {config.told(last)}")
    directory = run.path / f"winner-{winner.number:04d}-{config.refit}-{last}"
    history = training.fit(
        model,
        train,
        validation,
        epochs=last,
        run=training.run_inside(directory, "tune_cnn"),
        clean_train=clean,
        monitor="last" if everything else "val_accuracy",
        mode="max",
        callbacks=[tuning.LastEpoch()] if everything else [],
    )
    return model, images, history, results


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Search, train the winner, evaluate, publish and report; returns metrics.json."""
    model, images, history, results = fit(config, run)
    winner, everything = results.best_first()[0], config.refit == "all"
    model = evaluation.begin(model, run)
    training.write_rows(run.path / "metrics.csv", history.rows)
    found = evaluation.explain_classifier(model, images, history.rows, kept=history.best_epoch)
    best, trained = history.best_epoch, config.epochs_of(winner, config.epochs)[1]
    if everything:  # validation was trained on: it says nothing of over-fitting or calibration
        found = evaluation.without_validation(found)
        best = trained
    published = serving.publish(
        model,
        run,
        images,
        found,
        what=f"A convolutional network found by {config.algorithm} search (trial {winner.number} "
        f"of {len(results.records)}, {config.told(trained)}),",
        member=str(winner.number),
    )
    return evaluation.close_search(
        run,
        results,
        {
            **found.metrics,
            "best_epoch": best,
            "parameters": model.count_params(),
            "multiply_adds": models.multiply_adds(model),
            **tuning.search_metrics(results, config),
            "refit": config.refit,
            "exported": published,
        },
        title=f"Search for a network on {images.spec}",
        commands={"Predict": f"kapps predict {published} IMAGE.png"} if published else {},
        notes=(*tuning.winner_notes(results, f"It was {config.told(trained)}."), *images.notes),
        winner=found,
        history=history,
    )


is_done = tuning.search_is_done


if __name__ == "__main__":
    command_line.run(main, Config, check, is_done=is_done, instead=instead)
