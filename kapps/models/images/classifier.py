"""Image classifiers by name, for flags."""

import keras

from kapps.models.images.cnn import cnn
from kapps.models.images.inception import inception
from kapps.models.images.mlp import mlp
from kapps.models.images.resnet import resnet
from kapps.models.images.variants import INCEPTION, VGG, check_classifier
from kapps.models.images.vgg import vgg


def classifier(name: str, image_shape: tuple[int, int, int], classes: int, **kwargs) -> keras.Model:
    """The image classifier `name`, one of `models.classifier_names()`.

    Args:
        name: of the network.
        image_shape: height, width, channels.
        classes: how many.
        **kwargs: of its builder. All take `dropout`, `pixel_mean` and `pixel_std`, and all but
            `mlp` take `whitening` and `whitening_strides`, which the recipes pass.

    Raises:
        UserError: the name is unknown, or what the builder raises.
    """
    check_classifier(name)
    if name == "mlp":
        return mlp(image_shape, classes, **kwargs)
    if name == "cnn":
        return cnn(image_shape, classes, **kwargs)
    if name in VGG:
        return vgg(name, image_shape, classes, **kwargs)
    if name in INCEPTION:
        return inception(name, image_shape, classes, **kwargs)
    return resnet(name, image_shape, classes, **kwargs)
