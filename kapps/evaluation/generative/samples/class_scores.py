"""What a classifier makes of samples: sure of each, and of all classes alike?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special, stats

from kapps.errors import UserError


class ClassifierScore(NamedTuple):
    """Mean and standard deviation over the splits."""

    value: float
    deviation: float


def classifier_score(
    probabilities: np.ndarray, *, splits: int = 10, seed: int = 0
) -> ClassifierScore:
    """`exp(E KL(p(y|x) || p(y)))`: 1 at worst, the number of classes at best.

    The Inception score of Salimans et al. 2016 (arXiv:1606.03498, section 4) with a classifier of
    one's own, so on a scale of its own: quote what real pictures get beside it. The examples are
    shuffled first, because samples that were drawn class by class would put one class into each
    split.

    Args:
        probabilities: of each class for each sample, [n, classes].
        splits: parts of equal size over which the score is averaged.
        seed: seed of the shuffling.

    Raises:
        UserError: fewer samples than splits, or rows that are no probabilities.
    """
    probabilities = _checked(probabilities)
    if not 1 <= splits <= len(probabilities):
        raise UserError(f"{len(probabilities)} samples cannot be divided into {splits} splits.")
    order = np.random.default_rng(seed).permutation(len(probabilities))
    scores = []
    for part in np.array_split(probabilities[order], splits):
        divergence = special.rel_entr(part, part.mean(axis=0)).sum(axis=1)
        scores.append(np.exp(divergence.mean()))
    return ClassifierScore(float(np.mean(scores)), float(np.std(scores)))


def class_balance_kl(probabilities: np.ndarray, real: np.ndarray) -> float:
    """KL divergence in nats of the samples' classes from those of the real pictures.

    Both are counted by the same classifier, each picture for its most probable class, so that the
    classifier's own preferences cancel. 0 when samples have the classes of real pictures in the
    same shares, `log classes` when they have one of equally frequent classes (the mode-count
    statistic of PacGAN, arXiv:1712.04086, section 4.1). A class that no real image has counts as
    half of one, so that the divergence is finite.

    Args:
        probabilities: for each sample, [n, classes].
        real: for each real picture, [m, classes].

    Raises:
        UserError: rows that are no probabilities, or of different widths.
    """
    probabilities, real = _checked(probabilities), _checked(real)
    classes = real.shape[1]
    if probabilities.shape[1] != classes:
        raise UserError(f"{probabilities.shape[1]} classes for samples, {classes} for real ones.")
    counts = [np.bincount(p.argmax(axis=1), minlength=classes) for p in (probabilities, real)]
    return float(stats.entropy(counts[0], np.maximum(counts[1], 0.5)))


def _checked(probabilities: np.ndarray) -> np.ndarray:
    probabilities = np.asarray(probabilities, np.float64)
    if (
        probabilities.ndim != 2
        or not probabilities.size
        or not (probabilities >= 0).all()
        or not np.allclose(probabilities.sum(axis=-1), 1.0, atol=1e-3)
    ):
        raise UserError(
            "Probabilities [n, classes] are wanted, each row of sum 1; got an array of shape "
            f"{probabilities.shape}. Logits need a softmax first."
        )
    return probabilities
