"""Train, judge and publish a VQ-VAE, and a prior over its codes to draw new pictures from.

    python recipes/vq_vae.py
    python recipes/vq_vae.py --dataset fashion_mnist --epochs 20
    python recipes/vq_vae.py --conditional --codes 128

Van den Oord et al. 2017 (arXiv:1711.00937): a picture becomes a small map of codes, each the number
of a vector in a codebook. Then a gated PixelCNN (arXiv:1606.05328) learns which maps there are;
drawing one code after the other and decoding them makes new pictures. The same command goes on with
a run that was killed in either phase, to the same bits, and shows the result of one that is
finished.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Any, Literal

from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

PHASES = ("autoencoder", "prior")
# Flag, lowest, highest, the range in words, whether its ends belong to it.
RANGES = (
    ("codes", 1, math.inf, "2 or more", False),
    ("code_dim", 0, math.inf, "1 or more", False),
    ("commitment", 0, math.inf, "0 or more", True),
    ("decay", 0, 0.999999, "between 0 and 0.999999", True),
    ("restart_after", 0, math.inf, "0 or more", True),
    ("prior_epochs", 0, math.inf, "1 or more", False),
    ("prior_filters", 0, math.inf, "1 or more", False),
    ("prior_depth", 0, math.inf, "0 or more", True),
    ("prior_dropout", 0, 0.999, "between 0 and 0.999", True),
    ("prior_learning_rate", 0, math.inf, "above 0", False),
    ("weight_decay", 0, math.inf, "0 or more", True),
    ("clip", 0, math.inf, "0 or more", True),
    ("patience", 0, math.inf, "0 or more", True),
    ("image_size", 0, math.inf, "1 or more", False),
    ("validation_fraction", 0, 1, "between 0 and 1, ends excluded", False),
)
LARGEST_MAP = 8  # of codes, a side: every code more is a step more of sampling
SAMPLES_SHOWN = 64
OPTIMIZERS = Literal["sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"]


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    codes: int = 64
    """vectors in the codebook"""
    code_dim: int = 16
    """values of a vector"""
    filters: tuple[int, ...] = ()
    """filters after each halving of the sides; default: 32, 64, ... down to maps of 8 codes a side
    or fewer"""
    commitment: float = 0.25
    """weight of the distance between the encoder's vectors and those of the codebook"""
    decay: float = 0.99
    """of the averages that move the codebook"""
    restart_after: int = 100
    """steps without use after which a code is drawn anew; 0 never"""
    conditional: bool = False
    """tell the prior the class"""
    prior_filters: int = 64
    """channels of the prior"""
    prior_depth: int = 4
    """gated layers of the prior after the first: a code sees one row more above it for each"""
    prior_dropout: float = 0.3
    """part of the prior's last features that is dropped while training"""
    prior_epochs: int = 20
    """passes over the codes; they are few numbers, and soon known by heart"""
    prior_learning_rate: float | None = None
    """highest learning rate of the prior; default: that of the autoencoder"""
    optimizer: OPTIMIZERS = "adamw"
    """how weights move, in both phases"""
    schedule: Literal["constant", "step", "cosine", "one-cycle"] = "one-cycle"
    """how the learning rate moves in each phase"""
    weight_decay: float = 0.0
    """decoupled, times the learning rate"""
    clip: float = 0.0
    """highest global norm of the gradient; 0 is off"""
    patience: int = 0
    """epochs without a better validation loss before a phase stops; 0 is off"""
    tstr: bool = True
    """conditional: also train a classifier on samples, and test it on pictures"""
    sample_quality: Literal["auto", "yes", "no"] = "auto"
    """compare samples with pictures by a classifier; auto: where one comes with kapps"""
    image_size: int | None = None
    """side that pictures of a folder are resized to; default: chosen from the pictures"""
    validation_fraction: float = 0.1
    """part of the training data that is kept for validation, stratified"""
    epochs: int = 60
    """passes over the training data, of encoder, codebook and decoder"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(config, several_machines=True)
    for name, low, high, words, ends in RANGES:
        training.check_range(config, name, low, high, words, ends=ends)
    if any(number < 1 for number in config.filters):
        raise UserError(f"--filters {' '.join(map(str, config.filters))}: each is 1 or more")
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
    return training.open_run("vq_vae", config, name=config.dataset.split(":")[0])


def check_and_show(config: Config) -> None:
    """Before TensorFlow is imported: refuse mistakes, and show a run that is finished.

    Raises:
        UserError: a mistake in the flags, or a run directory of another configuration.
        SystemExit: there is nothing left to do.
    """
    check(config)
    command_line.show_finished(open_run, config)


def train(config: Config, run: training.Run) -> dict[str, object]:
    """Train both phases, evaluate, export and report into an open run directory."""
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
    work = Work(config, run, images, strategy)
    height, width = work.autoencoder.code_shape
    print(
        f"data      {images.spec}: {images.counts}, pictures "
        f"{'x'.join(map(str, images.image_shape))}\n"
        f"model     {height}x{width} of {config.codes} codes; autoencoder "
        f"{trained(work.autoencoder):,} parameters, prior {trained(work.prior):,}; "
        f"{work.precision}\n"
        f"run       {run.path}"
    )
    for note in (*images.notes, *run.notes):
        print(f"note      {note}")
    histories = {"autoencoder": work.train_autoencoder(), "prior": work.train_prior()}
    if not run.chief:
        return run.leave()
    # Sixteen bits are for training: what is evaluated, saved and served runs anywhere.
    model = autoencoder(config, images)
    prior = code_prior(config, images, model)
    model.set_weights(work.autoencoder.get_weights())
    prior.set_weights(work.prior.get_weights())
    model = model.with_prior(prior)
    model.save(run.path / "model.keras")
    return report(config, run, images, work, model, histories)


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


def trained(model: Any) -> int:
    """How many numbers training moves; the codebook, which averages move, is not among them."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


class Work:
    """Both models, and how each is trained.

    Attributes:
        autoencoder: encoder, codebook and decoder.
        prior: of its codes.
        whole: both together; what samples are drawn from.
        precision: that they compute in.
        grids: samples after each epoch of the prior.
        flow: what --gradient-flow adds.
    """

    def __init__(self, config: Config, run: training.Run, images: data.ImageData, strategy):
        self.config, self.run, self.images, self.strategy = config, run, images, strategy
        self.flow = []
        train = images.splits["train"]
        self.precision = run.facts().get("precision") or config.precision
        if self.precision == "auto":
            self.precision, why = training.choose_precision(
                lambda: autoencoder(config, images), config.batch_size, len(train)
            )
            print(f"precision {self.precision}: {why}")
        rate = config.learning_rate or training.usual_learning_rate(config.optimizer)
        self.rates = {"autoencoder": rate, "prior": config.prior_learning_rate or rate}
        self.rates = {
            name: training.scaled_learning_rate(rate, config.scale_learning_rate, strategy)
            for name, rate in self.rates.items()
        }
        # A resumed run computes as it began.
        run.record(precision=self.precision, learning_rates=self.rates)
        with strategy.scope(), training.precision_policy(self.precision):
            training.seed_everything(config.seed)  # whatever measuring has drawn
            self.autoencoder = autoencoder(config, images)
            self.prior = code_prior(config, images, self.autoencoder)
            self.whole = self.autoencoder.with_prior(self.prior)
        self.grids = evaluation.SampleGrids(self._samples, run.path / "samples")

    def train_autoencoder(self) -> training.History:
        """Encoder, codebook and decoder."""
        config, splits = self.config, self.images.splits

        def prepare(pictures, labels, seed=None):
            return pictures

        def measured(name, limit=None):
            return data.evaluation_batches(
                splits[name], 256, prepare=prepare, limit=limit, seed=config.seed
            )

        batches = data.TrainingBatches(
            splits["train"], config.batch_size, seed=config.seed, prepare=prepare
        )
        self.flow = training.gradient_flow(config, self.run, batches)
        return self._fit(
            "autoencoder",
            self.autoencoder,
            batches,
            measured("validation"),
            measured("train", len(splits["validation"])),
            config.epochs,
            self.flow,
        )

    def train_prior(self) -> training.History:
        """The prior, on what the trained encoder makes of the pictures."""
        config, splits = self.config, self.images.splits
        given = {name: self._codes(splits[name]) for name in ("train", "validation")}

        def examples(name):
            codes, labels = given[name]

            def load(rows, seed=None):
                import tensorflow as tf

                chosen = tf.gather(codes, rows)
                return (chosen, tf.gather(labels, rows)) if config.conditional else chosen

            return load

        def measured(name, limit=None):
            rows = data.Split(splits[name].labels, lambda rows: rows)
            load = examples(name)
            return data.evaluation_batches(
                rows, 256, prepare=lambda rows, _: load(rows), limit=limit, seed=config.seed
            )

        batches = data.IndexedBatches(
            len(splits["train"]), config.batch_size, seed=config.seed, load=examples("train")
        )
        return self._fit(
            "prior",
            self.prior,
            batches,
            measured("validation"),
            measured("train", len(splits["validation"])),
            config.prior_epochs,
            [self.grids],
        )

    def _codes(self, split: data.Split) -> tuple:
        """Codes int [n, h, w] of a split, and its labels, one-hot."""
        import numpy as np
        import tensorflow as tf

        batches = data.evaluation_batches(split, 256, prepare=lambda pictures, labels: pictures)
        encode = tf.function(self.autoencoder.encode, reduce_retracing=True)
        codes = np.concatenate([encode(pictures).numpy() for pictures in batches])
        with tf.device("CPU:0"):
            labels = tf.one_hot(split.labels, self.images.classes)
            return tf.constant(codes, tf.int32), labels

    def _samples(self):
        """What is drawn after every epoch, of classes in turn."""
        import numpy as np

        labels = None
        if self.config.conditional:
            classes = self.images.classes
            labels = np.eye(classes, dtype=np.float32)[np.arange(SAMPLES_SHOWN) % classes]
        return self.whole.sample(SAMPLES_SHOWN, self.config.seed, labels)

    def _fit(self, name, model, batches, validation, clean, epochs, extra) -> training.History:
        """A phase: an optimizer and checkpoints of its own."""
        config, steps = self.config, epochs * batches.steps
        cycle = config.schedule == "one-cycle"
        with self.strategy.scope(), training.precision_policy(self.precision):
            model.compile(
                training.optimizer(
                    config.optimizer,
                    training.learning_rate_schedule(config.schedule, self.rates[name], steps=steps),
                    momentum_schedule=training.momentum_cycle(steps) if cycle else None,
                    weight_decay=config.weight_decay,
                    global_clipnorm=config.clip,
                )
            )
        print(f"phase     {name}: {epochs} epochs")
        count = PHASES.index(name) + 1
        phases = [
            training.Phase(self.run, i, phase, last=phase == PHASES[-1])
            for i, phase in enumerate(PHASES[:count], start=1)
        ]
        return training.fit(
            model,
            batches,
            validation,
            epochs=epochs,
            run=phases[-1],
            sync_batch_norm=config.sync_batch_norm,
            clean_train=clean,
            callbacks=[
                *extra,
                *callbacks(config, self.run, name),
                training.JoinedRows(self.run, phases),
            ],
            verbose=1 if sys.stdout.isatty() else 2,
        )


def callbacks(config: Config, run: training.Run, phase: str) -> list:
    """Keras' own callbacks, as the flags ask for them."""
    import keras

    chosen = [
        keras.callbacks.TensorBoard(run.path / "tensorboard" / phase, write_graph=False),
        keras.callbacks.TerminateOnNaN(),
    ]
    if config.patience:
        chosen.append(keras.callbacks.EarlyStopping(patience=config.patience))
    return chosen


def report(config, run, images, work, model, histories) -> dict[str, object]:
    """Measure on the test split, publish and write down."""
    print("evaluating on the test split, once")
    first, second = histories["autoencoder"], histories["prior"]
    found = evaluation.explain_vq_vae(
        model,
        images,
        first.rows,
        second.rows,
        extractor=evaluation.wanted_extractor(images, config.sample_quality, seed=config.seed),
        tstr=config.tstr,
        seed=config.seed,
    )
    metrics = {
        **found.metrics,
        "best_epoch": first.best_epoch,
        "prior_best_epoch": second.best_epoch,
        "parameters": trained(model.encoder) + trained(model.decoder) + trained(model.prior),
        "train_seconds": first.train_seconds + second.train_seconds,
        "examples_per_second": first.examples_per_second,
        "precision": work.precision,
        "exported": None,
    }
    drawn, epochs = work.grids.grids()
    figures = [
        *found.figures,
        (
            "Samples by epoch",
            evaluation.plots.epoch_grid(drawn, epochs),
            "Of the same random numbers, as the prior was trained.",
        ),
        *evaluation.explain_gradient_flow(work.flow),
    ]
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    moving = evaluation.plots.save_animation(drawn, run.plots / "samples.webp", epochs)
    if config.export:
        metrics["exported"] = export(config, run, model, images, found)
    evaluation.write_report(
        run.path / "report.html",
        title=f"VQ-VAE on {images.spec}",
        verdict=found.verdict,
        metrics=metrics,
        figures=figures,
        animations=[
            ("Samples in training", moving.read_bytes(), "Of the same random numbers."),
        ],
        tables=found.tables,
        config=run.config,
        commands=commands(config, metrics["exported"]),
        notes=(*images.notes, *run.notes, *first.notes, *second.notes, *found.notes),
    )
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


def export(config: Config, run: training.Run, model, images, found) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    metrics = found.metrics
    height, width = model.code_shape
    card = (
        f"A VQ-VAE whose code of a picture is {height}x{width} numbers of {model.codes} vectors, "
        f"with a prior to sample from, trained on {images.spec} ({images.counts['train']} "
        f"pictures, fingerprint {images.fingerprint[:12]}), seed {config.seed}.\n\n"
        f"Mean squared error of a test pixel {metrics['test_mse']:.5f}; a picture takes "
        f"{metrics['test_code_bits']:.1f} bits by the prior ({metrics['test_examples']} "
        "pictures).\n\n"
        f"{found.verdict.label}: {found.verdict.sentence}\n\nRun directory: {run.path.name}\n"
    )
    validation = images.splits["validation"]
    version = serving.export_vq_vae(
        model,
        config.export_dir or "saved_models/vq_vae",
        class_names=images.class_names if config.conditional else (),
        card=card,
        sample_images=validation.take(range(min(8, len(validation)))),
    )
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/vq_vae.py")}
    if published:
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
