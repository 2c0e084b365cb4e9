"""MiniRocket: features of series by fixed convolutions (Dempster et al. 2020, arXiv:2012.08791).

84 kernels of nine weights, three of them 2 and the others -1, at several dilations. A feature is
the share of the valid steps at which a convolution is above a threshold, and the thresholds are
quantiles of the convolutions of single training series. Nothing is trained.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kapps.data.series.ragged import Ragged

WEIGHTS = 9  # of a kernel
KERNELS = tuple(itertools.combinations(range(WEIGHTS), 3))  # places of the weights that are 2
FEATURES = 9996  # 119 of each kernel
MOST_DILATIONS = 32
_GOLDEN = (np.sqrt(5) + 1) / 2


class MiniRocket(NamedTuple):
    """What was chosen by the training series.

    Attributes:
        dilations: distance of the weights of a kernel, int [d].
        channels: which features of a step a kernel sees, a bool array [channels] for each dilation
            and kernel.
        thresholds: by dilation and kernel, float32 [84, n].
    """

    dilations: tuple[int, ...]
    channels: tuple[np.ndarray, ...]
    thresholds: tuple[np.ndarray, ...]


def fit_minirocket(
    values: np.ndarray | Ragged, features: int = FEATURES, seed: int = 0
) -> MiniRocket:
    """Chooses dilations, channels and thresholds.

    Args:
        values: training series, float [n, steps, channels], padded with NaN at the end, or ragged.
        features: about how many are wanted; at least one for each kernel.
        seed: of which series thresholds are taken from, and of the channels.
    """
    random = np.random.default_rng(seed)
    of_kernel = max(1, features // len(KERNELS))
    dilations, counts = _dilations(values.shape[1], of_kernel)
    place, channels, thresholds = 0, [], []
    for dilation, count in zip(dilations, counts, strict=True):
        seen = _channels(values.shape[2], random)
        chosen = random.integers(0, len(values), len(KERNELS))
        levels = np.empty((len(KERNELS), count), np.float32)
        for kernel, found, valid in _convolved(values[chosen], dilation, seen):
            place += count
            # A low-discrepancy sequence: quantiles spread evenly over all features.
            quantiles = (np.arange(place - count + 1, place + 1) * _GOLDEN) % 1
            levels[kernel] = np.quantile(found[kernel][valid[kernel]], quantiles)
        channels.append(seen)
        thresholds.append(levels)
    return MiniRocket(dilations, tuple(channels), tuple(thresholds))


def minirocket_features(fitted: MiniRocket, values: np.ndarray) -> np.ndarray:
    """The features of series, float32 [n, features], each between 0 and 1."""
    columns = []
    for dilation, seen, levels in zip(
        fitted.dilations, fitted.channels, fitted.thresholds, strict=True
    ):
        for kernel, found, valid in _convolved(values, dilation, seen):
            held = np.where(valid, found, -np.inf)
            count = np.maximum(valid.sum(axis=1), 1)
            columns += [(held > level).sum(axis=1) / count for level in levels[kernel]]
    return np.stack(columns, axis=1).astype(np.float32)


def _dilations(steps: int, of_kernel: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Dilations up to what a series has room for, and how many features each kernel has of each."""
    most = np.log2(max(steps - 1, WEIGHTS - 1) / (WEIGHTS - 1))
    exact = np.logspace(0, most, min(of_kernel, MOST_DILATIONS), base=2.0)
    dilations, weight = np.unique(np.floor(exact).astype(int), return_counts=True)
    counts = np.floor(weight * of_kernel / weight.sum()).astype(int)
    counts[: of_kernel - counts.sum()] += 1
    kept = counts > 0
    return tuple(dilations[kept].tolist()), tuple(counts[kept].tolist())


def _channels(channels: int, random: np.random.Generator) -> np.ndarray:
    """Which channels each kernel sees, bool [84, channels]: one to nine, few more often."""
    most = np.log2(min(channels, WEIGHTS) + 1)
    seen = np.zeros((len(KERNELS), channels), bool)
    for row in seen:
        row[random.permutation(channels)[: int(2 ** random.uniform(0, most))]] = True
    return seen


def _convolved(
    values: np.ndarray, dilation: int, seen: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Each kernel's number, its convolution [n, steps], and the steps that count, bool [n, steps].

    Every other kernel counts only where it lies wholly within the series, as without padding.
    """
    here = ~np.isnan(values)
    x = np.where(here, values, 0).astype(np.float32).transpose(2, 0, 1)  # channels, n, steps
    steps, reach = x.shape[2], dilation * (WEIGHTS // 2)
    lengths = _lengths(np.asarray(here.any(axis=2)))
    time = np.arange(steps)
    anywhere = time < lengths[:, None]
    inside = (time >= reach) & (time < lengths[:, None] - reach)
    inside[~inside.any(axis=1)] = anywhere[~inside.any(axis=1)]
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach)))
    shifted = [padded[..., i * dilation : i * dilation + steps] for i in range(WEIGHTS)]
    low = -np.sum(shifted, axis=0)
    for kernel, places in enumerate(KERNELS):
        whole = low + 3 * (shifted[places[0]] + shifted[places[1]] + shifted[places[2]])
        valid = inside if (kernel + dilation) % 2 else anywhere
        yield kernel, whole[seen[kernel]].sum(axis=0), valid


def _lengths(here: np.ndarray) -> np.ndarray:
    last = here.shape[1] - here[:, ::-1].argmax(axis=1)
    return np.where(here.any(axis=1), last, 1)
