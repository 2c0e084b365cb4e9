"""What a second of work gives where pictures have several labels, or a number."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np
import threadpoolctl

from kapps import training
from kapps.data import folds
from kapps.evaluation.explanation import Explanation
from kapps.evaluation.images.peers import peer_features, picture_peers
from kapps.evaluation.metrics.labels import losses_of
from kapps.evaluation.peers import R2, Measure, beside_answers, beside_peers
from kapps.training.fitting.linear_probe import FOLDS, PENALTIES

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
    from sklearn.linear_model import LogisticRegression

    known, asked = _standardized(known, asked)

    def chances(c, x, truth, of):
        if len(np.unique(truth)) < 2:
            return np.full(len(of), truth.mean())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged: as good as it gets in that time
            model = LogisticRegression(C=c, max_iter=_ITERATIONS, tol=1e-2)
            return model.fit(x, truth).predict_proba(of)[:, 1]

    even = np.argsort(np.abs(labels.mean(axis=0) - 0.5), kind="stable")[:_CHOSEN_BY]

    def loss(c):
        total = 0.0
        for label in even:
            truth = labels[:, label]
            for rest, part in folds(truth.astype(int), FOLDS, seed=seed):
                p = np.clip(chances(c, known[rest], truth[rest], known[part]), 1e-6, 1 - 1e-6)
                total += float(losses_of(truth[part][:, None], np.log(p / (1 - p))[:, None]).sum())
        return total

    with threadpoolctl.threadpool_limits(1):
        best = min(PENALTIES, key=loss) if len(labels) >= 2 * FOLDS else PENALTIES[0]
        return np.stack([chances(best, known, truth, asked) for truth in labels.T], axis=1)


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
    from sklearn.linear_model import RidgeCV

    known, asked = _standardized(known.astype(np.float64), asked.astype(np.float64))
    with threadpoolctl.threadpool_limits(1):
        return np.asarray(RidgeCV(_RIDGE).fit(known, numbers).predict(asked))


def _standardized(known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, std = known.mean(axis=0), known.std(axis=0)
    std = np.where(std > 1e-9, std, 1.0)
    return (known - mean) / std, (asked - mean) / std


def _average_precision(truth: np.ndarray, answers: np.ndarray) -> float:
    """The mean of the labels that some of these pictures have, and some lack."""
    from sklearn.metrics import average_precision_score

    counts = truth.sum(axis=0)
    known = np.flatnonzero((counts > 0) & (counts < len(truth)))
    if not len(known):
        return float("nan")
    return float(np.mean([average_precision_score(truth[:, i], answers[:, i]) for i in known]))


_AVERAGE_PRECISION = Measure("average_precision", "mean average precision", _average_precision)
