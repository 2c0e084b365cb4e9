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
from kapps.training.distributed.devices import cluster
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
    """where everything about the run goes; default: runs/RECIPE/NAME, one NAME per configuration"""
    export_dir: str | None = None
    """where versions are published; default: saved_models/RECIPE"""
    export: bool = True
    """publish a SavedModel"""
    overwrite: bool = False
    """throw away what is in the run directory"""
    track: Literal["none", "mlflow"] = "none"
    """also tell a tracker: settings, epochs, figures, report and model; needs kapps[mlflow]"""
    tracking_uri: str | None = None
    """where it keeps them, http://HOST:5000 or sqlite:///mlflow.db; default: MLflow's own"""


@dataclasses.dataclass(frozen=True)
class CommonFlags(RunFlags):
    """Flags of every recipe that trains."""

    dataset: str = "digits"
    """digits (embedded), fashion_mnist, tfds:NAME, folder:PATH or npz:PATH"""
    data_dir: str | None = None
    """where prepared datasets live; default: where TensorFlow Datasets keeps them"""
    epochs: PositiveInt = 20
    """passes over the training data"""
    batch_size: PositiveInt = 64
    """examples per step, over all devices"""
    learning_rate: Positive | None = None
    """highest learning rate; default: the optimizer's usual one"""
    devices: str = "auto"
    """auto, cpu, cpu:N (N logical devices, to check distribution), gpu or gpu:N"""
    sync_batch_norm: bool = True
    """several devices: batch normalization of the whole batch, as one device has it"""
    scale_learning_rate: Literal["none", "linear", "sqrt"] = "none"
    """several devices: times their number, or its root, for a batch that grows with them"""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """auto measures on CPUs with bfloat16 units and asks the GPU otherwise"""
    gradient_flow: bool = False
    """also measure and draw the norm of the gradient in each layer; training stays the same"""
    profile: NonNegativeInt = 0
    """also profile this many steps: the report shows where their time goes; 0 is off"""

    @property
    def run_name(self) -> str:
        """What the name of the run directory begins with: the kind of data, and the model."""
        return "-".join(filter(None, (self.dataset.split(":")[0], getattr(self, "model", ""))))


@dataclasses.dataclass(frozen=True)
class ImageFlags:
    """Flags of recipes that read images."""

    image_size: PositiveInt | None = None
    """side that images of a folder are resized to; default: chosen from the images"""
    validation_fraction: OpenFraction = 0.1
    """part of the training data that is kept for validation, stratified"""
    labels: str | None = None
    """folder: a CSV file with the columns file_name and label, in the place of class folders"""
    label_pattern: str | None = None
    """folder: a regular expression with one group, the class, searched for in names of files"""
    resize: Literal["auto", "fit", "crop", "stretch"] = "auto"
    """folder: pictures of another aspect ratio get black bars (fit), lose their ends (crop) or are
    squashed (stretch); auto: fit, if many have one, else stretch"""
    skip_broken: bool = False
    """leave out images that cannot be read, instead of stopping"""
    decoded: Literal["auto", "memory", "disk", "none"] = "auto"
    """folder: where decoded images are kept; disk: a file for later runs, too; none: decode them in
    every epoch, and write nothing; auto: disk for 1,000 images to 32 GiB and half of what is free,
    or else memory, if they fit"""
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
    """shift them by up to this part of each side (0.125 is usual for long trainings)"""
    flip: Literal["auto", "yes", "no"] = "auto"
    """mirror them left and right; auto: not if the classes are named by single characters"""
    rotation: Degrees = 0.0
    """turn them by up to this many degrees"""
    resized_crop: Fraction = 0.0
    """enlarge a part of them, of at least this part of the area (0.25 is usual); 0 is off"""
    jitter: Fraction = 0.0
    """change brightness, contrast, saturation and hue by up to this factor (0.4 is usual)"""
    randaugment: Annotated[float, Range(0, 10, "between 0 and 10")] = 0.0
    """two changes of light or place for each image, of this magnitude (9 is usual)"""
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
    """how weights move"""
    schedule: ScheduleName = "one-cycle"
    """how the learning rate moves; one-cycle moves the momentum, too"""
    warmup: Rate = 0.0
    """part of the steps in which the rate rises (one-cycle: 0.25 when this is 0)"""
    weight_decay: NonNegative | None = None
    """decoupled, times the learning rate; biases and norms are spared; default: the usual one"""
    clip: NonNegative = 0.0
    """highest global norm of the gradient; 0 is off"""
    patience: NonNegativeInt = 0
    """epochs without a better one before training stops; 0 is off"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        (
            lambda config: changed(config, "warmup") and config.schedule in ("step", "plateau"),
            "--schedule {schedule} has no --warmup",
        ),
    )


@dataclasses.dataclass(frozen=True)
class ClassifierFlags:
    """Of what is judged by its right answers."""

    best_by: Literal["accuracy", "loss"] = "accuracy"
    """the epoch that is kept: highest validation accuracy (among equals the lowest loss after a
    temperature), or lowest validation loss"""


@dataclasses.dataclass(frozen=True)
class TargetFlags:
    """What a classifier is told to answer, and what each class counts."""

    label_smoothing: Rate = 0.0
    """part of the target that is spread over all classes"""
    class_weights: bool = False
    """give every class the same share of the loss"""


@dataclasses.dataclass(frozen=True)
class AveragingFlags:
    """Whether an average of the weights is what is kept."""

    ema: Decay = 0.0
    """decay of the moving average of the weights, 0.999 for example; 0 is off"""


@dataclasses.dataclass(frozen=True)
class PeerFlags:
    """What a trained classifier is compared with."""

    peers: bool = True
    """train simple models on the same split, too, and say which is better on the test split"""


@dataclasses.dataclass(frozen=True)
class FoldFlags:
    """Cross-validation, for data so small that one test split says little."""

    folds: NonNegativeInt = 0
    """train on each of so many folds before, for a mean and an interval of the test figure"""
    fold: NonNegativeInt | None = None
    """train on this one of the folds alone, from 0, and publish it"""

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
    identity_start: bool = False
    """convolutions begin by handing on what they get (Dirac initialization)"""
    alternate_flips: bool = False
    """mirror each image in every second epoch, instead of by chance"""
    test_views: bool = False
    """answer with the mean over the image, shifted by a pixel and mirrored as training does it"""

    EXCLUSIONS: ClassVar[Exclusions] = (
        (
            lambda config: config.whitening and config.model == "mlp",
            "--whitening is a convolution, and --model mlp has none",
        ),
        (
            lambda config: config.identity_start and config.model == "mlp",
            "--identity-start is for convolutions, and --model mlp has none",
        ),
        (
            lambda config: config.alternate_flips and (not config.augment or config.flip == "no"),
            "--alternate-flips says how images are mirrored, and they are not",
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
