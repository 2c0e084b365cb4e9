"""Networks trained on ImageNet: as feature extractors to build on, and whole."""

import re

import keras

from kapps.errors import UserError
from kapps.layers import BatchNormalization
from kapps.models import arguments
from kapps.models.backbone_table import BACKBONES, PREPROCESSING, BackboneRow, backbone_names
from kapps.models.efficientnets import efficientnet_lite0_features

__all__ = ["BACKBONES", "backbone", "backbone_names", "backbone_stages"]

_NO_PREPROCESSING = ("ConvNeXt", "EfficientNetV2", "MobileNetV3")  # have a switch for theirs


def backbone(
    name: str = "efficientnet_lite0",
    *,
    weights: str = "imagenet",
    input_shape: tuple[int, int, int] = (224, 224, 3),
    fused: bool = True,
) -> keras.Model:
    """The network `name` up to its last feature map.

    What it was trained to see is made of raw pixels inside the model; grey pictures become three
    equal channels. Stochastic depth is off, so that a frozen backbone computes the same in
    training and in prediction. The last layer, "features", is float32 under every policy.

    Args:
        name: one of `backbone_names()`.
        weights: "imagenet", "none" (random), or a `.weights.h5`, `.h5` or `.keras` file.
        input_shape: height, width and 1 or 3 channels.
        fused: with `kapps.layers.BatchNormalization` for Keras' own: same outputs, faster.

    Returns:
        A functional model: "image" `[batch, *input_shape]`, 0..255 -> `[batch, h, w, channels]`.

    Raises:
        UserError: the name is unknown, the picture is too small, or the weights cannot be had or
            do not fit.
    """
    row = _row(name)
    image, x = _input(name, row, input_shape)
    model = _assemble(name, row, image, _network(row, x, include_top=False), fused)
    if weights != "none":
        raise NotImplementedError
    return model


def backbone_stages(model: keras.Model) -> dict[str, list[keras.layers.Layer]]:
    """The layers with weights of a `backbone`, by stage, from the input to the output.

    Raises:
        UserError: `model` is not a backbone (its name is none of `backbone_names()`).
    """
    row = _row(model.name)
    stages = {stage: [] for stage, _ in row.stages}
    names = list(stages)
    current = 0
    for layer in model.layers:
        if current + 1 < len(names) and re.match(row.stages[current + 1][1], layer.name):
            current += 1
        if layer.weights:
            stages[names[current]].append(layer)
    return stages


def _row(name: str) -> BackboneRow:
    return BACKBONES[arguments.one_of("backbone", name, backbone_names())]


def _input(name, row, input_shape):
    height, width, channels = shape = arguments.image_shape(input_shape)
    if channels not in (1, 3):
        raise UserError(f"{name} takes pictures of 1 or 3 channels; got input_shape {shape}.")
    if min(height, width) < row.minimum:
        raise UserError(
            f"{name} needs pictures of at least {row.minimum}x{row.minimum} pixels; "
            f"got {height}x{width}."
        )
    image = keras.Input(shape, name="image", dtype="float32")
    x = image
    if channels == 1:
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


def _network(row, x, include_top):
    if not row.constructor:
        return efficientnet_lite0_features(x)
    options = {"include_top": include_top, "weights": None}
    if row.constructor.startswith(_NO_PREPROCESSING):
        options["include_preprocessing"] = False
    if include_top:
        options["classifier_activation"] = None
    constructor = getattr(keras.applications, row.constructor)
    return constructor(input_tensor=x, input_shape=x.shape[1:], **options).output


def _assemble(name, row, image, y, fused):
    y = keras.layers.Activation("linear", dtype="float32", name="features")(y)
    model = keras.Model(image, y, name=name)
    return model if not row.constructor else _rebuilt(model, fused)


def _rebuilt(model, fused):
    """The model with the layers that we want, under names that do not depend on what was built."""
    names = _stable_names(model)

    def clone(layer):
        config = {**layer.get_config(), "name": names.get(layer.name, layer.name)}
        kind = type(layer)
        if kind is keras.layers.Dropout:
            config["rate"] = 0.0  # stochastic depth
        elif kind is keras.layers.BatchNormalization and fused:
            kind = BatchNormalization
        elif kind in (keras.layers.Rescaling, keras.layers.Normalization) and (
            layer.name != "preprocessing"
        ):
            return keras.layers.Identity(name=config["name"])  # EfficientNet's; done before
        return kind.from_config(config)

    return keras.models.clone_model(model, clone_function=clone)


def _stable_names(model):
    """For layers that Keras numbered by itself: the numbers they have in a fresh process."""
    numbered = {}
    for layer in model.layers:
        base, number = re.fullmatch(r"(.*?)(?:_(\d+))?", layer.name).groups()
        if base.replace("_", "") == type(layer).__name__.lower():
            numbered.setdefault(base, []).append((int(number or 0), layer.name))
    return {
        old: base if i == 0 else f"{base}_{i}"
        for base, layers in numbered.items()
        for i, (_, old) in enumerate(sorted(layers))
    }
