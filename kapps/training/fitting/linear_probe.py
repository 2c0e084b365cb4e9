"""A linear classifier by convex optimization, its penalty cross-validated: where a probe begins.

A head that is trained by gradient steps alone from random weights stops wherever its schedule ends;
a logistic regression on the same features is at its minimum within a second.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import threadpoolctl

from kapps.data import ImageData, folds
from kapps.training.distributed.devices import arrays_of_chief

MOST = 2000  # examples that it is fitted to
PENALTIES = np.logspace(-4, 0, 5)  # C, of features of deviation 1
FOLDS = 3
_ITERATIONS = 200
_UNSEEN = 5.0  # nats that the logit of a class without examples lies below all others


def logistic_weights(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    seed: int = 0,
    balanced: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [f, classes] and bias [classes], float64, of a logistic regression.

    Its penalty is the one that has most examples right in three folds; the features are
    standardized for it, which is folded into the weights.

    Args:
        features: float [n, f].
        labels: class numbers int [n], of two classes or more.
        classes: how many there are.
        seed: of the folds.
        balanced: give every class the same share of the loss.
    """
    from sklearn.linear_model import LogisticRegression

    mean, std = features.mean(axis=0), features.std(axis=0)
    std = np.where(std > 1e-9, std, 1.0)
    x = (features - mean) / std

    def fitted(c, rows):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # not converged: as good as it gets in that time
            weighting = "balanced" if balanced else None
            model = LogisticRegression(C=c, max_iter=_ITERATIONS, tol=1e-2, class_weight=weighting)
            return model.fit(x[rows], labels[rows])

    with threadpoolctl.threadpool_limits(1):
        best, most = PENALTIES[0], -1
        parts = list(folds(labels, FOLDS, seed=seed)) if len(labels) >= 2 * FOLDS else []
        parts = [(rest, part) for rest, part in parts if len(np.unique(labels[rest])) > 1]
        for c in PENALTIES:
            right = sum(int(np.sum(fitted(c, r).predict(x[p]) == labels[p])) for r, p in parts)
            if right > most:
                best, most = c, right
        model = fitted(best, np.arange(len(labels)))
    slopes, offsets = np.asarray(model.coef_, np.float64), np.asarray(model.intercept_, np.float64)
    if len(slopes) == 1:  # of two classes it has the difference of the logits
        slopes, offsets = np.concatenate([-slopes, slopes]) / 2, np.array([-1, 1]) * offsets / 2
    kernel, bias = np.zeros((x.shape[1], classes)), np.full(classes, offsets.min() - _UNSEEN)
    kernel[:, model.classes_] = (slopes / std).T
    bias[model.classes_] = offsets - (slopes / std) @ mean
    return kernel, bias


def begin_with_regression(
    head: keras.Model, features: np.ndarray, images: ImageData, config: Any, strategy: Any = None
) -> None:
    """Give a head the weights of a logistic regression on the features that it will see.

    Nothing is done to pictures that have no class, or that begin with another run's weights.

    Args:
        head: features [batch, f] -> logits, its last layer dense.
        features: of the training split, float32 [n, f].
        images: the data.
        config: a recipe's flags.
        strategy: what `training.begin` returned; of several workers the first one's weights count.
    """
    if images.kind != "classes" or config.start_from:
        return
    labels = images.splits["train"].labels
    rows = np.arange(len(labels))
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(config.seed).choice(rows, MOST, replace=False))
    if len(np.unique(labels[rows])) < 2:
        return
    found = logistic_weights(
        np.asarray(features[rows], np.float64),
        labels[rows],
        images.classes,
        seed=config.seed,
        balanced=config.class_weights,
    )
    weights = [weight.astype(np.float32) for weight in found]
    head.layers[-1].set_weights(arrays_of_chief(strategy, weights))
