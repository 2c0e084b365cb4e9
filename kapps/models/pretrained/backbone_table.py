"""The pre-trained networks, one row per name. No Keras here: `--help` lists the names."""

import os
import pathlib
from typing import NamedTuple

from kapps.errors import UserError

PACKAGED = pathlib.Path(__file__).parent / "weights"
SMALLEST = 64  # side that smaller images are enlarged to
WEIGHT_FILES = (".weights.h5", ".keras", ".h5")


class BackboneRow(NamedTuple):
    """A network that was trained on ImageNet.

    `constructor` is the function of `keras.applications`; `efficientnet_lite0`, which Keras lacks,
    is ours. `preprocessing` is a key of `PREPROCESSING`. `size` is the side of the images it was
    trained on, `minimum` the smallest that its maps survive. `stages` are pairs of a name and a
    regular expression, from the input to the output: a stage begins with the first layer whose
    name the expression matches, and goes on until the next one begins. Everything before the
    second stage is the first.
    """

    constructor: str
    preprocessing: str
    size: int
    minimum: int
    stages: tuple[tuple[str, str], ...]


# What a network was trained to see, per channel in the order it expects: (pixel - mean) / deviation
# of pixels of 0..255. As keras.applications.imagenet_utils.preprocess_input, whose names these are,
# and two that are written into the networks there.
PREPROCESSING = {
    "caffe": ((103.939, 116.779, 123.68), (1.0, 1.0, 1.0)),  # blue, green, red
    "tf": ((127.5,) * 3, (127.5,) * 3),
    "torch": ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)),
    "unit": ((128.0,) * 3, (128.0,) * 3),  # EfficientNetV2 S, M, L
    "lite": ((127.0,) * 3, (128.0,) * 3),  # EfficientNet-Lite
}


def _blocks(last: int) -> tuple[tuple[str, str], ...]:
    numbered = tuple((f"block{i}", rf"block{i}a_") for i in range(1, last + 1))
    return (("stem", ""), *numbered, ("top", "top_conv"))


def _stages(**beginnings: str) -> tuple[tuple[str, str], ...]:
    return tuple(beginnings.items())


_EFFICIENTNET = _blocks(7)
_EFFICIENTNET_V2_SMALL = _blocks(6)
_RESNET = _stages(stem="", conv2="conv2_", conv3="conv3_", conv4="conv4_", conv5="conv5_")
_RESNET_V2 = (*_RESNET, ("top", "post_bn"))
_DENSENET = _stages(
    stem="", conv2="conv2_", conv3="pool2_", conv4="pool3_", conv5="pool4_", top="bn$"
)
_CONVNEXT = _stages(
    stem="",
    stage0=".*_stage_0_",
    stage1=".*_downsampling_block_0",
    stage2=".*_downsampling_block_1",
    stage3=".*_downsampling_block_2",
    top="layer_normalization",
)
_VGG = _stages(block1="", block2="block2_", block3="block3_", block4="block4_", block5="block5_")


def _nasnet(blocks: int) -> tuple[tuple[str, str], ...]:
    return _stages(
        stem="",
        cells1=r".*_stem_1$",
        cells2=r".*_stem_2$",
        cells3=r".*_0$",
        cells4=rf".*_reduce_{blocks}$",
        cells5=rf".*_reduce_{2 * blocks}$",
    )


# By the size of the maps: strides 2, 4, 8, 16, 32.
_MOBILENET = _stages(
    stem="",
    maps2="conv_dw_1$",
    maps4="conv_(pad|dw)_2$",
    maps8="conv_(pad|dw)_4$",
    maps16="conv_(pad|dw)_6$",
    maps32="conv_(pad|dw)_12$",
)
_MOBILENET_V2 = _stages(
    stem="",
    maps2="expanded_conv_",
    maps4="block_1_",
    maps8="block_3_",
    maps16="block_6_",
    maps32="block_13_",
    top="Conv_1",
)
_MOBILENET_V3_SMALL = _stages(
    stem="",
    maps4="expanded_conv_depthwise",
    maps8="expanded_conv_1_",
    maps16="expanded_conv_3_",
    maps32="expanded_conv_8_",
    top="conv_1$",
)
_MOBILENET_V3_LARGE = _stages(
    stem="",
    maps2="expanded_conv_depthwise",
    maps4="expanded_conv_1_",
    maps8="expanded_conv_3_",
    maps16="expanded_conv_6_",
    maps32="expanded_conv_12_",
    top="conv_1$",
)
_INCEPTION_V3 = _stages(stem="", mixed35="max_pooling2d_1$", mixed17="mixed2$", mixed8="mixed7$")
_INCEPTION_RESNET_V2 = _stages(
    stem="",
    block35="max_pooling2d_1$",
    block17="block35_10_ac$",
    block8="block17_20_ac$",
    top="conv_7b",
)
_XCEPTION = _stages(
    block1="",
    block2="block2_",
    block3="block3_",
    block4="block4_",
    middle="block5_",
    block13="block13_",
    block14="block14_",
)

BACKBONES = {
    "efficientnet_lite0": BackboneRow("", "lite", 224, 32, _EFFICIENTNET),
    "convnext_tiny": BackboneRow("ConvNeXtTiny", "torch", 224, 32, _CONVNEXT),
    "convnext_small": BackboneRow("ConvNeXtSmall", "torch", 224, 32, _CONVNEXT),
    "convnext_base": BackboneRow("ConvNeXtBase", "torch", 224, 32, _CONVNEXT),
    "convnext_large": BackboneRow("ConvNeXtLarge", "torch", 224, 32, _CONVNEXT),
    "convnext_xlarge": BackboneRow("ConvNeXtXLarge", "torch", 224, 32, _CONVNEXT),
    "densenet121": BackboneRow("DenseNet121", "torch", 224, 32, _DENSENET),
    "densenet169": BackboneRow("DenseNet169", "torch", 224, 32, _DENSENET),
    "densenet201": BackboneRow("DenseNet201", "torch", 224, 32, _DENSENET),
    "efficientnet_b0": BackboneRow("EfficientNetB0", "torch", 224, 32, _EFFICIENTNET),
    "efficientnet_b1": BackboneRow("EfficientNetB1", "torch", 240, 32, _EFFICIENTNET),
    "efficientnet_b2": BackboneRow("EfficientNetB2", "torch", 260, 32, _EFFICIENTNET),
    "efficientnet_b3": BackboneRow("EfficientNetB3", "torch", 300, 32, _EFFICIENTNET),
    "efficientnet_b4": BackboneRow("EfficientNetB4", "torch", 380, 32, _EFFICIENTNET),
    "efficientnet_b5": BackboneRow("EfficientNetB5", "torch", 456, 32, _EFFICIENTNET),
    "efficientnet_b6": BackboneRow("EfficientNetB6", "torch", 528, 32, _EFFICIENTNET),
    "efficientnet_b7": BackboneRow("EfficientNetB7", "torch", 600, 32, _EFFICIENTNET),
    "efficientnet_v2_b0": BackboneRow("EfficientNetV2B0", "torch", 224, 32, _EFFICIENTNET_V2_SMALL),
    "efficientnet_v2_b1": BackboneRow("EfficientNetV2B1", "torch", 240, 32, _EFFICIENTNET_V2_SMALL),
    "efficientnet_v2_b2": BackboneRow("EfficientNetV2B2", "torch", 260, 32, _EFFICIENTNET_V2_SMALL),
    "efficientnet_v2_b3": BackboneRow("EfficientNetV2B3", "torch", 300, 32, _EFFICIENTNET_V2_SMALL),
    "efficientnet_v2_s": BackboneRow("EfficientNetV2S", "unit", 384, 32, _EFFICIENTNET_V2_SMALL),
    "efficientnet_v2_m": BackboneRow("EfficientNetV2M", "unit", 480, 32, _EFFICIENTNET),
    "efficientnet_v2_l": BackboneRow("EfficientNetV2L", "unit", 480, 32, _EFFICIENTNET),
    "inception_resnet_v2": BackboneRow("InceptionResNetV2", "tf", 299, 75, _INCEPTION_RESNET_V2),
    "inception_v3": BackboneRow("InceptionV3", "tf", 299, 75, _INCEPTION_V3),
    "mobilenet": BackboneRow("MobileNet", "tf", 224, 32, _MOBILENET),
    "mobilenet_v2": BackboneRow("MobileNetV2", "tf", 224, 32, _MOBILENET_V2),
    "mobilenet_v3_small": BackboneRow("MobileNetV3Small", "tf", 224, 32, _MOBILENET_V3_SMALL),
    "mobilenet_v3_large": BackboneRow("MobileNetV3Large", "tf", 224, 32, _MOBILENET_V3_LARGE),
    "nasnet_mobile": BackboneRow("NASNetMobile", "tf", 224, 32, _nasnet(4)),
    "nasnet_large": BackboneRow("NASNetLarge", "tf", 331, 32, _nasnet(6)),
    "resnet50": BackboneRow("ResNet50", "caffe", 224, 32, _RESNET),
    "resnet101": BackboneRow("ResNet101", "caffe", 224, 32, _RESNET),
    "resnet152": BackboneRow("ResNet152", "caffe", 224, 32, _RESNET),
    "resnet50_v2": BackboneRow("ResNet50V2", "tf", 224, 32, _RESNET_V2),
    "resnet101_v2": BackboneRow("ResNet101V2", "tf", 224, 32, _RESNET_V2),
    "resnet152_v2": BackboneRow("ResNet152V2", "tf", 224, 32, _RESNET_V2),
    "vgg16": BackboneRow("VGG16", "caffe", 224, 32, _VGG),
    "vgg19": BackboneRow("VGG19", "caffe", 224, 32, _VGG),
    "xception": BackboneRow("Xception", "tf", 299, 71, _XCEPTION),
}


def backbone_names() -> tuple[str, ...]:
    """The names `backbone` accepts; the one whose weights come with kapps is first."""
    return tuple(BACKBONES)


def imagenet_names() -> tuple[str, ...]:
    """The thousand classes of ImageNet (ILSVRC 2012) by index: their first name in WordNet 3.0.

    The two cranes and the two maillots have the broader term in brackets.
    """
    return tuple((PACKAGED / "imagenet_names.txt").read_text(encoding="utf-8").splitlines())


def input_size(name: str, side: int) -> int:
    """The side that images are enlarged to: twice their own, from 64 to what the network is for.

    Args:
        name: of the network.
        side: the longer one of the images.
    """
    row = BACKBONES[name]
    return min(row.size, max(SMALLEST, row.minimum, 2 * side))


def check_stages(name: str, count: int | str) -> None:
    """Refuses to fine-tune more stages than a network has.

    Args:
        name: of the network.
        count: of stages from its output, or "all".

    Raises:
        UserError: fewer than none, or more than there are.
    """
    names = [stage for stage, _ in BACKBONES[name].stages]
    if count != "all" and not 0 <= int(count) <= len(names):
        raise UserError(f"--fine-tune-stages {count}: {name} has {len(names)}: {', '.join(names)}")


def check_backbone(
    name: str,
    weights: str | os.PathLike = "imagenet",
    input_shape: tuple[int, int, int] | None = None,
) -> None:
    """Refuses what `backbone` would refuse, as far as that can be told without Keras.

    Raises:
        UserError: an unknown name, a file of weights that is not there, an image that is too small
            or has neither 1 nor 3 channels.
    """
    if name not in BACKBONES:
        raise UserError(f"backbone {name!r} is unknown; known: {', '.join(BACKBONES)}.")
    if weights not in ("imagenet", "none"):
        path = pathlib.Path(weights).expanduser()
        if not path.name.endswith(WEIGHT_FILES):
            raise UserError(
                f'weights {str(weights)!r}: give "imagenet", "none", or a file that ends in '
                f"{', '.join(WEIGHT_FILES)}."
            )
        if not path.is_file():
            raise UserError(f"{path}: there is no such file of weights.")
    if input_shape is None:
        return
    height, width, channels = input_shape
    if channels not in (1, 3):
        raise UserError(f"{name} takes images of 1 or 3 channels, not of {channels}.")
    minimum = BACKBONES[name].minimum
    if min(height, width) < minimum:
        raise UserError(
            f"{name} needs images of at least {minimum}x{minimum} pixels; got {height}x{width}."
        )
