"""Train, judge and publish a variational autoencoder.

    python recipes/vae.py
    python recipes/vae.py --model hierarchical --dataset fashion_mnist --epochs 100 --latent-dim 40
    python recipes/vae.py --objective iwae --samples 50
    python recipes/vae.py --likelihood discretized_logistic --conditional

Kingma and Welling 2013 (arXiv:1312.6114); networks of Tomczak and Welling 2018 (arXiv:1705.07120).
The Bernoulli likelihood is one of pictures of zeros and ones: they are drawn from the greys, for
training anew in every step, for validation and test once (as in arXiv:2004.04795). Every likelihood
is reported in nats per picture and bounded from above by importance sampling (arXiv:1509.00519).
The same command goes on with a run that was killed, to the same bits, and shows the result of one
that is finished.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Literal

from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

BUILDERS = {"dense": "dense_vae", "conv": "conv_vae", "hierarchical": "hierarchical_vae"}
UNITS = {"dense": (300, 300), "conv": (256,), "hierarchical": (256,)}  # unless --units says
# Flag, lowest, highest, the range in words, whether its ends belong to it.
RANGES = (
    ("latent_dim", 0, math.inf, "1 or more", False),
    ("scale", 0, math.inf, "above 0", False),
    ("beta", 0, math.inf, "0 or more", True),
    ("kl_warmup", 0, 1, "between 0 and 1", True),
    ("cyclic", 0, math.inf, "0 or more", True),
    ("free_bits", 0, math.inf, "0 or more", True),
    ("samples", 0, math.inf, "1 or more", False),
    ("pseudo_inputs", 0, math.inf, "1 or more", False),
    ("nll_samples", 0, math.inf, "1 or more", False),
    ("warmup", 0, 0.999, "between 0 and 0.999", True),
    ("weight_decay", 0, math.inf, "0 or more", True),
    ("clip", 0, math.inf, "0 or more", True),
    ("ema", 0, 0.999999, "between 0 and 0.999999", True),
    ("patience", 0, math.inf, "0 or more", True),
    ("image_size", 0, math.inf, "1 or more", False),
    ("validation_fraction", 0, 1, "between 0 and 1, ends excluded", False),
)
SAMPLES_SHOWN = 64
OPTIMIZERS = Literal["sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"]
SCHEDULES = Literal["constant", "step", "cosine", "one-cycle", "plateau"]


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    model: Literal["dense", "conv", "hierarchical"] = "dense"
    """dense (gated layers), conv, or hierarchical (conv, with a second level of latents)"""
    latent_dim: int = 16
    """latents; of a hierarchical model, those of the highest level"""
    units: tuple[int, ...] = ()
    """units of the dense layers; default: 300 300, and 256 for the others"""
    filters: tuple[int, ...] = (32, 64)
    """conv, hierarchical: filters after each halving of the sides"""
    likelihood: Literal["bernoulli", "continuous_bernoulli", "gaussian", "discretized_logistic"] = (
        "bernoulli"
    )
    """of a pixel, given what the decoder says"""
    scale: float | None = None
    """gaussian: standard deviation, in pixels of 0 to 1; default: learned for every pixel"""
    binarization: Literal["dynamic", "static"] = "dynamic"
    """bernoulli: zeros and ones are drawn from the greys in every step, or once"""
    beta: float = 1.0
    """weight of the KL; validation always has 1"""
    kl_warmup: float = 0.2
    """part of the steps over which that weight rises from 0; 0 is off"""
    cyclic: int = 0
    """how often it rises from 0 again, over the whole training; 0 is off"""
    free_bits: float = 0.0
    """nats that a latent may use for nothing; 0.1 to 0.5 is usual"""
    objective: Literal["elbo", "iwae", "dreg"] = "elbo"
    """what is maximised: one bound or the tighter one, or that with better gradients"""
    samples: int = 1
    """draws per picture and step; iwae and dreg need several, 50 is usual"""
    prior: Literal["standard", "vamp"] = "standard"
    """of the highest latents: normal, or a mixture of posteriors of learnt pictures"""
    pseudo_inputs: int = 500
    """vamp: how many of those pictures"""
    conditional: bool = False
    """tell encoder and decoder the class"""
    optimizer: OPTIMIZERS = "adamw"
    """how weights move"""
    schedule: SCHEDULES = "one-cycle"
    """how the learning rate moves; one-cycle moves the momentum, too"""
    warmup: float = 0.0
    """part of the steps in which the rate rises (one-cycle: 0.25 when this is 0)"""
    weight_decay: float = 0.0
    """decoupled, times the learning rate"""
    clip: float = 0.0
    """highest global norm of the gradient; 0 is off"""
    ema: float = 0.0
    """decay of the moving average of the weights, 0.999 for example; 0 is off"""
    patience: int = 0
    """epochs without a better validation bound before training stops; 0 is off"""
    image_size: int | None = None
    """side that pictures of a folder are resized to; default: chosen from the pictures"""
    validation_fraction: float = 0.1
    """part of the training data that is kept for validation, stratified"""
    nll_samples: int = 500
    """importance samples per test picture at the end; papers have 5000"""
    sample_quality: Literal["auto", "yes", "no"] = "auto"
    """compare samples with pictures by a classifier; auto: where one comes with kapps"""
    epochs: int = 100
    """passes over the training data"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(config, several_machines=True)
    for name, low, high, words, ends in RANGES:
        training.check_range(config, name, low, high, words, ends=ends)
    wrong = {
        "--filters shapes --model conv and hierarchical, not dense": (
            config.model == "dense" and config.filters != Config.filters
        ),
        f"--units: --model {config.model} has one dense layer": (
            config.model != "dense" and len(config.units) > 1
        ),
        "--binarization static is for --likelihood bernoulli: others see the greys": (
            config.binarization == "static" and config.likelihood != "bernoulli"
        ),
        f"--scale is for --likelihood gaussian, not {config.likelihood}": (
            config.scale is not None and config.likelihood != "gaussian"
        ),
        "--kl-warmup and --cyclic: the weight of the KL moves one way or the other": (
            config.cyclic and config.kl_warmup != Config.kl_warmup
        ),
        f"--objective {config.objective} with one sample is elbo: give --samples 2 or more": (
            config.objective != "elbo" and config.samples == 1
        ),
        "--free-bits is for --objective elbo and --prior standard": (
            config.free_bits and (config.objective != "elbo" or config.prior != "standard")
        ),
        "--objective dreg is for one level of latents and --prior standard": (
            config.objective == "dreg"
            and (config.model == "hierarchical" or config.prior != "standard")
        ),
        "--pseudo-inputs is for --prior vamp": (
            config.prior != "vamp" and config.pseudo_inputs != Config.pseudo_inputs
        ),
        "--conditional is for --model dense and conv": (
            config.conditional and config.model == "hierarchical"
        ),
        f"--schedule {config.schedule} has no --warmup": (
            config.warmup and config.schedule in ("step", "plateau")
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
    name = f"{config.dataset.split(':')[0]}-{config.model}"
    return training.open_run("vae", config, name=name)


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
    batches, validation, clean = batch(config, images)
    model, precision = build(config, run, images, batches, strategy)
    parameters = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    print(
        f"data      {images.spec}: {images.counts}, pictures "
        f"{'x'.join(map(str, images.image_shape))}\n"
        f"model     {config.model}: {parameters:,} parameters, {model.latent_dim} latents, "
        f"{config.likelihood}, {precision}\n"
        f"run       {run.path}"
    )
    for note in (*images.notes, *run.notes):
        print(f"note      {note}")
    grids = evaluation.SampleGrids(
        lambda: model.sample(SAMPLES_SHOWN, config.seed), run.path / "samples"
    )
    flow = training.gradient_flow(config, run, batches)
    history = training.fit(
        model,
        batches,
        validation,
        epochs=config.epochs,
        run=run,
        sync_batch_norm=config.sync_batch_norm,
        clean_train=clean,
        ema=config.ema,
        callbacks=[grids, *flow, *callbacks(config, run)],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if not run.chief:
        return run.leave()
    # Sixteen bits are for training: what is evaluated, saved and served runs anywhere.
    trained, model = model, network(config, images, config.epochs * batches.steps)
    model.set_weights(trained.get_weights())
    model.save(run.path / "model.keras")
    print("evaluating on the test split, once")
    found = evaluation.explain_vae(
        model,
        images,
        history.rows,
        nll_samples=config.nll_samples,
        extractor=evaluation.wanted_extractor(images, config.sample_quality, seed=config.seed),
        seed=config.seed,
    )
    metrics = {
        **found.metrics,
        "best_epoch": history.best_epoch,
        "parameters": parameters,
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
            "Of the same noise, as the training went on.",
        ),
        *evaluation.explain_gradient_flow(flow),
    ]
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    moving = evaluation.plots.save_animation(drawn, run.plots / "samples.webp", epochs)
    if config.export:
        metrics["exported"] = export(config, run, model, images, found)
    evaluation.write_report(
        run.path / "report.html",
        title=f"{config.model} VAE on {images.spec}",
        verdict=found.verdict,
        metrics=metrics,
        figures=figures,
        animations=[("Samples in training", moving.read_bytes(), "Of the same noise.")],
        tables=found.tables,
        config=run.config,
        commands=commands(config, metrics["exported"]),
        notes=(*images.notes, *run.notes, *history.notes, *found.notes),
    )
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


def batch(config: Config, images: data.ImageData) -> tuple:
    """Training batches, validation batches, and a part of the training split."""
    train, validation = images.splits["train"], images.splits["validation"]
    if config.likelihood == "bernoulli":
        # Validation is drawn once, so that two epochs are measured on the same pictures.
        validation = data.binarized(validation)
        if config.binarization == "static":
            train = data.binarized(train, seed=config.seed)
    exact = data.classification_targets(images.classes)

    def prepare(pictures, labels, seed=None):
        return (pictures, exact(labels)) if config.conditional else pictures

    evaluate = data.evaluation_batches
    return (
        data.TrainingBatches(train, config.batch_size, seed=config.seed, prepare=prepare),
        evaluate(validation, 256, prepare=prepare),
        evaluate(train, 256, prepare=prepare, limit=len(validation), seed=config.seed),
    )


def network(config: Config, images: data.ImageData, steps: int) -> models.VAE:
    """The model of this configuration, untrained; `steps` are those of the whole training."""
    beta = config.beta
    if config.cyclic:
        beta = models.CyclicKL(max(2, steps // config.cyclic), config.cyclic, config.beta)
    elif config.kl_warmup:
        beta = models.KLWarmup(max(1, round(config.kl_warmup * steps)), config.beta)
    units = config.units or UNITS[config.model]
    settings = {"units": units} if config.model == "dense" else {"units": units[0]}
    if config.model != "dense":
        settings["filters"] = config.filters
    if config.conditional:
        settings["classes"] = images.classes
    build_network = getattr(models, BUILDERS[config.model])
    return build_network(
        images.image_shape,
        config.latent_dim,
        **settings,
        pseudo_inputs=config.pseudo_inputs if config.prior == "vamp" else 0,
        likelihood=config.likelihood,
        scale=config.scale,
        objective=config.objective,
        samples=config.samples,
        beta=beta,
        free_bits=config.free_bits,
        seed=config.seed,
    )


def build(config: Config, run: training.Run, images: data.ImageData, batches, strategy) -> tuple:
    """The compiled model, and the precision it computes in."""
    precision = run.facts().get("precision") or config.precision
    if precision == "auto":
        alone = dataclasses.replace(config, conditional=False)
        precision, why = training.choose_precision(
            lambda: network(alone, images, config.epochs * batches.steps),
            batches.batch_size,
            batches.steps * batches.batch_size,
        )
        print(f"precision {precision}: {why}")
    rate = config.learning_rate or training.usual_learning_rate(config.optimizer)
    rate = training.scaled_learning_rate(rate, config.scale_learning_rate, strategy)
    run.record(precision=precision, learning_rate=rate)  # a resumed run computes as it began
    steps = config.epochs * batches.steps
    cycle = None
    if config.schedule == "one-cycle":
        cycle = training.momentum_cycle(steps, warmup=config.warmup or 0.25)
    with strategy.scope(), training.precision_policy(precision):
        training.seed_everything(config.seed)  # whatever measuring has drawn
        model = network(config, images, config.epochs * batches.steps)
        model.compile(
            training.optimizer(
                config.optimizer,
                training.learning_rate_schedule(
                    config.schedule, rate, steps=steps, warmup=config.warmup
                ),
                momentum_schedule=cycle,
                weight_decay=config.weight_decay,
                global_clipnorm=config.clip,
            )
        )
    return model, precision


def callbacks(config: Config, run: training.Run) -> list:
    """Keras' own callbacks, as the flags ask for them."""
    import keras

    chosen = [
        keras.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False),
        keras.callbacks.TerminateOnNaN(),
    ]
    if config.schedule == "plateau":
        chosen.append(keras.callbacks.ReduceLROnPlateau(factor=0.2, patience=3))
    if config.patience:
        chosen.append(keras.callbacks.EarlyStopping(patience=config.patience))
    return chosen


def export(config: Config, run: training.Run, model, images, found) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    metrics = found.metrics
    card = (
        f"A {config.model} VAE with {config.latent_dim} latents and the likelihood "
        f"{config.likelihood}, trained on {images.spec} ({images.counts['train']} pictures, "
        f"fingerprint {images.fingerprint[:12]}), seed {config.seed}.\n\n"
        f"Negative log-likelihood of a test picture at most {metrics['test_nll']:.2f} nats "
        f"({metrics['test_nll_samples']} importance samples, {metrics['test_examples']} pictures), "
        f"negative ELBO {metrics['test_negative_elbo']:.2f} nats.\n\n"
        f"{found.verdict.label}: {found.verdict.sentence}\n\nRun directory: {run.path.name}\n"
    )
    validation = images.splits["validation"]
    version = serving.export_vae(
        model,
        config.export_dir or "saved_models/vae",
        class_names=images.class_names if config.conditional else (),
        card=card,
        sample_images=validation.take(range(min(8, len(validation)))),
    )
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/vae.py")}
    if published:
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
