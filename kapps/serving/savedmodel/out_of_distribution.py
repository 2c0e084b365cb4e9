"""How unlike the training images is an image? A score in the answers of a published classifier.

With x the features that the last layer sees, mu_c their mean over training images of class c, and S
their covariance within the classes, one for all of them:

    score = min over c of sqrt((x - mu_c)^T S^-1 (x - mu_c))

It is the Mahalanobis distance to the nearest class (Lee et al. 2018, arXiv:1807.03888, equation 2;
one layer, inputs as they are). S is shrunk towards a multiple of the identity (Ledoit and Wolf
2004): there may be more features than images to estimate it from.

`assets.extra/out_of_distribution.json` holds the threshold, the 95th percentile of the scores of
validation images. So one image in twenty that is like those of training is above it, too: a share
of answers above it that stays far from 5 % says that inputs have changed, a single answer little.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kapps import files

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

OUTPUT = "out_of_distribution_score"
FILE = Path("assets.extra", "out_of_distribution.json")
PERCENTILE = 95
FEWEST = 20  # validation images: of fewer a 95th percentile is one of them
MOST_FEATURES = 2048  # a covariance has their square
_SMALLEST = 1e-3  # variance of a direction, of the largest one: float32 has to carry the distance


@dataclass(frozen=True, eq=False)
class Detector:
    """What gives the score.

    Attributes:
        network: images float32 [N, H, W, C] of 0..255 -> features [N, d] and logits [N, classes].
        centre: float32 [d], subtracted from the features.
        whitening: float32 [d, d]; the covariance of centred features times it is the identity.
        means: float32 [classes, d], of centred and whitened features.
        threshold: the 95th percentile of validation images.
        examples: how many these were.
    """

    network: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    centre: np.ndarray
    whitening: np.ndarray
    means: np.ndarray
    threshold: float = math.inf
    examples: int = 0

    def score(self, features: tf.Tensor) -> tf.Tensor:
        """Distance to the nearest class: [N, d] -> float32 [N]."""
        import tensorflow as tf

        white = tf.matmul(tf.cast(features, tf.float32) - self.centre, self.whitening)
        # |a - b|^2 without a tensor [N, classes, d].
        squares = tf.reduce_sum(white**2, axis=1, keepdims=True) + np.sum(self.means**2, axis=1)
        products = tf.matmul(white, tf.constant(self.means), transpose_b=True)
        nearest = tf.reduce_min(squares - 2.0 * products, axis=1)
        return tf.sqrt(tf.maximum(nearest, 0.0))

    def about(self) -> dict[str, float | int | str]:
        """What the file of a version holds."""
        return {
            "score": "Mahalanobis distance of the last hidden features to the nearest class mean",
            "threshold": self.threshold,
            "percentile": PERCENTILE,
            "validation_examples": self.examples,
        }


def fit(
    model: keras.Model,
    train: Iterable[np.ndarray],
    labels: np.ndarray,
    validation: Iterable[np.ndarray],
) -> Detector | None:
    """Estimates means and covariance on training images, and the threshold on validation images.

    Args:
        model: images [N, H, W, C] of 0..255 -> logits [N, classes].
        train: training images, uint8 [n, H, W, C], in parts.
        labels: their classes, int [n].
        validation: validation images, likewise.

    Returns:
        None where there are fewer than twenty validation images, or all features are the same.
    """
    from sklearn.covariance import LedoitWolf

    network = _features_and_logits(model)
    fitted = _features(network, train)
    known, places = np.unique(labels, return_inverse=True)
    means = np.stack([fitted[places == place].mean(axis=0) for place in range(len(known))])
    within = fitted - means[places]
    if not np.isfinite(within).all() or not within.any():
        return None
    covariance = LedoitWolf(assume_centered=True).fit(within).covariance_
    variances, directions = np.linalg.eigh(covariance)
    whitening = directions / np.sqrt(np.maximum(variances, _SMALLEST * variances[-1]))
    centre = means.mean(axis=0)
    detector = Detector(
        network,
        centre=centre.astype(np.float32),
        whitening=whitening.astype(np.float32),
        means=((means - centre) @ whitening).astype(np.float32),
    )
    scores = np.concatenate(
        [np.zeros(0), *(detector.score(network(_floats(part))[0]).numpy() for part in validation)]
    )
    if len(scores) < FEWEST:
        return None
    threshold = float(np.percentile(scores, PERCENTILE))
    return replace(detector, threshold=threshold, examples=len(scores))


def write(directory: Path, detector: Detector | None) -> None:
    """Puts the threshold into a version, where there is one."""
    if detector is not None:
        (directory / FILE).parent.mkdir(exist_ok=True)
        files.write_json(directory / FILE, detector.about())


def read(directory: Path) -> dict[str, float]:
    """The `threshold` that a version brings; nothing where it has no such file, or a broken one."""
    try:
        threshold = float(json.loads((directory / FILE).read_text(encoding="utf-8"))["threshold"])
    except (OSError, ValueError, TypeError, KeyError):
        return {}
    return {"threshold": threshold} if math.isfinite(threshold) else {}


class ScoreWatch:
    """Counts scores, and those above the threshold, until it is asked."""

    def __init__(self, threshold: float):
        self._threshold = threshold
        self._counts = np.zeros(3)

    def see(self, scores: np.ndarray) -> None:
        """Counts the scores of an answer."""
        above = ~(scores <= self._threshold)  # NaN, too
        total = np.where(np.isfinite(scores), scores, 0.0).sum(dtype=np.float64)
        self._counts += (scores.size, above.sum(), total)

    def take(self) -> list[float]:
        """Examples, those above the threshold, and the sum of scores; nothing where none came."""
        said, self._counts = self._counts.tolist(), np.zeros(3)
        return said if said[0] else []


def _features(network: Callable, parts: Iterable[np.ndarray]) -> np.ndarray:
    found = [np.asarray(network(_floats(part))[0], np.float64) for part in parts]
    return np.concatenate(found)


def _floats(images: np.ndarray) -> Any:
    import tensorflow as tf

    return tf.cast(tf.constant(images), tf.float32)


def _features_and_logits(model: keras.Model) -> Callable:
    """The network of a detector; features are the logits where no dense layer makes them."""
    import keras

    inner = looking_once(model)
    last = inner.outputs[0]._keras_history.operation
    features = last.input if isinstance(last, keras.layers.Dense) else inner.outputs[0]
    if len(features.shape) != 2 or (features.shape[1] or 0) > MOST_FEATURES:
        features = inner.outputs[0]
    if inner is model:
        both = keras.Model(model.inputs, [features, model.outputs[0]])
        return lambda images: tuple(both(images, training=False))
    alone = keras.Model(inner.inputs, features)
    return lambda images: (alone(images, training=False), model(images, training=False))


def looking_once(model: keras.Model) -> keras.Model:
    """Of a model around another one, `models.with_views`, the one within."""
    import keras

    within = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    around = len(within) == 1 and within[0].output_shape == model.output_shape
    return within[0] if around and within[0].input_shape == model.input_shape else model
