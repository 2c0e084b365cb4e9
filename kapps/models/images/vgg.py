"""VGG networks."""

from collections.abc import Sequence

import keras
import numpy as np

from kapps import blocks
from kapps.models import arguments, heads
from kapps.models.images.variants import VGG, VGG_FILTERS


def vgg(
    variant: str,
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    head: str = "global_average",
    normalization: str | None = "batch",
    activation: str = "relu",
    dropout: float = 0.0,
    pixel_mean: float | Sequence[float] = 0.5,
    pixel_std: float | Sequence[float] = 0.5,
    whitening: np.ndarray | None = None,
    whitening_strides: int = 1,
    name: str | None = None,
) -> keras.Model:
    """A VGG network (Simonyan and Zisserman 2014, arXiv:1409.1556), one of `variants.VGG`.

    Stages of 3x3 convolutions with 64, 128, 256, 512 and 512 filters (vgg7 and vgg9: the first
    three of them), a 2x2 max pool after each. Pools round up, so that images of any size will do:
    28 pixels become 14, 7, 4, 2, 1.

    The default is the form for small images and short trainings: batch normalization, global
    average pooling and one dense layer. The paper's network is `head="dense"` (two dense layers of
    4096 units, nine tenths of all weights at 224 pixels), `normalization=None` and `dropout=0.5`;
    it took the authors weights of the shallower network to start the deeper ones.

    `whitening` is the kernel of a frozen first convolution, of `kapps.data.whitening_kernel`, with
    `whitening_strides`.

    Returns:
        A functional model: "image" `[batch, *image_shape]`, 0..255 -> "logits" `[batch, classes]`.

    Raises:
        UserError: an argument is out of its range or the variant is unknown.
    """
    arguments.one_of("variant", variant, tuple(VGG))
    arguments.one_of("head", head, ("global_average", "dense"))
    arguments.one_of("normalization", normalization, ("batch", None))
    arguments.activation(activation)
    arguments.rate("dropout", dropout)
    image, x = heads.image_input(image_shape, pixel_mean, pixel_std, whitening, whitening_strides)
    stages = zip(VGG_FILTERS, VGG[variant], strict=False)  # the smallest have but three
    for stage, (filters, convs) in enumerate(stages, start=1):
        x = blocks.vgg_block(
            x,
            filters,
            convs,
            normalization=normalization,
            activation=activation,
            name=f"stage{stage}",
        )
    if head == "dense":
        x = keras.layers.Flatten(name="flatten")(x)
        x = heads.hidden_layers(
            x, (4096, 4096), activation=activation, normalization=normalization, dropout=dropout
        )
    else:
        x = keras.layers.GlobalAveragePooling2D(name="global_pool")(x)
    return keras.Model(image, heads.logits(x, classes, dropout), name=name or variant)
