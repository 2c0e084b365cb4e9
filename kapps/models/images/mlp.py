"""Multilayer perceptron."""

from collections.abc import Sequence

import keras

from kapps.models import arguments, heads


def mlp(
    image_shape: tuple[int, int, int],
    classes: int,
    *,
    units: int | Sequence[int] = (512, 256),
    activation: str = "relu",
    normalization: str | None = None,
    dropout: float = 0.0,
    pixel_mean: float | Sequence[float] = 0.5,
    pixel_std: float | Sequence[float] = 0.5,
    name: str = "mlp",
) -> keras.Model:
    """A multilayer perceptron on the flattened image.

    `units` has one entry per hidden layer (none: a linear classifier); `normalization` "batch" puts
    a batch normalization before each activation; `dropout` follows each hidden layer.

    Returns:
        A functional model: "image" `[batch, *image_shape]`, 0..255 -> "logits" `[batch, classes]`.

    Raises:
        UserError: an argument is out of its range.
    """
    units = arguments.integers("units", units)
    arguments.activation(activation)
    arguments.one_of("normalization", normalization, ("batch", None))
    arguments.rate("dropout", dropout)
    image, x = heads.image_input(image_shape, pixel_mean, pixel_std)
    x = keras.layers.Flatten(name="flatten")(x)
    x = heads.hidden_layers(
        x, units, activation=activation, normalization=normalization, dropout=dropout
    )
    return keras.Model(image, heads.logits(x, classes, dropout), name=name)
