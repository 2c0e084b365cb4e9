"""Residual networks."""

from collections.abc import Sequence

import keras
import numpy as np

from kapps import blocks
from kapps.models import arguments, heads
from kapps.models.images.variants import RESNET

_BLOCKS = {"basic": blocks.residual_block, "bottleneck": blocks.bottleneck_block}
_SHORTCUTS = {
    "projection": blocks.projection_shortcut,
    "average": blocks.average_shortcut,
    "pad": blocks.padding_shortcut,
}


def resnet(
    variant: str,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    stem: str = "auto",
    activation: str = "relu",
    zero_gamma: bool = False,
    dropout: float = 0.0,
    pixel_mean: float | Sequence[float] = 0.5,
    pixel_std: float | Sequence[float] = 0.5,
    whitening: np.ndarray | None = None,
    whitening_strides: int = 1,
    name: str | None = None,
) -> keras.Model:
    """A residual network (He et al. 2015, arXiv:1512.03385), one of `variants.RESNET`.

    `stem` "imagenet" is a 7x7 convolution and a 3x3 max pool, strides 2 each; "small" is one 3x3
    convolution without strides, as the paper has it for CIFAR-10; "pooled" is the same and a 2x2
    max pool; "auto" takes the first from 64 pixels on. Every stage but the first halves the sides.
    Images of any size will do.

    Strided windows are padded evenly, as in torchvision, whose numbers of parameters those of the
    ImageNet variants equal. `zero_gamma` starts every block at the identity (arXiv:1706.02677,
    section 5.1): a help to deep networks, not to those of a few blocks. The head is global average
    pooling; `dropout` precedes the logits.

    `whitening` is the kernel of a frozen first convolution, of `kapps.data.whitening_kernel`, with
    `whitening_strides`.

    Returns:
        A functional model: "image" `[batch, *image_shape]`, 0..255 -> "logits" `[batch, classes]`.

    Raises:
        UserError: an argument is out of its range or the variant is unknown.
    """
    arguments.one_of("variant", variant, tuple(RESNET))
    arguments.activation(activation)
    row = RESNET[variant]
    stem = heads.stem_for(stem, image_shape, row.small_stem, known=("pooled",))
    block, shortcut = _BLOCKS[row.block], _SHORTCUTS[row.shortcut]

    image, x = heads.image_input(image_shape, pixel_mean, pixel_std, whitening, whitening_strides)
    if stem == "imagenet":
        x = blocks.conv_bn(
            x, row.filters[0], 7, strides=2, padding="centered", activation=activation, name="stem"
        )
        # The zeros are as good as minus infinity after a ReLU, and this is what the paper's
        # and torchvision's weights were trained with.
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_padding")(x)
        x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    else:
        x = blocks.conv_bn(x, row.filters[0], 3, activation=activation, name="stem")
        if stem == "pooled":
            x = keras.layers.MaxPooling2D(2, padding="same", name="stem_pool")(x)
    for stage, (filters, count) in enumerate(zip(row.filters, row.blocks, strict=True), start=1):
        for i in range(1, count + 1):
            x = block(
                x,
                filters,
                strides=2 if stage > 1 and i == 1 else 1,
                shortcut=shortcut,
                activation=activation,
                zero_gamma=zero_gamma,
                name=f"stage{stage}_block{i}",
            )
    x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    return keras.Model(image, heads.logits(x, classes, dropout), name=name or variant)
