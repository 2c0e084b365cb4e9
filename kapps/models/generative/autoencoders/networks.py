"""Encoders and decoders of autoencoders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kapps import blocks
from kapps.errors import UserError
from kapps.models import arguments
from kapps.models.generative.autoencoders.autoencoder import (
    Autoencoder,
)
from kapps.models.generative.convolutions import downwards, upwards


def linear_autoencoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    mean_picture: np.ndarray | None = None,
    **settings: Any,
) -> Autoencoder:
    """One affine map there and one back.

    Its lowest squared error is that of principal component analysis, and the columns of the
    decoder then span the same space (Baldi and Hornik 1989). Without the mean image gradient
    descent is very slow: the mean outweighs the variation.

    Args:
        image_shape: (height, width, channels).
        latent_dim: values in a code.
        mean_picture: of the training images, pixels of 0..255, [height, width, channels]; it is
            subtracted first and fixed, and the offset of the decoder begins with it.
        settings: further arguments of `Autoencoder`.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    arguments.integer("latent_dim", latent_dim)
    x = keras.Input(shape, name="x")
    centre = Centre(name="centre")
    y = keras.layers.Flatten(name="flatten")(centre(x))
    encoder = keras.Model(x, _code(y, latent_dim, "linear"), name="encoder")
    z = keras.Input((latent_dim,), name="z")
    values = keras.layers.Dense(math.prod(shape), dtype="float32", name="values")
    y = keras.layers.Reshape(shape, dtype="float32", name="picture")(values(z))
    decoder = keras.Model(z, _pixels(y, "linear", settings), name="decoder")
    if mean_picture is not None:
        if np.shape(mean_picture) != shape:
            raise UserError(f"mean_picture {np.shape(mean_picture)}: images are {shape}")
        mean = np.asarray(mean_picture, np.float32) / 255.0
        centre.mean.assign(mean)
        values.bias.assign(mean.ravel())
    return Autoencoder(encoder, decoder, **{"name": "linear", **settings})


def dense_autoencoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    units: int | Sequence[int] = (512, 256),
    activation: str = "relu",
    code_activation: str = "linear",
    normalization: str | None = None,
    output: str = "sigmoid",
    **settings: Any,
) -> Autoencoder:
    """Hidden dense layers there, and the same in reverse order back.

    Args:
        image_shape: (height, width, channels).
        latent_dim: values in a code.
        units: of the encoder's hidden layers; with many it is the stacked autoencoder of
            Hinton and Salakhutdinov 2006, which `greedy_pretrain` trains layer by layer.
        activation: of the hidden layers.
        code_activation: of the code: linear, or sigmoid for `sparsity="kl"`.
        normalization: "batch" or None, before the activations of the hidden layers.
        output: of the pixels: sigmoid or linear. With `reconstruction="bernoulli"` it has to be
            sigmoid, and the decoder gives the logits.
        settings: further arguments of `Autoencoder`: reconstruction, corruption, sparsity, seed.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    arguments.integer("latent_dim", latent_dim)
    units = arguments.integers("units", units)
    options = {
        "activation": arguments.activation(activation),
        "normalization": arguments.one_of("normalization", normalization, ("batch", None)),
    }
    x = keras.Input(shape, name="x")
    y = keras.layers.Flatten(name="flatten")(x)
    for i, n in enumerate(units, start=1):
        y = blocks.dense_bn(y, n, **options, name=f"encode{i}")
    encoder = keras.Model(x, _code(y, latent_dim, code_activation), name="encoder")

    y = z = keras.Input((latent_dim,), name="z")
    for i, n in enumerate(reversed(units)):
        y = blocks.dense_bn(y, n, **options, name=f"decode{len(units) + 1 - i}")
    y = keras.layers.Dense(math.prod(shape), dtype="float32", name="decode1")(y)
    y = keras.layers.Reshape(shape, dtype="float32", name="picture")(y)
    decoder = keras.Model(z, _pixels(y, output, settings), name="decoder")
    return Autoencoder(encoder, decoder, **{"name": "dense", **settings})


def residual_autoencoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    units: int = 512,
    hidden: int = 1024,
    depth: int = 3,
    activation: str = "relu",
    dropout: float = 0.0,
    code_activation: str = "linear",
    output: str = "sigmoid",
    **settings: Any,
) -> Autoencoder:
    """Residual dense blocks between affine maps: `depth` of them there, as many back.

        x <- x + W2 activation(W1 normalize(x))

    with layer normalization before each block (arXiv:2002.04745, figure 1b) and W2 starting at
    zero, hence the whole at an affine map there and back. It trains further than a stack of plain
    layers, at the cost of matrix products alone.

    Args:
        image_shape: (height, width, channels).
        latent_dim: values in a code.
        units: width of x.
        hidden: rows of W1.
        depth: blocks of the encoder, and of the decoder.
        activation: inside the blocks.
        dropout: fraction of the hidden values that is dropped while training.
        code_activation: of the code: linear, or sigmoid for `sparsity="kl"`.
        output: of the pixels: sigmoid or linear, see `dense_autoencoder`.
        settings: further arguments of `Autoencoder`: reconstruction, corruption, sparsity, seed.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    for name, value in (("latent_dim", latent_dim), ("units", units), ("hidden", hidden)):
        arguments.integer(name, value)
    arguments.integer("depth", depth, minimum=0)
    options = (hidden, arguments.activation(activation), arguments.rate("dropout", dropout))
    x = keras.Input(shape, name="x")
    y = keras.layers.Flatten(name="flatten")(x)
    y = keras.layers.Dense(units, name="widen")(y)
    y = _residual_blocks(y, depth, *options)
    encoder = keras.Model(x, _code(y, latent_dim, code_activation), name="encoder")

    z = keras.Input((latent_dim,), name="z")
    y = _residual_blocks(keras.layers.Dense(units, name="widen")(z), depth, *options)
    y = keras.layers.Dense(math.prod(shape), dtype="float32", name="values")(y)
    y = keras.layers.Reshape(shape, dtype="float32", name="picture")(y)
    decoder = keras.Model(z, _pixels(y, output, settings), name="decoder")
    return Autoencoder(encoder, decoder, **{"name": "residual", **settings})


def conv_autoencoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    filters: int | Sequence[int] = (32, 64),
    activation: str = "relu",
    code_activation: str = "linear",
    normalization: str | None = "batch",
    output: str = "sigmoid",
    **settings: Any,
) -> Autoencoder:
    """Convolutions that halve the sides and a dense layer there, the mirror image of it back.

    Args:
        image_shape: (height, width, channels), of any size.
        latent_dim: values in a code.
        filters: channels after each halving.
        activation: of the convolutions.
        code_activation: of the code: linear, or sigmoid for `sparsity="kl"`.
        normalization: "batch" or None, before the activations.
        output: of the pixels: sigmoid or linear, see `dense_autoencoder`.
        settings: further arguments of `Autoencoder`: reconstruction, corruption, sparsity, seed.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    arguments.integer("latent_dim", latent_dim)
    filters = arguments.integers("filters", filters)
    if not filters:
        raise UserError("filters is empty: give the number of filters of at least one stage.")
    options = {
        "activation": arguments.activation(activation),
        "normalization": arguments.one_of("normalization", normalization, ("batch", None)),
    }
    x = keras.Input(shape, name="x")
    y, sizes = downwards(x, filters, **options)
    y = keras.layers.Flatten(name="flatten")(y)
    encoder = keras.Model(x, _code(y, latent_dim, code_activation), name="encoder")

    z = keras.Input((latent_dim,), name="z")
    y = blocks.dense_bn(z, math.prod(sizes[-1]) * filters[-1], **options, name="unfold")
    y = keras.layers.Reshape((*sizes[-1], filters[-1]), name="map")(y)
    y = upwards(y, filters, sizes, **options)
    y = keras.layers.Conv2D(shape[2], 3, padding="same", dtype="float32", name="picture")(y)
    decoder = keras.Model(z, _pixels(y, output, settings), name="decoder")
    return Autoencoder(encoder, decoder, **{"name": "conv", **settings})


@keras.saving.register_keras_serializable("kapps")
class Centre(keras.layers.Layer):
    """Subtracts a fixed image, zeros at first: its weight `mean`."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, input_shape: Any) -> None:
        """The weight has the shape of an image."""
        self.mean = self.add_weight(
            shape=input_shape[1:], initializer="zeros", trainable=False, name="mean"
        )

    def call(self, x: Any) -> Any:
        """The same shape."""
        return x - self.mean


def _residual_blocks(x, depth, hidden, activation, dropout):
    """Blocks "block1", "block2", ... on [batch, units], and a last normalization."""
    units = x.shape[-1]
    for i in range(1, depth + 1):
        y = keras.layers.LayerNormalization(name=f"block{i}_norm")(x)
        y = blocks.dense_bn(y, hidden, activation=activation, name=f"block{i}_hidden")
        if dropout:
            y = keras.layers.Dropout(dropout, name=f"block{i}_dropout")(y)
        y = keras.layers.Dense(units, kernel_initializer="zeros", name=f"block{i}_out")(y)
        x = keras.layers.Add(name=f"block{i}_add")([x, y])
    return keras.layers.LayerNormalization(name="last_norm")(x)


def _code(y, latent_dim, activation):
    """The code, float32: a bottleneck of few values should not be a coarse one, too."""
    arguments.one_of("code_activation", activation, ("linear", "sigmoid"))
    return keras.layers.Dense(latent_dim, activation=activation, dtype="float32", name="code")(y)


def _pixels(y, output, settings):
    """The end of a decoder: pixels, or logits for the loss that takes them."""
    arguments.one_of("output", output, ("sigmoid", "linear"))
    if settings.get("reconstruction") == "bernoulli":
        if output == "linear":
            raise UserError("reconstruction bernoulli needs the output sigmoid")
        return y
    return keras.layers.Activation(output, dtype="float32", name="pixels")(y)
