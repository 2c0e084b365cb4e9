"""Train, judge and publish a generative adversarial network.

    python recipes/gan.py
    python recipes/gan.py --dataset fashion_mnist --epochs 20
    python recipes/gan.py --loss wasserstein --regularizer gradient_penalty --n-critic 5
    python recipes/gan.py --loss hinge --regularizer none --discriminator-normalization spectral
    python recipes/gan.py --conditioning projection

    z ~ N(0, I) -> generator -> image        image, real or not -> discriminator -> logit

Goodfellow et al. 2014 (arXiv:1406.2661). Losses, regularizers, normalization, conditioning and
augmentation combine freely; if two exclude each other, the message says why. The best epoch is the
one whose samples are nearest to the validation split, by the Fréchet distance in a classifier's
feature space: the players' losses say nothing about quality. Run the same command again to resume a
killed run, bit for bit, or to see the result of a finished one.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

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
WITHOUT_SLOPES = ("none", "weight_clip")
LOSSES = Literal[
    "minimax", "non_saturating", "bce", "least_squares", "hinge", "wasserstein", "relativistic"
]


@dataclasses.dataclass(frozen=True)
class Config(training.ImageFlags, training.CommonFlags):
    """Data, network and training."""

    loss: LOSSES = "relativistic"
    """loss of both players; minimax is the saturating one, relativistic that of R3GAN"""
    label_smoothing: training.Rate | None = None
    """bce: real images have a target of 1 minus this; default: 0.1"""
    regularizer: Literal["none", "r1", "r2", "r1_r2", "gradient_penalty", "weight_clip"] = "r1_r2"
    """for the discriminator: slope at real images, at fakes, at both, in between; or clipping"""
    penalty: training.NonNegative | None = None
    """gamma, lambda, or the highest weight; default: r1 or r2 1, both 0.5 each, 10, 0.01"""
    penalty_interval: training.PositiveInt = 1
    """compute penalties only every so many steps, scaled up to match"""
    conditioning: Literal["none", "concat", "projection", "auxiliary"] = "none"
    """give both players the class, and how the discriminator uses it"""
    augment: tuple[Literal["color", "translation", "cutout"], ...] = ()
    """augmentation of everything the discriminator sees, real and fake (DiffAugment)"""
    model: Literal["conv", "dense"] = "conv"
    """convolutional networks, or dense ones for tiny images"""
    latent_dim: training.PositiveInt = 64
    """length of the latent vectors"""
    filters: training.PositiveInt = 24
    """conv: filters at full size, doubled after each halving of height and width"""
    dense_units: training.NonNegativeInt = 512
    """conv: hidden dense layer of both players, next to the smallest feature map; 0 is none"""
    upsampling: Literal["transposed", "nearest", "bilinear"] = "transposed"
    """conv: how the generator doubles height and width"""
    units: tuple[training.PositiveInt, ...] = (128, 256)
    """dense: hidden layers of the generator; the discriminator's are in reverse order"""
    generator_normalization: Literal["none", "batch", "layer"] = "batch"
    """normalization in the generator"""
    discriminator_normalization: Literal["none", "spectral", "layer", "batch"] = "none"
    """normalization in the discriminator"""
    n_critic: training.PositiveInt = 1
    """discriminator steps, each on new images, per generator step"""
    batch_size: training.PositiveInt = 32
    """examples per step, over all devices"""
    learning_rate: training.Positive = 1e-3
    """peak learning rate of the generator (Adam)"""
    discriminator_learning_rate: training.Positive | None = None
    """peak learning rate of the discriminator; default: the generator's"""
    beta_1: training.Decay = 0.0
    """Adam's momentum, for both players"""
    beta_2: training.Decay = 0.99
    """Adam's decay of the squared gradients, for both players"""
    schedule: Literal["constant", "step", "cosine"] = "cosine"
    """schedule of both learning rates"""
    warmup: training.Rate = 0.0
    """fraction of the steps in which they rise"""
    ema: training.Decay = 0.995
    """decay of the averaged generator, which is the one evaluated and published"""
    measure_every: training.PositiveInt = 1
    """epochs between evaluations of the samples"""
    tstr: bool = True
    """conditional: also train a classifier on samples, and test it on real images"""
    patience: training.NonNegativeInt = 0
    """epochs without better samples before training stops; 0 is off"""
    epochs: training.PositiveInt = 60
    """passes over the training data"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        *training.only_for(
            "--model conv, not {model}",
            lambda c: c.model == "conv",
            ("filters", "dense_units", "upsampling"),
        ),
        *training.only_for("--model dense, not {model}", lambda c: c.model == "dense", ("units",)),
        *training.only_for("--loss bce", lambda c: c.loss == "bce", ("label_smoothing",)),
        *training.only_for(
            "a --regularizer, and there is none", lambda c: c.regularizer != "none", ("penalty",)
        ),
        *training.only_for(
            "regularizers that look at slopes",
            lambda c: c.regularizer not in WITHOUT_SLOPES,
            ("penalty_interval",),
        ),
        (
            lambda c: c.gradient_flow,
            "--gradient-flow: a GAN is not trained on one loss whose gradient could be shown; its "
            "report shows the losses of both players",
        ),
        (
            lambda c: (
                c.regularizer not in WITHOUT_SLOPES and c.discriminator_normalization == "batch"
            ),
            "--regularizer {regularizer} looks at the slope of each image's logit, and "
            "--discriminator-normalization batch makes it depend on other images: use layer, "
            "spectral or none",
        ),
        (lambda c: c.warmup and c.schedule == "step", "--schedule {schedule} has no --warmup"),
        (
            lambda c: c.measure_every > c.epochs,
            "--measure-every {measure_every}: there are {epochs} epochs",
        ),
    )

    @property
    def run_name(self) -> str:
        """The kind of data, and the loss."""
        return f"{self.dataset.split(':')[0]}-{self.loss}"


check = training.check


def batches(config: Config, images: data.ImageData, replicas: int = 1) -> tuple:
    """Training batches, with the real images of all critic steps, and validation batches."""
    one_hot = data.classification_targets(images.classes)

    def prepare(pixels, labels, seed=None):
        if seed is not None:  # of training
            pixels, labels = (
                training.order_for_replicas(each, config.n_critic, replicas)
                for each in (pixels, labels)
            )
        return pixels if config.conditioning == "none" else (pixels, one_hot(labels))

    train, size = images.splits["train"], config.batch_size * config.n_critic
    if len(train) < size:
        raise UserError(
            f"{len(train)} training images are less than one batch of {size} (--batch-size times "
            "--n-critic): make one of the two smaller."
        )
    return (
        data.TrainingBatches(train, size, seed=config.seed, prepare=prepare),
        data.evaluation_batches(images.splits["validation"], 256, prepare=prepare),
    )


def network(config: Config, images: data.ImageData) -> models.GAN:
    """Both players and their game, untrained."""
    names, usual = REGULARIZERS[config.regularizer]
    return models.gan(
        images.image_shape,
        config.latent_dim,
        architecture=config.model,
        classes=images.classes if config.conditioning != "none" else 0,
        conditioning=_or_none(config.conditioning),
        filters=config.filters,
        dense_units=config.dense_units,
        upsampling=config.upsampling,
        units=config.units,
        generator_normalization=_or_none(config.generator_normalization),
        discriminator_normalization=_or_none(config.discriminator_normalization),
        loss=config.loss,
        label_smoothing=config.label_smoothing,
        **dict.fromkeys(names, usual if config.penalty is None else config.penalty),
        penalty_interval=config.penalty_interval,
        n_critic=config.n_critic,
        augment=config.augment,
        ema=config.ema,
        seed=config.seed,
    )


def optimizers(config: Config, steps: int, devices) -> tuple:
    """Adam for the generator, and for the discriminator with n_critic times as many steps."""

    def adam(rate, steps):
        rate = training.scaled_learning_rate(rate, config.scale_learning_rate, devices)
        rates = training.learning_rate_schedule(
            config.schedule, rate, steps=steps, warmup=config.warmup
        )
        return training.optimizer("adam", rates, beta_1=config.beta_1, beta_2=config.beta_2)

    of_discriminator = config.discriminator_learning_rate or config.learning_rate
    return adam(config.learning_rate, steps), adam(of_discriminator, steps * config.n_critic)


def fit(config: Config, run: training.Run) -> tuple:
    """Train; returns the model, the data and the history."""
    devices = training.begin(config)
    images = training.load_images(config)
    run.record_data(images)
    train, validation = batches(config, images, devices.num_replicas_in_sync)
    extractor = evaluation.feature_extractor(images, seed=config.seed, verbose=0)
    evaluation.check_enough(extractor, images.counts)

    def discriminator():
        return network(dataclasses.replace(config, conditioning="none"), images).discriminator

    with training.scope(config, run, devices, discriminator, train) as precision:
        model = network(config, images)
        model.compile(*optimizers(config, config.epochs * train.steps, devices))
    run.announce(
        images,
        f"generator {models.size(model.generator)}\n          discriminator "
        f"{models.size(model.discriminator)}; {precision}\n"
        f"game      {config.loss}, {config.regularizer}, conditioning {config.conditioning}",
    )
    history = training.fit(
        model,
        train,
        validation,
        config=config,
        run=run,
        ema=0.0,  # the model averages its generator itself
        monitor="val_frechet",
        callbacks=evaluation.watch_samples(
            model, images, extractor, run.path, every=config.measure_every, seed=config.seed
        ),
    )
    return model, images, history


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json."""
    model, images, history = fit(config, run)
    if not run.chief:
        return run.leave()
    model = evaluation.begin(model, run)
    extractor = evaluation.feature_extractor(images, seed=config.seed, verbose=0)
    found = evaluation.explain_gan(
        model, images, history.rows, extractor, tstr=config.tstr, seed=config.seed
    )
    batch = config.batch_size * config.n_critic
    return serving.publish_and_close(
        model,
        run,
        images,
        history,
        found,
        what=f"A GAN ({config.loss}, {config.regularizer}, conditioning {config.conditioning})",
        title=f"{config.loss} GAN on {images.spec}",
        generator_steps=len(history.rows) * (images.counts["train"] // batch),
        parameters=model.generator.count_params() + model.discriminator.count_params(),
        multiply_adds=models.multiply_adds(model.generator),
    )


def _or_none(name: str) -> str | None:
    return None if name == "none" else name


if __name__ == "__main__":
    command_line.run(main, Config, check)
