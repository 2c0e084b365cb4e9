"""Inputs of signatures, made up: for the self-check and for warm-up requests."""

import numpy as np
import tensorflow as tf

# Examples of what a model of texts takes.
_NUMBERS = {"length": np.int32(20), "temperature": np.float32(0.8), "top_k": np.int32(0)}
_TEXTS = (b"The ", b"", b"And\n", "na\u00efve \u2014 ".encode(), b"x")


def example_input(spec, size, seed, images, classes) -> np.ndarray | np.generic:
    """An input of a signature; scalars where its spec leaves the rank open."""
    rng = np.random.default_rng(seed)
    if spec.name in _NUMBERS:
        return _NUMBERS[spec.name]
    if spec.dtype == tf.string and spec.name != "image_bytes":
        return np.resize(np.array(_TEXTS, object), size)
    if spec.name == "count":
        return np.int32(size)
    if spec.name == "seed":
        return np.int32(seed)
    if spec.name == "label":
        one_for_all = spec.shape.rank is None
        return np.int32(-(size == 1)) if one_for_all else np.arange(size, dtype=np.int32) % classes
    if spec.name in ("image", "image_bytes"):
        batch = np.resize(images, (size, *images.shape[1:]))
        if spec.name == "image":
            return batch
        return np.array([tf.io.encode_png(image).numpy() for image in batch], object)
    shape = [size if length is None else length for length in spec.shape]
    if spec.dtype.is_integer:  # codes, tokens, categories: every vocabulary has these
        return rng.integers(0, 2, shape, spec.dtype.as_numpy_dtype)
    return rng.normal(size=shape).astype(spec.dtype.as_numpy_dtype)


def checked_images(images: np.ndarray | None, image_shape: tuple[int, ...]) -> np.ndarray:
    """At most eight images, noise when None.

    Raises:
        ValueError: they are not uint8, or of another shape.
    """
    if images is None:
        noise = np.random.default_rng(0)
        return noise.integers(0, 256, (8, *image_shape), np.uint8)
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != image_shape or len(images) == 0:
        raise ValueError(
            f"sample_images is {images.dtype} {images.shape}; uint8 (n, *{image_shape}) is needed"
        )
    return images[:8]
