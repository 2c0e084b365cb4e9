"""Train, judge and publish a variational autoencoder.

    python recipes/vae.py
    python recipes/vae.py --model hierarchical --dataset fashion_mnist --epochs 100 --latent-dim 40
    python recipes/vae.py --objective iwae --samples 50
    python recipes/vae.py --likelihood discretized_logistic --conditional

    image -> encoder -> mean, log_var of q(z | x)        z ~ q -> decoder -> pixels
    loss = -log p(x | z) + beta KL(q || prior)

Kingma and Welling 2013 (arXiv:1312.6114); networks after Tomczak and Welling 2018
(arXiv:1705.07120). The Bernoulli likelihood is for binary images. They are drawn, the grey level of
a pixel being the probability of a 1: anew in every training step, once for validation and test
(arXiv:2004.04795). The report gives an upper bound on the negative log-likelihood, in nats per
image, estimated by importance sampling (arXiv:1509.00519). Run the same command again to resume a
killed run, bit for bit, or to see the result of a finished one.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from kapps import command_line, data, evaluation, models, serving, training

BUILDERS = {"dense": "dense_vae", "conv": "conv_vae", "hierarchical": "hierarchical_vae"}
UNITS = {"dense": (300, 300), "conv": (256,), "hierarchical": (256,)}  # if --units is not given
SAMPLES_SHOWN = 64


@dataclasses.dataclass(frozen=True)
class Config(
    training.AveragingFlags,
    training.OptimizationFlags,
    training.ImageFlags,
    training.CommonFlags,
):
    """Data, network and training."""

    model: Literal["dense", "conv", "hierarchical"] = "dense"
    """dense (gated layers), conv, or hierarchical (conv with a second level of latents)"""
    latent_dim: training.PositiveInt = 16
    """number of latents; in a hierarchical model, those of the top level"""
    units: tuple[training.PositiveInt, ...] = ()
    """hidden layers; default: 300 300 for dense, 256 for conv and hierarchical"""
    filters: tuple[training.PositiveInt, ...] = (32, 64)
    """conv and hierarchical: number of filters after each halving of height and width"""
    likelihood: Literal["bernoulli", "continuous_bernoulli", "gaussian", "discretized_logistic"] = (
        "bernoulli"
    )
    """distribution of the pixels: binary, grey levels in 0..1, real numbers, or 256 levels"""
    binarization: Literal["dynamic", "static"] = "dynamic"
    """bernoulli: binarize training images anew in every step, or once"""
    scale: training.Positive | None = None
    """gaussian: standard deviation of the pixels; default: learned"""
    beta: training.NonNegative = 1.0
    """weight of the KL"""
    kl_warmup: training.Fraction = 0.2
    """fraction of the steps over which the weight of the KL rises from 0"""
    cyclic: training.NonNegativeInt = 0
    """how many times the weight of the KL rises from 0 during the training; 0 is off"""
    free_bits: training.NonNegative = 0.0
    """KL per latent, in nats, that the loss does not penalize; 0.1 to 0.5 is usual"""
    objective: Literal["elbo", "iwae", "dreg"] = "elbo"
    """the bound that is maximized: ELBO, the tighter IWAE, or IWAE with DReG gradients"""
    samples: training.PositiveInt = 1
    """draws per image and step; iwae and dreg need several, 50 is usual"""
    prior: Literal["standard", "vamp"] = "standard"
    """prior of the top latents: standard normal, or VampPrior (learned pseudo-inputs)"""
    pseudo_inputs: training.PositiveInt = 500
    """vamp: number of pseudo-inputs"""
    conditional: bool = False
    """condition encoder and decoder on the class"""
    weight_decay: training.NonNegative = 0.0
    """decoupled weight decay, multiplied by the learning rate"""
    nll_samples: training.PositiveInt = 500
    """importance samples per test image for the final log-likelihood; papers use 5,000"""
    sample_quality: Literal["auto", "yes", "no"] = "auto"
    """compare samples with real images in a classifier's features; auto: if kapps ships one"""
    epochs: training.PositiveInt = 100
    """passes over the training data"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        *training.only_for(
            "--model conv and hierarchical, not dense", lambda c: c.model != "dense", ("filters",)
        ),
        (
            lambda c: c.model != "dense" and len(c.units) > 1,
            "--units: --model {model} has one dense layer",
        ),
        (
            lambda c: c.binarization == "static" and c.likelihood != "bernoulli",
            "--binarization static is for --likelihood bernoulli: the others model grey levels",
        ),
        (
            lambda c: c.scale is not None and c.likelihood != "gaussian",
            "--scale is for --likelihood gaussian, not {likelihood}",
        ),
        (
            lambda c: c.cyclic and training.changed(c, "kl_warmup"),
            "--kl-warmup and --cyclic exclude each other: both set the weight of the KL",
        ),
        (
            lambda c: c.objective != "elbo" and c.samples == 1,
            "--objective {objective} with one sample is the elbo: use --samples 2 or more",
        ),
        (
            lambda c: c.free_bits and (c.objective != "elbo" or c.prior != "standard"),
            "--free-bits is for --objective elbo and --prior standard",
        ),
        (
            lambda c: (
                c.objective == "dreg" and (c.model == "hierarchical" or c.prior != "standard")
            ),
            "--objective dreg is for one level of latents and --prior standard",
        ),
        *training.only_for("--prior vamp", lambda c: c.prior == "vamp", ("pseudo_inputs",)),
        (
            lambda c: c.conditional and c.model == "hierarchical",
            "--conditional is for --model dense and conv",
        ),
    )


check = training.check


def batches(config: Config, images: data.ImageData) -> tuple:
    """Training batches, validation batches, and part of the training split in its own order."""
    train, validation = images.splits["train"], images.splits["validation"]
    if config.likelihood == "bernoulli":
        # Binarized once, so that all epochs are measured on the same images.
        validation = data.binarized(validation)
        if config.binarization == "static":
            train = data.binarized(train, seed=config.seed)
    one_hot = data.classification_targets(images.classes)

    def prepare(pixels, labels, seed=None, part=None):
        return (pixels, one_hot(labels)) if config.conditional else pixels

    splits = {"train": train, "validation": validation}
    # No neighbours: `prepare` makes each image of itself alone, it mixes none.
    return training.image_batches(
        splits, config.batch_size, seed=config.seed, prepare=prepare, neighbours=0
    )


def network(config: Config, images: data.ImageData, steps: int) -> models.VAE:
    """The untrained model of this configuration; `steps` is the length of the whole training."""
    beta = config.beta
    if config.cyclic:
        steps_of_cycle = max(2, steps // config.cyclic)
        beta = models.CyclicKL(steps_of_cycle, config.cyclic, config.beta)
    elif config.kl_warmup:
        beta = models.KLWarmup(max(1, round(config.kl_warmup * steps)), config.beta)
    units = config.units or UNITS[config.model]
    arguments = {"units": units} if config.model == "dense" else {"units": units[0]}
    if config.model != "dense":
        arguments["filters"] = config.filters
    if config.conditional:
        arguments["classes"] = images.classes
    return getattr(models, BUILDERS[config.model])(
        images.image_shape,
        config.latent_dim,
        **arguments,
        pseudo_inputs=config.pseudo_inputs if config.prior == "vamp" else 0,
        likelihood=config.likelihood,
        scale=config.scale,
        objective=config.objective,
        samples=config.samples,
        beta=beta,
        free_bits=config.free_bits,
        seed=config.seed,
    )


def fit(config: Config, run: training.Run) -> tuple:
    """Train; returns the model, the data and the history."""
    devices = training.begin(config)
    images = training.load_images(config)
    run.record_data(images)
    train, validation, clean = batches(config, images)
    steps = config.epochs * train.steps

    def unconditional():
        """What the precision is measured on: pixels are its only input."""
        return network(dataclasses.replace(config, conditional=False), images, steps)

    with training.scope(config, run, devices, unconditional, train) as precision:
        model = network(config, images, steps)
        model.compile(training.optimizer_from(config, steps, run))
    run.announce(
        images,
        f"{config.model}: {models.trainable_parameters(model):,} parameters, {model.latent_dim} "
        f"latents, {config.likelihood}, {precision}",
    )
    grids = evaluation.SampleGrids(lambda: model.sample(SAMPLES_SHOWN, config.seed), run.path)
    history = training.fit(
        model,
        train,
        validation,
        config=config,
        run=run,
        clean_train=clean,
        callbacks=[grids],
    )
    return model, images, history


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json."""
    model, images, history = fit(config, run)
    if not run.chief:
        return run.leave()
    model = evaluation.begin(model, run)  # as it will be published
    found = evaluation.explain_vae(
        model,
        images,
        history.rows,
        kept=history.best_epoch,
        nll_samples=config.nll_samples,
        extractor=evaluation.wanted_extractor(images, config.sample_quality, seed=config.seed),
        seed=config.seed,
    )
    return serving.publish_and_close(
        model,
        run,
        images,
        history,
        found,
        what=f"A {config.model} VAE with {config.latent_dim} latents, likelihood "
        f"{config.likelihood}",
        title=f"{config.model} VAE on {images.spec}",
        parameters=models.trainable_parameters(model),
    )


if __name__ == "__main__":
    command_line.run(main, Config, check)
