"""Train, explain and publish an image classifier.

    python recipes/image_classifier.py
    python recipes/image_classifier.py --dataset fashion_mnist --model resnet8_wide --batch-size 256
    python recipes/image_classifier.py --dataset folder:PATH --model resnet18 --image-size 96

The default network, `--model cnn`:

    image -> (convolution, batch normalization, relu) x 2, pool; once for each of --filters
          -> global average pooling -> dropout -> dense -> logits

Networks: multilayer perceptron; a plain CNN (LeCun 1998); VGG (arXiv:1409.1556), GoogLeNet
(arXiv:1409.4842) and ResNet (arXiv:1512.03385). Run the same command again to resume a killed run,
bit for bit, or to see the result of a finished one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar, Literal

from kapps import command_line, data, evaluation, models, serving, training

# For few epochs: chosen on the validation split of Fashion-MNIST, for seconds and not for epochs.
# benchmarks/fast.py measures it on the test split, and what each part is worth.
FAST = {
    "model": "vgg7",
    "whitening": 4,
    "whitening_strides": 2,
    "identity_start": True,
    "batch_size": 128,
    "epochs": 8,
    "optimizer": "muon",
    "learning_rate": 0.008,
    "label_smoothing": 0.1,
    "crop": 0.0,
    "alternate_flips": True,
    "test_views": True,
}
CNN_ONLY = ("filters", "kernel_size", "strides", "padding", "pooling")


@dataclasses.dataclass(frozen=True)
class Config(
    training.FastFlags,
    training.AveragingFlags,
    training.OptimizationFlags,
    training.ClassifierFlags,
    training.TargetFlags,
    training.AugmentationFlags,
    training.PictureTargetFlags,
    training.ImageFlags,
    training.PeerFlags,
    training.FoldFlags,
    training.ContinuationFlags,
    training.CommonFlags,
):
    """Data, network and training."""

    PRESETS: ClassVar[training.Presets] = {"fast": FAST}

    model: str = "cnn"
    """mlp, cnn, or a variant of vgg, inception or resnet (an unknown name lists them all)"""
    crop: training.Fraction = 0.05
    """shift training images by up to this fraction of each side (0.125 is usual for long
    training)"""
    filters: tuple[training.PositiveInt, ...] = (32, 64, 128)
    """cnn: number of filters in each stage (two convolutions and a pooling layer)"""
    kernel_size: training.PositiveInt = 3
    """cnn: height and width of the filters"""
    strides: training.PositiveInt = 1
    """cnn: stride of the first convolution of each stage"""
    padding: Literal["same", "valid"] = "same"
    """cnn: zero padding, or none"""
    pooling: Literal["max", "average", "none"] = "max"
    """cnn: pooling at the end of each stage"""
    dropout: training.Rate = 0.0
    """dropout rate before the last layer"""
    lr_find: bool = False
    """only run the learning-rate range test, and plot it"""

    EXCLUSIONS: ClassVar[training.Exclusions] = (
        *training.only_for(
            "--model cnn; {model} has a shape of its own", lambda c: c.model == "cnn", CNN_ONLY
        ),
        (
            lambda c: c.model == "cnn" and not c.filters,
            "--filters: name at least one, for the first stage",
        ),
    )


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    models.check_classifier(config.model)
    training.check(config)


def batches(
    config: Config, images: data.ImageData, own: data.OwnAugmentation | None = None
) -> tuple:
    """Training batches, validation batches, and training images without augmentation."""
    augmentation = config.augmentation(images.class_names, own)
    alternate = config.alternate_flips and augmentation.flip
    if alternate:
        augmentation = dataclasses.replace(augmentation, flip=False)
    return training.classifier_batches(
        images,
        config.batch_size,
        augmentation,
        seed=config.seed,
        label_smoothing=config.label_smoothing,
        class_weights=config.class_weights,
        alternate_flips=alternate,
    )


def network(config: Config, images: data.ImageData):
    """The network of this configuration, from raw pixels to logits."""
    of_cnn = {name: getattr(config, name) for name in CNN_ONLY} if config.model == "cnn" else {}
    if config.pooling == "none":
        of_cnn["pooling"] = None
    model = models.classifier(
        config.model,
        images.image_shape,
        images.classes,
        dropout=config.dropout,
        **config.first_layer(images),
        **of_cnn,
    )
    return models.start_at_identity(model) if config.identity_start else model


def build(config: Config, run: training.Run, own: data.OwnAugmentation | None = None) -> tuple:
    """The compiled network, the data, and their batches."""
    devices = training.begin(config)
    images = training.load_images(config)
    run.record_data(images)
    train, validation, clean = batches(config, images, own)

    def build_network():
        return network(config, images)

    with training.scope(config, run, devices, build_network, train) as precision:
        model = build_network()
        task = training.picture_task(images, config)
        model.compile(
            training.optimizer_from(config, config.epochs * train.steps, run),
            loss=task.loss,
            metrics=task.metrics(),
        )
    training.begin_with(model, config, run, images)  # --start-from
    run.announce(images, f"{config.model}: {models.size(model)}, {precision}")
    return model, images, (train, validation, clean)


def fit(config: Config, run: training.Run, own: data.OwnAugmentation | None = None) -> tuple:
    """Train; returns the model, the data and the history."""
    model, images, (train, validation, clean) = build(config, run, own)
    task = training.picture_task(images, config)
    history = training.fit_with_more(
        model,
        train,
        validation,
        config=config,
        run=run,
        clean_train=clean,
        monitor=task.monitor,
        mode=task.mode,
    )
    return model, images, history


def main(config: Config, run: training.Run, augment: Callable | None = None) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json.

    `augment` is for callers from Python: a function that augments images, too; see
    `data.OwnAugmentation`.
    """
    if config.lr_find:
        return find_learning_rate(config, run)
    # With --folds this trains the folds first, each by a call of `main`; else it does nothing.
    evaluation.cross_validated(functools.partial(main, augment=augment), config, run)
    own = training.own_augmentation(augment, run)
    model, images, history = fit(config, run, own)
    if not run.chief:
        return run.leave()
    one_view, task = models.for_inference(model), training.picture_task(images, config)
    if task.kind == "number":
        one_view = models.in_units(one_view, task.mean, task.std)
    model = models.with_views(one_view, **config.views(config.augmentation(images.class_names)))
    model.save(run.path / "model.keras")
    print("evaluating on the test split, once")
    found = evaluation.explain_pictures(
        model,
        images,
        history.rows,
        kept=history.best_epoch,
        weighted=config.class_weights,
        look_into=one_view,
    )
    if config.peers:
        found = evaluation.beside_picture_peers(found, images)
    return serving.publish_and_close(
        model,
        run,
        images,
        history,
        found,
        what=f"A {config.model}",
        title=f"{config.model} on {images.spec}",
        predict="IMAGE.png",
        parameters=model.count_params(),
        multiply_adds=models.multiply_adds(model),
    )


def find_learning_rate(config: Config, run: training.Run) -> dict[str, object]:
    """Run the learning-rate range test, plot it, and print the rate that it suggests."""
    model, _, (train, *_) = build(dataclasses.replace(config, schedule="constant", warmup=0.0), run)
    test = training.range_test(model, train.dataset(0, 1))
    curve = (test.learning_rates, test.losses, test.suggestion, test.highest)
    figure = evaluation.plots.range_test(*curve)
    path = evaluation.plots.save_png(figure, run.plots / "lr_find.png")
    print(f"loss falls fastest at --learning-rate {test.suggestion:.2g}; ", end="")
    print(f"stay below {test.highest:.2g}\n{path}")
    return {"suggested_learning_rate": test.suggestion, "highest_learning_rate": test.highest}


def is_done(config: Config, run: training.Run) -> bool:
    """Whether there is nothing left to do."""
    return run.finished and not config.lr_find


if __name__ == "__main__":
    command_line.run(main, Config, check, is_done=is_done)
