"""How varied a set of images is: spread, spacing, duplicates, classes, and copies of others."""

from __future__ import annotations

import math

import numpy as np

from kapps.evaluation.generative.samples.neighbours import nearest_neighbours

SAME = 0.1  # of the usual distance of nearest neighbours: two images that are as good as one
MISSING = 0.1  # share of a class among the samples, relative to its share of real images
EXPECTED = 20  # samples that a class should have, for its absence to mean something
MOST_COMPARED = 2000  # images whose spread and spacing are measured
MOST_SEARCHED = 500  # images whose nearest training image is looked for among all


def variety(ours: np.ndarray, theirs: np.ndarray, ending: str) -> dict[str, float]:
    """Spread and spacing of points, relative to those of others, and how many are duplicates.

    The more points there are, the nearer is the nearest: of both as many are looked at for that.

    Args:
        ours: [n, d].
        theirs: [m, d].
        ending: of the names.
    """
    found, count = {}, min(len(ours), len(theirs))
    distances = _nearest(_all_over(ours, count)), _nearest(_all_over(theirs, count))
    spacing = [float(np.median(d)) if len(d) else 0.0 for d in distances]
    spread = _spread(ours), _spread(theirs)
    for name, (a, b) in (("spread", spread), ("spacing", spacing)):
        found[f"{name}{ending}"] = a / b if b > 0 else 1.0
    shares = [float(np.mean(d <= SAME * spacing[1])) if len(d) else 0.0 for d in distances]
    found[f"duplicates{ending}"] = max(shares[0] - shares[1], 0.0)
    return found


def _spread(points: np.ndarray) -> float:
    """Root mean square distance of two different points: twice the variance, over all axes."""
    return math.sqrt(2 * float(points.var(axis=0, ddof=1).sum())) if len(points) > 1 else 0.0


def _nearest(points: np.ndarray) -> np.ndarray:
    """Distance of each point to its nearest other one."""
    from sklearn.neighbors import NearestNeighbors

    if len(points) < 2:
        return np.zeros(0)
    # Centred, squares stay small and their differences exact.
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points - points.mean(axis=0))
    return search.kneighbors()[0][:, 0]


def class_shares(sample_classes, real_classes, class_names) -> tuple[list[str], dict[str, float]]:
    """Names of the classes that are missing, and how far apart the shares are."""
    ours, theirs = np.asarray(sample_classes, int), np.asarray(real_classes, int)
    classes = int(max(ours.max(), theirs.max())) + 1
    counts = np.bincount(ours, minlength=classes)
    expected = np.bincount(theirs, minlength=classes) / len(theirs) * len(ours)
    names = class_names or [str(i) for i in range(classes)]
    judged = expected >= EXPECTED
    absent = judged & (counts < MISSING * expected)
    # Total variation: the share of samples that would have to be of another class; chance alone
    # makes it the mean distance of two draws, each class being nearly normal.
    shares = expected / len(ours)
    distance = 0.5 * float(np.abs(counts / len(ours) - shares).sum())
    deviations = np.sqrt(shares * (1 - shares) * (1 / len(ours) + 1 / len(theirs)))
    by_chance = 0.5 * float(deviations.sum()) * math.sqrt(2 / math.pi)
    return [str(names[i]) for i in np.flatnonzero(absent)], {
        "classes_missing": int(absent.sum()),
        "classes_expected": int(judged.sum()),
        "class_imbalance": distance,
        "class_imbalance_by_chance": by_chance,
    }


def copies(samples: np.ndarray, train: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Are samples copies of training images?

    `copies` is the share of samples that are as good as a training image, less the share of `other`
    images that are (a dataset has duplicates of its own); `nearer_train` is the share of samples
    that lie nearer to a training image than to one of `other`, as many of each: one half of those
    of a model that has learned what both have in common.

    Args:
        samples: [n, H, W, C], uint8 or float 0..1.
        train: images that the model was trained on.
        other: images that it was not.
    """
    samples, held = _all_over(samples, MOST_SEARCHED), _all_over(other, MOST_SEARCHED)
    to_train, usual = (nearest_neighbours(x, train, 1)[1][:, 0] for x in (samples, held))
    limit = SAME * float(np.median(usual))
    count = min(len(train), len(other))
    ours, theirs = (
        nearest_neighbours(samples, _all_over(x, count), 1)[1][:, 0] for x in (train, other)
    )
    nearer = np.mean(ours < theirs) + 0.5 * np.mean(ours == theirs)
    share = float(np.mean(to_train <= limit) - np.mean(usual <= limit))
    return {"copies": max(share, 0.0), "nearer_train": float(nearer)}


def _all_over(images: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, from all over: images may be sorted by class."""
    if len(images) <= most:
        return images
    return images[np.linspace(0, len(images) - 1, most).round().astype(int)]


def some(points: np.ndarray) -> np.ndarray:
    """At most `MOST_COMPARED` rows, from all over: images may be sorted by class."""
    points = _all_over(np.asarray(points), MOST_COMPARED)
    return points.reshape(len(points), -1).astype(np.float64)


def unit(images: np.ndarray) -> np.ndarray:
    """Pixels of 0..1 of at most `MOST_COMPARED` images, float64 [n, values]."""
    return some(images) / (255 if np.issubdtype(np.asarray(images).dtype, np.integer) else 1)
