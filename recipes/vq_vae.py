"""Train, judge and publish a VQ-VAE, and a prior over its codes to sample new images.

    python recipes/vq_vae.py
    python recipes/vq_vae.py --dataset fashion_mnist --epochs 20
    python recipes/vq_vae.py --conditional --codes 128

    image -> encoder -> map of vectors -> nearest codebook entries -> decoder -> image

Van den Oord et al. 2017 (arXiv:1711.00937): an image becomes a small map of codes, each the index
of a vector in a codebook. Then a gated PixelCNN (arXiv:1606.05328) learns the distribution of these
maps; sampling one code after the other and decoding them makes new images. Run the same command
again to resume a run killed in either phase, bit for bit, or to see the result of a finished one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Literal

from kapps import command_line, data, evaluation, models, serving, training

AUTOENCODER, PRIOR = PHASES = ("autoencoder", "prior")
LARGEST_MAP = 8  # of codes, a side: every code more is a step more of sampling
SAMPLES_SHOWN = 64


@dataclasses.dataclass(frozen=True)
class Config(training.OptimizationFlags, training.ImageFlags, training.CommonFlags):
    """Data, network and training; batch size and schedule apply to each phase."""

    batch_size: training.PositiveInt = 32
    """examples per step, over all devices"""
    learning_rate: training.Positive | None = None
    """peak learning rate of the autoencoder; default: 0.01 for adamw, else the optimizer's usual
    one"""
    codes: Annotated[int, training.Range(2, math.inf, "2 or more")] = 64
    """vectors in the codebook"""
    code_dim: training.PositiveInt = 16
    """dimension of these vectors"""
    filters: tuple[training.PositiveInt, ...] = ()
    """filters after each halving of height and width; default: 32, 64, ... until a map has at most
    8 codes a side"""
    commitment: training.NonNegative = 0.25
    """weight of the distance between the encoder's vectors and those of the codebook"""
    decay: training.Decay = 0.99
    """decay of the moving averages that update the codebook"""
    restart_after: training.NonNegativeInt = 100
    """steps without use after which a code is replaced; 0 is never"""
    conditional: bool = False
    """give the class to the prior"""
    prior_filters: training.PositiveInt = 64
    """channels of the prior"""
    prior_depth: training.NonNegativeInt = 4
    """gated layers of the prior after the first: a code sees one row more above it for each"""
    prior_dropout: training.Rate = 0.3
    """dropout rate of the prior's last features"""
    prior_epochs: training.PositiveInt = 20
    """passes over the codes; there are few of them, and they are soon memorized"""
    prior_learning_rate: training.Positive | None = None
    """peak learning rate of the prior; default: the optimizer's usual one"""
    weight_decay: training.NonNegative = 0.0
    """decoupled weight decay, multiplied by the learning rate"""
    tstr: bool = True
    """conditional: also train a classifier on samples, and test it on real images"""
    sample_quality: Literal["auto", "yes", "no"] = "auto"
    """compare samples with real images in a classifier's features; auto: if kapps ships one"""
    epochs: training.PositiveInt = 60
    """passes over the training data for encoder, codebook and decoder"""


check = training.check


def filters_of(config: Config, image_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Filters after each halving."""
    if config.filters:
        return config.filters
    filters, side = [32], -(-min(image_shape[:2]) // 2)
    while side > LARGEST_MAP:
        filters.append(min(2 * filters[-1], 128))
        side = -(-side // 2)
    return tuple(filters)


def autoencoder(config: Config, images: data.ImageData) -> models.VQVAE:
    """Encoder, codebook and decoder of this configuration, untrained."""
    _, deviation = data.pixel_statistics(images.splits["train"])
    return models.vq_vae(
        images.image_shape,
        codes=config.codes,
        code_dim=config.code_dim,
        filters=filters_of(config, images.image_shape),
        decay=config.decay,
        restart_after=config.restart_after,
        beta=config.commitment,
        pixel_variance=max(float((deviation**2).mean()), 1e-4),
        seed=config.seed,
    )


def code_prior(config: Config, images: data.ImageData, model: models.VQVAE) -> models.CodePrior:
    """The prior of this configuration, untrained."""
    return models.code_prior(
        model.code_shape,
        config.codes,
        filters=config.prior_filters,
        depth=config.prior_depth,
        dropout=config.prior_dropout,
        classes=images.classes if config.conditional else 0,
    )


def batches(config: Config, images: data.ImageData) -> tuple:
    """Training batches, validation batches, and a part of the training split: images alone."""

    def alone(pixels, labels, seed=None, part=None):
        return pixels

    return training.image_batches(
        images.splits, config.batch_size, seed=config.seed, prepare=alone, neighbours=0
    )


def code_batches(config: Config, images: data.ImageData, model: models.VQVAE) -> tuple:
    """The same of what the trained encoder makes of the images: codes, perhaps with classes."""
    import tensorflow as tf

    splits = images.splits
    codes = {name: codes_of(model, splits[name]) for name in ("train", "validation")}
    with tf.device("CPU:0"):
        labels = {name: tf.one_hot(splits[name].labels, images.classes) for name in codes}

    def examples(name):
        def load(rows, seed=None):
            chosen = tf.gather(codes[name], rows)
            return (chosen, tf.gather(labels[name], rows)) if config.conditional else chosen

        return load

    def measured(name, limit=None):
        rows, load = data.Split(splits[name].labels, lambda rows: rows), examples(name)
        prepare = {"prepare": lambda rows, _: load(rows)}
        return data.evaluation_batches(rows, 256, **prepare, limit=limit, seed=config.seed)

    count, load = len(splits["train"]), examples("train")
    return (
        data.IndexedBatches(count, config.batch_size, seed=config.seed, load=load),
        measured("validation"),
        measured("train", len(splits["validation"])),
    )


def codes_of(model: models.VQVAE, split: data.Split):
    """Codes, int32 [n, h, w], of the images of a split."""
    import numpy as np
    import tensorflow as tf

    encode = tf.function(model.encode, autograph=False, reduce_retracing=True)
    images = data.evaluation_batches(split, 256, prepare=lambda pixels, labels: pixels)
    codes = np.concatenate([encode(pixels).numpy() for pixels in images])
    with tf.device("CPU:0"):
        return tf.constant(codes, tf.int32)


def fit(config: Config, run: training.Run) -> tuple:
    """Train both phases; returns the model with its prior, the data and the history."""
    devices = training.begin(config)
    images = training.load_images(config)
    run.record_data(images)
    pixel_batches = batches(config, images)

    def network():
        return autoencoder(config, images)

    with training.scope(config, run, devices, network, pixel_batches[0]) as precision:
        model = network()
        prior = code_prior(config, images, model)
        whole = model.with_prior(prior)
    usual = training.usual_learning_rate(config.optimizer)
    fast = 0.01 if config.optimizer == "adamw" else usual
    rates = {
        AUTOENCODER: config.learning_rate or fast,
        PRIOR: config.prior_learning_rate or usual,
    }
    run.record(learning_rates=rates)
    height, width = model.code_shape
    counts = [models.trainable_parameters(part) for part in (model, prior)]
    run.announce(
        images,
        f"{height}x{width} of {config.codes} codes; autoencoder {counts[0]:,} parameters, "
        f"prior {counts[1]:,}; {precision}",
    )

    def train(name, part, examples, epochs, **settings):
        with devices.scope(), training.precision_policy(precision):
            steps = epochs * examples[0].steps
            part.compile(training.optimizer_from(config, steps, learning_rate=rates[name]))
        return training.fit_phase(
            name,
            PHASES,
            part,
            *examples[:2],
            config=config,
            run=run,
            epochs=epochs,
            clean_train=examples[2],
            **settings,
        )

    histories = {
        AUTOENCODER: train(AUTOENCODER, model, pixel_batches, config.epochs, gradient_flow=True)
    }
    labels = evaluation.classes_in_turn(whole, SAMPLES_SHOWN)
    draw = lambda: whole.sample(SAMPLES_SHOWN, config.seed, labels)  # noqa: E731
    grids = evaluation.SampleGrids(draw, run.path)
    of_codes = code_batches(config, images, model)
    histories[PRIOR] = train(PRIOR, prior, of_codes, config.prior_epochs, callbacks=[grids])
    return whole, images, training.join_histories(histories, kept=AUTOENCODER)


def main(config: Config, run: training.Run) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json."""
    model, images, history = fit(config, run)
    if not run.chief:
        return run.leave()
    model = evaluation.begin(model, run)
    found = evaluation.explain_vq_vae(
        model,
        images,
        history.phases[AUTOENCODER].rows,
        history.phases[PRIOR].rows,
        kept=history.phases[AUTOENCODER].best_epoch,
        extractor=evaluation.wanted_extractor(images, config.sample_quality, seed=config.seed),
        tstr=config.tstr,
        seed=config.seed,
    )
    height, width = model.code_shape
    what = f"A VQ-VAE whose code of an image is {height}x{width} numbers of {model.codes} vectors,"
    return serving.publish_and_close(
        model,
        run,
        images,
        history,
        found,
        what=f"{what} with a prior,",
        title=f"VQ-VAE on {images.spec}",
        prior_best_epoch=history.phases[PRIOR].best_epoch,
        parameters=sum(
            map(models.trainable_parameters, (model.encoder, model.decoder, model.prior))
        ),
    )


if __name__ == "__main__":
    command_line.run(main, Config, check)
