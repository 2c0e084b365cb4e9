"""Fine-tune a pretrained network on a few classes of your own.

    python recipes/transfer_learning.py
    python recipes/transfer_learning.py --dataset folder:PATH
    python recipes/transfer_learning.py --dataset folder:PATH --class-weights --test-time-flip

    image -> backbone, trained on ImageNet -> global average pooling -> dropout -> dense -> logits

First a linear probe: only the head learns, on features that are computed once and cached. It begins
as a regression with a cross-validated penalty: that is its first epoch. Then the backbone's last
stages are fine-tuned, more slowly the nearer they are to the input (Kumar et al. 2022,
arXiv:2202.10054; Howard and Ruder 2018, arXiv:1801.06146); what is best on validation is kept.
EfficientNet-Lite0 and its ImageNet weights are included, so no network access is needed. Run the
same command again to resume a killed run, bit for bit, or to see the result of a finished one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from kapps import command_line, data, evaluation, models, serving, training
from kapps.training import FINE_TUNING, PROBE


@dataclasses.dataclass(frozen=True)
class Config(
    training.OptimizationFlags,
    training.ClassifierFlags,
    training.TargetFlags,
    training.FineTuningFlags,
    training.AugmentationFlags,
    training.PictureTargetFlags,
    training.ImageFlags,
    training.PeerFlags,
    training.FoldFlags,
    training.ContinuationFlags,
    training.CommonFlags,
):
    """Data, network and training; learning rates and schedules apply to each phase."""

    backbone: str = "efficientnet_lite0"
    """pretrained network (an unknown name lists them all)"""
    weights: str = "imagenet"
    """imagenet, none (random), or a weights file for that network"""
    image_size: training.PositiveInt | None = None
    """height and width of the images; default: twice their own (of a folder, twice their median),
    from 64 to the backbone's own"""
    epochs: training.PositiveInt = 10
    """epochs of the probe, and twice the epochs of fine-tuning"""
    test_time_flip: bool = False
    """average the predictions for an image and its mirror image, at twice the cost"""
    dropout: training.Rate = 0.2
    """dropout rate before the last layer"""
    batch_size: training.PositiveInt = 32
    """examples per step, over all devices"""

    @property
    def run_name(self) -> str:
        """The kind of data, and the backbone."""
        return f"{self.dataset.split(':')[0]}-{self.backbone}"


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported."""
    training.check(config)
    shape = (config.image_size, config.image_size, 3) if config.image_size else None
    models.check_backbone(config.backbone, config.weights, shape)
    models.backbone_table.check_stages(config.backbone, config.fine_tune_stages)


def load(config: Config) -> data.ImageData:
    """The data, in images of the size that the backbone gets."""
    # 60,000 images of 28 pixels are not enlarged to 224.
    by_own = functools.partial(models.backbone_table.input_size, config.backbone)
    return training.load_images(config, image_size=config.image_size or by_own)


def batches(
    config: Config, images: data.ImageData, own: data.OwnAugmentation | None = None
) -> tuple:
    """Training batches, validation batches, and training images as they are."""
    return training.classifier_batches(
        images,
        config.batch_size,
        config.augmentation(images.class_names, own),
        seed=config.seed,
        label_smoothing=config.label_smoothing,
        class_weights=config.class_weights,
        together=64,
    )


def feature_batches(
    config: Config, run: training.Run, images: data.ImageData, model, own=None
) -> tuple:
    """The same of features that are computed once: the backbone is run once for each image."""
    return training.cached_batches(
        models.transfer.features_of(model),
        images,
        training.feature_directory(run, config.cache_dir),
        {"backbone": config.backbone},
        batch_size=config.batch_size,
        seed=config.seed,
        targets=training.training_targets(images, config.label_smoothing, config.class_weights),
        copies=config.cache_copies,
        augmentation=config.augmentation(images.class_names, own),
    )


def network(config: Config, images: data.ImageData):
    """The backbone as it comes, under a new head."""
    backbone = models.backbone(
        config.backbone, weights=config.weights, input_shape=images.image_shape
    )
    return models.transfer_classifier(backbone, images.classes, dropout=config.dropout)


def fit(config: Config, run: training.Run, own: data.OwnAugmentation | None = None) -> tuple:
    """Train in both phases; returns the model, the data and the history."""
    devices = training.begin(config)
    images = load(config)
    run.record_data(images)
    pixel_batches = batches(config, images, own)
    build_network = functools.partial(network, config, images)
    with training.scope(config, run, devices, build_network, pixel_batches[0]) as precision:
        model = build_network()
    training.begin_with(model, config, run, images)
    task = training.picture_task(images, config)
    stages = models.transfer.stages_of(model, config.backbone)
    more = training.more_stages(config, run, FINE_TUNING)
    phases = config.phases | more
    run.record(learning_rates=training.phase_rates(config, (PROBE, FINE_TUNING)))
    run.announce(images, f"{config.backbone} ({config.weights}): {models.size(model)}, {precision}")

    def train(name, part, examples, callbacks=(), **settings):
        epochs, learns = phases[name], examples[0]
        with devices.scope(), training.precision_policy(precision):
            optimizer = training.optimizer_from(
                config,
                epochs * learns.steps,
                learning_rate=training.phase_rates(config, (name,))[name],
                **settings,
            )
            part.compile(optimizer, loss=task.loss, metrics=task.metrics())
        names = [phase for phase, length in phases.items() if length]
        return training.fit_phase(
            name,
            names,
            part,
            *examples[:2],
            config=config,
            run=run,
            epochs=epochs,
            clean_train=examples[2],
            monitor=task.monitor,
            mode=task.mode,
            callbacks=callbacks,
            gradient_flow=name == [phase for phase in names if phase not in more][-1],
        )

    histories, weights = {}, {}
    if config.phases[PROBE]:
        models.transfer.unfreeze(model, stages)
        if config.cache:
            with devices.scope(), training.precision_policy(precision):
                head = models.transfer.head_of(model)
            features = feature_batches(config, run, images, model, own)
            seen = features[0].features[0]
            begins = training.begin_with_regression(head, seen, images, config, devices)
            kept = [training.CountsAsItBegan(head)] if begins else []
            histories[PROBE] = train(PROBE, head, features, kept)
            models.transfer.set_head(model, head)
        else:
            histories[PROBE] = train(PROBE, model, pixel_batches)
        weights[PROBE] = model.get_weights()
    if config.phases[FINE_TUNING] and not run.stopped():
        tuned = models.transfer.last_stages(stages, config.fine_tune_stages)
        models.transfer.unfreeze(
            model, stages, tuned, update_statistics=config.batch_norm == "train"
        )
        factors = training.decaying_factors(tuned, config.stage_decay)
        factors = training.rate_factors(model, stages, factors)
        before = 0
        for name in (FINE_TUNING, *more):
            if name in more:
                best = training.better_phase(histories, task.monitor, task.mode)
                model.set_weights(weights[best])
            further = (training.later(pixel_batches[0], before), *pixel_batches[1:])
            histories[name] = train(name, model, further, rate_factors=factors)
            weights[name], before = model.get_weights(), before + phases[name]
    kept = training.better_phase(histories, task.monitor, task.mode)
    model.set_weights(weights[kept])
    return model, images, training.join_histories(histories, kept)


def main(config: Config, run: training.Run, augment: Callable | None = None) -> dict[str, object]:
    """Train, evaluate, publish and report; returns the figures of metrics.json.

    From Python, `augment` is a function of one's own, see `data.OwnAugmentation`.
    """
    evaluation.cross_validated(functools.partial(main, augment=augment), config, run)
    own = training.own_augmentation(augment, run)
    model, images, history = fit(config, run, own)
    if not run.chief:
        return run.leave()
    looking, task = models.for_inference(model), training.picture_task(images, config)
    stages = models.transfer.stages_of(looking, config.backbone)
    if task.kind == "number":
        looking = models.in_units(looking, task.mean, task.std)
    model = models.with_views(looking, mirror=config.test_time_flip)
    model.save(run.path / "model.keras")
    print("evaluating on the test split, once")
    tuned = models.transfer.last_stages(stages, config.fine_tune_stages)
    found = evaluation.explain_transfer(
        model,
        images,
        history,
        look_into=looking,
        class_weights=config.class_weights,
        moved={**dict.fromkeys(history.phases, ["head", *reversed(tuned)]), PROBE: ["head"]},
        learning_rates=training.phase_rates(config, history.phases),
    )
    if config.peers:
        found = evaluation.beside_picture_peers(
            found,
            images,
            models.transfer.features_of(network(config, images)),
            words=config.backbone,
            directory=training.feature_directory(run, config.cache_dir) if config.cache else None,
        )
    return serving.publish_and_close(
        model,
        run,
        images,
        history,
        found,
        what=f"{config.backbone} (weights: {config.weights}) with a new head, by {history.kept},",
        caveats=found.notes,
        title=f"{config.backbone} on {images.spec}",
        predict="IMAGE.jpg",
        commands={"For phones": f"kapps export {run.path} --format litert --quantize int8"}
        if task.kind == "classes"
        else {},
        parameters=model.count_params(),
        multiply_adds=models.multiply_adds(looking),
    )


if __name__ == "__main__":
    command_line.run(main, Config, check)
