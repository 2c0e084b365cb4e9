"""Do the probabilities mean what they say, and one number that mends them when they do not.

Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks",
arXiv:1706.04599.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize, special

from kapps.evaluation.metrics.classification import checked

TEMPERATURE_RANGE = (0.05, 20.0)
SHRINKAGE = 0.35  # deviation of log T that is expected beforehand: most networks have 0.5 to 2
FOLDS = 5


class ReliabilityBins(NamedTuple):
    """Examples grouped by confidence, the probability of the predicted class."""

    edges: np.ndarray
    """Float `[bins + 1]`, from 0 to 1; bin m holds confidences in `(edges[m], edges[m + 1]]`."""
    counts: np.ndarray
    """Int `[bins]`."""
    confidence: np.ndarray
    """Mean confidence of each bin, `[bins]`; NaN in an empty one."""
    accuracy: np.ndarray
    """Share of right predictions in each bin, `[bins]`; NaN in an empty one."""


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities float64 `[..., classes]` of `logits / temperature`."""
    return special.softmax(np.asarray(logits, np.float64) / temperature, axis=-1)


def reliability_bins(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> ReliabilityBins:
    """Mean confidence and accuracy in `bins` bins of equal width.

    `labels` int `[n]`, `probabilities` `[n, classes]`.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    confidence = probabilities.max(axis=-1)
    edges = np.linspace(0.0, 1.0, bins + 1)
    # right=True puts a confidence that is exactly an edge into the lower bin, as eq. 3 does.
    place = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    right = probabilities.argmax(axis=-1) == labels
    whole = np.where(counts, counts, np.nan)
    return ReliabilityBins(
        edges,
        counts,
        np.bincount(place, confidence, bins) / whole,
        np.bincount(place, right, bins) / whole,
    )


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> float:
    """ECE = sum over bins of (n_m / n) |accuracy_m - confidence_m|, eq. 3 of arXiv:1706.04599.

    0.05 says that the confidence is off by five points on average. The estimate is biased upwards:
    a perfectly calibrated classifier has an error, too, and the more of it the fewer examples there
    are. `calibration` says how much.
    """
    if len(labels) == 0:
        raise ValueError("the calibration error of no examples is not defined")
    groups = reliability_bins(labels, probabilities, bins)
    gaps = np.abs(groups.accuracy - groups.confidence)
    return float(np.nansum(groups.counts * gaps) / groups.counts.sum())


class Calibration(NamedTuple):
    """What a temperature does to the probabilities that are served, on examples it did not see."""

    loss_before: float
    """Mean negative log-likelihood in nats, without the temperature."""
    loss: float
    """With it."""
    ece_before: float
    """Expected calibration error without it."""
    ece: float
    """With it."""
    ece_if_calibrated: float
    """What a perfectly calibrated classifier of the same probabilities shows on as many examples,
    on average: the error is never zero."""
    ece_if_calibrated_high: float
    """What 95 % of such classifiers stay below."""


def calibration(
    labels: np.ndarray,
    logits: np.ndarray,
    temperature: float = 1.0,
    *,
    bins: int = 15,
    draws: int = 200,
    seed: int = 0,
) -> Calibration:
    """Loss and calibration error before and after a temperature, beside what chance alone shows.

    Args:
        labels: int [n].
        logits: [n, classes].
        temperature: fitted on other examples.
        bins: of the calibration error.
        draws: sets of labels drawn from the probabilities that are served.
        seed: of these draws.

    Raises:
        UserError: logits that are not finite numbers.
        ValueError: no examples.
    """
    labels, logits = checked(labels, logits)
    before, after = softmax(logits), softmax(logits, temperature)
    own = np.arange(len(labels)), labels
    random = np.random.default_rng(seed)
    confidence = after.max(axis=-1)
    # Whether the predicted class is right is all that the error asks of a label.
    chance = [
        _error(confidence, random.random(len(labels)) < confidence, bins) for _ in range(draws)
    ]
    return Calibration(
        float(-np.log(np.maximum(before[own], 1e-300)).mean()),
        float(-np.log(np.maximum(after[own], 1e-300)).mean()),
        expected_calibration_error(labels, before, bins),
        expected_calibration_error(labels, after, bins),
        float(np.mean(chance)),
        float(np.quantile(chance, 0.95)),
    )


def fit_temperature(labels: np.ndarray, logits: np.ndarray, *, seed: int = 0) -> float:
    """The temperature T of `softmax(logits / T)`; fit it on validation examples.

    `labels` int `[n]`, `logits` `[n, classes]`. Section 4.2 of arXiv:1706.04599: the predicted
    class stays, T > 1 makes the network less sure and T < 1 surer.

    A few hundred examples hardly know T, and where every one of them is right the likelihood grows
    for T -> 0 without an end. So log T is drawn towards 0 by a normal prior of deviation 0.35
    (`SHRINKAGE`), which thousands of examples outvote; and T is used only if it lowers the negative
    log-likelihood of examples it was not fitted on, in five-fold cross-validation: otherwise 1.

    Args:
        labels: int [n].
        logits: [n, classes].
        seed: of the folds.

    Raises:
        UserError: logits that are not finite numbers.
        ValueError: no examples.
    """
    labels, logits = checked(labels, logits)
    count = len(labels)
    if count == 0:
        raise ValueError("a temperature cannot be fitted on no examples")
    # Softmax does not see a shift; the largest at 0 keeps sharp temperatures from overflowing.
    logits = logits - logits.max(axis=-1, keepdims=True)
    if not logits.any() or count < 2 * FOLDS:
        return 1.0
    fold = np.random.default_rng(seed).permutation(count) % FOLDS
    gained = 0.0
    for held in range(FOLDS):
        inside, outside = fold != held, fold == held
        found = _likeliest(labels[inside], logits[inside])
        gained += float(
            _losses(labels[outside], logits[outside]).sum()
            - _losses(labels[outside], logits[outside] / found).sum()
        )
    return _likeliest(labels, logits) if gained > 0 else 1.0


def _likeliest(labels: np.ndarray, logits: np.ndarray) -> float:
    """The temperature of the highest posterior."""

    def cost(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(_losses(labels, scaled).sum()) + 0.5 * (log_temperature / SHRINKAGE) ** 2

    ends = tuple(np.log(TEMPERATURE_RANGE))
    found = optimize.minimize_scalar(cost, bounds=ends, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def _losses(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    own = logits[np.arange(len(labels)), labels]
    return special.logsumexp(logits, axis=-1) - own


def _error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, confidence, bins) - np.bincount(place, right, bins)
    return float(np.abs(gaps).sum() / len(confidence))
