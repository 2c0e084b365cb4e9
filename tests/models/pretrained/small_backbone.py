"""A backbone of a few hundred weights, with what real ones have: stages, normalization."""

import keras

from kapps import layers


def backbone(shape=(12, 12, 3), normalization=layers.BatchNormalization, name="small"):
    image = keras.Input(shape, name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1.0, name="preprocessing")(image)
    for stage, filters in (("stem", 4), ("block1", 6), ("block2", 8)):
        x = keras.layers.Conv2D(
            filters, 3, strides=2, padding="same", use_bias=False, name=f"{stage}_conv"
        )(x)
        x = normalization(name=f"{stage}_bn", momentum=0.9)(x)
        x = keras.layers.Activation("relu6", name=f"{stage}_activation")(x)
    return keras.Model(image, x, name=name)


def stages(model):
    names = ("stem", "block1", "block2")
    return {name: [model.get_layer(f"{name}_{kind}") for kind in ("conv", "bn")] for name in names}
