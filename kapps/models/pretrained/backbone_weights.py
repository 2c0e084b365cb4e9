"""Where the weights of `backbone` and `pretrained_classifier` come from."""

import contextlib
import os
import pathlib
import socket
import traceback
from collections.abc import Callable

import keras
import numpy as np

from kapps.errors import UserError
from kapps.models.pretrained.backbone_table import PACKAGED

_TIMEOUT = 60.0  # seconds without a byte

Build = Callable[..., keras.Model]  # the function of keras.applications, without its arguments


def downloaded(name: str, build: Build) -> keras.Model:
    """Keras' own network with its ImageNet weights, from Keras' cache or the internet.

    Args:
        name: of the network, for messages.
        build: `build(weights=...)` makes it, at the size it was trained at: Keras looks for one
            file per network, and some of its functions refuse other sizes.

    Raises:
        UserError: the weights cannot be had; says which file is missing and where it may be put.
    """
    with _downloading(name):
        return build(weights="imagenet")


def set_packaged(model: keras.Model, name: str) -> None:
    """Sets the weights that come with kapps."""
    with np.load(PACKAGED / f"{name}.npz") as stored:
        for layer in model.layers:
            for weight in layer.weights:
                weight.assign(stored[f"{layer.name}/{weight.name}"].astype("float32"))


def set_from_file(
    model: keras.Model, name: str, path: str | os.PathLike, build: Build | None
) -> None:
    """Sets the weights that are stored in a file, which `check_backbone` has seen.

    Raises:
        UserError: they do not fit, or it is no file of weights.
    """
    path = pathlib.Path(path).expanduser()
    with _fitting(path, name):
        # The files that Keras offers for download are of its older format, `.h5`: they hold the
        # weights in the order of Keras' own network.
        if build is not None and not path.name.endswith((".weights.h5", ".keras")):
            copy_in_order(build(weights=str(path)), model)
        else:
            model.load_weights(path)


def copy_in_order(donor: keras.Model, model: keras.Model) -> None:
    """Weights of Keras' network into ours, which lacks its preprocessing.

    Raises:
        UserError: `model` has other shapes, as VGG's dense layers have at another size.
    """
    sources = [
        weight
        for layer in donor.layers
        if not isinstance(layer, keras.layers.Normalization)
        for weight in layer.weights
    ]
    if [w.shape for w in sources] != [w.shape for w in model.weights]:
        raise UserError(
            f"the weights of {model.name} fit images of {donor.input_shape[1]}x"
            f"{donor.input_shape[2]} pixels only; its input has {model.input_shape[1]}x"
            f"{model.input_shape[2]}."
        )
    for source, target in zip(sources, model.weights, strict=True):
        target.assign(source)


@contextlib.contextmanager
def _fitting(path, name):
    try:
        yield
    except Exception as error:  # h5py, zipfile and Keras raise what they like
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{path}: these weights do not fit {name}. Give the file of weights (.weights.h5) or "
            "the model (.keras) of the same network, saved by kapps or by keras.applications. "
            f"({lines[0][:300]})"
        ) from error


@contextlib.contextmanager
def _downloading(name):
    before = socket.getdefaulttimeout()
    # Keras sets none: a server that falls silent would be waited for forever.
    socket.setdefaulttimeout(before or _TIMEOUT)
    try:
        yield
    except Exception as error:  # Keras raises a bare Exception
        cause = error
        while cause.__context__ is not None:
            cause = cause.__context__
        reason = f"{type(cause).__name__}: {getattr(cause, 'reason', cause)}"
        # keras.utils.get_file alone knows where the file comes from and under which name it is
        # kept, which need not be that of the address.
        if wanted := _locals_of_a_failure(error, "origin", "download_target"):
            origin, target = wanted
            raise UserError(
                f"the ImageNet weights of {name} are not on this machine and cannot be downloaded: "
                f"{pathlib.Path(target).name} from {origin} ({reason}). Fetch that file elsewhere "
                f"and put it at {target}, or give the path of other weights, or take "
                "efficientnet_lite0, whose ImageNet weights come with kapps."
            ) from error
        if found := _locals_of_a_failure(error, "weights_path"):
            raise UserError(
                f"{found[0]}: these are not the ImageNet weights of {name} ({reason}). Delete the "
                "file, and it is fetched again."
            ) from error
        raise
    finally:
        socket.setdefaulttimeout(before)


def _locals_of_a_failure(error, *names):
    """The variables of that name in the first function on the way to `error` that has them all."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if all(name in frame.f_locals for name in names):
            return [frame.f_locals[name] for name in names]
    return None
