"""Encoders and decoders of VAEs, for images of any size and number of channels.

Means, log-variances and the parameters of the pixels are computed in float32 whatever the policy:
their exponentials overflow 16 bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from kapps import losses
from kapps.layers import Conv2D, DepthToSpace
from kapps.models import arguments
from kapps.models.generative.vae import priors
from kapps.models.generative.vae.vae import VAE

# Log-variances of posteriors, as in arXiv:2004.04795: exp cannot overflow, and no posterior can
# become so narrow that its KL explodes.
_LOWEST_LOG_VAR, _HIGHEST_LOG_VAR = -6.0, 2.0


def dense_vae(
    image_shape: tuple[int, int, int],
    latent_dim: int = 40,
    *,
    units: Sequence[int] = (300, 300),
    classes: int = 0,
    pseudo_inputs: int = 0,
    likelihood: str = "bernoulli",
    scale: float | None = None,
    **settings: Any,
) -> VAE:
    """A VAE of gated dense layers (arXiv:1705.07120, section 5; 2 x 300 units and 40 latents).

    Args:
        image_shape: (height, width, channels).
        latent_dim: latents.
        units: of the encoder's layers; the decoder has them in the reverse order.
        classes: conditional on one-hot labels of that many classes; 0 is not.
        pseudo_inputs: a VampPrior of that many; 0 is N(0, I).
        likelihood: see `kapps.losses.likelihood`.
        scale: standard deviation of a gaussian likelihood; None learns it.
        settings: further arguments of `VAE`: objective, samples, beta, free_bits, seed, name.

    Raises:
        UserError: an argument is out of range.
    """
    shape, latent_dim, units = _checked(image_shape, latent_dim, units)
    x, labels = _inputs(shape, classes)
    y = _join(keras.layers.Flatten()(x), labels)
    for n in units:
        y = _gated_dense(y, n)
    encoder = keras.Model(_given(x, labels), _gaussian(y, latent_dim), name="encoder")

    z = keras.Input((latent_dim,), name="z")
    labels = keras.Input((classes,), name="labels") if classes else None
    y = _join(z, labels)
    for n in reversed(units):
        y = _gated_dense(y, n)
    parameters = losses.likelihood(likelihood, scale).parameters
    y = keras.layers.Dense(math.prod(shape) * parameters, dtype="float32")(y)
    y = keras.layers.Reshape((*shape[:2], shape[2] * parameters), dtype="float32")(y)
    decoder = keras.Model(_given(z, labels), y, name="decoder")
    prior = _prior(shape, pseudo_inputs, settings)
    return VAE(encoder, decoder, prior=prior, likelihood=likelihood, scale=scale, **settings)


def conv_vae(
    image_shape: tuple[int, int, int],
    latent_dim: int = 40,
    *,
    filters: Sequence[int] = (32, 64),
    units: int = 256,
    classes: int = 0,
    pseudo_inputs: int = 0,
    likelihood: str = "bernoulli",
    scale: float | None = None,
    **settings: Any,
) -> VAE:
    """A VAE of residual convolutions; every entry of `filters` halves the sides.

    Args:
        image_shape: (height, width, channels), of any size.
        latent_dim: latents.
        filters: channels after each halving.
        units: of the dense layer between maps and latents.
        classes: conditional on one-hot labels of that many classes; 0 is not.
        pseudo_inputs: a VampPrior of that many; 0 is N(0, I).
        likelihood: see `kapps.losses.likelihood`.
        scale: standard deviation of a gaussian likelihood; None learns it.
        settings: further arguments of `VAE`: objective, samples, beta, free_bits, seed, name.

    Raises:
        UserError: an argument is out of range.
    """
    shape, latent_dim, filters = _checked(image_shape, latent_dim, filters)
    arguments.integer("units", units)
    x, labels = _inputs(shape, classes)
    y = _join(keras.layers.Flatten()(_downwards(x, filters)), labels)
    y = _gated_dense(y, units)
    encoder = keras.Model(_given(x, labels), _gaussian(y, latent_dim), name="encoder")

    z = keras.Input((latent_dim,), name="z")
    labels = keras.Input((classes,), name="labels") if classes else None
    sizes = _sizes(shape, len(filters))
    y = _gated_dense(_join(z, labels), units)
    y = _map(y, sizes[-1], filters[-1])
    y = _upwards(y, filters, sizes, shape[2] * losses.likelihood(likelihood, scale).parameters)
    decoder = keras.Model(_given(z, labels), y, name="decoder")
    prior = _prior(shape, pseudo_inputs, settings)
    return VAE(encoder, decoder, prior=prior, likelihood=likelihood, scale=scale, **settings)


def hierarchical_vae(
    image_shape: tuple[int, int, int],
    latent_dim: int = 32,
    *,
    inner_channels: int = 8,
    filters: Sequence[int] = (32, 64),
    blocks: int = 1,
    units: int = 256,
    pseudo_inputs: int = 0,
    likelihood: str = "bernoulli",
    scale: float | None = None,
    **settings: Any,
) -> VAE:
    """Two levels of latents: a vector, and below it a map at the lowest resolution.

        q(z2 | x) q(z1 | x, z2),   p(z2) p(z1 | z2) p(x | z1, z2)

    as in arXiv:1705.07120, section 4, with residual convolutions and a z1 that keeps its place in
    the image.

    Args:
        image_shape: (height, width, channels), of any size.
        latent_dim: latents of the vector z2.
        inner_channels: channels of the map z1.
        filters: channels after each halving.
        blocks: residual blocks at each resolution.
        units: of the dense layers between maps and the vector.
        pseudo_inputs: a VampPrior of that many for z2; 0 is N(0, I).
        likelihood: see `kapps.losses.likelihood`.
        scale: standard deviation of a gaussian likelihood; None learns it.
        settings: further arguments of `VAE`: objective, samples, beta, free_bits, seed, name.

    Raises:
        UserError: an argument is out of range.
    """
    shape, latent_dim, filters = _checked(image_shape, latent_dim, filters)
    sizes, wide = _sizes(shape, len(filters)), filters[-1]
    inner_dim = math.prod(sizes[-1]) * arguments.integer("inner_channels", inner_channels)

    x = keras.Input(shape, name="x")
    features = _downwards(x, filters, blocks)
    top = _gated_dense(keras.layers.Flatten()(features), units)
    encoder = keras.Model(x, [*_gaussian(top, latent_dim), features], name="encoder")

    z2 = keras.Input((latent_dim,), name="z2")
    above = _map(_gated_dense(z2, units), sizes[-1], wide)
    seen = keras.Input((*sizes[-1], wide), name="features")
    both = keras.layers.Concatenate()([seen, above])
    posterior = keras.Model(
        [seen, z2], _gaussian_map(_conv(both, wide, 1), inner_channels, wide), name="posterior"
    )
    above = _map(_gated_dense(z2, units), sizes[-1], wide)
    inner_prior = keras.Model(z2, _gaussian_map(above, inner_channels, wide), name="prior")

    z1 = keras.Input((inner_dim,), name="z1")
    above = _map(_gated_dense(z2, units), sizes[-1], wide)
    inner = keras.layers.Reshape((*sizes[-1], inner_channels))(z1)
    y = _conv(keras.layers.Concatenate()([inner, above]), wide, 3)
    parameters = losses.likelihood(likelihood, scale).parameters
    y = _upwards(y, filters, sizes, shape[2] * parameters, blocks)
    decoder = keras.Model([z2, z1], y, name="decoder")
    return VAE(
        encoder,
        decoder,
        levels=[(posterior, inner_prior)],
        prior=_prior(shape, pseudo_inputs, settings),
        likelihood=likelihood,
        scale=scale,
        **settings,
    )


def _checked(image_shape, latent_dim, widths):
    return (
        arguments.image_shape(image_shape),
        arguments.integer("latent_dim", latent_dim),
        arguments.integers("units or filters", widths),
    )


def _inputs(shape, classes):
    labels = keras.Input((classes,), name="labels") if classes else None
    return keras.Input(shape, name="x"), labels


def _given(x, labels):
    return x if labels is None else [x, labels]


def _join(x, labels):
    return x if labels is None else keras.layers.Concatenate()([x, labels])


def _prior(shape, pseudo_inputs, settings):
    if not pseudo_inputs:
        return None
    return priors.VampPrior(shape, pseudo_inputs, seed=settings.get("seed", 0))


def _gated_dense(x, units):
    """(A x + a) * sigmoid(B x + b), arXiv:1612.08083, eq. 1."""
    value = keras.layers.Dense(units)(x)
    gate = keras.layers.Dense(units, activation="sigmoid")(x)
    return keras.layers.Multiply()([value, gate])


def _gaussian(y, dims):
    """[mean, log_var], float32."""
    mean = keras.layers.Dense(dims, dtype="float32", name="mean")(y)
    log_var = keras.layers.Dense(dims, dtype="float32")(y)
    return [mean, SoftClip(_LOWEST_LOG_VAR, _HIGHEST_LOG_VAR, name="log_var")(log_var)]


def _gaussian_map(y, channels, filters):
    """[mean, log_var] of a map of latents, flattened, float32."""
    y = _residual(y, filters)
    flat = keras.layers.Flatten(dtype="float32")
    mean = flat(keras.layers.Conv2D(channels, 3, padding="same", dtype="float32")(y))
    log_var = flat(keras.layers.Conv2D(channels, 3, padding="same", dtype="float32")(y))
    return [mean, SoftClip(_LOWEST_LOG_VAR, _HIGHEST_LOG_VAR)(log_var)]


@keras.saving.register_keras_serializable("kapps")
class SoftClip(keras.layers.Layer):
    """Keeps values softly between two bounds, in float32."""

    def __init__(self, low: float, high: float, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.low, self.high = low, high
        self.built = True

    def call(self, x):
        """The same shape."""
        return losses.softclip(x, self.low, self.high)

    def get_config(self):
        """Arguments of the constructor."""
        return {**super().get_config(), "low": self.low, "high": self.high}


def _sizes(shape, halvings):
    """Sides from the image down, rounded up."""
    sizes = [tuple(shape[:2])]
    for _ in range(halvings):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def _conv(x, filters, kernel_size=3, strides=1, **kwargs):
    return Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        kernel_initializer="he_normal",
        **kwargs,
    )(x)


def _residual(x, filters):
    """x + conv(relu(conv(relu(x)))), the identity at first, so that no normalization is needed."""  # noqa: D403
    y = _conv(keras.layers.ReLU()(x), filters)
    y = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="zeros")(
        keras.layers.ReLU()(y)
    )
    return keras.layers.Add()([x, y])


def _downwards(x, filters, blocks=1):
    for i, n in enumerate(filters):
        x = _conv(x, n, 5 if i == 0 else 3, strides=2)
        for _ in range(blocks):
            x = _residual(x, n)
    return keras.layers.ReLU()(x)


def _map(y, size, filters):
    """A vector laid out as a map."""
    y = keras.layers.Dense(math.prod(size) * filters)(y)
    return keras.layers.Reshape((*size, filters))(y)


def _upwards(y, filters, sizes, channels, blocks=1):
    """From the lowest resolution to the image; maps that are too large are cut."""
    for i in reversed(range(len(filters))):
        for _ in range(blocks):
            y = _residual(y, filters[i])
        narrower = filters[i - 1] if i else filters[0] // 2
        # A convolution to four times the channels and depth to space: nothing is computed twice.
        y = DepthToSpace()(_conv(keras.layers.ReLU()(y), 4 * narrower))
        height, width = sizes[i]
        excess = (y.shape[1] - height, y.shape[2] - width)
        if any(excess):
            y = keras.layers.Cropping2D(((0, excess[0]), (0, excess[1])))(y)
    y = _residual(y, narrower)
    y = keras.layers.ReLU()(y)
    return keras.layers.Conv2D(channels, 3, padding="same", dtype="float32", name="pixels")(y)
