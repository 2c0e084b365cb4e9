"""Train, explain and publish an image classifier.

    python recipes/image_classifier.py
    python recipes/image_classifier.py --dataset fashion_mnist --model resnet8_wide --batch-size 256
    python recipes/image_classifier.py --dataset folder:PATH --model resnet18 --image-size 96

Networks: multi-layer perceptron; a plain CNN (LeCun 1998); VGG (arXiv:1409.1556), GoogLeNet
(arXiv:1409.4842) and ResNet (arXiv:1512.03385). The same command goes on with a run that was
killed, to the same bits, and shows the result of one that is finished.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from typing import Literal

import kapps
from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

CNN_ONLY = ("filters", "kernel_size", "strides", "padding", "pooling")
AUGMENTATION = ("flip", "crop", "rotation", "erasing", "mixup", "cutmix")
# Flag, lowest, highest, the range in words, whether its ends belong to it.
RANGES = (
    ("crop", 0, 1, "between 0 and 1", True),
    ("rotation", 0, 180, "between 0 and 180", True),
    ("erasing", 0, 1, "between 0 and 1", True),
    ("mixup", 0, math.inf, "0 or more", True),
    ("cutmix", 0, math.inf, "0 or more", True),
    ("dropout", 0, 0.999, "between 0 and 0.999", True),
    ("label_smoothing", 0, 0.999, "between 0 and 0.999", True),
    ("warmup", 0, 0.999, "between 0 and 0.999", True),
    ("weight_decay", 0, math.inf, "0 or more", True),
    ("clip", 0, math.inf, "0 or more", True),
    ("ema", 0, 0.999999, "between 0 and 0.999999", True),
    ("patience", 0, math.inf, "0 or more", True),
    ("image_size", 0, math.inf, "1 or more", False),
    ("validation_fraction", 0, 1, "between 0 and 1, ends excluded", False),
)
OPTIMIZERS = Literal["sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"]
SCHEDULES = Literal["constant", "step", "cosine", "one-cycle", "plateau"]


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    model: str = "cnn"
    """mlp, cnn, or a variant of vgg, inception or resnet (an unknown name lists them all)"""
    filters: tuple[int, ...] = (16, 32, 64)
    """cnn: number of filters of each stage (two convolutions and a pool)"""
    kernel_size: int = 3
    """cnn: side of the filters"""
    strides: int = 1
    """cnn: stride of the first convolution of each stage"""
    padding: Literal["same", "valid"] = "same"
    """cnn: zeros around the picture, or none"""
    pooling: Literal["max", "average", "none"] = "max"
    """cnn: what closes a stage"""
    augment: bool = True
    """shift, mirror and otherwise change training pictures, as the flags below say"""
    crop: float = 0.1
    """shift them by up to this part of each side (0.125 is usual for long trainings)"""
    flip: Literal["auto", "yes", "no"] = "auto"
    """mirror them left and right; auto: not if the classes are named by single characters"""
    rotation: float = 0.0
    """turn them by up to this many degrees"""
    erasing: float = 0.0
    """probability of erasing a rectangle"""
    mixup: float = 0.0
    """alpha of mixup; 0.2 is usual"""
    cutmix: float = 0.0
    """alpha of cutmix; 1.0 is usual"""
    dropout: float = 0.0
    """part of the features that is dropped before the last layer"""
    label_smoothing: float = 0.0
    """part of the target that is spread over all classes"""
    class_weights: bool = False
    """give every class the same share of the loss"""
    optimizer: OPTIMIZERS = "adamw"
    """how weights move"""
    schedule: SCHEDULES = "one-cycle"
    """how the learning rate moves; one-cycle moves the momentum, too"""
    warmup: float = 0.0
    """part of the steps in which the rate rises (one-cycle: 0.25 when this is 0)"""
    weight_decay: float | None = None
    """decoupled, times the learning rate; biases and norms are spared; default: the usual one"""
    clip: float = 0.0
    """highest global norm of the gradient; 0 is off"""
    ema: float = 0.0
    """decay of the moving average of the weights, 0.999 for example; 0 is off"""
    patience: int = 0
    """epochs without a better validation loss before training stops; 0 is off"""
    image_size: int | None = None
    """side that pictures of a folder are resized to; default: chosen from the pictures"""
    validation_fraction: float = 0.1
    """part of the training data that is kept for validation, stratified"""
    skip_broken: bool = False
    """leave out pictures that cannot be read, instead of stopping"""
    lr_find: bool = False
    """only run the learning-rate range test, and draw it"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(config, several_machines=True)
    if config.model not in models.classifier_names():
        known = ", ".join(models.classifier_names())
        raise UserError(f"unknown model {config.model!r}: it is one of {known}")
    for field in dataclasses.fields(config):
        changed = getattr(config, field.name) != field.default
        if changed and field.name in CNN_ONLY and config.model != "cnn":
            flag = field.name.replace("_", "-")
            raise UserError(f"--{flag} shapes --model cnn; {config.model} has a shape of its own")
        if changed and field.name in AUGMENTATION and not config.augment:
            raise UserError(f"--{field.name} is part of what --no-augment switches off")
    for name, low, high, words, ends in RANGES:
        training.check_range(config, name, low, high, words, ends=ends)
    if config.warmup and config.schedule in ("step", "plateau"):
        raise UserError(f"--schedule {config.schedule} has no --warmup")
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
        if run.finished and not config.lr_find:
            return run.metrics()
        return train(config, run)


def open_run(config: Config) -> training.Run:
    """The run directory of this configuration."""
    name = f"{config.dataset.split(':')[0]}-{config.model}"
    return training.open_run("image_classifier", config, name=name)


def check_and_show(config: Config) -> None:
    """Before TensorFlow is imported: refuse mistakes, and show a run that is finished.

    Raises:
        UserError: a mistake in the flags, or a run directory of another configuration.
        SystemExit: there is nothing left to do.
    """
    check(config)
    if not config.lr_find:
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
        skip_broken=config.skip_broken,
    )
    run.record(
        data={"fingerprint": images.fingerprint, "class_names": list(images.class_names)},
        image_shape=list(images.image_shape),
    )
    batches, validation, clean = batch(config, images)
    model, precision = build(config, run, images, batches, strategy)
    work = models.multiply_adds(model)
    print(
        f"data      {images.spec}: {images.counts}, {images.classes} classes, "
        f"pictures {'x'.join(map(str, images.image_shape))}\n"
        f"model     {config.model}: {model.count_params():,} parameters, {work / 1e6:.1f} M "
        f"multiply-adds, {precision}\n"
        f"run       {run.path}"
    )
    for note in (*images.notes, *run.notes):
        print(f"note      {note}")
    if config.lr_find:
        return find_learning_rate(run, model, batches)

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
        callbacks=[*flow, *callbacks(config, run)],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    if not run.chief:
        return run.leave()
    # Sixteen bits are for training: what is evaluated, saved and served runs anywhere.
    model = serving.in_float32(model)
    print("evaluating on the test split, once")
    found = evaluation.explain_classifier(
        model,
        images,
        history.rows,
        clean_examples=min(images.counts["validation"], images.counts["train"]),
    )
    figures = [*found.figures, *evaluation.explain_gradient_flow(flow)]
    metrics = {
        **found.metrics,
        "best_epoch": history.best_epoch,
        "parameters": model.count_params(),
        "multiply_adds": work,
        "train_seconds": history.train_seconds,
        "examples_per_second": history.examples_per_second,
        "precision": precision,
        "exported": None,
    }
    model.save(run.path / "model.keras")
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    if config.export:
        metrics["exported"] = export(config, run, model, images, found, metrics)
    evaluation.write_report(
        run.path / "report.html",
        title=f"{config.model} on {images.spec}",
        verdict=found.verdict,
        metrics=metrics,
        figures=figures,
        tables=found.tables,
        config=run.config,
        commands=commands(config, metrics.get("exported")),
        notes=(*images.notes, *run.notes, *history.notes),
    )
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


def batch(config: Config, images: data.ImageData) -> tuple:
    """Training batches, validation batches, and a clean part of the training split."""
    flip = config.flip == "yes"
    if config.flip == "auto":  # mirrored digits and letters are other ones, or none
        flip = any(len(name) > 1 and not name.isdigit() for name in images.class_names)
    strengths = {name: getattr(config, name) for name in AUGMENTATION} | {"flip": flip}
    augmentation = data.Augmentation(**strengths if config.augment else {})
    exact = data.classification_targets(images.classes)
    train = images.splits["train"]
    weights = data.class_weights(train.labels, images.classes) if config.class_weights else None

    def prepare(pictures, labels, seed):
        pictures, targets = augmentation(pictures, exact(labels), seed)
        smoothed = data.smooth(targets, config.label_smoothing)
        if weights is None:
            return pictures, smoothed
        return pictures, smoothed, targets @ weights[:, None]  # of the classes that are there

    def prepare_exact(pictures, labels):
        return pictures, exact(labels)

    evaluate = data.evaluation_batches
    validation = images.splits["validation"]
    return (
        data.TrainingBatches(train, config.batch_size, seed=config.seed, prepare=prepare),
        evaluate(validation, 256, prepare=prepare_exact),
        evaluate(train, 256, prepare=prepare_exact, limit=len(validation), seed=config.seed),
    )


def build(config: Config, run: training.Run, images: data.ImageData, batches, strategy) -> tuple:
    """The compiled model, and the precision it computes in."""
    mean, std = data.pixel_statistics(images.splits["train"])
    shape = {name: getattr(config, name) for name in CNN_ONLY} if config.model == "cnn" else {}
    if shape.get("pooling") == "none":
        shape["pooling"] = None

    def network():
        return models.classifier(
            config.model,
            images.image_shape,
            images.classes,
            pixel_mean=tuple(mean.tolist()),
            pixel_std=tuple(std.tolist()),
            dropout=config.dropout,
            **shape,
        )

    precision = run.facts().get("precision") or config.precision
    if precision == "auto":
        examples = batches.steps * batches.batch_size
        precision, why = training.choose_precision(network, batches.batch_size, examples)
        print(f"precision {precision}: {why}")
    rate = config.learning_rate or training.usual_learning_rate(config.optimizer)
    decay = config.weight_decay
    if decay is None:
        decay = training.usual_weight_decay(config.optimizer)
    rate = training.scaled_learning_rate(rate, config.scale_learning_rate, strategy)
    # A resumed run computes as it began.
    run.record(precision=precision, learning_rate=rate, weight_decay=decay)

    steps = config.epochs * batches.steps
    schedule = "constant" if config.lr_find else config.schedule
    with strategy.scope(), training.precision_policy(precision):
        training.seed_everything(config.seed)  # whatever measuring has drawn
        model = network()
        model.compile(
            training.optimizer(
                config.optimizer,
                training.learning_rate_schedule(
                    schedule, rate, steps=steps, warmup=0.0 if config.lr_find else config.warmup
                ),
                momentum_schedule=(
                    training.momentum_cycle(steps, warmup=config.warmup or 0.25)
                    if schedule == "one-cycle"
                    else None
                ),
                weight_decay=decay,
                global_clipnorm=config.clip,
            ),
            loss=kapps.losses.softmax_cross_entropy,
            metrics=["accuracy"],
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


def find_learning_rate(run: training.Run, model, batches) -> dict[str, object]:
    """The range test: its plot, and what it suggests."""
    test = training.range_test(model, batches.dataset(0, 1))
    figure = evaluation.plots.range_test(
        test.learning_rates, test.losses, test.suggestion, test.highest
    )
    path = evaluation.plots.save_png(figure, run.plots / "lr_find.png")
    print(
        f"loss falls fastest at --learning-rate {test.suggestion:.2g}; "
        f"stay below {test.highest:.2g}\n{path}"
    )
    return {"suggested_learning_rate": test.suggestion, "highest_learning_rate": test.highest}


def export(config: Config, run: training.Run, model, images, found, metrics) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    accuracy, low, high = (metrics[f"test_accuracy{part}"] for part in ("", "_low", "_high"))
    card = (
        f"A {config.model} trained on {images.spec} ({images.counts['train']} pictures, "
        f"fingerprint {images.fingerprint[:12]}), seed {config.seed}.\n\n"
        f"Test accuracy {accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, "
        f"{metrics['test_examples']} pictures), calibration error {metrics['test_ece']:.2%}.\n\n"
        f"{found.verdict.label}: {found.verdict.sentence}\n\nRun directory: {run.path.name}\n"
    )
    version = serving.export(
        model,
        config.export_dir or "saved_models/image_classifier",
        images.class_names,
        temperature=found.temperature,
        card=card,
        sample_images=images.splits["validation"].take(range(min(8, images.counts["validation"]))),
    )
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/image_classifier.py")}
    if published:
        shown["Predict"] = f"kapps predict {published} PICTURE.png"
        shown["Look inside"] = f"saved_model_cli show --dir {published} --all"
    return shown


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
