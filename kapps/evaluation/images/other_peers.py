"""What a second of work gives where pictures have several labels, or a number."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np

from kapps import training
from kapps.evaluation.explanation import Explanation
from kapps.evaluation.images.peers import peer_features, picture_peers
from kapps.evaluation.peers import R2, Measure, beside_answers, beside_peers

if TYPE_CHECKING:
    from kapps.data import ImageData

_CHOSEN_BY = 3  # labels: the penalty is that which suits the most even of them
_ITERATIONS = 200
_RIDGE = np.logspace(-2, 5, 15)


def beside_picture_peers(
    found: Explanation,
    images: ImageData,
    extractor: keras.Model | None = None,
    *,
    words: str = "EfficientNet-Lite0",
    directory: str | os.PathLike | None = None,
    seed: int = 0,
) -> Explanation:
    """An explanation with what linear models say of the same test pictures.

    Of classes, logistic regressions, compared by accuracy; of several labels one for each label,
    compared by the mean average precision; of numbers ridge regressions, compared by R². Where
    one surely wins, verdict and notes say so.

    Args:
        found: of the network, with what it answers of the test split (`test_logits`).
        images: what it was trained on.
        extractor: images -> features [batch, features], of a network untouched by this training;
            default: that which comes with kapps.
        words: what network it is.
        directory: where its features are kept for runs to come, `training.feature_directory` for
            one; None keeps none.
        seed: of the parts of large splits.
    """
    if found.test_logits is None:
        return found
    features: Callable[[str], np.ndarray] | None = None
    if extractor is not None:
        kept = training.features_by_split(extractor, images, directory, {"backbone": words})
        features = functools.partial(_first_copy, kept)
    if images.kind == "classes":
        peers = picture_peers(images, features, words=words, seed=seed)
        return beside_peers(found, images.splits["test"].labels, peers)
    rows, inputs = peer_features(images, features, words, seed)
    known = images.splits["train"].labels[rows["train"]]
    truth = images.splits["test"].labels[rows["test"]]
    learn, measure, kind = (
        (label_chances, _AVERAGE_PRECISION, "logistic regressions")
        if images.kind == "labels"
        else (ridge_answers, R2, "ridge regression")
    )
    answers = {
        name: (f"{kind} on {where}", learn(x["train"], known, x["test"], seed))
        for name, (where, x) in inputs.items()
    }
    own = np.asarray(found.test_logits, np.float64)[rows["test"]]
    own = own[:, 0] if images.kind == "number" else own
    return beside_answers(found, truth, own, answers, measure)


def _first_copy(features: Callable[[str], np.ndarray], split: str) -> np.ndarray:
    return features(split)[0]


def label_chances(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Probabilities [m, labels], a logistic regression for each label.

    All have one penalty, chosen in three folds by the three labels that most nearly half have.

    Args:
        known: features float [n, f]; they are standardized.
        labels: 0 and 1 [n, labels].
        asked: features float [m, f].
        seed: of the folds.
    """
    kernel, bias = training.label_weights(known.astype(np.float64), labels, seed=seed)
    return 1.0 / (1.0 + np.exp(-(asked.astype(np.float64) @ kernel + bias)))


def ridge_answers(
    known: np.ndarray, numbers: np.ndarray, asked: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Numbers [m] by a ridge regression whose penalty is chosen by leaving one out.

    Args:
        known: features float [n, f]; they are standardized.
        numbers: [n].
        asked: features float [m, f].
        seed: of nothing; for the same arguments as `label_chances`.
    """
    kernel, bias = training.number_weights(known.astype(np.float64), numbers)
    return (asked.astype(np.float64) @ kernel + bias)[:, 0]


def _average_precision(truth: np.ndarray, answers: np.ndarray) -> float:
    """The mean of the labels that some of these pictures have, and some lack."""
    from sklearn.metrics import average_precision_score

    counts = truth.sum(axis=0)
    known = np.flatnonzero((counts > 0) & (counts < len(truth)))
    if not len(known):
        return float("nan")
    return float(np.mean([average_precision_score(truth[:, i], answers[:, i]) for i in known]))


_AVERAGE_PRECISION = Measure("average_precision", "mean average precision", _average_precision)
