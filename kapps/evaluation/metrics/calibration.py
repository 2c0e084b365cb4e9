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

    0 is perfect; 0.05 says that the confidence is off by five points on average. The estimate is
    biased upwards: about 0.02 for 2,000 and 0.01 for 10,000 perfectly calibrated ones.
    """
    if len(labels) == 0:
        raise ValueError("the calibration error of no examples is not defined")
    groups = reliability_bins(labels, probabilities, bins)
    gaps = np.abs(groups.accuracy - groups.confidence)
    return float(np.nansum(groups.counts * gaps) / groups.counts.sum())


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """The temperature T that makes `softmax(logits / T)` likeliest; fit it on validation examples.

    `labels` int `[n]`, `logits` `[n, classes]`. Section 4.2 of arXiv:1706.04599: the predicted
    class stays, T > 1 makes the network less sure and T < 1 surer. The negative log-likelihood is
    convex in 1/T, so its derivative has one root.

    Where every validation example is right the likelihood has no maximum: it grows for T -> 0, and
    the model would claim certainty from a few hundred examples. As in Platt scaling (Platt 1999,
    section 2.2), the target of the true class is therefore (n + 1) / (n + 2) instead of 1, the
    rest is shared among the others. At thousands of examples this changes T by less than one
    percent.

    The result is clipped to 0.05 .. 20 (`TEMPERATURE_RANGE`): a T equal to one of the ends is not
    a calibration but a sign that the logits say nothing (20) or are far too small (0.05). Logits
    that are equal within every example leave T at 1.

    Raises:
        UserError: logits that are not finite numbers.
        ValueError: no examples.
    """
    labels, logits = checked(labels, logits)
    count, classes = logits.shape
    if count == 0:
        raise ValueError("a temperature cannot be fitted on no examples")
    # Softmax does not see a shift; the largest at 0 keeps sharp temperatures from overflowing.
    logits = logits - logits.max(axis=-1, keepdims=True)
    if not logits.any():
        return 1.0
    doubt = 1 / (count + 2)
    own = logits[np.arange(count), labels]
    others = (logits.sum(axis=-1) - own) / (classes - 1)
    target = (1 - doubt) * own + doubt * others

    def slope(inverse: float) -> float:
        """Of the NLL by 1/T: the expected logit under the model minus under the targets."""
        expected = np.sum(special.softmax(inverse * logits, axis=-1) * logits, axis=-1)
        return float(np.mean(expected - target))

    coldest, hottest = TEMPERATURE_RANGE
    if slope(1 / hottest) >= 0:
        return hottest
    if slope(1 / coldest) <= 0:
        return coldest
    return float(1 / optimize.brentq(slope, 1 / hottest, 1 / coldest, xtol=1e-10))
