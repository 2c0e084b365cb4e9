"""Can a plane separate the classes, how hard is that, and how large may a step be?

In what follows x~ is x with a constant 1 appended, so that the bias is one more weight and planes
go through the origin.
"""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass

import numpy as np

MOST_CELLS = 2_000_000  # of the matrix of a linear program that ends within seconds
MOST_POINTS = 12  # whose 2^n labellings are gone through
_HARD = 1e8  # C of a support vector machine that pays for no point on the wrong side
_MOST_ITERATIONS = 200_000


@dataclass(frozen=True)
class Separation:
    """What is known about separating some examples by planes."""

    radius: float
    """R, the largest norm of an x~; with three or more classes, times the square root of 2."""
    margin: float | None
    """gamma, the smallest distance of an example to the plane found; None if none was found."""
    certain: bool
    """Whether there is none for certain, when none was found."""

    @property
    def separable(self) -> bool:
        """A plane was found that has every example on its right side."""
        return self.margin is not None

    @property
    def bound(self) -> float | None:
        """The most updates a perceptron can make, (R / gamma)^2 (Novikoff 1962)."""
        return None if self.margin is None else (self.radius / self.margin) ** 2


def separation(x: np.ndarray, classes: np.ndarray) -> Separation:
    """The widest margin of a plane through the origin of x~, and the bound that goes with it.

    The plane is that of a support vector machine with a hard margin; of two classes a linear
    program tells first whether there is one. The margin is measured on the plane that was found,
    in float64: should a wider one exist, the bound is true all the same, only larger. Three or
    more classes are separable if each x~ has a larger product with the weights of its class than
    with those of any other one; the margin is then that of all differences, for weights whose
    squares add up to 1 (Kesler's construction, Duda and Hart 1973, section 5.12).

    Args:
        x: what the layer sees, [n, features], without the constant.
        classes: int [n]; two or more different ones.
    """
    x = augmented(x)
    classes = np.unique(np.asarray(classes), return_inverse=True)[1]
    radius = float(np.linalg.norm(x, axis=1).max())
    if classes.max() > 1:
        margin = _margin_of_many(x, classes)
        return Separation(math.sqrt(2.0) * radius, margin, certain=False)
    signed = np.where(classes == 1, 1.0, -1.0)[:, None] * x  # all on one side of a plane
    planes, certain = [], False
    if signed.size <= MOST_CELLS:
        plane, certain = _feasible(signed)
        if certain:
            return Separation(radius, None, certain=True)
        planes.append(plane)
    planes.append(_widest(signed))
    margins = [(signed @ p).min() / np.linalg.norm(p) for p in planes if p is not None and p.any()]
    widest = max(margins, default=0.0)
    return Separation(radius, float(widest) if widest > 0 else None, certain=False)


def highest_learning_rate(x: np.ndarray, batch_size: int | None = None) -> float:
    """The eta below which the delta rule's gradient descent converges: 2 / lambda_max.

    lambda_max is the largest eigenvalue of X~^T X~ / n, the curvature of half the mean squared
    error. Batches of b examples drawn at random curve more: then 2 / (lambda_max (1 - 1/b) +
    R^2 / b), which suffices for the mean squared error of the weights to stay bounded, since
    E[H_b^2] <= (lambda_max (1 - 1/b) + R^2 / b) H for the curvature H_b of a batch.

    Args:
        x: what the layer sees, [n, features], without the constant.
        batch_size: b; None, or n and more, is batch gradient descent.
    """
    x = augmented(x)
    curvature = float(np.linalg.eigvalsh(x.T @ x / len(x))[-1])
    if batch_size is not None and batch_size < len(x):
        of_one = float(np.square(x).sum(axis=1).max())
        curvature = curvature * (1 - 1 / batch_size) + of_one / batch_size
    return 2.0 / curvature


def best_linear_accuracy(x: np.ndarray, classes: np.ndarray) -> float:
    """The share of a few points that the best plane of all has on the right side.

    Exact: every way to label the points is tried, and a linear program says whether a plane gives
    it. XOR has 14 of 16 ways, and its own is not among them.

    Args:
        x: [n, features] with at most 12 points.
        classes: 0 or 1, [n].

    Raises:
        ValueError: more points.
    """
    classes = np.asarray(classes)
    if len(classes) > MOST_POINTS:
        raise ValueError(f"{len(classes)} points; at most {MOST_POINTS} can be gone through")
    x = augmented(x)
    ways = sorted(
        itertools.product((0, 1), repeat=len(classes)),
        key=lambda way: int(np.not_equal(way, classes).sum()),
    )
    for way in map(np.array, ways):
        if not _feasible(np.where(way == 1, 1.0, -1.0)[:, None] * x)[1]:
            return float((way == classes).mean())
    return 0.0


def augmented(x: np.ndarray) -> np.ndarray:
    """x~: float64 [n, features + 1], the last column 1."""
    x = np.asarray(x, np.float64).reshape(len(x), -1)
    return np.hstack([x, np.ones((len(x), 1))])


def _feasible(signed: np.ndarray) -> tuple[np.ndarray | None, bool]:
    """A w with signed @ w >= 1 if there is one, and whether there is none for certain."""
    from scipy.optimize import linprog

    count, size = signed.shape
    answer = linprog(np.zeros(size), -signed, -np.ones(count), bounds=(None, None))
    return (answer.x, False) if answer.status == 0 else (None, answer.status == 2)


def _widest(signed: np.ndarray) -> np.ndarray:
    """The plane with the widest margin through the origin: w, [features]."""
    from sklearn.svm import SVC

    # scikit-learn's machine has an intercept; that of a set and its mirror image is 0.
    both = np.vstack([signed, -signed])
    labels = np.repeat([1, -1], len(signed))
    machine = SVC(kernel="linear", C=_HARD, tol=1e-5, max_iter=_MOST_ITERATIONS)
    return _fitted(machine, both, labels).coef_[0]


def _margin_of_many(x: np.ndarray, classes: np.ndarray) -> float | None:
    from sklearn.svm import LinearSVC

    machine = LinearSVC(
        multi_class="crammer_singer", fit_intercept=False, C=1e3, max_iter=5000, random_state=0
    )
    weights = _fitted(machine, x, classes).coef_
    products = x @ weights.T
    right = products[np.arange(len(x)), classes]
    products[np.arange(len(x)), classes] = -np.inf
    margin = float((right - products.max(axis=1)).min() / np.linalg.norm(weights))
    return margin if margin > 0 else None


def _fitted(machine, x, labels):
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():  # the margin is measured afterwards: half converged is a plane
        warnings.simplefilter("ignore", ConvergenceWarning)
        return machine.fit(x, labels)
