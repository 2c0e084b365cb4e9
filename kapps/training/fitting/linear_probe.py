"""A linear model by convex optimization, its penalty cross-validated: where a probe begins.

A head that is trained by gradient steps alone from random weights stops wherever its schedule ends;
a regression on the same features is at its minimum within a second. Of classes it is a logistic
regression, of several labels one for each, of numbers a ridge regression.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import threadpoolctl

from kapps.data import ImageData, folds
from kapps.training.distributed.devices import arrays_of_chief
from kapps.training.picture_tasks import number_statistics

MOST = 2000  # examples that it is fitted to
PENALTIES = np.logspace(-4, 0, 5)  # C, of features of deviation 1
FOLDS = 3
SMALLEST = 0.01  # deviation of a feature, of the median one
_RIDGE = np.logspace(-2, 5, 15)
_CHOSEN_BY = 3  # labels: the penalty is that which suits the most even of them
_ITERATIONS = 200
_RAREST = 1e-3  # share that is taken of a label that no example has
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
    mean, std = _statistics(features)
    x = (features - mean) / std

    def fitted(c, rows):
        return _logistic(c, x[rows], labels[rows], "balanced" if balanced else None)

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


def label_weights(
    features: np.ndarray, labels: np.ndarray, *, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [f, labels] and bias [labels], float64, of a logistic regression for each label.

    All have one penalty, that of the lowest loss in three folds on the three labels that most
    nearly half of the examples have. A label that all have, or none, has its frequency's logit.

    Args:
        features: float [n, f].
        labels: 0 and 1 [n, labels].
        seed: of the folds.
    """
    mean, std = _statistics(features)
    x = (features - mean) / std

    def fitted(c, x, truth):
        if len(np.unique(truth)) < 2:
            share = np.clip(truth.mean(), _RAREST, 1 - _RAREST)
            return np.zeros(x.shape[1]), float(np.log(share / (1 - share)))
        model = _logistic(c, x, truth, None)
        return np.asarray(model.coef_[0], np.float64), float(model.intercept_[0])

    even = np.argsort(np.abs(labels.mean(axis=0) - 0.5), kind="stable")[:_CHOSEN_BY]

    def loss(c):
        total = 0.0
        for label in even:
            truth = labels[:, label].astype(int)
            for rest, part in folds(truth, FOLDS, seed=seed):
                slopes, offset = fitted(c, x[rest], truth[rest])
                logits = x[part] @ slopes + offset
                total += float(np.sum(np.logaddexp(0.0, logits) - truth[part] * logits))
        return total

    with threadpoolctl.threadpool_limits(1):
        best = min(PENALTIES, key=loss) if len(labels) >= 2 * FOLDS else PENALTIES[0]
        found = [fitted(best, x, truth.astype(int)) for truth in labels.T]
    kernel = np.stack([slopes / std for slopes, _ in found], axis=1)
    return kernel, np.array([offset for _, offset in found]) - mean @ kernel


def number_weights(features: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel [f, 1] and bias [1], float64, of a ridge regression, as `logistic_weights`.

    Its penalty is chosen by leaving out one example at a time.

    Args:
        features: float [n, f].
        numbers: what is to be predicted, float [n].
    """
    from sklearn.linear_model import RidgeCV

    mean, std = _statistics(features)
    with threadpoolctl.threadpool_limits(1):
        model = RidgeCV(_RIDGE).fit((features - mean) / std, numbers)
    kernel = (np.asarray(model.coef_, np.float64) / std)[:, None]
    return kernel, np.array([float(model.intercept_)]) - mean @ kernel


def begin_with_regression(
    head: keras.Model, features: np.ndarray, images: ImageData, config: Any, strategy: Any = None
) -> bool:
    """Give a head the weights of a regression on the features that it will see.

    Args:
        head: features [batch, f] -> logits, its last layer dense; of numbers, the standardized one.
        features: of the training split, float32 [n, f].
        images: the data.
        config: a recipe's flags; one that begins with another run's weights is left alone.
        strategy: what `training.begin` returned; of several workers the first one's weights count.

    Returns:
        Whether the head has them now.
    """
    if config.start_from:
        return False
    labels = images.splits["train"].labels
    rows = np.arange(len(labels))
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(config.seed).choice(rows, MOST, replace=False))
    x, known = np.asarray(features[rows], np.float64), labels[rows]
    if images.kind == "labels":
        found = label_weights(x, known, seed=config.seed)
    elif images.kind == "number":
        mean, std = number_statistics(images)
        found = number_weights(x, (known - mean) / std)
    elif len(np.unique(known)) < 2:
        return False
    else:
        found = logistic_weights(
            x, known, images.classes, seed=config.seed, balanced=config.class_weights
        )
    weights = [weight.astype(np.float32) for weight in found]
    head.layers[-1].set_weights(arrays_of_chief(strategy, weights))
    return True


class CountsAsItBegan(keras.callbacks.Callback):
    """The first epoch ends with the weights that it began with, and so has their row.

    What is trained from the minimum of a regression may only get worse. Its beginning is one of the
    epochs that compete, at the price of the first epoch's steps.

    Args:
        model: with the weights that it begins with.
    """

    def __init__(self, model: keras.Model):
        super().__init__()
        self._weights = [np.asarray(weight) for weight in model.trainable_variables]
        self._first = False

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Only the first epoch is undone."""
        self._first = epoch == 0

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Before the validation at its end."""
        if self._first:
            for variable, value in zip(self.model.trainable_variables, self._weights, strict=True):
                variable.assign(value)


def _logistic(c: float, x: np.ndarray, labels: np.ndarray, weighting: str | None) -> Any:
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged: as good as it gets in that time
        model = LogisticRegression(C=c, max_iter=_ITERATIONS, tol=1e-2, class_weight=weighting)
        return model.fit(x, labels)


def _statistics(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each feature, the latter no smaller than a part of the usual one.

    A feature that is the same but for rounding in all examples would be blown up to that of the
    others, and its slope with it: a picture that has another value there would be decided by it.
    """
    mean, std = features.mean(axis=0), features.std(axis=0)
    usual = float(np.median(std[std > 0])) if (std > 0).any() else 1.0
    return mean, np.maximum(std, SMALLEST * usual)
