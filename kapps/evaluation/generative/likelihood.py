"""The negative log-likelihood of pictures under a latent-variable model, by importance sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special, stats

from kapps.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

SAMPLES = 5000
CHUNK_ROWS = 10_000  # (picture, sample) pairs that go through the decoder at once
MILESTONES = (1, 50, 500, 5000)
_MOST_SAMPLES_AT_ONCE = 500


@dataclass(frozen=True, eq=False)
class Likelihood:
    """What `importance_nll` found.

    Attributes:
        nll: the bound on -log p(x) with all samples, mean over the pictures, nats.
        error: its standard error over the pictures, nats; the noise of sampling is in it, the bias
            of the bound is not (`trend` shows that).
        per_image: the bound for each picture, float64 [n].
        samples: importance samples per picture.
        dimensions: pixels times channels of a picture.
        trend: number of samples -> mean bound with the first so many of the same samples. It falls
            towards -log p(x); where it has not yet settled, more samples would give less.
    """

    nll: float
    error: float
    per_image: np.ndarray
    samples: int
    dimensions: int
    trend: dict[int, float]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the bound on new pictures of the same kind: Student's, nats."""
        width = float(stats.t.ppf(0.975, max(len(self.per_image) - 1, 1))) * self.error
        return self.nll - width, self.nll + width

    @property
    def elbo_gap(self) -> float:
        """What importance sampling gains over the bound of one sample, nats."""
        return self.trend[1] - self.nll

    def figures(self, floor: float | None = None) -> dict[str, Any]:
        """Flat figures for metrics.json; with a `floor`, also that, and whether it is held."""
        found = {
            "nll": self.nll,
            "nll_error": self.error,
            "nll_low": self.interval[0],
            "nll_high": self.interval[1],
            "nll_bits_per_dimension": bits_per_dimension(self.nll, self.dimensions),
            "nll_samples": self.samples,
            "nll_images": len(self.per_image),
            **{f"nll_with_{count}": value for count, value in self.trend.items()},
        }
        if floor is not None:
            found["nll_floor"] = floor
            found["nll_below_floor"] = self.nll < floor
        return found


def importance_nll(
    log_weights: Callable[..., tf.Tensor],
    x: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
    chunk_rows: int = CHUNK_ROWS,
    progress: bool = True,
) -> Likelihood:
    """`-log (1/S sum_s p(x, z_s) / q(z_s | x))` with S samples of z from q, for each picture.

    An upper bound on -log p(x) in expectation, for every S; with S = 1 the negative ELBO (Burda et
    al. 2015, arXiv:1509.00519, equation 8). Its samples go through the model in chunks of constant
    shape; their logarithms are summed as they come, in float64. What fills up the last chunk of
    samples or of pictures is not counted.

    Args:
        log_weights: `(x float32 [b, ...], samples, seed int32 [2]) -> log p(x,z) - log q(z|x)`,
            [samples, b], in nats, such as `VAE.log_weights`; with `labels=` [b, ...] where there
            are labels. It is called in graph mode.
        x: pictures as the likelihood is defined on them, float32 [n, ...]: of 0..1, and of 0 and 1
            only for a Bernoulli likelihood.
        labels: conditions of the pictures, [n, ...]; None for an unconditional model.
        samples: S; the literature has 5000.
        seed: seed of all draws; they also depend on `chunk_rows`.
        chunk_rows: (picture, sample) pairs at a time: what bounds the memory.
        progress: show how far it is, when it takes more than seconds.

    Raises:
        UserError: nothing to measure, numbers below 1, or log weights that are NaN, infinite
            or of another shape.
    """
    from kapps.data.progress import track

    x = np.asarray(x, np.float32)
    if not len(x) or min(samples, chunk_rows) < 1:
        raise UserError(
            "Importance sampling needs at least one picture, one sample and one row at a time; got "
            f"{len(x)} pictures, samples {samples}, chunk_rows {chunk_rows}."
        )
    pictures, at_once, chunks = _chunks(len(x), samples, chunk_rows)
    milestones = sorted({count for count in MILESTONES if count <= samples} | {samples})
    bounds = np.empty((len(milestones), len(x)))
    draw = _draw(log_weights, at_once, labels is not None)

    starts = range(0, len(x), pictures)
    calls = ((start, chunk) for start in starts for chunk in range(chunks))
    if progress:
        calls = track(calls, "importance sampling", total=len(starts) * chunks)
    for start, chunk in calls:
        if chunk == 0:
            running = _LogSum(milestones)
            rows = np.minimum(np.arange(start, start + pictures), len(x) - 1)
        key = np.array([seed, (start // pictures) * chunks + chunk], np.int32)
        given = (x[rows],) if labels is None else (x[rows], np.asarray(labels)[rows])
        found = np.asarray(draw(key, *given))
        running.add(_checked(found, at_once, pictures))
        if chunk == chunks - 1:
            count = min(pictures, len(x) - start)
            for i, total in enumerate(running.totals):
                bounds[i, start : start + count] = np.log(milestones[i]) - total[:count]

    per_image = bounds[-1]
    error = float(np.std(per_image, ddof=1) / np.sqrt(len(x))) if len(x) > 1 else math.nan
    trend = {count: float(bound.mean()) for count, bound in zip(milestones, bounds, strict=True)}
    return Likelihood(
        nll=trend[samples],
        error=error,
        per_image=per_image,
        samples=samples,
        dimensions=int(np.prod(x.shape[1:])),
        trend=trend,
    )


def bits_per_dimension(nats: float, dimensions: int) -> float:
    """Nats of a picture as bits per pixel and channel: `nats / (dimensions log 2)`.

    For a density on pixels of 0..1 (dequantized, or a Gaussian likelihood) add 8 to compare with
    codes of 8-bit pictures: a level is 1/256 wide.
    """
    return float(nats) / (dimensions * math.log(2.0))


def binarization_entropy(pixels: np.ndarray) -> float:
    """Mean entropy in nats of pictures drawn pixel by pixel as Bernoulli(grey value).

    No model can have a lower negative log-likelihood of randomly binarized pictures on average:
    it would know which way the coins fall. 189.86 nats for Fashion-MNIST's test split.

    Args:
        pixels: pictures [n, ...], uint8 of 0..255 or numbers of 0..1.

    Raises:
        UserError: no pictures, or numbers outside 0..1.
    """
    pixels = np.asarray(pixels)
    if not pixels.size:
        raise UserError("There are no pictures to take the entropy of.")
    if pixels.dtype == np.uint8:
        levels, counts = np.arange(256) / 255.0, np.bincount(pixels.ravel(), minlength=256)
    else:
        levels, counts = np.unique(pixels.astype(np.float64), return_counts=True)
    if not (levels[0] >= 0.0 and levels[-1] <= 1.0):
        raise UserError(
            f"Pixels of 0..1 are wanted; these run from {levels[0]:g} to {levels[-1]:g}."
        )
    entropies = special.entr(levels) + special.entr(1.0 - levels)
    return float(counts @ entropies / len(pixels))


def floor_note(nll: float, floor: float) -> str | None:
    """A warning when a negative log-likelihood is below what is possible; None otherwise."""
    if nll >= floor:
        return None
    return (
        f"The negative log-likelihood of {nll:.2f} nats is below {floor:.2f} nats, the entropy of "
        "the binarization itself: no model can be that good. Something is measured wrongly, "
        "for example grey values where 0 and 1 are meant."
    )


class _LogSum:
    """Running log-sum-exp over samples, float64 [b], remembered at the milestones."""

    def __init__(self, milestones: list[int]):
        self.milestones, self.totals = milestones, []
        self._seen, self._total = 0, -np.inf

    def add(self, log_weights: np.ndarray) -> None:
        """The next samples, [s, b]; what is beyond the last milestone is left out."""
        while len(log_weights) and len(self.totals) < len(self.milestones):
            part = log_weights[: self.milestones[len(self.totals)] - self._seen]
            log_weights = log_weights[len(part) :]
            # Both take out the maximum before the exponential.
            self._total = np.logaddexp(self._total, special.logsumexp(part, axis=0))
            self._seen += len(part)
            if self._seen == self.milestones[len(self.totals)]:
                self.totals.append(self._total)


def _chunks(images: int, samples: int, rows: int) -> tuple[int, int, int]:
    """Pictures per call, samples per call, and calls per picture; calls have the same shape."""
    pictures = min(images, max(1, rows // min(samples, _MOST_SAMPLES_AT_ONCE)))
    chunks = -(-samples // max(1, rows // pictures))
    return pictures, -(-samples // chunks), chunks


def _draw(log_weights: Callable[..., tf.Tensor], samples: int, conditional: bool) -> Callable:
    import tensorflow as tf

    @tf.function
    def draw(key: tf.Tensor, x: tf.Tensor, labels: tf.Tensor | None = None) -> tf.Tensor:
        if conditional:
            return tf.cast(log_weights(x, samples, key, labels=labels), tf.float64)
        return tf.cast(log_weights(x, samples, key), tf.float64)

    return lambda *arrays: draw(*(tf.constant(array) for array in arrays))


def _checked(found: np.ndarray, samples: int, pictures: int) -> np.ndarray:
    if found.shape != (samples, pictures):
        raise UserError(
            f"log_weights must return [samples, pictures], here {(samples, pictures)}; it returned "
            f"{found.shape}."
        )
    # A weight of zero (-inf) is a legal one.
    if np.isnan(found).any() or np.isposinf(found).any():
        raise UserError(
            "The log weights are not finite numbers: the model diverged, or x is not what its "
            "likelihood is defined on."
        )
    return found
