"""Grad-CAM: which part of a picture spoke for a class.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", arXiv:1610.02391.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from kapps.errors import UserError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

BATCH = 64
FINEST = 7  # places along a side, at least: what ResNet and EfficientNet have of 224 pixels


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    class_index: int | np.ndarray | None = None,
    *,
    one_scale: bool = False,
) -> np.ndarray:
    """Heat maps float32 `[n, H, W]` from 0 to 1, for `images` uint8 `[n, H, W, C]`.

    With A_k the k-th map of the last feature maps and y_c the logit of the class: the map is
    relu(sum_k a_k A_k), a_k the mean of dy_c / dA_k over all places (eqs. 1 and 2), resized
    bilinearly to the picture and divided by its maximum, or with `one_scale` by that of all maps,
    so that pictures can be compared. A map is all 0 where nothing speaks for the class.
    `class_index` is one class for all pictures or one each; without it, the class that the model
    predicts.

    The last feature maps are the last rank-4 tensor of the graph with 7x7 places or more and a
    convolution before it: coarser ones, resized, are a blur that lies on everything. The output of
    a pooling layer gives way to its input, which is finer.

    Raises:
        UserError: the model has no such feature maps, for example an MLP.
    """
    import tensorflow as tf

    maps = heat_maps(model)
    images = np.asarray(images)
    if len(images) == 0:
        return np.zeros(images.shape[:3], np.float32)
    if class_index is not None:
        class_index = np.broadcast_to(np.asarray(class_index), len(images))
    heat = np.concatenate(
        [
            maps(
                tf.cast(images[i : i + BATCH], tf.float32),
                None if class_index is None else tf.constant(class_index[i : i + BATCH], tf.int64),
            ).numpy()
            for i in range(0, len(images), BATCH)
        ]
    )
    most = heat.max(axis=None if one_scale else (1, 2), keepdims=True)
    return np.divide(heat, most, out=np.zeros_like(heat), where=most > 0)


def heat_maps(model: keras.Model) -> Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor]:
    """What computes the maps of `grad_cam` before they are divided, in a graph or outside of one.

    Returns:
        From images float32 `[n, H, W, C]`, and classes int64 `[n]` or None, to heat float32
        `[n, H, W]`, 0 or more.

    Raises:
        UserError: as `grad_cam`.
    """
    import keras
    import tensorflow as tf

    both = keras.Model(model.inputs, [feature_maps(model), model.outputs[0]])

    def maps(pixels: tf.Tensor, wanted: tf.Tensor | None) -> tf.Tensor:
        with tf.GradientTape() as tape:
            # Keras leaves frozen weights on the tape, but promises it nowhere: start at the input.
            tape.watch(pixels)
            features, logits = both(pixels, training=False)
            chosen = tf.argmax(logits, axis=-1) if wanted is None else wanted
            score = tf.gather(logits, chosen, batch_dims=1)
        gradient = tf.cast(tape.gradient(score, features), tf.float32)
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * tf.cast(features, tf.float32), -1, True))
        return tf.image.resize(heat, pixels.shape[1:3], method="bilinear")[..., 0]

    return maps


def feature_maps(model: keras.Model) -> keras.KerasTensor:
    """The tensor of `model`'s graph that Grad-CAM looks at.

    Raises:
        UserError: there is none.
    """
    import keras

    pooling = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
    found, pooled, convolved = [], set(), False
    finest = min([FINEST, *(side for side in model.inputs[0].shape[1:3] if side)])
    for layer in model.layers:
        # A model used as a layer knows the ends of its own graph, not those in this one; the input
        # of the layer behind it does.
        nested = isinstance(layer, keras.Model)
        found += [
            t for t in _tensors(layer, "input") if convolved and _is_map(t, finest) and not nested
        ]
        convolved = convolved or any(len(weight.shape) == 4 for weight in layer.weights)
        found += [
            t for t in _tensors(layer, "output") if convolved and _is_map(t, finest) and not nested
        ]
        if isinstance(layer, pooling):
            pooled |= {id(t) for t in _tensors(layer, "output")}
    for tensor in reversed(found):
        if id(tensor) not in pooled and _is_connected(model, tensor):
            return tensor
    raise UserError(
        f"Grad-CAM needs feature maps of {FINEST}x{FINEST} or more, and the model {model.name!r} "
        "has none: it works for convolutional networks (--model cnn, resnet20 ...), not for an MLP."
    )


def _tensors(layer: keras.Layer, end: str) -> list:
    try:
        tensors = getattr(layer, end)
    except (AttributeError, ValueError):  # never called, or called in several places
        return []
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def _is_map(tensor: keras.KerasTensor, finest: int) -> bool:
    shape = getattr(tensor, "shape", ())
    return len(shape) == 4 and all(side is None or side >= finest for side in shape[1:3])


def _is_connected(model: keras.Model, tensor: keras.KerasTensor) -> bool:
    import keras

    try:
        keras.Model(model.inputs, tensor)
    except ValueError:
        return False
    return True


def overlay(images: np.ndarray, heatmaps: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """Pictures under their heat maps: uint8 `[n, H, W, 3]`.

    `images` `[n, H, W]` or `[n, H, W, C]`, uint8 or floats from 0 to 1; `heatmaps` `[n, H, W]`
    from 0 to 1. The result is the grey picture with `strength` of the heat's colour, from black
    over red to yellow: what was not looked at lies in the dark.
    """
    from matplotlib import colormaps

    images = np.asarray(images)
    scale = 255.0 if np.issubdtype(images.dtype, np.integer) else 1.0
    grey = np.clip(images.astype(np.float32) / scale, 0, 1)
    if grey.ndim == 4:
        grey = grey[..., :3].mean(axis=-1)
    heat = np.clip(np.asarray(heatmaps, np.float32), 0, 1)
    colour = colormaps["inferno"](heat)[..., :3]
    mixed = (1 - strength) * grey[..., None] + strength * colour
    return (mixed * 255).round().astype(np.uint8)
