"""What is in a picture, by a network that was trained on ImageNet: nothing to train or publish."""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kapps import models
from kapps.data.images.files import decode, formats, transcoding
from kapps.errors import UserError
from kapps.serving.prediction import Prediction, SomeUnreadable

_BATCH = 32


def name_pictures(
    files: Sequence[str | os.PathLike], top: int = 5, network: str = "efficientnet_lite0"
) -> list[Prediction]:
    """The most probable of ImageNet's thousand classes for image files, most probable first.

    Args:
        files: of pictures, in one of `formats.NAMES`.
        top: how many labels per file.
        network: one of `kapps.models.backbone_names()`; the weights of the default come with kapps.

    Returns:
        Per file its name and its (label, probability) pairs.

    Raises:
        UserError: the weights cannot be had.
        SomeUnreadable: a file is missing or no image; it holds the other answers.
    """
    if top < 1:
        raise UserError(f"top is {top}; at least one label is needed")
    files = [os.fspath(file) for file in files]
    models.check_backbone(network)
    names, side = models.imagenet_names(), models.backbone_table.BACKBONES[network].size
    model, answers, faults = None, [], []
    for start in range(0, len(files), _BATCH):
        batch, pictures = [], []
        for file in files[start : start + _BATCH]:
            try:
                pictures.append(_picture(file, side))
                batch.append(file)
            except UserError as error:
                faults.append(str(error))
        if not batch:
            continue
        # Not before the first files have been read: what is wrong with them is said at once.
        model = model or models.pretrained_classifier(network)
        probabilities = tf.nn.softmax(model(tf.stack(pictures), training=False)).numpy()
        for file, row in zip(batch, probabilities, strict=True):
            best = np.argsort(-row, kind="stable")[:top]
            answers.append((file, [(names[i], float(row[i])) for i in best]))
    if faults:
        raise SomeUnreadable("\n".join(faults), answers)
    return answers


def centre_square(image: tf.Tensor) -> tf.Tensor:
    """The largest square in the middle of a picture [h, w, channels]."""
    shape = tf.shape(image)
    side = tf.minimum(shape[0], shape[1])
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    return image[top : top + side, left : left + side]


def _picture(file, side):
    try:
        contents = transcoding.read_picture(file)
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except transcoding.NoPicture as error:
        raise UserError(f"{file}: {error}") from error
    try:
        return decode.fit(centre_square(decode.decode_rgb(contents)), (side, side, 3))
    except tf.errors.InvalidArgumentError as error:
        raise UserError(
            f"{file}: cannot be read as an image; {', '.join(formats.NAMES)} are understood"
        ) from error
