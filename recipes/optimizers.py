"""Compare optimizers, batch sizes and learning-rate schedules on one network.

    python recipes/optimizers.py
    python recipes/optimizers.py --model cnn --seeds 5
    python recipes/optimizers.py --dataset fashion_mnist --epochs 5 --optimizers sgd momentum adam

SGD by batch size; momentum (Polyak 1964), Nesterov (Sutskever et al. 2013), Adadelta
(arXiv:1212.5701), RMSprop (Hinton 2012), Adam (arXiv:1412.6980), AdamW (arXiv:1711.05101); and the
schedules. Each candidate trains from the same weights, on the same batches, for the same number of
images, at a learning rate chosen for it by validation loss. The test split is used once, for the
winner. The optimizers also descend functions of two variables, where their paths can be seen. Run
the same command again to resume a killed comparison.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

Surface = Literal["quadratic", "rotated quadratic", "rosenbrock", "beale", "saddle"]


@dataclasses.dataclass(frozen=True)
class Config(training.ImageFlags, training.CommonFlags):
    """Data, network and what is compared."""

    model: str = "mlp"
    """mlp, cnn, or a variant of vgg, inception or resnet (an unknown name lists them all)"""
    units: tuple[training.PositiveInt, ...] = (64, 32)
    """mlp: hidden layers"""
    filters: tuple[training.PositiveInt, ...] = (8, 16)
    """cnn: number of filters in each stage"""
    optimizers: tuple[training.OptimizerName, ...] = (
        "sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"
    )  # fmt: skip
    """compared at --batch-size, with a constant learning rate"""
    batch_sizes: tuple[training.PositiveInt, ...] = (16, 256)
    """further batch sizes for plain SGD; each must divide the largest of all"""
    schedules: tuple[training.ScheduleName, ...] = ("step", "cosine", "one-cycle", "plateau")
    """compared with a constant learning rate"""
    schedule_optimizer: training.OptimizerName = "momentum"
    """optimizer used to compare the schedules"""
    seeds: training.PositiveInt = 3
    """runs per candidate, each with other initial weights and image order"""
    tune_rates: bool = True
    """choose each candidate's learning rate by validation loss; otherwise use the usual one"""
    target_accuracy: training.OpenFraction = 0.9
    """count the steps until validation accuracy reaches this"""
    surfaces: tuple[Surface, ...] = (
        "quadratic", "rotated quadratic", "rosenbrock", "beale", "saddle"
    )  # fmt: skip
    """functions of two variables on which to draw paths"""
    surface_steps: training.PositiveInt = 300
    """steps along these paths"""
    validation_fraction: training.OpenFraction = 0.2
    """fraction of the training data held out for validation, stratified"""
    epochs: training.PositiveInt = 12
    """passes over the training data"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        *training.only_for("--model mlp, not {model}", lambda c: c.model == "mlp", ("units",)),
        *training.only_for("--model cnn, not {model}", lambda c: c.model == "cnn", ("filters",)),
        (lambda c: not c.optimizers, "--optimizers: name at least one"),
        (
            lambda c: not training.share_measurements((c.batch_size, *c.batch_sizes)),
            "--batch-sizes: each of them, and --batch-size {batch_size}, must divide the largest: "
            "all are measured after the same images",
        ),
        (
            lambda c: c.learning_rate is not None and c.tune_rates,
            "--learning-rate gives all candidates one rate, and --tune-rates chooses one for each: "
            "add --no-tune-rates",
        ),
        (
            lambda c: training.named_devices(c.devices) > 1,
            "--devices {devices}: optimizers are compared on one device; use cpu or gpu",
        ),
        (
            lambda c: c.precision == "mixed_float16",
            "--precision mixed_float16 scales losses, which would be one more thing to compare: "
            "use float32 or mixed_bfloat16",
        ),
        (lambda c: c.jit == "on", "--jit on: optimizers are compared without XLA"),
    )


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    models.check_classifier(config.model)
    training.check(
        config,
        several_machines=False,
        instead="this is many small trainings that are compared on one device: unset TF_CONFIG. To "
        "divide them, give each machine a part of --optimizers and a --run-dir of its own",
    )


def network(config: Config, images: data.ImageData):
    """The untrained network of this configuration."""
    mean, std = data.pixel_statistics(images.splits["train"])
    shape = {"mlp": {"units": config.units}, "cnn": {"filters": config.filters}}
    return models.classifier(
        config.model,
        images.image_shape,
        images.classes,
        pixel_mean=tuple(mean.tolist()),
        pixel_std=tuple(std.tolist()),
        **shape.get(config.model, {}),
    )


@dataclasses.dataclass(frozen=True)
class Entry:
    """A candidate by the name it has in tables; `rate` is fixed, or None."""

    label: str
    groups: tuple[str, ...]
    candidate: Any
    rate: float | None = None


def entries(config: Config) -> list[Entry]:
    """All candidates, each once."""

    def candidate(name, batch_size=config.batch_size, schedule="constant"):
        decay = training.usual_weight_decay(name) if name == "adamw" else 0.0
        return training.Candidate(name, batch_size, schedule, decay)

    found: dict[str, Entry] = {}

    def add(label, group, *arguments, rate=None):
        groups = (*found[label].groups, group) if label in found else (group,)
        found[label] = Entry(label, groups, candidate(*arguments), rate)

    for name in config.optimizers:
        if name == "adadelta":
            add(evaluation.PAPER, "optimizers", name, rate=training.usual_learning_rate(name))
            if not config.tune_rates:
                continue
        add(name, "optimizers", name)
    if config.batch_sizes:
        for size in sorted({config.batch_size, *config.batch_sizes}):
            usual = size == config.batch_size
            add("sgd" if usual else f"sgd, batch {size}", "batch sizes", "sgd", size)
    if config.schedules:
        name = config.schedule_optimizer
        for schedule in dict.fromkeys(("constant", *config.schedules)):
            label = name if schedule == "constant" else f"{name}, {schedule}"
            add(label, "schedules", name, config.batch_size, schedule)
    return list(found.values())


def compete(config: Config, run: training.Run, cells, entry: Entry) -> tuple:
    """All seeds of a candidate at every rate that is worth a try; the seconds of each training."""
    candidate = entry.candidate
    tried = training.try_rates(
        run,
        cells,
        candidate,
        range(config.seed, config.seed + config.seeds),
        entry.rate or config.learning_rate or training.usual_learning_rate(candidate.optimizer),
        tune=config.tune_rates and entry.rate is None,
    )
    found = evaluation.contestant(
        entry.label,
        entry.groups,
        tried,
        batch_size=candidate.batch_size,
        measurements=cells.measurements,
        target=config.target_accuracy,
    )
    print(found.line, flush=True)
    return found, tried.seconds


def fit(config: Config, run: training.Run) -> tuple:
    """Compare, and train the winner once more.

    Returns:
        Its model, the data and its history; the contestants, paths on surfaces and their rates; how
        many trainings there were.
    """
    devices = training.begin(config)
    if devices.num_replicas_in_sync > 1:
        raise UserError("optimizers are compared on one device: use --devices gpu:1 or cpu")
    images = training.load_images(config)
    run.record_data(images)
    entered, contestants, seconds = entries(config), [], {}
    with training.scope(config, run, devices):
        cells = training.Cells(
            lambda: network(config, images),
            images,
            epochs=config.epochs,
            batch_sizes=sorted({entry.candidate.batch_size for entry in entered}),
        )
        run.announce(
            images,
            f"{config.model}: {network(config, images).count_params():,} parameters; "
            f"{len(entered)} candidates, {config.seeds} seeds each, "
            f"{cells.pictures} images an epoch",
        )
        for entry in entered:
            contestant, taken = compete(config, run, cells, entry)
            contestants.append(contestant)
            seconds |= taken  # some entries share a training
            rows = evaluation.comparison_rows(contestants, config.seed, cells.measurements)
            training.write_rows(run.path / "metrics.csv", rows)
        walks = evaluation.surface_walks(
            config.optimizers,
            config.surfaces,
            config.surface_steps,
            lambda name, compute: training.kept_cell(run, name, compute),
        )
        winner = evaluation.best_contestant(contestants)
        seed = int(winner.standing.val_loss.argmin())
        print(f"training {winner.standing.label} again, to keep it: seed {config.seed + seed}")
        plain = training.classifier_batches(
            images, config.batch_size, data.Augmentation(), seed=config.seed
        )
        flow = training.gradient_flow(config, run, plain[0])
        again = cells.run(
            entered[contestants.index(winner)].candidate,
            winner.standing.learning_rate,
            config.seed + seed,
            keep_best=True,
            callbacks=flow,
        )
    history = evaluation.winner_history(
        again,
        winner.curves[seed],
        cells.measurements,
        images=cells.pictures * config.epochs,
        seconds=tuple(seconds.values()),
        flow=flow,
    )
    return again["model"], images, history, (contestants, *walks), len(seconds)


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Compare, evaluate and publish the winner, and report; the figures of metrics.json."""
    model, images, history, compared, trainings = fit(config, run)
    model = evaluation.begin(model, run)
    measured = min(images.counts["validation"], images.counts["train"])
    found = evaluation.explain_comparison(
        *compared,
        evaluation.explain_classifier(
            model, images, history.rows, kept=history.best_epoch, clean_examples=measured
        ),
        target=config.target_accuracy,
        seed=config.seed,
    )
    winner = found.metrics["winner"]
    print(found.verdict.sentence)
    return serving.publish_and_close(
        model,
        run,
        images,
        history,
        found,
        what=f"A {config.model} whose optimizer ({winner}) was the best of a comparison,",
        title=f"Optimizers of {config.model} on {images.spec}",
        predict="IMAGE.png",
        parameters=model.count_params(),
        seeds=config.seeds,
        trainings=trainings,
    )


if __name__ == "__main__":
    command_line.run(main, Config, check)
