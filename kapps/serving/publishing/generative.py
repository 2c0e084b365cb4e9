"""What the generative models of kapps offer once they are published.

                 serving_default  further signatures
    autoencoder  reconstruct      from_bytes, encode, decode
    VAE          reconstruct      from_bytes, encode, decode, sample
    VQ-VAE       reconstruct      from_bytes, encode, decode, and sample where it has a prior
    GAN          generate         sample

`image` is uint8 [N, H, W, C] of 0..255, `pixels` float32 of 0..1, `z` float32 [N, latent_dim]; a
VQ-VAE has `codes` int32 [N, h, w] in the place of `z`.

    reconstruct  image -> image, pixels; of an autoencoder also `error` float32 [N]: the anomaly
                 score, the mean squared error of the picture's pixels
    from_bytes   image_bytes, PNG or JPEG files, string [N] -> the same (1 or 3 channels)
    encode       image -> z; of a VAE also mean (the same), log_var
    decode       z -> image, pixels
    generate     z -> image, pixels
    sample       count, seed, int32 [] or [1] -> image, pixels

Conditional models take `label` int32 [N] as well, `sample` one int32 [] or [1]: -1 draws a class
for each picture, all of them equally probable.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kapps.data.images.files.decode import PLAIN, Reading
from kapps.errors import UserError
from kapps.models import GAN, VAE, VQVAE, Autoencoder
from kapps.serving.publishing import text
from kapps.serving.savedmodel import graph, image_files, self_check
from kapps.serving.savedmodel.endpoints import (
    Endpoint,
    export_generative,
    in_parts,
    picture,
)

COUNT, SEED, ONE_LABEL = (
    tf.TensorSpec(None, tf.int32, name) for name in ("count", "seed", "label")
)
LABELS = tf.TensorSpec((None,), tf.int32, "label")


def export_generator(
    model: Autoencoder | VAE | VQVAE | GAN,
    export_dir: str | os.PathLike,
    *,
    class_names: Sequence[str] = (),
    card: str | None = None,
    sample_images: np.ndarray | None = None,
    reading: Reading = PLAIN,
) -> Path:
    """Publishes a generative model of images as the next version.

    Its signatures are those of the module's table. `sample` gives the pictures of `model.sample`
    for the same seed and, of a conditional model, the same label. Of a GAN the averaged generator
    is published and nothing else.

    Args:
        model: Trained.
        export_dir: The directory that a server watches; made when missing.
        class_names: Of a conditional model.
        card: Markdown on what was trained on what, with which result.
        sample_images: uint8 [n, H, W, C] for the check of what takes images, noise when None; none
            of them is stored.
        reading: How files are decoded, see `ImageData.reading`.

    Raises:
        UserError, RuntimeError: as `export_generative`; a UserError for any other model too, and
            for class names that are not as many as the model's classes.
    """
    endpoints = endpoints_of(model, reading)
    classes = getattr(model, "classes", 0)
    if class_names and len(class_names) != classes:
        raise UserError(f"{len(class_names)} class names for a model of {classes} classes")
    layers = model._flatten_layers(include_self=False)
    lower = {layer.compute_dtype for layer in layers} & self_check.TOLERANCE.keys() - {"float32"}
    return export_generative(
        endpoints,
        export_dir,
        kind=_of(model).words,
        class_names=class_names,
        classes=classes,
        card=card,
        sample_images=sample_images,
        tolerance=max(
            [self_check.ENDPOINT_TOLERANCE, *(self_check.TOLERANCE[dtype] for dtype in lower)]
        ),
    )


def endpoints_of(model: keras.Model, reading: Reading = PLAIN) -> dict[str, Endpoint]:
    """The signatures of a generative model of images, by name.

    Args:
        model: Trained.
        reading: as `export_generator` has it.

    Raises:
        UserError: it is none.
    """
    return _of(model).endpoints(model, reading)


def autoencoder_endpoints(model: Autoencoder, reading: Reading = PLAIN) -> dict[str, Endpoint]:
    """The signatures of an autoencoder; see the module."""

    def reconstruct(image):
        y = model.decode(model.encode(image))
        x = tf.cast(image, tf.float32) / 255.0
        error = tf.reduce_mean(tf.square(tf.cast(y, tf.float32) - x), axis=(1, 2, 3))
        return picture(y) | {"error": error}

    def encode(image):
        return {"z": model.encode(image)}

    def decode(z):
        return picture(model.decode(z))

    return {
        **_with_files(reconstruct, model, [], reading),
        "encode": (encode, [_image(model)]),
        "decode": (decode, [_z(model)]),
    }


def vae_endpoints(model: VAE, reading: Reading = PLAIN) -> dict[str, Endpoint]:
    """The signatures of a VAE; see the module."""

    def reconstruct(image, label=None):
        return picture(model.reconstruct(image, _one_hot(label, model)))

    def encode(image, label=None):
        mean, log_var = model.encode(image, _one_hot(label, model))
        return {"z": mean, "mean": tf.identity(mean), "log_var": log_var}

    def decode(z, label=None):
        return picture(model.decode(z, _one_hot(label, model)))

    labels = _labels(model)
    return {
        **_with_files(reconstruct, model, labels, reading),
        "encode": (encode, [_image(model), *labels]),
        "decode": (decode, [_z(model), *labels]),
        "sample": _sampler(model, model.generate),
    }


def vq_vae_endpoints(model: VQVAE, reading: Reading = PLAIN) -> dict[str, Endpoint]:
    """The signatures of a VQ-VAE; see the module."""

    def reconstruct(image):
        return picture(model.reconstruct(image))

    def encode(image):
        return {"codes": model.encode(image)}

    def decode(codes):
        return picture(model.decode(_checked(codes, 0, model.codes)))

    codes = tf.TensorSpec((None, *model.code_shape), tf.int32, "codes")
    endpoints = {
        **_with_files(reconstruct, model, [], reading),
        "encode": (encode, [_image(model)]),
        "decode": (decode, [codes]),
    }
    if model.prior is not None:
        endpoints["sample"] = _sampler(model, model.generate)
    return endpoints


def gan_endpoints(model: GAN, reading: Reading = PLAIN) -> dict[str, Endpoint]:
    """The signatures of a GAN; see the module. It reads no files, so `reading` says nothing."""

    def generate(z, label=None):
        return picture(model.generate(z, _one_hot(label, model)))

    def draw(count, seed, labels):
        return model.generate(model.latents(count, seed), labels)

    by_latent = (generate, [_z(model), *_labels(model)])
    return {
        "serving_default": by_latent,
        "generate": by_latent,
        "sample": _sampler(model, draw),
    }


class _Kind(NamedTuple):
    model: type
    words: str
    endpoints: Callable[..., dict[str, Endpoint]]


_KINDS = (
    _Kind(VAE, "variational autoencoder", vae_endpoints),
    _Kind(VQVAE, "VQ-VAE", vq_vae_endpoints),
    _Kind(GAN, "generative adversarial network", gan_endpoints),
    _Kind(Autoencoder, "autoencoder", autoencoder_endpoints),
)


def _of(model: keras.Model) -> _Kind:
    for kind in _KINDS:
        if isinstance(model, kind.model):
            return kind
    raise UserError(f"a {type(model).__name__} is no generative model of images")


def export_any(
    model: keras.Model,
    export_dir: str | os.PathLike,
    *,
    class_names: Sequence[str] = (),
    card: str | None = None,
    reading: Reading = PLAIN,
) -> Path:
    """Publishes a generative model of images or texts.

    Args:
        model: One that `export_generator` takes, or a character model.
        export_dir: The directory that a server watches; made when missing.
        class_names: Used where the model is conditional.
        card: Markdown on what was trained on what, with which result.
        reading: Of what decodes files, see `ImageData.reading`.

    Raises:
        UserError: it is none of them; and as `export_generative`.
    """
    if text.is_text(model):
        return text.export_text(model, export_dir, card=card)
    names = class_names if getattr(model, "classes", 0) else ()
    return export_generator(model, export_dir, class_names=names, card=card, reading=reading)


def is_generative(model: keras.Model) -> bool:
    """True for what `export_any` is for: models of pictures or texts that are no classifiers."""
    known = isinstance(model, tuple(kind.model for kind in _KINDS)) or text.is_text(model)
    return known or hasattr(model, "latent_dim")


def _with_files(
    reconstruct: Callable, model: Any, labels: list, reading: Reading
) -> dict[str, Endpoint]:
    """`reconstruct` under its names, and on encoded files where these can be decoded."""
    by_pixels: Endpoint = (reconstruct, [_image(model), *labels])
    endpoints: dict[str, Endpoint] = {"serving_default": by_pixels, "reconstruct": by_pixels}
    if model.image_shape[-1] in image_files.DECODABLE_CHANNELS:

        def from_bytes(image_bytes, label=None):
            image = image_files.decode_files(image_bytes, model.image_shape, reading)
            return graph.never_empty(reconstruct)(image, *(() if label is None else (label,)))

        endpoints["from_bytes"] = (from_bytes, [image_files.IMAGE_BYTES, *labels])
    return endpoints


def _sampler(model: Any, draw: Callable) -> Endpoint:
    def sample(count, seed, label=None):
        count, seed = (tf.reshape(x, []) for x in (count, seed))
        label = None if label is None else _checked(tf.reshape(label, []), -1, model.classes)

        def part(size, seed, start):
            return draw(size, seed, _drawn_labels(size, seed, label, model))

        return picture(in_parts(part, count, seed, model.image_shape))

    return sample, [COUNT, SEED, *([ONE_LABEL] if _labels(model) else [])]


def _drawn_labels(size, seed, label, model):
    """One-hot labels of a part: all `label`, or drawn where it is -1."""
    if label is None:
        return None
    # Models fold small numbers into the seed for draws of their own.
    own = tf.random.experimental.stateless_fold_in(seed, 1_000_000)
    drawn = tf.random.stateless_uniform([size], own, 0, model.classes, tf.int32)
    return tf.one_hot(tf.where(label < 0, drawn, label), model.classes)


def _one_hot(label, model):
    if label is None:
        return None
    return tf.one_hot(_checked(label, 0, model.classes), model.classes)


def _checked(label, lowest, classes):
    """A label outside the classes is an error of the request, not a class of its own."""
    words = f"a label or code lies outside {lowest}..{classes - 1}"
    checks = [
        tf.debugging.assert_greater_equal(label, lowest, words),
        tf.debugging.assert_less(label, classes, words),
    ]
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.identity(label)


def _image(model) -> tf.TensorSpec:
    return tf.TensorSpec((None, *model.image_shape), tf.uint8, "image")


def _z(model) -> tf.TensorSpec:
    return tf.TensorSpec((None, model.latent_dim), tf.float32, "z")


def _labels(model) -> list[tf.TensorSpec]:
    return [LABELS] if getattr(model, "classes", 0) else []
