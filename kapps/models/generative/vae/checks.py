"""Which arguments of a VAE have a meaning together."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import keras

from kapps.errors import UserError
from kapps.models.generative.vae.priors import StandardNormal

if TYPE_CHECKING:
    from kapps.models.generative.vae.vae import VAE

OBJECTIVES = ("elbo", "iwae", "dreg")


def check(vae: VAE) -> None:
    """Refuse values out of range and combinations without a meaning.

    Raises:
        UserError: the first of them.
    """
    mixture = not isinstance(vae.prior, StandardNormal)
    if vae.objective not in OBJECTIVES:
        raise UserError(
            f"unknown objective {vae.objective!r}: it is one of {', '.join(OBJECTIVES)}"
        )
    if vae.samples < 1:
        raise UserError(f"samples {vae.samples}: at least one is needed")
    if callable(vae.beta):
        _check_schedule(vae.beta)
    if vae.free_bits < 0 or (not callable(vae.beta) and vae.beta < 0):
        raise UserError("beta and free_bits must not be negative")
    if vae.free_bits and vae.objective != "elbo":
        raise UserError("free bits belong to the objective elbo")
    if vae.free_bits and mixture:
        raise UserError("free bits need the KL of each dimension, which a mixture prior lacks")
    if vae.objective == "dreg" and (mixture or vae.posteriors):
        raise UserError("dreg is for one level of latents and the prior N(0, I)")


def _check_schedule(beta: Any) -> None:
    """A schedule has to come back from a saved model, which a lambda does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras', of a lambda: it is refused below
            config = keras.saving.serialize_keras_object(beta)
        loaded = keras.saving.deserialize_keras_object(config)
    except (AttributeError, ImportError, NotImplementedError, TypeError, ValueError):
        loaded = None
    if not callable(loaded):
        raise UserError(
            f"beta {beta!r} could not be loaded with a saved model. Use models.KLWarmup, "
            "models.CyclicKL, or a keras.optimizers.schedules.LearningRateSchedule of your own "
            "with @keras.saving.register_keras_serializable() above it."
        )
