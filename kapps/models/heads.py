"""The layers that image classifiers share: the input that takes pixels, and the head."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from kapps import blocks
from kapps.errors import UserError
from kapps.layers import Whitening
from kapps.models import arguments


def image_input(
    image_shape: tuple[int, int, int],
    pixel_mean: float | Sequence[float],
    pixel_std: float | Sequence[float],
    whitening: np.ndarray | None = None,
    whitening_strides: int = 1,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input layer "image" (pixels of 0..255) and what the network sees, `(x/255 - mean) / std`.

    Mean and standard deviation are those of the training split in units of 0..1, one number or one
    per channel. Rescaling is part of the model, so that whoever calls it sends raw pixels; it stays
    in float32 under every policy.

    `whitening` is the kernel `[side, side, channels, filters]` of a frozen convolution that comes
    next, of `kapps.data.whitening_kernel`, with `whitening_strides`; it is followed by trained
    offsets and a ReLU.
    """
    shape = arguments.image_shape(image_shape)
    mean = arguments.per_channel("pixel_mean", pixel_mean, shape[-1])
    std = arguments.per_channel("pixel_std", pixel_std, shape[-1])
    if min(std) <= 0:
        raise UserError(f"pixel_std must be positive; got {pixel_std!r}.")
    image = keras.Input(shape, name="image", dtype="float32")
    x = keras.layers.Rescaling(
        scale=[1 / (255 * s) for s in std],
        offset=[-m / s for m, s in zip(mean, std, strict=True)],
        dtype="float32",
        name="rescaling",
    )(image)
    if whitening is None:
        return image, x
    kernel = np.asarray(whitening)
    if kernel.ndim != 4 or kernel.shape[0] != kernel.shape[1] or kernel.shape[2] != shape[-1]:
        raise UserError(
            f"whitening must be a kernel [side, side, {shape[-1]}, filters]; got the shape "
            f"{kernel.shape}."
        )
    side, _, _, filters = kernel.shape
    strides = arguments.integer("whitening_strides", whitening_strides)
    layer = Whitening(filters, side, strides, dtype="float32", name="whitening")
    x = layer(x)
    layer.kernel.assign(kernel)
    return image, keras.layers.Activation("relu", name="whitening_relu")(x)


def hidden_layers(
    x: keras.KerasTensor,
    units: Sequence[int],
    *,
    activation: str,
    normalization: str | None,
    dropout: float,
    dense: Callable[..., keras.Layer] = keras.layers.Dense,
) -> keras.KerasTensor:
    """Dense layers "dense1", "dense2", ... on `[batch, features]`, dropout between them.

    `dense` is what makes one of them: `(units, use_bias=, kernel_initializer=, name=) -> layer`.
    """
    for i, n in enumerate(units, start=1):
        if i > 1 and dropout > 0:
            x = keras.layers.Dropout(dropout, name=f"dense{i - 1}_dropout")(x)
        x = blocks.dense_bn(
            x,
            n,
            normalization=normalization,
            activation=activation,
            dense=dense,
            name=f"dense{i}",
        )
    return x


def logits(x: keras.KerasTensor, classes: int, dropout: float) -> keras.KerasTensor:
    """Dropout and the last dense layer, "logits", on `[batch, features]`.

    It is float32 whatever the policy: a loss of 16 bits loses the small gradients. 0 classes are a
    regression, with one output.
    """
    if classes != 0:
        arguments.integer("classes", classes, minimum=2)
    if arguments.rate("dropout", dropout) > 0:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.layers.Dense(classes or 1, dtype="float32", name="logits")(x)


def stem_for(
    stem: str, image_shape: tuple[int, int, int], small: str = "small", known: Sequence[str] = ()
) -> str:
    """Resolves `stem` "auto": "imagenet" when both sides have 64 pixels or more, else `small`."""
    arguments.one_of("stem", stem, ("auto", "imagenet", "small", *known))
    if stem != "auto":
        return stem
    height, width, _ = arguments.image_shape(image_shape)
    return "imagenet" if min(height, width) >= 64 else small
