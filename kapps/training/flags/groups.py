"""Flags that recipes share, as frozen dataclasses that a recipe's `Config` inherits.

    RunFlags            seed, where things go
    CommonFlags         these, and data, epochs, batch, rate, devices, precision
    ImageFlags          size of the images, part kept for validation
    AugmentationFlags   what is done to training images
    OptimizationFlags   optimizer, schedule, decay, clipping, patience
    ClassifierFlags     which epoch of a classifier is kept
    TargetFlags         smoothed targets, weights of classes
    AveragingFlags      an average of the weights
    FoldFlags           how many folds, or which of them
    PeerFlags           whether simple models are asked, too
    FastFlags           what makes an image classifier good in few epochs

A field's range stands in its type (`ranges`), and what does not go together in the class variable
`EXCLUSIONS` (`rules`). `checks.check` looks at both, over all the classes that a `Config` is made
of. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from kapps import data
from kapps.training.distributed.devices import cluster, named_devices
from kapps.training.flags.ranges import (
    Decay,
    Degrees,
    Fraction,
    NonNegative,
    NonNegativeInt,
    OpenFraction,
    Positive,
    PositiveInt,
    Range,
    Rate,
)
from kapps.training.flags.rules import Exclusions, changed

Presets = Mapping[str, Mapping[str, Any]]  # values of fields, by the name of the preset

# What moves each weight by itself, and what looks at whole kernels.
ElementwiseOptimizer = Literal[
    "sgd", "momentum", "nesterov", "adadelta", "rmsprop", "adam", "adamw"
]
OptimizerName = Literal[ElementwiseOptimizer, "muon"]
ScheduleName = Literal["constant", "step", "cosine", "one-cycle", "plateau"]
AUGMENTATIONS = (
    "flip",
    "crop",
    "rotation",
    "resized_crop",
    "jitter",
    "randaugment",
    "erasing",
    "mixup",
    "cutmix",
)


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """Flags of everything that has a run directory."""

    seed: Annotated[int, Range(0, 2**31 - 1, "between 0 and 2147483647")] = 0
    """seed of the split, the weights, the order and the augmentation"""
    run_dir: str | None = None
    """directory of the run; default: runs/RECIPE/NAME, one NAME per configuration"""
    export_dir: str | None = None
    """where versions are published; default: saved_models/RECIPE"""
    export: bool = True
    """publish a SavedModel"""
    overwrite: bool = False
    """delete what is in the run directory, and start afresh"""
    track: Literal["none", "mlflow"] = "none"
    """also log settings, epochs, figures, report and model to a tracker; needs kapps[mlflow]"""
    tracking_uri: str | None = None
    """where to log, http://HOST:5000 or sqlite:///mlflow.db; default: MLflow's own"""


@dataclasses.dataclass(frozen=True)
class CommonFlags(RunFlags):
    """Flags of every recipe that trains."""

    dataset: str = "digits"
    """digits (embedded), fashion_mnist, tfds:NAME, folder:PATH, npz:PATH, tfrecord:PATTERN or
    webdataset:PATTERN (shards, also at gs://, s3:// or https://)"""
    data_dir: str | None = None
    """where prepared datasets live; default: where TensorFlow Datasets keeps them"""
    epochs: PositiveInt = 20
    """passes over the training data"""
    batch_size: PositiveInt = 64
    """examples per step, over all devices"""
    learning_rate: Positive | None = None
    """peak learning rate; default: the optimizer's usual one"""
    devices: str = "auto"
    """auto, cpu, cpu:N (N logical devices, to check distribution), gpu or gpu:N"""
    sync_batch_norm: bool = True
    """several devices: batch normalization over the whole batch, as on one device"""
    scale_learning_rate: Literal["none", "linear", "sqrt"] = "none"
    """several devices: multiply by their number, or its root, if the batch grows with them"""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """auto measures on CPUs with bfloat16 units and otherwise goes by the GPU"""
    jit: Literal["auto", "on", "off"] = "auto"
    """have XLA compile the steps; auto measures on one GPU; off on CPUs, where XLA is slower"""
    gradient_flow: bool = False
    """also measure and plot the gradient norm of each layer; training stays the same"""
    profile: NonNegativeInt = 0
    """also profile this many steps: the report shows where their time goes; 0 is off"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        (
            lambda config: config.jit == "on" and named_devices(config.devices) > 1,
            "--jit on: XLA cannot compile a step that reaches over several devices",
        ),
    )

    @property
    def run_name(self) -> str:
        """What the name of the run directory begins with: the kind of data, and the model."""
        return "-".join(filter(None, (self.dataset.split(":")[0], getattr(self, "model", ""))))


@dataclasses.dataclass(frozen=True)
class ImageFlags:
    """Flags of recipes that read images."""

    image_size: PositiveInt | None = None
    """folder, shards: height and width to resize images to; default: chosen from the images"""
    validation_fraction: OpenFraction = 0.1
    """fraction of the training data held out for validation, stratified"""
    labels: str | None = None
    """folder: a CSV file with the columns file_name and label, instead of class folders"""
    label_pattern: str | None = None
    """folder: a regular expression with one group, the class, searched for in file names"""
    resize: Literal["auto", "fit", "crop", "stretch"] = "auto"
    """folder, shards: images of another aspect ratio are padded with black bars (fit), cropped
    (crop) or stretched (stretch); auto: fit if many have one, else stretch"""
    skip_broken: bool = False
    """skip images that cannot be read, instead of stopping"""
    decoded: Literal["auto", "memory", "disk", "none"] = "auto"
    """folder, shards: where decoded images are cached; disk: a file that later runs use, too; none:
    decode in every epoch and write nothing; auto: disk from 1,000 images up to 32 GiB and half of
    the free space, else memory if they fit"""
    memory_limit: Positive = 4.0
    """GiB of decoded images in memory: more of a folder or of a TensorFlow dataset are read from
    the disk, and an npz file with more is refused"""
    group_pattern: str | None = None
    """folder: a regular expression with one group, searched for in file names: "(patient[0-9]+)"
    puts all images with the same value into one split"""
    group_level: PositiveInt | None = None
    """folder: the same by the folders below the class folder; 1 is the first"""


@dataclasses.dataclass(frozen=True)
class AugmentationFlags:
    """What is done to training images."""

    augment: bool = True
    """shift, mirror and otherwise change training images, as the flags below say"""
    crop: Fraction = 0.1
    """shift them by up to this fraction of each side (0.125 is usual for long training)"""
    flip: Literal["auto", "yes", "no"] = "auto"
    """flip them horizontally; auto: not if the class names are single characters"""
    rotation: Degrees = 0.0
    """rotate them by up to this many degrees"""
    resized_crop: Fraction = 0.0
    """enlarge a random crop of at least this fraction of the area (0.25 is usual); 0 is off"""
    jitter: Fraction = 0.0
    """change brightness, contrast, saturation and hue by up to this factor (0.4 is usual)"""
    randaugment: Annotated[float, Range(0, 10, "between 0 and 10")] = 0.0
    """two photometric or geometric changes per image, of this magnitude (9 is usual)"""
    erasing: Fraction = 0.0
    """probability of erasing a rectangle"""
    mixup: NonNegative = 0.0
    """alpha of mixup; 0.2 is usual"""
    cutmix: NonNegative = 0.0
    """alpha of cutmix; 1.0 is usual"""

    EXCLUSIONS: ClassVar[Exclusions] = tuple(
        (
            lambda config, name=name: not config.augment and changed(config, name),
            f"--{name.replace('_', '-')} is part of what --no-augment switches off",
        )
        for name in AUGMENTATIONS
    )

    def augmentation(
        self, class_names: Sequence[str], own: data.OwnAugmentation | None = None
    ) -> data.Augmentation:
        """What these flags ask for.

        Args:
            class_names: mirrored digits and letters are other ones, or none.
            own: a function of one's own, whatever the flags say.
        """
        mirrored = any(len(name) > 1 and not name.isdigit() for name in class_names)
        flip = mirrored if self.flip == "auto" else self.flip == "yes"
        strengths = {name: getattr(self, name) for name in AUGMENTATIONS} | {"flip": flip}
        return data.Augmentation(**strengths if self.augment else {}, own=own)


@dataclasses.dataclass(frozen=True)
class OptimizationFlags:
    """How weights move."""

    optimizer: OptimizerName = "adamw"
    """optimizer"""
    schedule: ScheduleName = "one-cycle"
    """learning-rate schedule; one-cycle changes the momentum, too"""
    warmup: Rate = 0.0
    """fraction of the steps in which the rate rises (one-cycle: 0.25 when this is 0)"""
    weight_decay: NonNegative | None = None
    """decoupled, times the learning rate; biases and norms are exempt; default: the usual one"""
    clip: NonNegative = 0.0
    """maximum global norm of the gradient; 0 is off"""
    patience: NonNegativeInt = 0
    """epochs without improvement before training stops; 0 is off"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        (
            lambda config: changed(config, "warmup") and config.schedule in ("step", "plateau"),
            "--schedule {schedule} has no --warmup",
        ),
    )


@dataclasses.dataclass(frozen=True)
class ClassifierFlags:
    """Which epoch of a classifier is kept."""

    best_by: Literal["accuracy", "loss"] = "accuracy"
    """which epoch is kept: highest validation accuracy (ties: lowest loss after temperature
    scaling), or lowest validation loss"""


@dataclasses.dataclass(frozen=True)
class TargetFlags:
    """Smoothed targets, and the weight of each class."""

    label_smoothing: Rate = 0.0
    """fraction of the target that is spread over all classes"""
    class_weights: bool = False
    """give every class the same share of the loss"""


@dataclasses.dataclass(frozen=True)
class AveragingFlags:
    """Whether a moving average of the weights is kept."""

    ema: Decay = 0.0
    """decay of the weights' moving average, for example 0.999; 0 is off"""


@dataclasses.dataclass(frozen=True)
class PeerFlags:
    """What a trained classifier is compared with."""

    peers: bool = True
    """also train simple baselines on the same split, and compare them on the test split"""


@dataclasses.dataclass(frozen=True)
class FoldFlags:
    """Cross-validation, for data so small that one test split says little."""

    folds: NonNegativeInt = 0
    """cross-validate first with this many folds, for a mean and an interval of the test figure"""
    fold: NonNegativeInt | None = None
    """train only this fold, counted from 0, and publish it"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        (lambda config: config.folds == 1, "--folds 1: two folds or more are needed"),
        (
            lambda config: config.fold is not None and config.fold >= config.folds,
            "--fold {fold}: it must be below --folds {folds}; the first is 0",
        ),
        (
            lambda config: config.folds and config.fold is None and cluster(),
            "--folds trains on one machine: unset TF_CONFIG, or give each machine its --fold",
        ),
    )

    @property
    def which_fold(self) -> tuple[int, int] | None:
        """(i, K), as the loaders take it; None: the splits of the data."""
        return None if self.fold is None else (self.fold, self.folds)


@dataclasses.dataclass(frozen=True)
class FastFlags:
    """What makes an image classifier good in few epochs; goes with `AugmentationFlags`."""

    whitening: Annotated[int, Range(0, 7, "between 0 and 7")] = 0
    """side of the patches that a frozen first layer whitens (2 or 3 is usual); 0 is off"""
    whitening_strides: PositiveInt = 1
    """strides of that layer; 2 makes all that follow four times as fast"""
    identity_start: bool = False
    """initialize convolutions as the identity (Dirac initialization)"""
    alternate_flips: bool = False
    """flip each image in every second epoch, instead of at random"""
    test_views: bool = False
    """average predictions over shifts by a pixel and flips, as used in training"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        (
            lambda config: config.whitening and config.model == "mlp",
            "--whitening is a convolution, and --model mlp has none",
        ),
        (
            lambda config: config.whitening_strides > 1 and not config.whitening,
            "--whitening-strides are those of --whitening, which is off",
        ),
        (
            lambda config: config.identity_start and config.model == "mlp",
            "--identity-start is for convolutions, and --model mlp has none",
        ),
        (
            lambda config: config.alternate_flips and (not config.augment or config.flip == "no"),
            "--alternate-flips says how images are flipped, and they are not",
        ),
        (
            lambda config: config.test_views and not config.augment,
            "--test-views are those of training, and --no-augment has none",
        ),
    )

    def first_layer(self, images: data.ImageData) -> dict[str, Any]:
        """Keyword arguments of `models.classifier`: statistics of the pixels, and whitening.

        Args:
            images: whose training split they are taken from.
        """
        train = images.splits["train"]
        mean, std = data.pixel_statistics(train)
        found: dict[str, Any] = {
            "pixel_mean": tuple(mean.tolist()),
            "pixel_std": tuple(std.tolist()),
        }
        if self.whitening:
            found["whitening"] = data.whitening_kernel(train, self.whitening, mean, std)
            found["whitening_strides"] = self.whitening_strides
        return found

    def views(self, augmentation: data.Augmentation) -> dict[str, Any]:
        """Keyword arguments of `models.with_views`: what training does to images, and no more.

        Args:
            augmentation: of the training.
        """
        if not self.test_views:
            return {}
        return {"mirror": augmentation.flip, "shift": int(augmentation.crop > 0)}


def load_images(config: Any, **settings: Any) -> data.ImageData:
    """The images that the flags ask for.

    Args:
        config: has the common flags and those of images.
        **settings: arguments of `data.load` that go before the flags.
    """
    return data.load_as_configured(vars(config), **settings)
