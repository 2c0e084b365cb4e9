"""What a second of work gives on series: MiniRocket with a linear model, the nearest series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import threadpoolctl

from kapps.data.series.ragged import Ragged, alike, by_length, take
from kapps.evaluation.explanation import Explanation
from kapps.evaluation.peers import R2, Peer, beside_answers, beside_peers
from kapps.evaluation.series.minirocket import FEATURES, fit_minirocket, minirocket_features

if TYPE_CHECKING:
    from kapps.data import SequenceData

MOST_TRAINED = 3000  # series that peers learn from, and at most so many are asked about
FEWEST_FEATURES = 840  # ten of each kernel
WORK = 1.5e9  # steps of series, times features: a few seconds
_TOGETHER = 64  # series whose distances are computed at a time


def beside_series_peers(found: Explanation, series: SequenceData, seed: int = 0) -> Explanation:
    """An explanation with what simple models say of the same test series.

    Of classes as `series_peers` has it, compared by accuracy; of numbers ridge regression on the
    features of MiniRocket, and the number of the nearest series, compared by R². Where one surely
    wins, verdict and notes say so.

    Args:
        found: of the network, with what it answers of the test split (`test_logits`); without, as
            of a memory task, nothing is added.
        series: what it was trained on.
        seed: as of `series_peers`.
    """
    if found.test_logits is None:
        return found
    if series.classes:
        return beside_peers(found, series.splits["test"].labels, series_peers(series, seed))
    known, labels, asked, rows = _parts(series, seed)
    rows = slice(None) if rows is None else rows
    numbers = labels[:, 0]
    answers = {
        "minirocket": (
            "ridge regression on features of MiniRocket",
            minirocket_ridge(known, numbers, asked, seed, classifies=False),
        ),
        "nearest_neighbour": (
            "the number of the nearest training series",
            nearest_labels(known, numbers, asked),
        ),
    }
    truth = series.splits["test"].labels[rows, 0]
    return beside_answers(found, truth, found.test_logits[rows, 0], answers, R2)


def series_peers(series: SequenceData, seed: int = 0) -> dict[str, Peer]:
    """What simple models that learned from the training split say of the test split.

    `minirocket`: a ridge classifier on the features of MiniRocket, its penalty by leave-one-out
    (Dempster et al. 2020, arXiv:2012.08791). `nearest_neighbour`: the label of the nearest
    training series by Euclidean distance, both standardized by the training split, padding as
    zeros. Of large splits a seeded part is used.

    Args:
        series: a class for each series.
        seed: of the part, and of MiniRocket's draws.
    """
    known, labels, asked, rows = _parts(series, seed)
    ridge = minirocket_ridge(known, labels, asked, seed)
    nearest = nearest_labels(known, labels, asked)
    return {
        "minirocket": Peer("MiniRocket with a ridge classifier", ridge, rows),
        "nearest_neighbour": Peer("the nearest training series", nearest, rows),
    }


def minirocket_ridge(
    known: np.ndarray | Ragged,
    labels: np.ndarray,
    asked: np.ndarray | Ragged,
    seed: int = 0,
    *,
    classifies: bool = True,
) -> np.ndarray:
    """Labels int [m] by a ridge classifier on MiniRocket's features, or numbers by a regression.

    Args:
        known: series float [n, steps, channels] with labels, padded with NaN, or ragged.
        labels: int [n], of two classes or more; or numbers [n].
        asked: series float [m, steps, channels].
        seed: of MiniRocket's draws.
        classifies: whether `labels` are classes.
    """
    from sklearn.linear_model import RidgeClassifierCV, RidgeCV
    from sklearn.preprocessing import StandardScaler

    steps = sum(
        len(x.flat) if isinstance(x, Ragged) else x.shape[0] * known.shape[1]
        for x in (known, asked)
    )
    features = int(np.clip(WORK / steps, FEWEST_FEATURES, FEATURES))
    fitted = fit_minirocket(known, features, seed)
    first, second = (by_length(lambda x: minirocket_features(fitted, x), v) for v in (known, asked))
    scaler = StandardScaler().fit(first)
    with threadpoolctl.threadpool_limits(1):
        kind = RidgeClassifierCV if classifies else RidgeCV
        ridge = kind(np.logspace(-3, 3, 10)).fit(scaler.transform(first), labels)
        return np.asarray(ridge.predict(scaler.transform(second)))


def nearest_labels(
    known: np.ndarray | Ragged, labels: np.ndarray, asked: np.ndarray | Ragged
) -> np.ndarray:
    """The label of the nearest known series, int [m]; arguments as `minirocket_ridge`."""
    parts = [(rows, _flat(known[rows])) for rows in alike(known)]

    def nearest(values: np.ndarray) -> np.ndarray:
        x = _flat(values)
        distances = np.empty((len(x), len(known)), np.float32)
        for rows, some in parts:
            steps = min(x.shape[1], some.shape[1])  # beyond them one of both is padding, or zero
            squares = (some**2).sum(axis=1)
            distances[:, rows] = squares - 2 * x[:, :steps] @ some[:, :steps].T
        return labels[distances.argmin(axis=1)]

    groups = alike(asked, _TOGETHER)
    said = np.concatenate([nearest(asked[rows]) for rows in groups])
    return said[np.argsort(np.concatenate(groups))]


def _parts(series: SequenceData, seed: int) -> tuple:
    """Known series and their labels, those asked about, and which rows of the test split these are.

    All are standardized by those that are known. The rows are None where they are all.
    """
    train = series.splits["train"].some(MOST_TRAINED, seed)
    test, rows = series.splits["test"], None
    values = test.values
    if len(test) > MOST_TRAINED:
        drawn = np.random.default_rng(seed).choice(len(test), MOST_TRAINED, replace=False)
        rows = np.sort(drawn)
        values = take(values, rows)
    mean, std = _statistics(train.values)
    known, asked = (_standardized(x, mean, std) for x in (train.values, values))
    return known, train.labels, asked, rows


def _statistics(values: np.ndarray | Ragged) -> tuple[np.ndarray, np.ndarray]:
    values = values.flat[None] if isinstance(values, Ragged) else values
    std = np.nanstd(values, axis=(0, 1))
    return np.nanmean(values, axis=(0, 1)), np.where(std > 1e-12, std, 1)


def _standardized(values, mean: np.ndarray, std: np.ndarray):
    if isinstance(values, Ragged):
        return Ragged((values.flat - mean) / std, values.lengths)
    return (values - mean) / std


def _flat(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values, nan=0.0).reshape(len(values), -1).astype(np.float32)
