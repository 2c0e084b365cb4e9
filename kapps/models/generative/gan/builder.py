"""Both players of a GAN and the game, from one set of arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kapps.models import arguments
from kapps.models.generative.gan import networks
from kapps.models.generative.gan.gan import GAN


def gan(
    image_shape: tuple[int, int, int],
    latent_dim: int = 64,
    *,
    architecture: str = "conv",
    classes: int = 0,
    conditioning: str | None = None,
    filters: int | Sequence[int] = 24,
    dense_units: int = 512,
    upsampling: str = "transposed",
    units: int | Sequence[int] = (128, 256),
    generator_normalization: str | None = "batch",
    discriminator_normalization: str | None = None,
    **settings: Any,
) -> GAN:
    """A generator, its mirror image as the discriminator, and the game between them.

    Args:
        image_shape: (height, width, channels).
        latent_dim: length of the latent vectors.
        architecture: "conv", or "dense" for tiny images.
        classes: of the labels that both players are told; 0 without conditioning.
        conditioning: what the discriminator does with them: None, "concat", "projection" or
            "auxiliary", see `gan_discriminator`.
        filters: conv: of the largest map, or of each, see `gan_generator`.
        dense_units: conv: of both players' hidden layer next to the smallest map; 0 is none.
        upsampling: conv: how the generator doubles the sides.
        units: dense: of the generator's hidden layers; the discriminator has them in reverse.
        generator_normalization: "batch", "layer" or None.
        discriminator_normalization: None, "spectral", "layer" or "batch".
        settings: further arguments of `GAN`: loss, r1, r2, gradient_penalty, n_critic, ema, seed
            and so on.

    Raises:
        UserError: an argument is out of its range.
    """
    arguments.one_of("architecture", architecture, ("conv", "dense"))
    making = {"classes": classes, "normalization": generator_normalization}
    judging = {
        "classes": classes,
        "conditioning": conditioning,
        "normalization": discriminator_normalization,
    }
    if architecture == "dense":
        units = arguments.integers("units", units)
        generator = networks.gan_dense_generator(image_shape, latent_dim, units=units, **making)
        discriminator = networks.gan_dense_discriminator(image_shape, units=units[::-1], **judging)
    else:
        both = {"filters": filters, "dense_units": dense_units}
        generator = networks.gan_generator(
            image_shape, latent_dim, upsampling=upsampling, **both, **making
        )
        discriminator = networks.gan_discriminator(image_shape, **both, **judging)
    return GAN(generator, discriminator, **settings)
