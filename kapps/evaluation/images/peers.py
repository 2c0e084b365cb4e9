"""What a second of work gives on pictures: logistic regressions on features and on pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from kapps import models, training
from kapps.evaluation.peers import Peer

if TYPE_CHECKING:
    from kapps.data import ImageData, Split

MOST = 2000  # pictures that peers learn from, and at most so many are asked about
SMALLEST, LARGEST = 64, 160  # sides that the packaged backbone sees
PIXELS = 16  # side of the pictures whose pixels are features


def picture_peers(
    images: ImageData,
    features: Callable[[str], np.ndarray] | None = None,
    *,
    words: str = "EfficientNet-Lite0",
    seed: int = 0,
) -> dict[str, Peer]:
    """What simple models that learned from the training split say of the test split.

    `features_linear`: logistic regression on what a network trained on ImageNet makes of the
    pictures; `pixels_linear`: on pixels, of pictures made no larger than 16 x 16. Both choose their
    penalty by cross-validation of the training split. Of large splits a seeded part is used.

    Args:
        images: what a classifier was trained on.
        features: the name of a split -> features float32 [n, f] of all its pictures; default: of
            the network that comes with kapps, on pictures of 64 to 160 pixels.
        words: what network they are of.
        seed: of the part.
    """
    rows, found = peer_features(images, features, words, seed)
    labels = images.splits["train"].labels[rows["train"]]
    asked = None if len(rows["test"]) == len(images.splits["test"]) else rows["test"]
    return {
        name: Peer(
            f"logistic regression on {where}",
            logistic_labels(x["train"], labels, x["test"], seed),
            asked,
        )
        for name, (where, x) in found.items()
    }


def peer_features(
    images: ImageData,
    features: Callable[[str], np.ndarray] | None,
    words: str,
    seed: int,
) -> tuple[dict[str, np.ndarray], dict[str, tuple[str, dict[str, np.ndarray]]]]:
    """What linear models see of the pictures of train and test; arguments as `picture_peers`.

    Returns:
        The rows of each split; and by name of a peer in words what they are, and by split float32
        [rows, features].
    """
    rows = {name: _some(images.splits[name], seed) for name in ("train", "test")}
    found: dict[str, tuple[str, dict[str, np.ndarray]]] = {}
    if features is not None:
        kept = {name: features(name)[at] for name, at in rows.items()}
        found["features_linear"] = (f"features of {words}", kept)
    elif images.image_shape[2] in (1, 3):
        extractor = _packaged(images.image_shape)
        kept = {name: _features(extractor, images.splits[name], at) for name, at in rows.items()}
        found["features_linear"] = (f"features of {words}", kept)
    pixels = {name: _pixels(images.splits[name], at) for name, at in rows.items()}
    found["pixels_linear"] = ("pixels", pixels)
    return rows, found


def logistic_labels(
    known: np.ndarray, labels: np.ndarray, asked: np.ndarray, seed: int = 0
) -> np.ndarray:
    """Labels int [m] by a logistic regression whose penalty is chosen in three folds.

    Args:
        known: features float [n, f]; they are standardized.
        labels: int [n].
        asked: features float [m, f].
        seed: of the folds.
    """
    classes = int(labels.max()) + 1
    kernel, bias = training.logistic_weights(known, labels, classes, seed=seed)
    return (asked @ kernel + bias).argmax(axis=1)


def _some(split: Split, seed: int) -> np.ndarray:
    every = np.arange(len(split))
    if len(every) <= MOST:
        return every
    return np.sort(np.random.default_rng(seed).choice(every, MOST, replace=False))


def _packaged(image_shape: tuple[int, int, int]) -> keras.Model:
    side = int(np.clip(2 * max(image_shape[:2]), SMALLEST, LARGEST))
    image = keras.Input(image_shape)
    resized = keras.layers.Resizing(side, side)(image)
    backbone = models.backbone(input_shape=(side, side, image_shape[2]))
    return keras.Model(image, keras.layers.GlobalAveragePooling2D()(backbone(resized)))


def _features(extractor: keras.Model, split: Split, rows: np.ndarray) -> np.ndarray:
    step = tf.function(
        lambda x: extractor(x, training=False), autograph=False, reduce_retracing=True
    )
    parts = np.array_split(rows, max(1, len(rows) // 64))
    return np.concatenate([step(tf.constant(split.take(r), tf.float32)).numpy() for r in parts])


def _pixels(split: Split, rows: np.ndarray) -> np.ndarray:
    parts = []
    for start in range(0, len(rows), 256):
        x = split.take(rows[start : start + 256]).astype(np.float32)
        if max(x.shape[1:3]) > PIXELS:
            with tf.device("CPU:0"):
                x = tf.image.resize(x, (PIXELS, PIXELS), antialias=True).numpy()
        parts.append(x.reshape(len(x), -1))
    return np.concatenate(parts)
