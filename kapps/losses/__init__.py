"""Losses: pure functions on logits that return one value per example, computed in float32.

adversarial      adversarial_loss(name): what generators and discriminators minimize
bounds           ELBO, IWAE and DReG: what VAEs maximize, and free bits
classification   softmax_cross_entropy, sigmoid_cross_entropy
gaussians        densities and divergences of diagonal Gaussians
likelihoods      likelihood(name): of pixels, given the output of a decoder
penalties        R1, R2 and gradient penalty of a discriminator
"""

from kapps.losses.adversarial import ADVERSARIAL, Adversarial, adversarial_loss
from kapps.losses.bounds import free_bits, negative_dreg, negative_elbo, negative_iwae
from kapps.losses.classification import sigmoid_cross_entropy, softmax_cross_entropy
from kapps.losses.gaussians import gaussian_kl, gaussian_kl_per_dimension, gaussian_log_density
from kapps.losses.likelihoods import LIKELIHOODS, likelihood, softclip
from kapps.losses.penalties import one_centered_penalty, zero_centered_penalty

__all__ = [
    "ADVERSARIAL",
    "Adversarial",
    "LIKELIHOODS",
    "adversarial_loss",
    "free_bits",
    "gaussian_kl",
    "gaussian_kl_per_dimension",
    "gaussian_log_density",
    "likelihood",
    "negative_dreg",
    "negative_elbo",
    "negative_iwae",
    "one_centered_penalty",
    "sigmoid_cross_entropy",
    "softclip",
    "softmax_cross_entropy",
    "zero_centered_penalty",
]
