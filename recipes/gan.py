"""Train, judge and publish a generative adversarial network.

    python recipes/gan.py
    python recipes/gan.py --dataset fashion_mnist --epochs 20
    python recipes/gan.py --loss wasserstein --regularizer gradient_penalty --n-critic 5
    python recipes/gan.py --loss hinge --regularizer none --discriminator-normalization spectral
    python recipes/gan.py --conditioning projection

Goodfellow et al. 2014 (arXiv:1406.2661). Losses, regularizers, normalisation, conditioning and
augmentation combine freely; where two exclude each other the message says why. The best epoch is
the one whose samples are nearest to the validation split, by the Fréchet distance of a classifier's
features: losses of the players say nothing about quality. The same command goes on with a run that
was killed, to the same bits, and shows the result of one that is finished.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Literal

from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

# Regularizer: arguments of `models.GAN` that --penalty is given to, and its usual value.
REGULARIZERS = {
    "none": ((), 0.0),
    "r1": (("r1",), 1.0),
    "r2": (("r2",), 1.0),
    "r1_r2": (("r1", "r2"), 0.5),
    "gradient_penalty": (("gradient_penalty",), 10.0),  # arXiv:1704.00028
    "weight_clip": (("weight_clip",), 0.01),  # arXiv:1701.07875
}
ONLY_FOR = {"filters": "conv", "dense_units": "conv", "upsampling": "conv", "units": "dense"}
# Flag, lowest, highest, the range in words, whether its ends belong to it.
RANGES = (
    ("latent_dim", 0, math.inf, "1 or more", False),
    ("filters", 0, math.inf, "1 or more", False),
    ("dense_units", 0, math.inf, "0 or more", True),
    ("label_smoothing", 0, 0.999, "between 0 and 0.999", True),
    ("penalty", 0, math.inf, "0 or more", True),
    ("penalty_interval", 0, math.inf, "1 or more", False),
    ("n_critic", 0, math.inf, "1 or more", False),
    ("discriminator_learning_rate", 0, math.inf, "above 0", False),
    ("beta_1", 0, 0.999999, "between 0 and 0.999999", True),
    ("beta_2", 0, 0.999999, "between 0 and 0.999999", True),
    ("warmup", 0, 0.999, "between 0 and 0.999", True),
    ("ema", 0, 0.999999, "between 0 and 0.999999", True),
    ("measure_every", 0, math.inf, "1 or more", False),
    ("patience", 0, math.inf, "0 or more", True),
    ("image_size", 0, math.inf, "1 or more", False),
    ("validation_fraction", 0, 1, "between 0 and 1, ends excluded", False),
)
SAMPLES_SHOWN = 64
LOSSES = Literal[
    "minimax", "non_saturating", "bce", "least_squares", "hinge", "wasserstein", "relativistic"
]


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    loss: LOSSES = "relativistic"
    """what the players minimise; minimax is the saturating one, relativistic that of R3GAN"""
    label_smoothing: float | None = None
    """bce: real pictures have a target of 1 minus this; default: 0.1"""
    regularizer: Literal["none", "r1", "r2", "r1_r2", "gradient_penalty", "weight_clip"] = "r1_r2"
    """of the discriminator: slope at real pictures, at fakes, at both, between them; clipping"""
    penalty: float | None = None
    """gamma, lambda, or the highest weight; default: r1 or r2 1, both 0.5 each, 10, 0.01"""
    penalty_interval: int = 1
    """compute penalties in every so many steps, counting them as often"""
    conditioning: Literal["none", "concat", "projection", "auxiliary"] = "none"
    """tell both players the class, and how the discriminator uses it"""
    augment: tuple[Literal["color", "translation", "cutout"], ...] = ()
    """what is done to all that the discriminator sees, real pictures and fakes (DiffAugment)"""
    model: Literal["conv", "dense"] = "conv"
    """convolutional networks, or dense ones for tiny pictures"""
    latent_dim: int = 64
    """length of the latent vectors"""
    filters: int = 24
    """conv: filters at full size, twice as many after each halving"""
    dense_units: int = 512
    """conv: hidden dense layer of both players, next to the smallest map; 0 is none"""
    upsampling: Literal["transposed", "nearest", "bilinear"] = "transposed"
    """conv: how the generator doubles the sides"""
    units: tuple[int, ...] = (128, 256)
    """dense: hidden layers of the generator; those of the discriminator are the reverse"""
    generator_normalization: Literal["none", "batch", "layer"] = "batch"
    """in the generator"""
    discriminator_normalization: Literal["none", "spectral", "layer", "batch"] = "none"
    """in the discriminator"""
    n_critic: int = 1
    """steps of the discriminator, on pictures of their own, for each step of the generator"""
    learning_rate: float = 1e-3
    """highest learning rate of the generator (Adam)"""
    discriminator_learning_rate: float | None = None
    """default: that of the generator"""
    beta_1: float = 0.0
    """momentum of both"""
    beta_2: float = 0.99
    """decay of the squared gradients of both"""
    schedule: Literal["constant", "step", "cosine"] = "cosine"
    """how both learning rates move"""
    warmup: float = 0.0
    """part of the steps in which they rise"""
    ema: float = 0.995
    """decay of the averaged generator, which is the one that is measured and published"""
    measure_every: int = 1
    """epochs between measurements of the samples"""
    tstr: bool = True
    """conditional: also train a classifier on samples, and test it on pictures"""
    patience: int = 0
    """epochs without better samples before training stops; 0 is off"""
    image_size: int | None = None
    """side that pictures of a folder are resized to; default: chosen from the pictures"""
    validation_fraction: float = 0.1
    """part of the training data that is kept for validation, stratified"""
    epochs: int = 60
    """passes over the training data"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(config, several_machines=True)
    for name, low, high, words, ends in RANGES:
        training.check_range(config, name, low, high, words, ends=ends)
    for name, kind in ONLY_FOR.items():
        if getattr(config, name) != getattr(Config, name) and config.model != kind:
            raise UserError(f"--{name.replace('_', '-')} is for --model {kind}, not {config.model}")
    slopes = config.regularizer not in ("none", "weight_clip")
    wrong = {
        "--gradient-flow: a GAN is not trained on one loss whose gradient could be shown; its "
        "report shows the losses of both players": config.gradient_flow,
        "--label-smoothing is for --loss bce": (
            config.label_smoothing is not None and config.loss != "bce"
        ),
        "--penalty belongs to a --regularizer, and there is none": (
            config.penalty is not None and config.regularizer == "none"
        ),
        "--penalty-interval is for regularizers that look at slopes": (
            config.penalty_interval != 1 and not slopes
        ),
        f"--regularizer {config.regularizer} looks at the slope of each picture's logit, and "
        "--discriminator-normalization batch makes it depend on other pictures: use layer, "
        "spectral or none": slopes and config.discriminator_normalization == "batch",
        f"--schedule {config.schedule} has no --warmup": (
            config.warmup and config.schedule == "step"
        ),
        f"--measure-every {config.measure_every}: there are {config.epochs} epochs": (
            config.measure_every > config.epochs
        ),
    }
    for words, is_wrong in wrong.items():
        if is_wrong:
            raise UserError(words)
    training.check_batch(config.batch_size, training.named_devices(config.devices))


def main(config: Config) -> dict[str, object]:
    """Run the recipe.

    Returns:
        The final figures, as in metrics.json.

    Raises:
        UserError: a mistake in the flags, the data or the run directory.
    """
    check(config)
    with open_run(config) as run:
        return run.metrics() if run.finished else train(config, run)


def open_run(config: Config) -> training.Run:
    """The run directory of this configuration."""
    name = f"{config.dataset.split(':')[0]}-{config.loss}"
    return training.open_run("gan", config, name=name)


def check_and_show(config: Config) -> None:
    """Before TensorFlow is imported: refuse mistakes, and show a run that is finished.

    Raises:
        UserError: a mistake in the flags, or a run directory of another configuration.
        SystemExit: there is nothing left to do.
    """
    check(config)
    command_line.show_finished(open_run, config)


def train(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, export and report into an open run directory."""
    strategy = training.strategy(config.devices)
    training.check_batch(config.batch_size, strategy.num_replicas_in_sync)
    training.seed_everything(config.seed)
    images = data.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
    )
    run.record(
        data={"fingerprint": images.fingerprint, "class_names": list(images.class_names)},
        image_shape=list(images.image_shape),
    )
    batches, validation = batch(config, images, strategy.num_replicas_in_sync)
    extractor = evaluation.feature_extractor(images, seed=config.seed, verbose=0)
    model, precision = build(config, run, images, batches, strategy)
    players = (model.generator, model.discriminator)
    print(
        f"data      {images.spec}: {images.counts}, pictures "
        f"{'x'.join(map(str, images.image_shape))}\n"
        f"model     generator and discriminator: "
        f"{' and '.join(f'{player.count_params():,}' for player in players)} parameters, "
        f"{' and '.join(f'{models.multiply_adds(player) / 1e6:.1f}' for player in players)} M "
        f"multiply-adds, {precision}\n"
        f"game      {config.loss}, {config.regularizer}, conditioning {config.conditioning}\n"
        f"run       {run.path}"
    )
    for note in (*images.notes, *run.notes):
        print(f"note      {note}")
    grids = evaluation.SampleGrids(
        lambda: model.sample(SAMPLES_SHOWN, config.seed), run.path / "samples"
    )
    split = images.splits["validation"]
    quality = evaluation.SampleQuality(
        extractor,
        model.sample,
        split.take(range(len(split))),
        every=config.measure_every,
        seed=config.seed,
    )
    history = training.fit(
        model,
        batches,
        validation,
        epochs=config.epochs,
        run=run,
        sync_batch_norm=config.sync_batch_norm,
        monitor="val_frechet",
        callbacks=[quality, grids, *callbacks(config, run)],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if not run.chief:
        return run.leave()
    # Sixteen bits are for training: what is evaluated, saved and served runs anywhere.
    trained, model = model, network(config, images)
    model.set_weights(trained.get_weights())
    model.save(run.path / "model.keras")
    print("evaluating on the test split, once")
    found = evaluation.explain_gan(
        model, images, history.rows, extractor, tstr=config.tstr, seed=config.seed
    )
    metrics = {
        **found.metrics,
        "best_epoch": history.best_epoch,
        "generator_steps": len(history.rows) * batches.steps,
        "parameters": sum(
            player.count_params() for player in (model.generator, model.discriminator)
        ),
        "multiply_adds": models.multiply_adds(model.generator),
        "train_seconds": history.train_seconds,
        "examples_per_second": history.examples_per_second,
        "precision": precision,
        "exported": None,
    }
    drawn, epochs = grids.grids()
    figures = [
        *found.figures,
        (
            "Samples by epoch",
            evaluation.plots.epoch_grid(drawn, epochs),
            "Of the same latent vectors, as the training went on.",
        ),
    ]
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    moving = evaluation.plots.save_animation(drawn, run.plots / "samples.webp", epochs)
    if config.export:
        metrics["exported"] = export(config, run, model, images, found)
    evaluation.write_report(
        run.path / "report.html",
        title=f"{config.loss} GAN on {images.spec}",
        verdict=found.verdict,
        metrics=metrics,
        figures=figures,
        animations=[("Samples in training", moving.read_bytes(), "Of the same latent vectors.")],
        tables=found.tables,
        config=run.config,
        commands=commands(config, metrics["exported"]),
        notes=(*images.notes, *run.notes, *history.notes, *found.notes),
    )
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


def batch(config: Config, images: data.ImageData, replicas: int = 1) -> tuple:
    """Training batches, with the real pictures of all critic steps, and validation batches."""
    exact = data.classification_targets(images.classes)

    def prepare(pictures, labels, seed=None):
        if seed is not None:  # of training
            pictures, labels = (
                training.order_for_replicas(each, config.n_critic, replicas)
                for each in (pictures, labels)
            )
        return pictures if config.conditioning == "none" else (pictures, exact(labels))

    train, size = images.splits["train"], config.batch_size * config.n_critic
    if len(train) < size:
        raise UserError(
            f"{len(train)} training pictures are less than one batch of {size} (--batch-size times "
            "--n-critic): make one of the two smaller."
        )
    return (
        data.TrainingBatches(train, size, seed=config.seed, prepare=prepare),
        data.evaluation_batches(images.splits["validation"], 256, prepare=prepare),
    )


def network(config: Config, images: data.ImageData) -> models.GAN:
    """The model of this configuration, untrained."""
    generator, discriminator = players(config, images)
    names, usual = REGULARIZERS[config.regularizer]
    return models.GAN(
        generator,
        discriminator,
        loss=config.loss,
        label_smoothing=config.label_smoothing,
        **dict.fromkeys(names, usual if config.penalty is None else config.penalty),
        penalty_interval=config.penalty_interval,
        n_critic=config.n_critic,
        augment=config.augment,
        ema=config.ema,
        seed=config.seed,
    )


def players(config: Config, images: data.ImageData) -> tuple:
    """Generator and discriminator of this configuration."""
    conditional = config.conditioning != "none"
    classes = images.classes if conditional else 0
    shape = images.image_shape
    making = {"classes": classes, "normalization": _or_none(config.generator_normalization)}
    judging = {
        "classes": classes,
        "conditioning": _or_none(config.conditioning),
        "normalization": _or_none(config.discriminator_normalization),
    }
    if config.model == "dense":
        making["units"], judging["units"] = config.units, config.units[::-1]
        return (
            models.gan_dense_generator(shape, config.latent_dim, **making),
            models.gan_dense_discriminator(shape, **judging),
        )
    both = {"filters": config.filters, "dense_units": config.dense_units}
    making["upsampling"] = config.upsampling
    return (
        models.gan_generator(shape, config.latent_dim, **both, **making),
        models.gan_discriminator(shape, **both, **judging),
    )


def build(config: Config, run: training.Run, images: data.ImageData, batches, strategy) -> tuple:
    """The compiled model, and the precision it computes in."""
    precision = run.facts().get("precision") or config.precision
    if precision == "auto":
        alone = dataclasses.replace(config, conditioning="none")
        precision, why = training.choose_precision(
            lambda: players(alone, images)[1],
            config.batch_size,
            batches.steps * batches.batch_size,
        )
        print(f"precision {precision}: {why}")
    run.record(precision=precision)  # a resumed run computes as it began
    steps = config.epochs * batches.steps

    def optimizer(rate, steps):
        import keras

        schedule = training.learning_rate_schedule(
            config.schedule, rate, steps=steps, warmup=config.warmup
        )
        return keras.optimizers.Adam(schedule, beta_1=config.beta_1, beta_2=config.beta_2)

    rates = [config.learning_rate, config.discriminator_learning_rate or config.learning_rate]
    scaling = config.scale_learning_rate
    rates = [training.scaled_learning_rate(rate, scaling, strategy) for rate in rates]
    with strategy.scope(), training.precision_policy(precision):
        training.seed_everything(config.seed)  # whatever measuring has drawn
        model = network(config, images)
        model.compile(optimizer(rates[0], steps), optimizer(rates[1], steps * config.n_critic))
    return model, precision


def callbacks(config: Config, run: training.Run) -> list:
    """Keras' own callbacks, as the flags ask for them."""
    import keras

    chosen = [
        keras.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False),
        keras.callbacks.TerminateOnNaN(),
    ]
    if config.patience:
        chosen.append(
            keras.callbacks.EarlyStopping("val_frechet", patience=config.patience, mode="min")
        )
    return chosen


def export(config: Config, run: training.Run, model, images, found) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    metrics = found.metrics
    card = (
        f"A GAN ({config.loss}, {config.regularizer}, conditioning {config.conditioning}) trained "
        f"on {images.spec} ({images.counts['train']} pictures, fingerprint "
        f"{images.fingerprint[:12]}), seed {config.seed}.\n\n"
        f"Fréchet distance {metrics['test_frechet']:.3g} in the features of a classifier (hash "
        f"{metrics['test_extractor'][:12]}; real pictures: {metrics['test_frechet_floor']:.3g}), "
        f"coverage {metrics['test_coverage']:.1%}, {metrics['test_samples']} samples against "
        f"{metrics['test_examples']} pictures.\n\n"
        f"{found.verdict.label}: {found.verdict.sentence}\n\nRun directory: {run.path.name}\n"
    )
    version = serving.export_gan(
        model,
        config.export_dir or "saved_models/gan",
        class_names=images.class_names if model.classes else (),
        card=card,
    )
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/gan.py")}
    if published:
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown


def _or_none(name: str) -> str | None:
    return None if name == "none" else name


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
