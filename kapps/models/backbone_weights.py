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
from kapps.models.backbone_table import PACKAGED

_TIMEOUT = 60.0  # seconds without a byte

Build = Callable[..., keras.Model]  # the function of keras.applications, without its arguments


def give_weights(
    model: keras.Model, name: str, weights: str | os.PathLike, build: Build | None
) -> None:
    """Sets the weights of `model` as `weights` asks: "imagenet", "none" or a file.

    Args:
        model: the network `name`, whole or without its head.
        name: of the network, for messages.
        weights: as `backbone` takes it, checked by `check_backbone`.
        build: `build(weights=...)` is the same network as Keras makes it, at its own size; None
            for one whose weights come with kapps.

    Raises:
        UserError: the weights cannot be had, or they do not fit.
    """
    if weights == "none":
        return
    if weights != "imagenet":
        path = pathlib.Path(weights).expanduser()
        # The files that Keras offers for download are of its older format, `.h5`: they hold
        # the weights in the order of Keras' own network.
        if path.suffix == ".h5" and not path.name.endswith(".weights.h5") and build is not None:
            with _fitting(path, name):
                _copy_in_order(build(weights=str(path)), model)
        else:
            with _fitting(path, name):
                model.load_weights(path)
    elif build is None:
        _set_by_name(model, PACKAGED / f"{name}.npz")
    else:
        # Keras looks for a file per network, and for the size that the network was trained at.
        with _downloading(name):
            donor = build(weights="imagenet")
        _copy_in_order(donor, model)


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
        wanted = _wanted_file(error)
        if wanted is None:
            raise
        origin, target = wanted
        reason = str(error).replace(origin, "it")
        raise UserError(
            f"the ImageNet weights of {name} are not on this machine and cannot be downloaded: "
            f"{pathlib.Path(target).name} from {origin} ({type(error).__name__}: {reason}). "
            f"Fetch that file elsewhere and put it at {target}, or give the path of other weights, "
            "or take efficientnet_lite0, whose ImageNet weights come with kapps."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _wanted_file(error):
    """(address, place in the cache) of what keras.utils.get_file was asked for when it failed."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "get_file" and {"origin", "download_target"} <= set(
            frame.f_locals
        ):
            return frame.f_locals["origin"], frame.f_locals["download_target"]
    return None


def _copy_in_order(donor, model):
    """Weights from Keras' network into ours, which lacks its preprocessing."""
    sources = [
        weight
        for layer in donor.layers
        if not isinstance(layer, keras.layers.Normalization)
        for weight in layer.weights
    ]
    if [w.shape for w in sources] != [w.shape for w in model.weights]:
        raise UserError(
            f"the weights of {model.name} fit pictures of {donor.input_shape[1]}x"
            f"{donor.input_shape[2]} pixels only; its input has {model.input_shape[1]}x"
            f"{model.input_shape[2]}."
        )
    for source, target in zip(sources, model.weights, strict=True):
        target.assign(source)


def _set_by_name(model, path):
    with np.load(path) as stored:
        for layer in model.layers:
            for weight in layer.weights:
                weight.assign(stored[f"{layer.name}/{weight.name}"].astype("float32"))
