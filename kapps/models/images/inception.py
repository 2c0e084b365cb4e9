"""Inception networks."""

from collections.abc import Sequence

import keras
import numpy as np

from kapps import blocks
from kapps.models import arguments, heads
from kapps.models.images.variants import INCEPTION


def inception(
    variant: str,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    stem: str = "auto",
    normalization: str | None = "batch",
    activation: str = "relu",
    dropout: float = 0.0,
    pixel_mean: float | Sequence[float] = 0.5,
    pixel_std: float | Sequence[float] = 0.5,
    whitening: np.ndarray | None = None,
    whitening_strides: int = 1,
    name: str | None = None,
) -> keras.Model:
    """An Inception network (Szegedy et al. 2014, arXiv:1409.4842), one of `variants.INCEPTION`.

    `stem` "imagenet" is that of table 1: a 7x7 convolution and, before and after the 1x1 and 3x3
    convolutions, a 3x3 max pool, strides 2 each; "small" has a 3x3 convolution for the 7x7 one, and
    no strides; "auto" takes the first from 64 pixels on. A 3x3 max pool halves the sides between
    stages. Images of any size will do.

    `normalization=None` and `dropout=0.4` is the paper's network, without its local response
    normalization and without its two auxiliary classifiers. Those were meant to help the lower
    layers train; later they were found to do nothing for that, and to regularize towards the end
    (arXiv:1512.00567, section 4). The head is global average pooling.

    `whitening` is the kernel of a frozen first convolution, of `kapps.data.whitening_kernel`, with
    `whitening_strides`.

    Returns:
        A functional model: "image" `[batch, *image_shape]`, 0..255 -> "logits" `[batch, classes]`.

    Raises:
        UserError: an argument is out of its range or the variant is unknown.
    """
    arguments.one_of("variant", variant, tuple(INCEPTION))
    arguments.one_of("normalization", normalization, ("batch", None))
    arguments.activation(activation)
    stem = heads.stem_for(stem, image_shape)
    row = INCEPTION[variant]
    style = {"normalization": normalization, "activation": activation}

    image, x = heads.image_input(image_shape, pixel_mean, pixel_std, whitening, whitening_strides)
    first, *others = row.stem
    if stem == "imagenet":
        x = blocks.conv_bn(x, first, 7, strides=2, name="stem_conv1", **style)
        x = _halve(x, "stem_pool1")
    else:
        x = blocks.conv_bn(x, first, 3, name="stem_conv1", **style)
    for i, filters in enumerate(others, start=2):
        # The last is 3x3, what is between is the 1x1 reduction before it.
        kernel_size = 3 if i == len(row.stem) else 1
        x = blocks.conv_bn(x, filters, kernel_size, name=f"stem_conv{i}", **style)
    if stem == "imagenet" and others:
        x = _halve(x, "stem_pool2")
    for stage, rows in enumerate(row.stages, start=1):
        if stage > 1:
            x = _halve(x, f"stage{stage}_pool")
        for i, filters in enumerate(rows, start=1):
            x = blocks.inception_block(x, *filters, name=f"stage{stage}_block{i}", **style)
    x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    return keras.Model(image, heads.logits(x, classes, dropout), name=name or variant)


def _halve(x, name):
    return keras.layers.MaxPooling2D(3, strides=2, padding="same", name=name)(x)
