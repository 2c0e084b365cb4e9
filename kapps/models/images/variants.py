"""The tables of the papers, one row per named network. No Keras here: `--help` lists the names."""

from typing import NamedTuple

from kapps.errors import UserError


class ResNetVariant(NamedTuple):
    """A row of a residual network's table.

    `block` is "basic" (two 3x3 convolutions) or "bottleneck" (1x1, 3x3, 1x1; four times as many
    filters leave as the row says). `filters` and `blocks` have one entry per stage. `shortcut` is
    "projection" (option B of He et al. 2015), "average" (ResNet-D: averaged, then projected) or
    "pad" (option A, free of parameters).
    `small_stem` is the stem for images under 64 pixels.
    """

    block: str
    filters: tuple[int, ...]
    blocks: tuple[int, ...]
    shortcut: str = "projection"
    small_stem: str = "small"


class InceptionVariant(NamedTuple):
    """The filters of the stem's convolutions, then per stage and block the six numbers of table 1.

    The six: #1x1, #3x3 reduce, #3x3, #5x5 reduce, #5x5, pool proj.
    """

    stem: tuple[int, ...]
    stages: tuple[tuple[tuple[int, int, int, int, int, int], ...], ...]


VGG = {
    # Ours, for a few epochs on a CPU: the first three stages. Named as the paper counts: with two
    # hidden dense layers and the logits.
    "vgg7": (2, 1, 1),
    "vgg9": (2, 2, 2),
    # Convolutions per stage: columns A, B, D and E of table 1, arXiv:1409.1556.
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
VGG_FILTERS = (64, 128, 256, 512, 512)

INCEPTION = {
    # GoogLeNet: table 1, arXiv:1409.4842.
    "inception_v1": InceptionVariant(
        stem=(64, 64, 192),
        stages=(
            (
                (64, 96, 128, 16, 32, 32),  # 3a
                (128, 128, 192, 32, 96, 64),  # 3b
            ),
            (
                (192, 96, 208, 16, 48, 64),  # 4a
                (160, 112, 224, 24, 64, 64),  # 4b
                (128, 128, 256, 24, 64, 64),  # 4c
                (112, 144, 288, 32, 64, 64),  # 4d
                (256, 160, 320, 32, 128, 128),  # 4e
            ),
            (
                (256, 160, 320, 32, 128, 128),  # 5a
                (384, 192, 384, 48, 128, 128),  # 5b
            ),
        ),
    ),
    # For images of 28 or 32 pixels: rows 3a, 3b, 4a, 4e and 5b at half their width.
    "inception_small": InceptionVariant(
        stem=(64,),
        stages=(
            ((32, 48, 64, 8, 16, 16),),  # 3a / 2
            (
                (64, 64, 96, 16, 48, 32),  # 3b / 2
                (96, 48, 104, 8, 24, 32),  # 4a / 2
            ),
            (
                (128, 80, 160, 16, 64, 64),  # 4e / 2
                (192, 96, 192, 24, 64, 64),  # 5b / 2
            ),
        ),
    ),
}

RESNET = {
    # Table 1, arXiv:1512.03385.
    "resnet18": ResNetVariant("basic", (64, 128, 256, 512), (2, 2, 2, 2)),
    "resnet34": ResNetVariant("basic", (64, 128, 256, 512), (3, 4, 6, 3)),
    "resnet50": ResNetVariant("bottleneck", (64, 128, 256, 512), (3, 4, 6, 3)),
    "resnet101": ResNetVariant("bottleneck", (64, 128, 256, 512), (3, 4, 23, 3)),
    # Section 4.2 of the same paper (CIFAR-10): depth 6n + 2, shortcuts of option A.
    "resnet20": ResNetVariant("basic", (16, 32, 64), (3, 3, 3), shortcut="pad"),
    "resnet32": ResNetVariant("basic", (16, 32, 64), (5, 5, 5), shortcut="pad"),
    "resnet44": ResNetVariant("basic", (16, 32, 64), (7, 7, 7), shortcut="pad"),
    "resnet56": ResNetVariant("basic", (16, 32, 64), (9, 9, 9), shortcut="pad"),
    "resnet110": ResNetVariant("basic", (16, 32, 64), (18, 18, 18), shortcut="pad"),
    # Ours, for a few epochs on a CPU: few, wide layers. Wide 3x3 convolutions are what the
    # matrix units are fast at, and a shallow network needs few epochs. A pool after the stem spares
    # the largest maps, whose elementwise operations cost more than their convolutions.
    "resnet8_wide": ResNetVariant("basic", (64, 128, 256), (1, 1, 1), "average", "pooled"),
    "resnet10": ResNetVariant("basic", (64, 128, 256, 512), (1, 1, 1, 1), "average", "pooled"),
}


def classifier_names() -> tuple[str, ...]:
    """The names that `classifier` accepts and calls a builder for, family by family."""
    return ("mlp", "cnn", *VGG, *INCEPTION, *RESNET)


def check_classifier(name: str) -> None:
    """Refuses a name that `classifier` does not know.

    Raises:
        UserError: with all names.
    """
    if name not in classifier_names():
        raise UserError(f"model {name!r} is unknown; known: {', '.join(classifier_names())}.")
