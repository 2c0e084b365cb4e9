"""Train, judge and publish an autoencoder.

    python recipes/autoencoder.py
    python recipes/autoencoder.py --model stacked --pretrain 10
    python recipes/autoencoder.py --denoise masking --noise 0.3
    python recipes/autoencoder.py --dataset fashion_mnist --latent-dim 64 --anomaly-class Bag

Networks: linear (what principal component analysis does), dense, stacked (deep; layer by layer
first with --pretrain: Hinton and Salakhutdinov 2006, Bengio et al. 2007), convolutional. Denoising:
Vincent et al. 2010. The same command goes on with a run that was killed, to the same bits, and
shows the result of one that is finished.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Literal

from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

# Hidden layers of the encoder, where --units does not say.
UNITS = {"dense": (512,), "stacked": (512, 256, 128)}
ONLY_FOR = {  # what shapes one kind of network
    "units": tuple(UNITS),
    "pretrain": tuple(UNITS),
    "filters": ("conv",),
    "width": ("residual",),
    "depth": ("residual",),
    "dropout": ("residual",),
}
# Of a linear network, divided by the values of a picture: Adam moves every weight by about the
# learning rate, and a code by as many times that as there are weights to it.
LINEAR_LEARNING_RATE = 3.0
# Flag, lowest, highest, the range in words, whether its ends belong to it.
RANGES = (
    ("latent_dim", 0, math.inf, "1 or more", False),
    ("noise", 0, math.inf, "above 0", False),
    ("sparse_weight", 0, math.inf, "0 or more", True),
    ("sparse_target", 0, 1, "between 0 and 1, ends excluded", False),
    ("width", 0, math.inf, "1 or more", False),
    ("depth", 0, math.inf, "0 or more", True),
    ("dropout", 0, 0.999, "between 0 and 0.999", True),
    ("pretrain", 0, math.inf, "0 or more", True),
    ("weight_decay", 0, math.inf, "0 or more", True),
    ("ema", 0, 0.999999, "between 0 and 0.999999", True),
    ("patience", 0, math.inf, "0 or more", True),
    ("image_size", 0, math.inf, "1 or more", False),
    ("validation_fraction", 0, 1, "between 0 and 1, ends excluded", False),
)
SHOWN = 8  # pictures in a row of the report
MOST_FOR_PCA, MOST_VALUES_FOR_PCA = 60_000, 4096  # pictures, and values of each
SCATTERED = 2000  # points of the latent space in the report
OPTIMIZERS = Literal["sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"]
SCHEDULES = Literal["constant", "step", "cosine", "one-cycle", "plateau"]


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    model: Literal["linear", "dense", "stacked", "residual", "conv"] = "dense"
    """linear (PCA), dense (one hidden layer), stacked (several), residual (dense blocks), conv"""
    latent_dim: int = 16
    """values in a code"""
    units: tuple[int, ...] = ()
    """dense, stacked: hidden layers of the encoder; default: 512, and 512 256 128"""
    width: int = 512
    """residual: values between the blocks; inside them twice as many"""
    depth: int = 3
    """residual: blocks of the encoder, and of the decoder"""
    dropout: float = 0.0
    """residual: part of the hidden values that is dropped while training"""
    filters: tuple[int, ...] = (32, 64)
    """conv: filters after each halving of the sides"""
    activation: str = "relu"
    """of the hidden layers"""
    reconstruction: Literal["squared_error", "bernoulli"] = "squared_error"
    """the loss: squared error, or cross-entropy of every pixel"""
    denoise: Literal["none", "gaussian", "masking", "salt_and_pepper"] = "none"
    """noise that has to be undone"""
    noise: float = 0.3
    """denoise: standard deviation, or the part of the pixels"""
    sparse: Literal["none", "l1", "kl"] = "none"
    """penalty on the code: its absolute values, or the KL of its mean activations to a target"""
    sparse_weight: float = 0.01
    """sparse: weight of the penalty"""
    sparse_target: float = 0.05
    """sparse kl: the mean activation asked for"""
    pretrain: int = 0
    """dense, stacked: epochs for each layer by itself, before all are trained together"""
    anomaly_class: str | None = None
    """leave this class out of the training, and see whether its pictures stand out"""
    optimizer: OPTIMIZERS = "adamw"
    """how weights move"""
    schedule: SCHEDULES = "one-cycle"
    """how the learning rate moves; one-cycle moves the momentum, too"""
    weight_decay: float = 0.0
    """decoupled, times the learning rate"""
    ema: float = 0.0
    """decay of the moving average of the weights, 0.999 for example; 0 is off"""
    patience: int = 0
    """epochs without a better validation error before training stops; 0 is off"""
    image_size: int | None = None
    """side that pictures of a folder are resized to; default: chosen from the pictures"""
    validation_fraction: float = 0.1
    """part of the training data that is kept for validation, stratified"""
    epochs: int = 30
    """passes over the training data"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(config, several_machines=True)
    for name, low, high, words, ends in RANGES:
        training.check_range(config, name, low, high, words, ends=ends)
    for name, kinds in ONLY_FOR.items():
        if getattr(config, name) != getattr(Config, name) and config.model not in kinds:
            raise UserError(f"--{name} is for --model {' and '.join(kinds)}, not {config.model}")
    if config.denoise in ("masking", "salt_and_pepper") and config.noise > 1:
        raise UserError(f"--noise {config.noise}: it is the part of the pixels, at most 1")
    if config.model == "linear" and config.reconstruction == "bernoulli":
        raise UserError("--reconstruction bernoulli needs a sigmoid, and --model linear has none")
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
    return training.open_run("autoencoder", config, name=name)


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
    normal = {name: known(config, images, split) for name, split in images.splits.items()}
    batches = data.TrainingBatches(
        normal["train"], config.batch_size, seed=config.seed, prepare=lambda x, label, seed: x
    )
    measured = {"prepare": lambda x, label: x, "batch_size": 256}
    validation = data.evaluation_batches(normal["validation"], **measured)
    clean = data.evaluation_batches(
        normal["train"], **measured, limit=len(normal["validation"]), seed=config.seed
    )
    mean_picture = mean_of(normal["train"]) if config.model == "linear" else None
    model, precision = build(config, run, images, batches, strategy, mean_picture)
    print(
        f"data      {images.spec}: {images.counts}, pictures "
        f"{'x'.join(map(str, images.image_shape))}\n"
        f"model     {config.model}: {model.count_params():,} parameters, codes of "
        f"{model.latent_dim}, {precision}\n"
        f"run       {run.path}"
    )
    for note in (*images.notes, *run.notes):
        print(f"note      {note}")
    verbose = 1 if sys.stdout.isatty() else 2
    layers = pretrain(config, run, model, batches, strategy)
    flow = training.gradient_flow(config, run, batches)
    history = training.fit(
        model,
        batches,
        validation,
        epochs=config.epochs,
        run=run,
        sync_batch_norm=config.sync_batch_norm,
        clean_train=clean,
        monitor="val_mse",
        ema=config.ema,
        callbacks=[*flow, *callbacks(config, run)],
        verbose=verbose,
    )
    if not run.chief:
        return run.leave()
    # Sixteen bits are for training: what is evaluated, saved and served runs anywhere.
    trained, model = model, network(config, images)
    model.set_weights(trained.get_weights())
    print("evaluating on the test split, once")
    metrics, verdict, figures, tables = judge(config, model, images, normal, history.rows)
    figures += evaluation.explain_gradient_flow(flow)
    metrics |= {
        "best_epoch": history.best_epoch,
        "parameters": model.count_params(),
        "train_seconds": history.train_seconds,
        "examples_per_second": history.examples_per_second,
        "precision": precision,
        "exported": None,
    }
    if layers:
        rows = [(i, error) for i, error in enumerate(layers, start=1)]
        tables.append(("Layer by layer, before", ("layer", "squared error per value"), rows))
    model.save(run.path / "model.keras")
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    if config.export:
        metrics["exported"] = export(config, run, model, images, metrics, verdict)
    evaluation.write_report(
        run.path / "report.html",
        title=f"{config.model} autoencoder on {images.spec}",
        verdict=verdict,
        metrics=metrics,
        figures=figures,
        tables=tables,
        config=run.config,
        commands={"Repeat or resume": training.command(config, "recipes/autoencoder.py")},
        notes=(*images.notes, *run.notes, *history.notes),
    )
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


def known(config: Config, images: data.ImageData, split: data.Split) -> data.Split:
    """The split without the pictures of --anomaly-class.

    Raises:
        UserError: there is no such class, or no other.
    """
    if config.anomaly_class is None:
        return split
    if config.anomaly_class not in images.class_names or images.classes < 2:
        raise UserError(
            f"--anomaly-class {config.anomaly_class!r}: it is one of "
            f"{', '.join(images.class_names)}, and there has to be another"
        )
    import tensorflow as tf

    (rows,) = (split.labels != images.class_names.index(config.anomaly_class)).nonzero()
    with tf.device("CPU:0"):
        lookup = tf.constant(rows, tf.int64)
    return data.Split(
        labels=split.labels[rows],
        images=lambda indices: split.images(tf.gather(lookup, indices)),
    )


def network(config: Config, images: data.ImageData, mean_picture=None) -> models.Autoencoder:
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
        return models.linear_autoencoder(*shape, mean_picture=mean_picture, **settings)
    settings |= {
        "activation": config.activation,
        "code_activation": "sigmoid" if config.sparse == "kl" else "linear",
    }
    if config.model == "conv":
        return models.conv_autoencoder(*shape, filters=config.filters, **settings)
    if config.model == "residual":
        shape_of_blocks = {"units": config.width, "hidden": 2 * config.width, "depth": config.depth}
        return models.residual_autoencoder(
            *shape, **shape_of_blocks, dropout=config.dropout, **settings
        )
    return models.dense_autoencoder(*shape, units=config.units or UNITS[config.model], **settings)


def mean_of(split: data.Split):
    """The mean picture of a split, float64 [height, width, channels] of 0..255."""
    parts = range(0, len(split), 1024)
    sums = (split.take(range(i, min(i + 1024, len(split)))).sum(axis=0) for i in parts)
    return sum(sums) / len(split)


def build(config: Config, run: training.Run, images, batches, strategy, mean_picture) -> tuple:
    """The compiled model, and the precision it computes in."""
    precision = run.facts().get("precision") or config.precision
    if precision == "auto":
        examples = batches.steps * batches.batch_size
        precision, why = training.choose_precision(
            lambda: network(config, images), batches.batch_size, examples
        )
        print(f"precision {precision}: {why}")
    usual = training.usual_learning_rate(config.optimizer)
    if config.model == "linear" and config.optimizer in ("adam", "adamw"):
        usual = LINEAR_LEARNING_RATE / math.prod(images.image_shape)
    rate = config.learning_rate or usual
    rate = training.scaled_learning_rate(rate, config.scale_learning_rate, strategy)
    run.record(precision=precision, learning_rate=rate)  # a resumed run computes as it began
    steps = config.epochs * batches.steps
    with strategy.scope(), training.precision_policy(precision):
        training.seed_everything(config.seed)  # whatever measuring has drawn
        model = network(config, images, mean_picture)
        cycle = training.momentum_cycle(steps) if config.schedule == "one-cycle" else None
        model.compile(
            training.optimizer(
                config.optimizer,
                training.learning_rate_schedule(config.schedule, rate, steps=steps),
                momentum_schedule=cycle,
                weight_decay=config.weight_decay,
            )
        )
    return model, precision


def pretrain(config: Config, run: training.Run, model, batches, strategy) -> list[float]:
    """Layer by layer, unless the training of the whole has begun; the error of each layer.

    It is not resumed but repeated, to the same bits.
    """
    if not config.pretrain:
        return []
    if not any(run.checkpoints.glob("state-*")):
        print(f"layer by layer, {config.pretrain} epochs each")
        with strategy.scope():
            errors = training.greedy_pretrain(
                model,
                batches.dataset(0, config.pretrain),
                epochs=config.pretrain,
                steps_per_epoch=batches.steps,
            )
        if "layer_errors" not in run.facts():
            run.record(layer_errors=errors)
    return run.facts()["layer_errors"]


def callbacks(config: Config, run: training.Run) -> list:
    """Keras' own callbacks, as the flags ask for them."""
    import keras

    chosen = [
        keras.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False),
        keras.callbacks.TerminateOnNaN(),
    ]
    error = {"monitor": "val_mse", "mode": "min"}
    if config.schedule == "plateau":
        chosen.append(keras.callbacks.ReduceLROnPlateau(**error, factor=0.2, patience=3))
    if config.patience:
        chosen.append(keras.callbacks.EarlyStopping(**error, patience=config.patience))
    return chosen


def judge(config: Config, model, images: data.ImageData, normal, history) -> tuple:
    """Metrics, verdict, figures and tables of a trained model, on the test split."""
    test = normal["test"]
    pictures, labels = test.take(range(len(test))), test.labels
    codes = in_parts(model.encode, pictures)
    made = in_parts(model.decode, codes)
    errors = ((made - pictures / 255.0) ** 2).mean(axis=(1, 2, 3))
    mean_error, pca = linear_errors(model, normal["train"], pictures)
    mse = evaluation.reconstruction_mse(pictures, made)
    verdict = evaluation.autoencoder_verdict(
        mse,
        mean_error=mean_error,
        # PCA of clean pictures is no measure for who has learned to undo noise.
        pca_error=pca.get(model.latent_dim) if config.denoise == "none" else None,
        codes=codes,
        linear=config.model == "linear",
    )
    metrics = {
        "test_mse": mse,
        "test_psnr": psnr(mse),
        "pca_mse": pca.get(model.latent_dim),
        "mean_picture_mse": mean_error,
        "test_examples": len(test),
        "verdict": verdict.label,
    }
    shown, given = made, []
    if config.denoise != "none":
        noisy, shown = denoise(config, model, pictures)
        given = [("noisy", noisy.clip(0, 1))]
        metrics["test_denoised_mse"] = evaluation.reconstruction_mse(pictures, shown)
        metrics["noisy_mse"] = evaluation.reconstruction_mse(pictures, noisy)
    if config.anomaly_class is not None:
        metrics["test_anomaly_auc"] = anomaly_auc(config, model, images)
    figures = [
        *pictures_of(pictures, labels, shown, given, made, errors),
        *curves_and_codes(model, images, history, codes, labels),
    ]
    return metrics, verdict, figures, tables_of(config, images, metrics, pca, labels, errors)


def in_parts(function, arrays):
    """What a function of a batch makes of all rows."""
    import numpy as np

    parts = range(0, len(arrays), 256)
    return np.concatenate([function(arrays[i : i + 256]).numpy() for i in parts])


def linear_errors(model, train: data.Split, pictures) -> tuple[float, dict[int, float]]:
    """What the mean training picture and PCA reach on these pictures.

    Returns:
        The mean squared error of the mean picture, and of PCA by its number of components:
        nothing where pictures are too large or too few for it.
    """
    known = train.take(range(min(len(train), MOST_FOR_PCA)))
    mean_error = float(((pictures / 255.0 - known.mean(axis=0) / 255.0) ** 2).mean())
    values = math.prod(known.shape[1:])
    most = min(len(known), values, model.latent_dim)
    if model.latent_dim > most or values > MOST_VALUES_FOR_PCA:
        return mean_error, {}
    dims = sorted({*(2**i for i in range(most.bit_length())), most})
    return mean_error, evaluation.pca_mse(known, pictures, dims)


def denoise(config: Config, model, pictures) -> tuple:
    """The pictures with noise, pixels of 0..1, and what the model makes of them."""
    import tensorflow as tf

    x = tf.cast(pictures, tf.float32) / 255.0
    noisy = models.corrupt(x, config.denoise, config.noise, tf.constant([config.seed, 1])).numpy()
    return noisy, in_parts(model.reconstruct, noisy * 255.0)


def anomaly_auc(config: Config, model, images: data.ImageData) -> float:
    """Area under the ROC curve: does the class that was left out have the highest errors?

    It is the probability that a picture of it has a higher error than one of the others.
    """
    from sklearn.metrics import roc_auc_score

    test = images.splits["test"]
    strange = test.labels == images.class_names.index(config.anomaly_class)
    return float(roc_auc_score(strange, model.reconstruction_error(test.take(range(len(test))))))


def pictures_of(pictures, labels, shown, given, made, errors) -> list[tuple]:
    """Reconstructions beside originals: title, figure, caption."""
    import numpy as np

    one_of_each = np.unique(labels, return_index=True)[1][:SHOWN]
    worst = np.argsort(-errors)[:SHOWN]
    grid = evaluation.plots.reconstruction_grid
    others = [(name, images[one_of_each]) for name, images in given]
    return [
        (
            "Reconstructions",
            grid(pictures[one_of_each], shown[one_of_each], others),
            "Test pictures, what the model makes of them, and where the two differ.",
        ),
        (
            "Worst reconstructions",
            grid(pictures[worst], made[worst]),
            "The test pictures with the highest errors; strange ones are found like this.",
        ),
    ]


def curves_and_codes(model, images: data.ImageData, history, codes, labels) -> list[tuple]:
    """Learning curves and the space of codes: title, figure, caption."""
    plots, half = evaluation.plots, len(codes) // 2
    paths = [
        model.decode(evaluation.lerp(codes[i], codes[half + i], SHOWN)).numpy()
        for i in range(min(4, half))
    ]
    return [
        (
            "Learning curves",
            plots.training_curves(history, monitor="val_mse"),
            "While training, and afterwards as validation pictures are measured: clean, and at "
            "inference.",
        ),
        (
            "Codes",
            plots.latent_scatter(codes[:SCATTERED], labels[:SCATTERED], images.class_names),
            "Where test pictures lie in the space of codes; the classes were not told.",
        ),
        (
            "Interpolation",
            plots.interpolation_grid(paths),
            "From one test picture to another in a straight line between their codes.",
        ),
    ]


def tables_of(config: Config, images: data.ImageData, metrics, pca, labels, errors) -> list[tuple]:
    """The tables of the report: title, columns, rows."""
    compared = [("mean picture", 0, metrics["mean_picture_mse"])]
    compared += [("PCA", count, error) for count, error in pca.items()]
    compared.append((f"this {config.model} autoencoder", config.latent_dim, metrics["test_mse"]))
    rows = [(*row, psnr(row[2])) for row in compared]
    classes = [
        (name, float(errors[labels == i].mean()), int((labels == i).sum()))
        for i, name in enumerate(images.class_names)
        if (labels == i).any()
    ]
    return [
        ("Error of a pixel (0 to 1, squared)", ("model", "code", "MSE", "PSNR, dB"), rows),
        ("Class by class", ("class", "MSE", "pictures"), classes),
    ]


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB, of pixels of 0..1; of a mean over pictures."""
    return 10.0 * math.log10(1.0 / max(mse, 1e-12))


def export(config: Config, run: training.Run, model, images, metrics, verdict) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    against = "" if metrics["pca_mse"] is None else f" (PCA: {metrics['pca_mse']:.5f})"
    card = (
        f"A {config.model} autoencoder with codes of {config.latent_dim}, trained on {images.spec} "
        f"({images.counts['train']} pictures, fingerprint {images.fingerprint[:12]}), seed "
        f"{config.seed}.\n\nMean squared error of a test pixel {metrics['test_mse']:.5f}{against}, "
        f"{metrics['test_psnr']:.1f} dB, {metrics['test_examples']} pictures.\n\n"
        f"{verdict.label}: {verdict.sentence}\n\nRun directory: {run.path.name}\n"
    )
    validation = images.splits["validation"]
    version = serving.export_autoencoder(
        model,
        config.export_dir or "saved_models/autoencoder",
        card=card,
        sample_images=validation.take(range(min(8, len(validation)))),
    )
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
