"""Frozen networks whose features stand for pictures where generative models are measured.

Distances between sets of pictures are taken between features. Their scale belongs to the network:
figures of two networks, or of two trainings of one, do not compare. So a network is trained once,
kept on the disk, and known by the hash of its weights, which belongs beside every figure.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from kapps import files
from kapps.errors import UserError
from kapps.evaluation.generative.samples import small_classifiers

if TYPE_CHECKING:
    from kapps.data import ImageData

# A new number for every change of the networks or of their training: older ones are not reused.
RECIPE = 1
PACKAGED = {"fashion_mnist": pathlib.Path(__file__).parent / "weights" / "fashion_mnist.npz"}
BATCH_SIZE = 256
_META = "meta.json"


class Features:
    """Pictures -> features and class probabilities, by a network that does not change.

    Made by `feature_extractor`, `random_features` or `Features.from_model`.

    Attributes:
        sha256: hash of the layers' kinds and the weights: the same hash, the same scale.
        origin: "packaged", "trained", "random" or "given".
        accuracy: of its classes on the validation split of the data it was trained on; None where
            nothing is known.
        width: number of features d.
        classes: number of classes, 0 when it has no probabilities.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        origin: str,
        accuracy: float | None = None,
        prepare: Callable[[tf.Tensor], tf.Tensor] | None = None,
    ):
        """Takes a network pixels -> features [b, d], or -> (features, logits [b, classes])."""
        network.trainable = False
        outputs = network.outputs
        self.network, self.origin, self.accuracy = network, origin, accuracy
        self.width = int(outputs[0].shape[-1])
        self.classes = int(outputs[1].shape[-1]) if len(outputs) > 1 else 0
        self.sha256 = _sha256(network)
        self._prepare = prepare
        self._shape = tuple(network.inputs[0].shape[1:]) if prepare is None else None
        self._run = tf.function(self._outputs, reduce_retracing=True)

    @classmethod
    def from_model(
        cls,
        model: keras.Model,
        preprocess: Callable[[tf.Tensor], tf.Tensor] | None = None,
        *,
        method: str = "bilinear",
        antialias: bool = False,
    ) -> Features:
        """Features by any Keras model: with Inception's weights, this gives the classic FID.

        Pictures are resized to the model's input where it has a fixed size, grey ones are repeated
        over the channels it wants, and `preprocess` gets them as float32 of 0..255:

            from keras.applications import inception_v3
            network = inception_v3.InceptionV3(include_top=False, pooling="avg")
            extractor = Features.from_model(network, inception_v3.preprocess_input)

        Args:
            model: one output, [b, d] or feature maps [b, h, w, d], which are averaged over places;
                or two, the second being logits [b, classes].
            preprocess: what the model wants done to pixels float32 [b, H, W, C] of 0..255.
            method: of resizing, as in `tf.image.resize`.
            antialias: blur before shrinking (arXiv:2104.11222).

        Raises:
            UserError: the model has several inputs, or outputs of other shapes.
        """
        outputs = list(model.outputs)
        if len(model.inputs) != 1 or len(outputs) > 2 or len(outputs[0].shape) not in (2, 4):
            raise UserError(
                f"The model {model.name!r} must take one picture and return features [b, d] or "
                "[b, h, w, d], and perhaps logits [b, classes]; it returns "
                f"{[tuple(o.shape) for o in outputs]}."
            )
        if len(outputs[0].shape) == 4:
            outputs[0] = keras.layers.GlobalAveragePooling2D(dtype="float32")(outputs[0])
        height, width, channels = model.inputs[0].shape[1:]

        def prepare(pictures: tf.Tensor) -> tf.Tensor:
            x = tf.cast(pictures, tf.float32)
            if channels is not None and x.shape[-1] == 1:
                x = tf.repeat(x, channels, axis=-1)
            if height is not None and (height, width) != tuple(x.shape[1:3]):
                x = tf.image.resize(x, (height, width), method=method, antialias=antialias)
            return x if preprocess is None else preprocess(x)

        # A copy: it stays as it is when the model is trained on.
        given = keras.Model(model.inputs, outputs)
        with small_classifiers.isolated(0):
            network = keras.models.clone_model(given)
        network.set_weights(given.get_weights())
        return cls(network, origin="given", prepare=prepare)

    def features(self, pictures: np.ndarray) -> np.ndarray:
        """Features float32 [n, d] of pictures uint8 [n, H, W, C].

        Raises:
            UserError: the pictures are not uint8 (`to_uint8` rounds those of 0..1: real pictures
                have 256 levels, and a network sees the difference), or of another shape.
        """
        return self._apply(pictures)[0]

    def probabilities(self, pictures: np.ndarray) -> np.ndarray:
        """Class probabilities float32 [n, classes] of pictures uint8 [n, H, W, C].

        Raises:
            UserError: as `features`; or the network has no classes.
        """
        if not self.classes:
            raise UserError("This network has no class probabilities: it returns features only.")
        return self._apply(pictures)[1]

    def both(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features and probabilities (None without classes) in one pass.

        Raises:
            UserError: as `features`.
        """
        found = self._apply(pictures)
        return (found[0], found[1]) if self.classes else (found[0], None)

    def _apply(self, pictures: np.ndarray) -> list[np.ndarray]:
        pictures = np.asarray(pictures)
        if pictures.dtype != np.uint8:
            raise UserError(
                f"Features are taken of uint8 pictures, not of {pictures.dtype}: round samples as "
                "real pictures are, by evaluation.to_uint8 from pixels of 0..1."
            )
        if pictures.ndim != 4 or not len(pictures) or self._shape not in (None, pictures.shape[1:]):
            raise UserError(
                f"Pictures {self._shape or '(H, W, C)'} are wanted, at least one; "
                f"got an array of shape {pictures.shape}."
            )
        parts = [
            self._run(tf.constant(pictures[start : start + BATCH_SIZE]))
            for start in range(0, len(pictures), BATCH_SIZE)
        ]
        return [
            np.concatenate([np.asarray(x) for x in column]) for column in zip(*parts, strict=True)
        ]

    def _outputs(self, pictures: tf.Tensor) -> list[tf.Tensor]:
        x = tf.cast(pictures, tf.float32) if self._prepare is None else self._prepare(pictures)
        outputs = self.network(x, training=False)
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        found = [tf.cast(output, tf.float32) for output in outputs]
        return [found[0], *(tf.nn.softmax(logits) for logits in found[1:])]


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Pixels of 0..1 as levels uint8 0..255, rounded; what is outside is cut off.

    Samples are rounded as real pictures were before anything is measured: resizing and rounding
    that differ between the two sets move an FID by more than better models do (Parmar et al. 2022,
    arXiv:2104.11222).
    """
    return np.rint(np.clip(np.asarray(pixels, np.float64), 0.0, 1.0) * 255.0).astype(np.uint8)


def wanted_extractor(images: ImageData, wanted: str, *, seed: int = 0) -> Features | None:
    """The feature network that samples of a model are compared by, or None.

    Args:
        images: what the model was trained on.
        wanted: "yes"; "no"; or "auto", which wants one where it comes with kapps.
        seed: as in `feature_extractor`.
    """
    if wanted == "no" or (wanted == "auto" and images.spec not in PACKAGED):
        return None
    return feature_extractor(images, seed=seed)


def feature_extractor(
    images: ImageData,
    *,
    cache_dir: str | os.PathLike | None = None,
    seed: int = 0,
    epochs: int | None = None,
    verbose: str | int = "auto",
) -> Features:
    """The frozen feature network of a dataset: packaged, from the cache, or trained now.

    For Fashion-MNIST as it is (28x28, grey) a trained network comes with kapps, so that figures
    compare between machines. For other data a small CNN is trained on the training split and kept;
    it is made again when the data, the seed, the epochs or the recipe change. The random states
    and the precision policy of the program are left as they were.

    Args:
        images: whose pictures and classes are learnt.
        cache_dir: where trained ones are kept; by default `kapps.files.user_cache()`.
        seed: seed of its weights and batches. Not used by the packaged network.
        epochs: of training; by default what makes a few thousand steps.
        verbose: as in `keras.Model.fit`.

    Raises:
        UserError: fewer than two classes, an empty split, or no cache folder can be made.
        OSError: the cache cannot be written.
    """
    packaged = PACKAGED.get(images.spec)
    if packaged is not None and tuple(images.image_shape) == (28, 28, 1) and images.classes == 10:
        return read_extractor(packaged, origin="packaged")
    epochs = epochs or small_classifiers.epochs_for(len(images.splits["train"]))
    key = {"data": images.fingerprint, "recipe": RECIPE, "seed": seed, "epochs": epochs}
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    path = _cache(cache_dir) / f"features-{digest[:32]}.npz"
    try:
        return read_extractor(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there, or damaged: made again
    try:  # before minutes of training
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"No feature network can be kept in '{path.parent}' ({error.strerror}): name another "
            "folder in KAPPS_CACHE, or as cache_dir."
        ) from error
    model, accuracy = train_classifier(images, seed=seed, epochs=epochs, verbose=verbose)
    write_extractor(path, model, {**key, "accuracy": accuracy})
    return read_extractor(path)


def random_features(image_shape: tuple[int, int, int], seed: int = 0) -> Features:
    """Features of the same network with random weights, never trained on anything.

    They know no classes, and so cannot favour what a classifier looks for: an ordering of models
    that they share is not an artefact of the trained network.
    """
    height, width, channels = image_shape
    with small_classifiers.isolated(seed):
        model = small_classifiers.build((height, width, channels), 2)
        network = keras.Model(model.input, model.get_layer("logits").input)
    return Features(network, origin="random")


def train_classifier(
    images: ImageData, *, seed: int = 0, epochs: int | None = None, verbose: str | int = 0
) -> tuple[keras.Model, float]:
    """The small classifier of a dataset, trained on its training split; validation accuracy.

    Raises:
        UserError: as `feature_extractor`.
    """
    model = small_classifiers.trained(
        images.splits["train"], images.classes, epochs=epochs, seed=seed, verbose=verbose
    )
    return model, small_classifiers.accuracy(model, images.splits["validation"])


def write_extractor(
    path: str | os.PathLike, model: keras.Model, meta: dict[str, Any], dtype: str = "float32"
) -> None:
    """Keep a small classifier's weights, and what is known about it, in one file."""
    known = {
        **meta,
        "image_shape": list(model.input_shape[1:]),
        "classes": int(model.output_shape[-1]),
    }
    arrays = {f"{i:04d}": w.astype(dtype) for i, w in enumerate(model.get_weights())}
    arrays[_META] = np.frombuffer(json.dumps(known).encode(), np.uint8)
    files.write_atomically(path, lambda file: np.savez_compressed(file, **arrays))


def read_extractor(path: str | os.PathLike, origin: str = "trained") -> Features:
    """The network of a file of `write_extractor`.

    Raises:
        OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile: it is not there, or damaged.
    """
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    meta = json.loads(bytes(arrays.pop(_META)))
    with small_classifiers.isolated(0):
        model = small_classifiers.build(tuple(meta["image_shape"]), meta["classes"])
        model.set_weights([arrays[name].astype(np.float32) for name in sorted(arrays)])
        network = keras.Model(model.input, [model.get_layer("logits").input, model.output])
    return Features(network, origin=origin, accuracy=meta.get("accuracy"))


def _cache(cache_dir: str | os.PathLike | None) -> pathlib.Path:
    if cache_dir is not None:
        return pathlib.Path(cache_dir).expanduser()
    return files.user_cache()


def _sha256(network: keras.Model) -> str:
    digest = hashlib.sha256()
    for layer in network.layers:
        digest.update(type(layer).__name__.encode())
    for weight in network.get_weights():
        digest.update(repr(weight.shape).encode())
        digest.update(np.ascontiguousarray(weight, "<f4").tobytes())
    return digest.hexdigest()
