"""Grad-CAM: which part of a picture spoke for a class.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", arXiv:1610.02391.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kapps.errors import UserError

if TYPE_CHECKING:
    import keras

BATCH = 64


def grad_cam(
    model: keras.Model, images: np.ndarray, class_index: int | np.ndarray | None = None
) -> np.ndarray:
    """Heat maps float32 `[n, H, W]` from 0 to 1, for `images` uint8 `[n, H, W, C]`.

    With A_k the k-th map of the last feature maps and y_c the logit of the class: the map is
    relu(sum_k a_k A_k), a_k the mean of dy_c / dA_k over all places (eqs. 1 and 2), resized
    bilinearly to the picture and divided by its maximum. A map is all 0 where nothing speaks for
    the class. `class_index` is one class for all pictures or one each; without it, the class that
    the model predicts.

    The last feature maps are those of the last layer with a rank-4 output larger than one place,
    pooling left aside, that has a convolution before it.

    Raises:
        UserError: the model has no feature maps, for example an MLP.
    """
    import keras
    import tensorflow as tf

    both = keras.Model(model.inputs, [feature_layer(model).output, model.outputs[0]])

    def maps(pixels: np.ndarray, wanted: np.ndarray | None) -> np.ndarray:
        pixels = tf.cast(pixels, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(pixels)  # so that frozen layers are recorded too
            features, logits = both(pixels, training=False)
            chosen = tf.argmax(logits, axis=-1) if wanted is None else tf.constant(wanted, tf.int64)
            score = tf.gather(logits, chosen, batch_dims=1)
        gradient = tf.cast(tape.gradient(score, features), tf.float32)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(features, tf.float32), -1, True))
        heat = tf.image.resize(heat, pixels.shape[1:3], method="bilinear")[..., 0]
        return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True)).numpy()

    images = np.asarray(images)
    if len(images) == 0:
        return np.zeros(images.shape[:3], np.float32)
    if class_index is not None:
        class_index = np.broadcast_to(np.asarray(class_index), len(images))
    return np.concatenate(
        [
            maps(images[i : i + BATCH], None if class_index is None else class_index[i : i + BATCH])
            for i in range(0, len(images), BATCH)
        ]
    )


def feature_layer(model: keras.Model) -> keras.Layer:
    """The layer whose output Grad-CAM looks at.

    Raises:
        UserError: there is none.
    """
    import keras

    pooling = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
    found, convolved = None, False
    for layer in model.layers:
        convolved = convolved or any(len(weight.shape) == 4 for weight in layer.weights)
        shape = getattr(getattr(layer, "output", None), "shape", ())
        if convolved and len(shape) == 4 and tuple(shape[1:3]) != (1, 1):
            if not isinstance(layer, pooling):
                found = layer
    if found is None:
        raise UserError(
            f"Grad-CAM needs feature maps, and the model {model.name!r} has none: "
            "it works for convolutional networks (--model cnn, resnet20 ...), not for an MLP."
        )
    return found


def overlay(images: np.ndarray, heatmaps: np.ndarray, strength: float = 0.7) -> np.ndarray:
    """Pictures under their heat maps: uint8 `[n, H, W, 3]`.

    `images` `[n, H, W]` or `[n, H, W, C]`, uint8 or floats from 0 to 1; `heatmaps` `[n, H, W]`
    from 0 to 1. Where the heat is 0 the picture is seen, in grey, where it is 1 `strength` of the
    heat's colour.
    """
    from matplotlib import colormaps

    images = np.asarray(images)
    scale = 255.0 if np.issubdtype(images.dtype, np.integer) else 1.0
    grey = np.clip(images.astype(np.float32) / scale, 0, 1)
    if grey.ndim == 4:
        grey = grey[..., :3].mean(axis=-1)
    heat = np.clip(np.asarray(heatmaps, np.float32), 0, 1)
    colour = colormaps["inferno"](0.25 + 0.65 * heat)[..., :3]
    share = strength * heat[..., None]
    mixed = (1 - share) * grey[..., None] + share * colour
    return (mixed * 255).round().astype(np.uint8)
