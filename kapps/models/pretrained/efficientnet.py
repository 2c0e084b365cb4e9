"""EfficientNet-Lite0, which keras.applications does not have."""

import keras

from kapps.layers import BatchNormalization, DepthwiseConv2D

# Kernel size, blocks, filters, expansion, strides: table 1 of arXiv:1905.11946. EfficientNet-Lite
# leaves out squeeze-and-excitation and takes relu6 for swish, so that it quantizes well.
_STAGES = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
_KERNEL = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}


def efficientnet_lite0_features(x: keras.KerasTensor) -> keras.KerasTensor:
    """Normalized images `[batch, h, w, 3]` -> the last feature map `[batch, h/32, w/32, 1280]`.

    Names of layers and their order are those of `keras.applications`' EfficientNets, but for the
    padding, which the strided convolutions do themselves. Strided windows are padded as
    TensorFlow does it ("same"), which the weights were trained with. There is no stochastic depth.
    """
    x = _conv(x, 32, 3, 2, "stem_conv", "stem_bn", "stem_activation")
    for stage, (kernel_size, blocks, filters, expansion, strides) in enumerate(_STAGES, start=1):
        for i in range(blocks):
            x = _block(
                x,
                filters,
                kernel_size,
                expansion,
                strides if i == 0 else 1,
                f"block{stage}{chr(ord('a') + i)}_",
            )
    return _conv(x, 1280, 1, 1, "top_conv", "top_bn", "top_activation")


def _conv(x, filters, kernel_size, strides, conv, bn, activation=None):
    x = keras.layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer=_KERNEL,
        name=conv,
    )(x)
    return _normalize(x, bn, activation)


def _normalize(x, bn, activation):
    x = BatchNormalization(momentum=0.99, epsilon=1e-3, name=bn)(x)
    return keras.layers.Activation("relu6", name=activation)(x) if activation else x


def _block(x, filters, kernel_size, expansion, strides, name):
    """Mobile inverted bottleneck (arXiv:1801.04381): widen, filter each channel, narrow, add."""
    shortcut = x
    if expansion > 1:
        wide = x.shape[-1] * expansion
        x = _conv(
            x,
            wide,
            1,
            1,
            f"{name}expand_conv",
            f"{name}expand_bn",
            f"{name}expand_activation",
        )
    x = DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=_KERNEL,
        name=f"{name}dwconv",
    )(x)
    x = _normalize(x, f"{name}bn", f"{name}activation")
    x = _conv(x, filters, 1, 1, f"{name}project_conv", f"{name}project_bn")
    if x.shape == shortcut.shape:
        x = keras.layers.Add(name=f"{name}add")([x, shortcut])
    return x
