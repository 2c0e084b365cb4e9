"""What a second of work gives on series: MiniRocket with a ridge classifier, the nearest one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import threadpoolctl

from kapps.evaluation.peers import Peer
from kapps.evaluation.series.minirocket import FEATURES, fit_minirocket, minirocket_features

if TYPE_CHECKING:
    from kapps.data import SequenceData

MOST_TRAINED = 3000  # series that peers learn from, and at most so many are asked about
FEWEST_FEATURES = 840  # ten of each kernel
WORK = 1.5e9  # steps of series, times features: a few seconds
_TOGETHER = 64  # series whose distances are computed at a time


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
    train = series.splits["train"].some(MOST_TRAINED, seed)
    test, rows = series.splits["test"], None
    values = test.values
    if len(test) > MOST_TRAINED:
        drawn = np.random.default_rng(seed).choice(len(test), MOST_TRAINED, replace=False)
        rows = np.sort(drawn)
        values = values[rows]
    mean = np.nanmean(train.values, axis=(0, 1))
    std = np.nanstd(train.values, axis=(0, 1))
    std = np.where(std > 1e-12, std, 1)
    known, asked = ((x - mean) / std for x in (train.values, values))
    ridge = minirocket_ridge(known, train.labels, asked, seed)
    nearest = nearest_labels(known, train.labels, asked)
    return {
        "minirocket": Peer("MiniRocket with a ridge classifier", ridge, rows),
        "nearest_neighbour": Peer("the nearest training series", nearest, rows),
    }


def minirocket_ridge(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Labels int [m] by a ridge classifier on MiniRocket's features.

    Args:
        known: series float [n, steps, channels] with labels, padded with NaN.
        labels: int [n], of two classes or more.
        asked: series float [m, steps, channels].
        seed: of MiniRocket's draws.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.preprocessing import StandardScaler

    steps = (len(known) + len(asked)) * known.shape[1]
    features = int(np.clip(WORK / steps, FEWEST_FEATURES, FEATURES))
    fitted = fit_minirocket(known, features, seed)
    first, second = minirocket_features(fitted, known), minirocket_features(fitted, asked)
    scaler = StandardScaler().fit(first)
    with threadpoolctl.threadpool_limits(1):
        ridge = RidgeClassifierCV(np.logspace(-3, 3, 10)).fit(scaler.transform(first), labels)
        return np.asarray(ridge.predict(scaler.transform(second)))


def nearest_labels(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The label of the nearest known series, int [m]; arguments as `minirocket_ridge`."""
    steps = max(known.shape[1], asked.shape[1])
    known, asked = (_flat(x, steps) for x in (known, asked))
    squares, said = (known**2).sum(axis=1), []
    for start in range(0, len(asked), _TOGETHER):
        some = asked[start : start + _TOGETHER]
        said.append(labels[(squares - 2 * some @ known.T).argmin(axis=1)])
    return np.concatenate(said)


def _flat(values: np.ndarray, steps: int) -> np.ndarray:
    x = np.nan_to_num(values, nan=0.0)
    x = np.pad(x, ((0, 0), (0, steps - x.shape[1]), (0, 0)))
    return x.reshape(len(x), -1).astype(np.float32)
