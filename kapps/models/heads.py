"""The layers that image classifiers share: the input that takes pixels, and the head."""

from collections.abc import Sequence

import keras

from kapps import blocks
from kapps.errors import UserError
from kapps.models import arguments


def image_input(
    image_shape: tuple[int, int, int],
    pixel_mean: float | Sequence[float],
    pixel_std: float | Sequence[float],
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input layer "image" (pixels of 0..255) and what the network sees, `(x/255 - mean) / std`.

    Mean and standard deviation are those of the training split in units of 0..1, one number or one
    per channel. Rescaling is part of the model, so that whoever calls it sends raw pixels; it stays
    in float32 under every policy.
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
    return image, x


def hidden_layers(
    x: keras.KerasTensor,
    units: Sequence[int],
    *,
    activation: str,
    normalization: str | None,
    dropout: float,
) -> keras.KerasTensor:
    """Dense layers "dense1", "dense2", ... on `[batch, features]`, dropout between them."""
    for i, n in enumerate(units, start=1):
        if i > 1 and dropout > 0:
            x = keras.layers.Dropout(dropout, name=f"dense{i - 1}_dropout")(x)
        x = blocks.dense_bn(
            x, n, normalization=normalization, activation=activation, name=f"dense{i}"
        )
    return x


def logits(x: keras.KerasTensor, classes: int, dropout: float) -> keras.KerasTensor:
    """Dropout and the last dense layer, "logits", on `[batch, features]`.

    It is float32 whatever the policy: a loss of 16 bits loses the small gradients.
    """
    arguments.integer("classes", classes, minimum=2)
    if arguments.rate("dropout", dropout) > 0:
        x = keras.layers.Dropout(dropout, name="dropout")(x)
    return keras.layers.Dense(classes, dtype="float32", name="logits")(x)


def stem_for(
    stem: str, image_shape: tuple[int, int, int], small: str = "small", known: Sequence[str] = ()
) -> str:
    """Resolves `stem` "auto": "imagenet" when both sides have 64 pixels or more, else `small`."""
    arguments.one_of("stem", stem, ("auto", "imagenet", "small", *known))
    if stem != "auto":
        return stem
    height, width, _ = arguments.image_shape(image_shape)
    return "imagenet" if min(height, width) >= 64 else small
