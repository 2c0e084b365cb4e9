"""Losses: pure functions on logits that return one value per example, computed in float32.

adversarial      adversarial_loss(name): what generators and discriminators minimise
classification   softmax_cross_entropy
gaussians        densities and divergences of diagonal Gaussians
likelihoods      likelihood(name): of pixels, given what a decoder says
"""

from kapps.losses.adversarial import ADVERSARIAL, Adversarial, adversarial_loss
from kapps.losses.classification import softmax_cross_entropy
from kapps.losses.gaussians import gaussian_kl, gaussian_kl_per_dimension, gaussian_log_density
from kapps.losses.likelihoods import LIKELIHOODS, likelihood, softclip

__all__ = [
    "ADVERSARIAL",
    "Adversarial",
    "LIKELIHOODS",
    "adversarial_loss",
    "softclip",
    "gaussian_kl",
    "gaussian_kl_per_dimension",
    "gaussian_log_density",
    "likelihood",
    "softmax_cross_entropy",
]
