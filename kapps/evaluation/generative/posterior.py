"""Does a VAE use its latent variables? Figures of the posterior q(z|x) = N(mean, e^log_var)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from kapps.errors import UserError

ACTIVE = 0.01  # variance of a posterior mean over the data, Burda et al. 2015, section 5
_BLOCK = 256


class ActiveUnits(NamedTuple):
    """How many latent dimensions tell pictures apart.

    `count` of those whose `variances` [d], of the posterior mean over the data, exceed the
    threshold.
    """

    count: int
    variances: np.ndarray


def active_units(means: np.ndarray, threshold: float = ACTIVE) -> ActiveUnits:
    """The dimensions with `Var_x(E_q[z_d]) > threshold` (Burda et al. 2015, arXiv:1509.00519).

    None of them: the posterior has collapsed, and the decoder ignores z.

    Args:
        means: posterior means of the pictures, [n, d].
        threshold: 0.01 in the literature.

    Raises:
        UserError: fewer than two pictures, or means that are not finite.
    """
    means = _matrix("means", means)
    if len(means) < 2:
        raise UserError("The variance over pictures needs two of them at least.")
    variances = means.var(axis=0, ddof=1)
    return ActiveUnits(int(np.sum(variances > threshold)), variances)


def kl_per_dimension(mean: np.ndarray, log_var: np.ndarray) -> np.ndarray:
    """KL(q(z_d|x) || N(0, 1)) in nats, mean over the pictures: float64 [d].

    `(e^log_var + mean^2 - 1 - log_var) / 2` (Kingma and Welling 2013, arXiv:1312.6114, appendix B).

    Args:
        mean: [n, d].
        log_var: [n, d].

    Raises:
        UserError: shapes that differ, or numbers that are not finite.
    """
    mean, log_var = _gaussians(mean, log_var)
    return 0.5 * (np.exp(log_var) + mean**2 - 1.0 - log_var).mean(axis=0)


def mutual_information(mean: np.ndarray, log_var: np.ndarray, *, seed: int = 0) -> float:
    """Nats that z tells of which picture it belongs to, estimated from one draw for each.

    `E_x E_q(z|x) [log q(z|x) - log 1/n sum_j q(z|x_j)]` (Hoffman and Johnson 2016, "ELBO surgery",
    with all n pictures in the mixture). It cannot exceed log n, so it says little where it is near
    that; about 0 when the posterior has collapsed.

    Args:
        mean: [n, d].
        log_var: [n, d].
        seed: seed of the draws.

    Raises:
        UserError: shapes that differ, or numbers that are not finite.
    """
    mean, log_var = _gaussians(mean, log_var)
    noise = np.random.default_rng(seed).standard_normal(mean.shape)
    z = mean + np.exp(0.5 * log_var) * noise
    # log N(z_i; x_j) for all i and j, but for constants that both terms share, by matrix products.
    precision = np.exp(-log_var)
    constant = (mean**2 * precision + log_var).sum(axis=1)
    total = 0.0
    for start in range(0, len(z), _BLOCK):
        block = z[start : start + _BLOCK]
        squares = block**2 @ precision.T - 2.0 * block @ (mean * precision).T + constant
        own = squares[np.arange(len(block)), np.arange(start, start + len(block))]
        mixture = special.logsumexp(-0.5 * squares, axis=1) - np.log(len(z))
        total += float((-0.5 * own - mixture).sum())
    return total / len(z)


def _gaussians(mean: np.ndarray, log_var: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, log_var = _matrix("mean", mean), _matrix("log_var", log_var)
    if mean.shape != log_var.shape:
        raise UserError(f"mean {mean.shape} and log_var {log_var.shape} must have one shape.")
    return mean, log_var


def _matrix(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise UserError(f"{name} must be finite numbers [n, d]; got an array {values.shape}.")
    return values
