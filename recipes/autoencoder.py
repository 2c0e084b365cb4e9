"""Train, judge and publish an autoencoder.

    python recipes/autoencoder.py
    python recipes/autoencoder.py --model stacked --pretrain 10
    python recipes/autoencoder.py --denoise masking --noise 0.3
    python recipes/autoencoder.py --dataset fashion_mnist --latent-dim 64 --anomaly-class Bag

    image -> encoder -> code -> decoder -> image        loss: distance between the two

Networks: linear (equivalent to principal component analysis), dense, stacked (deep; pretrained
layer by layer with --pretrain: Hinton and Salakhutdinov 2006, Bengio et al. 2007), residual (dense
blocks), convolutional. Denoising: Vincent et al. 2010. Run the same command again to resume a
killed run, bit for bit, or to see the result of a finished one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Literal

from kapps import command_line, data, evaluation, models, serving, training

# Hidden layers of the encoder, unless --units says.
UNITS = {"dense": (512,), "stacked": (512, 256, 128)}
# Of a linear network, divided by the values of an image: Adam moves every weight by about the
# learning rate, and a code by as many times that as there are weights to it.
LINEAR_LEARNING_RATE = 3.0


@dataclasses.dataclass(frozen=True)
class Config(
    training.AveragingFlags,
    training.OptimizationFlags,
    training.ImageFlags,
    training.CommonFlags,
):
    """Data, network and training."""

    model: Literal["linear", "dense", "stacked", "residual", "conv"] = "dense"
    """linear (PCA), dense (one hidden layer), stacked (several), residual (dense blocks), conv"""
    batch_size: training.PositiveInt = 32
    """examples per step, over all devices"""
    latent_dim: training.PositiveInt = 16
    """values in a code"""
    units: tuple[training.PositiveInt, ...] = ()
    """dense, stacked: hidden layers of the encoder; default: 512, and 512 256 128"""
    width: training.PositiveInt = 512
    """residual: width between the blocks; inside them it is twice as large"""
    depth: training.NonNegativeInt = 3
    """residual: blocks of the encoder, and of the decoder"""
    dropout: training.Rate = 0.0
    """residual: dropout rate of the hidden values"""
    filters: tuple[training.PositiveInt, ...] = (32, 64)
    """conv: filters after each halving of height and width"""
    activation: str = "relu"
    """of the hidden layers"""
    reconstruction: Literal["squared_error", "bernoulli"] = "squared_error"
    """the loss: squared error, or cross-entropy of every pixel"""
    denoise: Literal["none", "gaussian", "masking", "salt_and_pepper"] = "none"
    """noise to remove"""
    noise: training.Positive = 0.3
    """denoise: standard deviation of the noise, or fraction of the pixels"""
    sparse: Literal["none", "l1", "kl"] = "none"
    """penalty on the code: absolute values, or the KL of mean activations from a target"""
    sparse_weight: training.NonNegative = 0.01
    """sparse: weight of the penalty"""
    sparse_target: training.OpenFraction = 0.05
    """sparse kl: target mean activation"""
    pretrain: training.NonNegativeInt = 0
    """dense, stacked: epochs of layer-by-layer pretraining, per layer, before joint training"""
    anomaly_class: str | None = None
    """leave this class out of training, and measure how well its images stand out"""
    weight_decay: training.NonNegative = 0.0
    """decoupled weight decay, multiplied by the learning rate"""
    epochs: training.PositiveInt = 30
    """passes over the training data"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        *training.only_for(
            "--model dense and stacked, not {model}",
            lambda c: c.model in UNITS,
            ("units", "pretrain"),
        ),
        *training.only_for("--model conv, not {model}", lambda c: c.model == "conv", ("filters",)),
        *training.only_for(
            "--model residual, not {model}",
            lambda c: c.model == "residual",
            ("width", "depth", "dropout"),
        ),
        (
            lambda c: c.denoise in ("masking", "salt_and_pepper") and c.noise > 1,
            "--noise {noise}: it is a fraction of the pixels, at most 1",
        ),
        (
            lambda c: c.model == "linear" and c.reconstruction == "bernoulli",
            "--reconstruction bernoulli needs a sigmoid, and --model linear has none",
        ),
    )


def batches(config: Config, images: data.ImageData) -> tuple:
    """Training batches, validation batches, and a part of the training split: images alone."""

    def alone(pixels, labels, seed=None, part=None):
        return pixels

    return training.image_batches(
        images.splits, config.batch_size, seed=config.seed, prepare=alone, neighbours=0
    )


def network(config: Config, images: data.ImageData) -> models.Autoencoder:
    """The model of this configuration, untrained."""
    settings = {
        "reconstruction": config.reconstruction,
        "corruption": None if config.denoise == "none" else config.denoise,
        "corruption_amount": config.noise,
        "sparsity": None if config.sparse == "none" else config.sparse,
        "sparsity_weight": config.sparse_weight,
        "sparsity_target": config.sparse_target,
        "seed": config.seed,
    }
    shape = images.image_shape, config.latent_dim
    if config.model == "linear":
        mean = data.mean_image(images.splits["train"])
        return models.linear_autoencoder(*shape, mean_picture=mean, **settings)
    settings |= {
        "activation": config.activation,
        "code_activation": "sigmoid" if config.sparse == "kl" else "linear",
    }
    if config.model == "conv":
        return models.conv_autoencoder(*shape, filters=config.filters, **settings)
    if config.model == "residual":
        blocks = {"units": config.width, "hidden": 2 * config.width, "depth": config.depth}
        return models.residual_autoencoder(*shape, **blocks, dropout=config.dropout, **settings)
    return models.dense_autoencoder(*shape, units=config.units or UNITS[config.model], **settings)


def fit(config: Config, run: training.Run) -> tuple:
    """Train; returns the model, the data and the history."""
    devices = training.begin(config)
    images = training.load_images(config)
    run.record_data(images)
    known = data.without_class(images, config.anomaly_class)
    train, validation, clean = batches(config, known)

    def build():
        return network(config, known)

    with training.scope(config, run, devices, build, train) as precision:
        model = build()
        steps, rate = config.epochs * train.steps, highest_rate(config, images)
        model.compile(training.optimizer_from(config, steps, run, learning_rate=rate))
    run.announce(
        images,
        f"{config.model}: {model.count_params():,} parameters, codes of {model.latent_dim}, "
        f"{precision}",
    )
    if config.pretrain:
        pretrain(config, run, model, train)
    history = training.fit(
        model,
        train,
        validation,
        config=config,
        run=run,
        clean_train=clean,
        monitor="val_mse",
    )
    return model, images, history


def highest_rate(config: Config, images: data.ImageData) -> float | None:
    """The learning rate, where it is not the optimizer's usual one."""
    if config.model == "linear" and config.optimizer in ("adam", "adamw"):
        usual = LINEAR_LEARNING_RATE / math.prod(images.image_shape)
        return config.learning_rate or usual
    return config.learning_rate


def pretrain(config: Config, run: training.Run, model: models.Autoencoder, train) -> None:
    """Layer by layer, unless the training of the whole has begun.

    This is not resumed but repeated, to the same bits.
    """
    if any(run.checkpoints.glob("state-*")):
        return
    print(f"layer by layer, {config.pretrain} epochs each")
    with model.distribute_strategy.scope():
        errors = training.greedy_pretrain(
            model,
            train.dataset(0, config.pretrain),
            epochs=config.pretrain,
            steps_per_epoch=train.steps,
        )
    if "layer_errors" not in run.facts():
        run.record(layer_errors=errors)


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json."""
    model, images, history = fit(config, run)
    if not run.chief:
        return run.leave()
    model = evaluation.begin(model, run)
    found = evaluation.explain_autoencoder(
        model,
        images,
        history.rows,
        kind=config.model,
        left_out=config.anomaly_class,
        kept=history.best_epoch,
        layer_errors=run.facts().get("layer_errors", ()),
        seed=config.seed,
    )
    return serving.publish_and_close(
        model,
        run,
        images,
        history,
        found,
        what=f"A {config.model} autoencoder with codes of {config.latent_dim}",
        title=f"{config.model} autoencoder on {images.spec}",
        parameters=model.count_params(),
    )


if __name__ == "__main__":
    command_line.run(main, Config, training.check)
