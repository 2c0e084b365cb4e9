"""Networks trained on ImageNet: as feature extractors to build on, and whole."""

import functools
import os
import re

import keras

from kapps import layers
from kapps.models.pretrained import backbone_weights
from kapps.models.pretrained.backbone_table import (
    BACKBONES,
    PREPROCESSING,
    check_backbone,
    imagenet_names,
)
from kapps.models.pretrained.efficientnet import efficientnet_lite0_features

# Keras puts the preprocessing of these into the network, unless told not to; that of the first
# EfficientNets, too, and it cannot be told.
_OWN_PREPROCESSING = ("ConvNeXt", "EfficientNetV2", "MobileNetV3")
_PREPROCESSING_LAYERS = (keras.layers.Rescaling, keras.layers.Normalization)
_FAST = {
    getattr(keras.layers, kind.__name__): kind
    for kind in (layers.BatchNormalization, layers.Conv2D, layers.DepthwiseConv2D)
}


def backbone(
    name: str = "efficientnet_lite0",
    *,
    weights: str | os.PathLike = "imagenet",
    input_shape: tuple[int, int, int] = (224, 224, 3),
    fused: bool = True,
) -> keras.Model:
    """The network `name` up to its last feature map.

    Raw pixels are preprocessed inside the model, as in its training; gray images get three equal
    channels. Stochastic depth is off, so that a frozen backbone computes the same in
    training and in prediction. The last layer, "features", is float32 under every policy. Names of
    layers do not depend on what was built before.

    Args:
        name: one of `backbone_names()`.
        weights: "imagenet", "none" (random), or a file: `.weights.h5` or `.keras` of the same
            network or of a classifier on it that has one level of layers, `.h5` as Keras offers
            them for download. The weights of `efficientnet_lite0` come with kapps; Keras downloads
            the others', once.
        input_shape: height, width and 1 or 3 channels.
        fused: with `BatchNormalization`, `Conv2D` and `DepthwiseConv2D` of `kapps.layers` for
            Keras' own: same outputs, faster.

    Returns:
        A functional model: "image" `[batch, *input_shape]`, 0..255 -> `[batch, h, w, channels]`.

    Raises:
        UserError: the name is unknown, the image is too small, or the weights cannot be had or
            do not fit.
    """
    check_backbone(name, weights, input_shape)
    return _with_weights(name, weights, input_shape, include_top=False, fused=fused)


def pretrained_classifier(
    name: str = "efficientnet_lite0",
    *,
    input_shape: tuple[int, int, int] | None = None,
    fused: bool = True,
) -> keras.Model:
    """The network `name` as it was trained on ImageNet, with logits for its thousand classes.

    Args:
        name: one of `backbone_names()`.
        input_shape: height, width and 1 or 3 channels; the size it was trained at by default, which
            is the only one for VGG.
        fused: as in `backbone`.

    Returns:
        A functional model: "image" `[batch, *input_shape]`, 0..255 -> "logits" `[batch, 1000]`, in
        the order of `imagenet_names()`.

    Raises:
        UserError: as in `backbone`, or the network takes no images of that size.
    """
    check_backbone(name)
    size = BACKBONES[name].size
    shape = input_shape or (size, size, 3)
    return _with_weights(name, "imagenet", shape, include_top=True, fused=fused)


def backbone_stages(
    model: keras.Model, name: str | None = None
) -> dict[str, list[keras.layers.Layer]]:
    """The layers with weights of a `backbone`, by stage, from the input to the output.

    Args:
        model: a `backbone`, or a network around one, whose further layers follow in the last stage.
        name: of the backbone; default: the model's.

    Raises:
        UserError: the name is none of `backbone_names()`.
    """
    name = name or model.name
    check_backbone(name)
    row = BACKBONES[name]
    stages = {stage: [] for stage, _ in row.stages}
    names = list(stages)
    current = 0
    for layer in model.layers:
        if current + 1 < len(names) and re.match(row.stages[current + 1][1], layer.name):
            current += 1
        if layer.weights:
            stages[names[current]].append(layer)
    return stages


def network(
    name: str, input_shape: tuple[int, int, int], *, include_top: bool, fused: bool = True
) -> keras.Model:
    """The network `name` with random weights, whole (`include_top`) or without its head."""
    check_backbone(name, input_shape=input_shape)
    row = BACKBONES[name]
    image, x = _input(row, input_shape)
    constructor = _keras_network(name, include_top)
    if constructor is not None:
        x = constructor(weights=None, input_tensor=x, input_shape=x.shape[1:]).output
    else:
        x = efficientnet_lite0_features(x)
        if include_top:
            x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
            x = keras.layers.Dense(len(imagenet_names()), name="predictions")(x)
    # MobileNetV3 has a convolution that is named "logits".
    last = "class_logits" if include_top else "features"
    x = keras.layers.Activation("linear", dtype="float32", name=last)(x)
    model = keras.Model(image, x, name=name)
    return _rebuilt(model, fused) if row.constructor or not fused else model


def _with_weights(name, weights, input_shape, include_top, fused):
    build = _keras_network(name, include_top)
    imagenet = weights == "imagenet"
    # The download comes first: nobody waits for a network that gets no weights.
    donor = backbone_weights.downloaded(name, build) if imagenet and build is not None else None
    model = network(name, input_shape, include_top=include_top, fused=fused)
    if donor is not None:
        backbone_weights.copy_in_order(donor, model)
    elif imagenet:
        backbone_weights.set_packaged(model, name)
    elif weights != "none":
        backbone_weights.set_from_file(model, name, weights, build)
    return model


def _input(row, input_shape):
    x = image = keras.Input(input_shape, name="image", dtype="float32")
    if input_shape[-1] == 1:
        x = keras.layers.Concatenate(dtype="float32", name="grey_to_rgb")([x, x, x])
    mean, deviation = PREPROCESSING[row.preprocessing]
    if row.preprocessing == "caffe":
        x = keras.ops.flip(x, axis=-1)
    x = keras.layers.Rescaling(
        scale=[1 / d for d in deviation],
        offset=[-m / d for m, d in zip(mean, deviation, strict=True)],
        dtype="float32",
        name="preprocessing",
    )(x)
    return image, x


def _keras_network(name, include_top):
    """The function of keras.applications with all but weights and input; None if it lacks it."""
    row = BACKBONES[name]
    if not row.constructor:
        return None
    options = {"include_top": include_top, "input_shape": (row.size, row.size, 3)}
    if row.constructor.startswith(_OWN_PREPROCESSING):
        options["include_preprocessing"] = False
    if include_top:
        options["classifier_activation"] = None
    return functools.partial(getattr(keras.applications, row.constructor), **options)


def _rebuilt(model, fused):
    """The model with the layers that we want, under names that do not depend on what was built."""
    names = _stable_names(model)

    def clone(layer):
        config = {**layer.get_config(), "name": names.get(layer.name, layer.name)}
        kind = type(layer)
        if kind is keras.layers.Dropout:
            config["rate"] = 0.0  # stochastic depth, and that of the whole network's head
        elif stock := next((own for own in _FAST if issubclass(kind, own)), None):
            kind = _FAST[stock] if fused else stock
        elif kind in _PREPROCESSING_LAYERS and layer.name != "preprocessing":
            return keras.layers.Identity(name=config["name"])
        return kind.from_config(config)

    return keras.models.clone_model(model, clone_function=clone)


def _stable_names(model):
    """For layers that Keras numbered by itself: the numbers they have in a fresh process."""
    numbered = {}
    for layer in model.layers:
        [(base, number)] = re.findall(r"^(.*?)(?:_(\d+))?\Z", layer.name)
        if base.replace("_", "") == type(layer).__name__.lower():
            numbered.setdefault(base, []).append((int(number or 0), layer.name))
    return {
        old: base if i == 0 else f"{base}_{i}"
        for base, layers in numbered.items()
        for i, (_, old) in enumerate(sorted(layers))
    }
