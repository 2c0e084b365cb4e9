"""Teach a network that has learned to see a few classes of your own.

    python recipes/transfer_learning.py
    python recipes/transfer_learning.py --dataset folder:PATH
    python recipes/transfer_learning.py --dataset folder:PATH --class-weights --test-time-flip

First a linear probe: the head alone, on features that are computed once and kept. Then its last
stages follow, slower the nearer they are to the input (Kumar et al. 2022, arXiv:2202.10054; Howard
and Ruder 2018, arXiv:1801.06146). EfficientNet-Lite0 comes with its ImageNet weights; no network is
needed. The same command goes on with a run that was killed, to the same bits, and shows the result
of one that is finished.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import sys
from typing import Literal

import kapps
from kapps import command_line, data, evaluation, models, serving, training
from kapps.errors import UserError

AUGMENTATION = ("flip", "crop", "rotation", "erasing", "mixup", "cutmix")
OF_FINE_TUNING = ("fine_tune_learning_rate", "stage_decay", "batch_norm")
SMALLEST = 64  # side that smaller pictures are enlarged to
# Flag, lowest, highest, the range in words, whether its ends belong to it.
RANGES = (
    ("probe_epochs", 0, math.inf, "0 or more", True),
    ("fine_tune_epochs", 0, math.inf, "0 or more", True),
    ("fine_tune_learning_rate", 0, math.inf, "above 0", False),
    ("cache_copies", 0, math.inf, "0 or more", True),
    ("crop", 0, 1, "between 0 and 1", True),
    ("rotation", 0, 180, "between 0 and 180", True),
    ("erasing", 0, 1, "between 0 and 1", True),
    ("mixup", 0, math.inf, "0 or more", True),
    ("cutmix", 0, math.inf, "0 or more", True),
    ("dropout", 0, 0.999, "between 0 and 0.999", True),
    ("label_smoothing", 0, 0.999, "between 0 and 0.999", True),
    ("weight_decay", 0, math.inf, "0 or more", True),
    ("clip", 0, math.inf, "0 or more", True),
    ("patience", 0, math.inf, "0 or more", True),
    ("image_size", 0, math.inf, "1 or more", False),
    ("validation_fraction", 0, 1, "between 0 and 1, ends excluded", False),
)
OPTIMIZERS = Literal["sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"]
SCHEDULES = Literal["constant", "step", "cosine", "one-cycle", "plateau"]
PROBE, FINE_TUNING = "probe", "fine-tuning"


@dataclasses.dataclass(frozen=True)
class Config(training.CommonConfig):
    """What is trained, on what, and how."""

    backbone: str = "efficientnet_lite0"
    """network that has learned to see (an unknown name lists them all)"""
    weights: str = "imagenet"
    """imagenet, none (random), or a file of weights of that network"""
    image_size: int | None = None
    """side of the pictures; default: twice their own, from 64 to what the backbone is made for"""
    epochs: int = 10
    """passes over the training data of the probe, and twice those of fine-tuning"""
    probe_epochs: int | None = None
    """of the head alone; 0 leaves it out; default: --epochs"""
    fine_tune_epochs: int | None = None
    """of the head and the last stages; 0 leaves it out; default: half of --epochs"""
    fine_tune_stages: int | Literal["all"] = 3
    """how many stages of the backbone, counted from its output, are fine-tuned"""
    fine_tune_learning_rate: float | None = None
    """highest rate of the head while fine-tuning; default: a third of the probe's"""
    stage_decay: float = 0.5
    """rate of a stage, relative to the one behind it"""
    batch_norm: Literal["frozen", "train"] = "frozen"
    """whether normalization of fine-tuned stages keeps what it has learned of its inputs"""
    cache: bool = True
    """compute the features of the probe once, and keep them; augmentation then waits for phase 2"""
    cache_copies: int = 0
    """with --cache: how many augmented copies of each picture the probe sees; 0: none but itself"""
    cache_dir: str | None = None
    """where features are kept, for other runs too; default: features/ beside the run directory"""
    augment: bool = True
    """shift, mirror and otherwise change training pictures, as the flags below say"""
    crop: float = 0.1
    """shift them by up to this part of each side"""
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
    test_time_flip: bool = False
    """answer with the mean of a picture and its mirror image, at twice the cost"""
    dropout: float = 0.2
    """part of the features that is dropped before the last layer"""
    label_smoothing: float = 0.0
    """part of the target that is spread over all classes"""
    class_weights: bool = False
    """give every class the same share of the loss"""
    optimizer: OPTIMIZERS = "adamw"
    """how weights move, in both phases"""
    schedule: SCHEDULES = "one-cycle"
    """how the learning rate moves in each phase"""
    weight_decay: float | None = None
    """decoupled, times the learning rate; default: the usual one of the optimizer"""
    clip: float = 0.0
    """highest global norm of the gradient; 0 is off"""
    patience: int = 0
    """epochs without a better validation loss before a phase stops; 0 is off"""
    batch_size: int = 32
    """examples per step, over all devices"""
    validation_fraction: float = 0.1
    """part of the training data that is kept for validation, stratified"""
    skip_broken: bool = False
    """leave out pictures that cannot be read, instead of stopping"""


def check(config: Config) -> None:
    """What can be found wrong before TensorFlow is imported.

    Raises:
        UserError: a mistake in the flags.
    """
    training.check_common(config, several_machines=True)
    for name, low, high, words, ends in RANGES:
        training.check_range(config, name, low, high, words, ends=ends)
    shape = (config.image_size, config.image_size, 3) if config.image_size else None
    models.check_backbone(config.backbone, config.weights, shape)
    stages = len(models.backbone_table.BACKBONES[config.backbone].stages)
    if config.fine_tune_stages != "all" and not 0 <= config.fine_tune_stages <= stages:
        raise UserError(
            f"--fine-tune-stages {config.fine_tune_stages}: {config.backbone} has {stages}: "
            + ", ".join(name for name, _ in models.backbone_table.BACKBONES[config.backbone].stages)
        )
    if not 0 < config.stage_decay <= 1:
        raise UserError(f"--stage-decay {config.stage_decay}: it must be above 0 and at most 1")
    if not any(epochs_of(config).values()):
        raise UserError("--probe-epochs 0 and --fine-tune-epochs 0 leave nothing to train")
    refuse_what_has_no_effect(config)
    training.check_batch(config.batch_size, training.named_devices(config.devices))


def refuse_what_has_no_effect(config: Config) -> None:
    """Flags that change nothing beside others.

    Raises:
        UserError: naming both.
    """

    def changed(names):
        fields = {field.name: field.default for field in dataclasses.fields(config)}
        return [name for name in names if getattr(config, name) != fields[name]]

    for name in changed(AUGMENTATION) if not config.augment else ():
        raise UserError(f"--{name} is part of what --no-augment switches off")
    for name in changed(OF_FINE_TUNING) if not epochs_of(config)[FINE_TUNING] else ():
        flag = name.replace("_", "-")
        raise UserError(f"--{flag} is for fine-tuning, which --fine-tune-epochs 0 leaves out")
    if not config.fine_tune_stages and config.fine_tune_epochs:
        raise UserError("--fine-tune-stages 0 leaves nothing to --fine-tune-epochs")
    if config.cache_copies and not (config.cache and config.augment):
        raise UserError("--cache-copies needs --cache and --augment")


def epochs_of(config: Config) -> dict[str, int]:
    """How long each phase lasts."""
    probe, tuning = config.probe_epochs, config.fine_tune_epochs
    tuning = -(-config.epochs // 2) if tuning is None else tuning
    return {
        PROBE: config.epochs if probe is None else probe,
        FINE_TUNING: tuning if config.fine_tune_stages else 0,
    }


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
    name = f"{config.dataset.split(':')[0]}-{config.backbone}"
    return training.open_run("transfer_learning", config, name=name)


def check_and_show(config: Config) -> None:
    """Before TensorFlow is imported: refuse mistakes, and show a run that is finished.

    Raises:
        UserError: a mistake in the flags, or a run directory of another configuration.
        SystemExit: there is nothing left to do.
    """
    check(config)
    command_line.show_finished(open_run, config)


def train(config: Config, run: training.Run) -> dict[str, object]:
    """Train in phases, evaluate, export and report into an open run directory."""
    strategy = training.strategy(config.devices)
    training.check_batch(config.batch_size, strategy.num_replicas_in_sync)
    training.seed_everything(config.seed)
    images = load(config)
    run.record(
        data={"fingerprint": images.fingerprint, "class_names": list(images.class_names)},
        image_shape=list(images.image_shape),
    )
    twins = data.near_duplicates(images.splits["test"], images.splits["train"])
    work = Work(config, run, images, strategy)
    print(
        f"data      {images.spec}: {images.counts}, {images.classes} classes, "
        f"pictures {'x'.join(map(str, images.image_shape))}\n"
        f"model     {config.backbone} ({config.weights}): {work.model.count_params():,} parameters,"
        f" {models.multiply_adds(work.model) / 1e6:.1f} M multiply-adds, {work.precision}\n"
        f"run       {run.path}"
    )
    for note in (*images.notes, *run.notes):
        print(f"note      {note}")
    kept, histories, notes = work.train()
    if not run.chief:
        return run.leave()
    return report(config, run, images, work, twins, kept, histories, notes)


def load(config: Config) -> data.ImageData:
    """The data, in pictures of the size that the backbone gets."""
    settings = {
        "data_dir": config.data_dir,
        "validation_fraction": config.validation_fraction,
        "seed": config.seed,
        "skip_broken": config.skip_broken,
    }
    row, size = models.backbone_table.BACKBONES[config.backbone], config.image_size
    if size is None:
        size = row.size
        if not config.dataset.startswith("folder:"):
            # 60,000 pictures of 28 pixels are not enlarged to 224.
            own = max(data.load(config.dataset, **settings).image_shape[:2])
            size = min(row.size, max(SMALLEST, row.minimum, 2 * own))
    return data.load(config.dataset, image_size=size, **settings)


class Work:
    """The model, and the two phases that it goes through.

    Attributes:
        model: the classifier.
        precision: that it computes in.
    """

    def __init__(self, config: Config, run: training.Run, images: data.ImageData, strategy):
        self.config, self.run, self.images, self.strategy = config, run, images, strategy
        self.flip = config.flip == "yes"
        if config.flip == "auto":  # mirrored digits and letters are other ones, or none
            self.flip = any(len(name) > 1 and not name.isdigit() for name in images.class_names)
        strengths = {name: getattr(config, name) for name in AUGMENTATION} | {"flip": self.flip}
        self.augmentation = data.Augmentation(**strengths if config.augment else {})
        self.exact = data.classification_targets(images.classes)
        labels = images.splits["train"].labels
        weighted = config.class_weights
        self.weights = data.class_weights(labels, images.classes) if weighted else None
        self.flow = []  # what --gradient-flow adds
        self._build()

    def train(self) -> tuple[str, dict[str, training.History], list[str]]:
        """Both phases.

        Returns:
            The name of the phase whose weights are kept, the history of each, and notes.
        """
        histories, notes, weights = {}, [], {}
        for name, epochs in epochs_of(self.config).items():
            if not epochs:
                continue
            print(f"phase     {name}: {epochs} epochs")
            histories[name] = self._probe(epochs) if name == PROBE else self._fine_tune(epochs)
            weights[name] = self.model.get_weights()
            notes += [f"{name}: {note}" for note in histories[name].notes]
        best = {name: h.rows[h.best_epoch - 1]["val_loss"] for name, h in histories.items()}
        finite = {name: loss for name, loss in best.items() if math.isfinite(loss)}
        kept = min(finite or best, key=best.get)
        if kept != list(histories)[-1]:
            self.model.set_weights(weights[kept])
            notes.append(
                f"Fine-tuning did not help: validation loss {best[FINE_TUNING]:.4f}, the probe had "
                f"{best[PROBE]:.4f}. The probe's weights are kept. A lower "
                "--fine-tune-learning-rate or fewer --fine-tune-stages may do better."
            )
        return kept, histories, notes

    def _build(self) -> None:
        config, images = self.config, self.images

        def network():
            backbone = models.backbone(
                config.backbone, weights=config.weights, input_shape=images.image_shape
            )
            self.stages = models.backbone_stages(backbone)
            return models.transfer_classifier(backbone, images.classes, dropout=config.dropout)

        self.precision = self.run.facts().get("precision") or config.precision
        if self.precision == "auto":
            examples = len(images.splits["train"])
            self.precision, why = training.choose_precision(network, config.batch_size, examples)
            print(f"precision {self.precision}: {why}")
        rate = config.learning_rate or training.usual_learning_rate(config.optimizer)
        self.rates = {PROBE: rate, FINE_TUNING: config.fine_tune_learning_rate or rate / 3.0}
        self.decay = config.weight_decay
        if self.decay is None:
            self.decay = training.usual_weight_decay(config.optimizer)
        # A resumed run computes as it began.
        self.run.record(
            precision=self.precision, learning_rates=self.rates, weight_decay=self.decay
        )
        with self.strategy.scope(), training.precision_policy(self.precision):
            training.seed_everything(config.seed)  # whatever measuring has drawn
            self.model = network()

    def _probe(self, epochs: int) -> training.History:
        """The head alone."""
        models.transfer.unfreeze(self.model, self.stages)
        if not self.config.cache:
            return self._fit(PROBE, self.model, *self._pictures(), epochs)
        with self.strategy.scope(), training.precision_policy(self.precision):
            head = models.transfer.head_of(self.model)
        history = self._fit(PROBE, head, *self._features(), epochs)
        models.transfer.set_head(self.model, head)
        return history

    def _fine_tune(self, epochs: int) -> training.History:
        """The head and the last stages, at rates that shrink towards the input."""
        config = self.config
        tuned = models.transfer.last_stages(self.stages, config.fine_tune_stages)
        models.transfer.unfreeze(
            self.model, self.stages, tuned, update_statistics=config.batch_norm == "train"
        )
        factors = training.decaying_factors(tuned, config.stage_decay)
        factors = training.rate_factors(self.model, self.stages, factors)
        return self._fit(FINE_TUNING, self.model, *self._pictures(), epochs, factors)

    def _fit(self, name, model, batches, validation, clean, epochs, factors=None):
        """A phase: a fresh optimizer, compiled anew, with checkpoints of its own."""
        config, steps = self.config, epochs * batches.steps
        with self.strategy.scope(), training.precision_policy(self.precision):
            model.compile(
                training.optimizer(
                    config.optimizer,
                    training.learning_rate_schedule(config.schedule, self.rates[name], steps=steps),
                    momentum_schedule=(
                        training.momentum_cycle(steps) if config.schedule == "one-cycle" else None
                    ),
                    weight_decay=self.decay,
                    global_clipnorm=config.clip,
                    rate_factors=factors,
                ),
                loss=kapps.losses.softmax_cross_entropy,
                metrics=["accuracy"],
            )
        names = [phase for phase, length in epochs_of(config).items() if length]
        phases = [
            training.Phase(self.run, i, phase, last=phase == names[-1])
            for i, phase in enumerate(names[: names.index(name) + 1], start=1)
        ]
        flow = []
        if name == names[-1]:
            flow = self.flow = training.gradient_flow(config, self.run, batches)
        return training.fit(
            model,
            batches,
            validation,
            epochs=epochs,
            run=phases[-1],
            sync_batch_norm=config.sync_batch_norm,
            clean_train=clean,
            callbacks=[
                *flow,
                *callbacks(config, phases[-1]),
                training.JoinedRows(self.run, phases),
            ],
            verbose=1 if sys.stdout.isatty() else 2,
        )

    def _targets(self, labels):
        """What follows the pictures in a training batch: targets, perhaps weights."""
        return self._smoothed(self.exact(labels))

    def _smoothed(self, targets):
        smoothed = data.smooth(targets, self.config.label_smoothing)
        if self.weights is None:
            return (smoothed,)
        return smoothed, targets @ self.weights[:, None]  # of the classes that are there

    def _pictures(self) -> tuple:
        """Training batches, validation batches, and a clean part of the training split."""
        train, validation = self.images.splits["train"], self.images.splits["validation"]

        def prepare(pictures, labels, seed):
            pictures, targets = self.augmentation(pictures, self.exact(labels), seed)
            return pictures, *self._smoothed(targets)

        def exact(pictures, labels):
            return pictures, self.exact(labels)

        config, evaluate = self.config, data.evaluation_batches
        return (
            data.TrainingBatches(train, config.batch_size, seed=config.seed, prepare=prepare),
            evaluate(validation, 64, prepare=exact),
            evaluate(train, 64, prepare=exact, limit=len(validation), seed=config.seed),
        )

    def _features(self) -> tuple:
        """The same of cached features."""
        import tensorflow as tf

        config = self.config
        kept = pathlib.Path(config.cache_dir or self.run.path.parent / "features")
        if not self.run.chief:  # each worker has its own, lest two write the same file
            kept = kept / str(self.run.worker)
        extractor = models.transfer.features_of(self.model)
        facts = {"backbone": config.backbone, "data": self.images.fingerprint}

        def features(name, **options):
            return training.cached_features(
                extractor,
                self.images.splits[name],
                kept,
                {**facts, "split": name, "augmentation": repr(options.get("augment"))},
                **options,
            )

        clean = features("train")
        augmented = clean
        if config.cache_copies:
            # What mixes pictures needs other targets for every copy: it waits for phase 2.
            alone = dataclasses.replace(self.augmentation, mixup=0.0, cutmix=0.0)
            augmented = features(
                "train",
                copies=config.cache_copies,
                seed=config.seed,
                augment=CopyAugmentation(alone),
            )
        with tf.device("CPU:0"):
            labels = {name: tf.constant(split.labels) for name, split in self.images.splits.items()}

        def targets(rows):
            return self._targets(tf.gather(labels["train"], rows))

        def measured(held, name, limit=None):
            def prepare(rows, numbers):
                return training.gatherer(held)(rows), self.exact(numbers)

            split = data.Split(self.images.splits[name].labels, lambda rows: rows)
            return data.evaluation_batches(
                split, 1024, prepare=prepare, limit=limit, seed=config.seed
            )

        count = len(self.images.splits["validation"])
        return (
            training.FeatureBatches(
                augmented, config.batch_size, seed=config.seed, targets=targets
            ),
            measured(features("validation"), "validation"),
            measured(clean, "train", limit=count),
        )


@dataclasses.dataclass(frozen=True)
class CopyAugmentation:
    """What `cached_features` does to the pictures of a copy; its text says what."""

    augmentation: data.Augmentation

    def __call__(self, pictures, seed):
        """Pictures of another look."""
        return self.augmentation(pictures, None, seed)[0]


def callbacks(config: Config, phase: training.Phase) -> list:
    """Keras' own callbacks, as the flags ask for them."""
    import keras

    chosen = [
        keras.callbacks.TensorBoard(
            phase.path.parents[1] / "tensorboard" / phase.name, write_graph=False
        ),
        keras.callbacks.TerminateOnNaN(),
    ]
    if config.schedule == "plateau":
        chosen.append(keras.callbacks.ReduceLROnPlateau(factor=0.2, patience=3))
    if config.patience:
        chosen.append(keras.callbacks.EarlyStopping(patience=config.patience))
    return chosen


def report(config, run, images, work, twins, kept, histories, notes) -> dict[str, object]:
    """Measure on the test split, save, publish and write down."""
    import keras

    # Sixteen bits are for training: what is evaluated, saved and served runs anywhere.
    looking = serving.in_float32(work.model)
    # Not the compiled model: its optimizer is of no use to whoever loads it.
    looking = keras.Model(looking.input, looking.output, name=work.model.name)
    model = models.transfer.with_mirror(looking) if config.test_time_flip else looking
    print("evaluating on the test split, once")
    count = min(images.counts["validation"], images.counts["train"])
    found = evaluation.explain_classifier(
        model,
        images,
        histories[kept].rows,
        clean_examples=count,
        batch_size=64,
        look_into=looking,
    )
    correct = found.test_logits.argmax(axis=-1) == images.splits["test"].labels
    twin_metrics, twin_notes, twin_tables = evaluation.near_duplicate_findings(
        images, twins, correct
    )
    caveats = evaluation.caveats_of(images, found.metrics, config.class_weights)
    caveats = [*caveats, *twin_notes, *notes]
    rows = training.joined([history.rows for history in histories.values()])
    last = {name: h.rows[h.best_epoch - 1] for name, h in histories.items()}
    metrics = {
        **found.metrics,
        **twin_metrics,
        "kept": kept,
        "best_epoch": best_epoch(histories, kept),
        **{
            f"{name.replace('-', '_')}_{figure}": row[figure]
            for name, row in last.items()
            for figure in ("val_accuracy", "val_loss")
        },
        "parameters": model.count_params(),
        "multiply_adds": models.multiply_adds(work.model),
        "train_seconds": sum(history.train_seconds for history in histories.values()),
        "examples_per_second": histories[kept].examples_per_second,
        "precision": work.precision,
        "exported": None,
    }
    curves = (
        "Learning curves",
        evaluation.plots.learning_curves(rows),
        phases_in_words(histories, kept),
    )
    figures = [curves, *found.figures[1:], *evaluation.explain_gradient_flow(work.flow)]
    tables = [phase_table(work, histories), *found.tables, *twin_tables]
    model.save(run.path / "model.keras")
    for title, figure, _ in figures:
        evaluation.plots.save_png(figure, run.plots / f"{evaluation.file_name(title)}.png")
    if config.export:
        metrics["exported"] = export(config, run, model, images, found, metrics, caveats)
    evaluation.write_report(
        run.path / "report.html",
        title=f"{config.backbone} on {images.spec}",
        verdict=found.verdict,
        metrics=metrics,
        figures=figures,
        tables=tables,
        config=run.config,
        commands=commands(config, run, metrics["exported"]),
        notes=(*caveats, *images.notes, *run.notes),
    )
    for caveat in caveats:
        print(f"note      {caveat}")
    run.finish(metrics)
    print(evaluation.summary(metrics, run.path))
    return metrics


def best_epoch(histories: dict[str, training.History], kept: str) -> int:
    """The epoch whose weights are kept, counted over all phases."""
    names = list(histories)
    before = sum(len(histories[name].rows) for name in names[: names.index(kept)])
    return before + histories[kept].best_epoch


def phases_in_words(histories: dict[str, training.History], kept: str) -> str:
    """What stands under the curves."""
    said, begin = [], 1
    for name, history in histories.items():
        said.append(f"{name}: epochs {begin} to {begin + len(history.rows) - 1}")
        begin += len(history.rows)
    return (
        f"{'; '.join(said)}. The weights of epoch {best_epoch(histories, kept)} are kept. Training "
        "examples are measured while training, and afterwards as validation examples are."
    )


def phase_table(work: Work, histories: dict[str, training.History]) -> tuple:
    """The phases side by side."""
    config, rows = work.config, []
    for name, history in histories.items():
        row = history.rows[history.best_epoch - 1]
        tuned = models.transfer.last_stages(work.stages, config.fine_tune_stages)
        moved = "head" if name == PROBE else ", ".join(("head", *reversed(tuned)))
        rows.append(
            (name, moved, work.rates[name], len(history.rows), row["val_loss"], row["val_accuracy"])
        )
    columns = ("phase", "what moved", "learning rate", "epochs", "validation loss", "accuracy")
    return "Phases, on validation", columns, rows


def export(config: Config, run: training.Run, model, images, found, metrics, caveats) -> str:
    """Publish the next version of the SavedModel, unless this run has done so already."""
    if run.published:
        return run.published
    accuracy, low, high = (metrics[f"test_accuracy{part}"] for part in ("", "_low", "_high"))
    card = (
        f"{config.backbone} (weights: {config.weights}) with a new head, adapted to {images.spec} "
        f"({images.counts['train']} pictures, fingerprint {images.fingerprint[:12]}), seed "
        f"{config.seed}; kept: {metrics['kept']}.\n\n"
        f"Test accuracy {accuracy:.2%} (95 % interval {low:.2%} to {high:.2%}, "
        f"{metrics['test_examples']} pictures), calibration error {metrics['test_ece']:.2%}.\n\n"
        f"{found.verdict.label}: {found.verdict.sentence}\n\n"
        + "".join(f"* {caveat}\n" for caveat in caveats)
        + f"\nRun directory: {run.path.name}\n"
    )
    version = serving.export(
        model,
        config.export_dir or "saved_models/transfer_learning",
        images.class_names,
        temperature=found.temperature,
        card=card,
        sample_images=images.splits["validation"].take(range(min(8, images.counts["validation"]))),
    )
    run.record(exported=str(version))
    print(f"published {version}")
    return str(version)


def commands(config: Config, run: training.Run, published: str | None) -> dict[str, str]:
    """What to type next."""
    shown = {"Repeat or resume": training.command(config, "recipes/transfer_learning.py")}
    if published:
        shown["Predict"] = f"kapps predict {published} PICTURE.jpg"
    shown["For phones"] = f"kapps export {run.path} --format litert --quantize int8"
    return shown


if __name__ == "__main__":
    command_line.run(main, Config, check_and_show)
