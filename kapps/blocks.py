"""Building blocks of image networks: functions from a feature map to a feature map.

Feature maps are `[batch, height, width, channels]`. `name` prefixes the names of the layers.
`normalization` is "batch" or None; with it the convolutions have no bias (the offset of the
normalization is one). Kernels start from He et al. 2015 (arXiv:1502.01852: variance 2/fan_in, made
for ReLU), before saturating activations from Glorot and Bengio 2010, before SELU from
arXiv:1706.02515 (variance 1/fan_in).
"""

from collections.abc import Callable

import keras

from kapps.errors import UserError
from kapps.layers import BatchNormalization, Conv2D

# Keras' 0.99 averages over the last hundred steps or so. In a training of a few epochs the weights
# of a hundred steps ago are another network's; 0.9 (ten steps) follows, as PyTorch's default does.
# The epsilon stays Keras' 1e-3, where PyTorch has 1e-5.
BATCH_NORMALIZATION_MOMENTUM = 0.9

_INITIALIZERS: dict[str | None, str] = {
    **dict.fromkeys(("tanh", "sigmoid", "softsign", "hard_tanh", "hard_sigmoid"), "glorot_uniform"),
    "selu": "lecun_normal",
}


def kernel_initializer(activation: str | None) -> str:
    """The name of the Keras initializer that keeps the variance through `activation`."""
    return _INITIALIZERS.get(activation, "he_normal")


def conv_bn(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int = 3,
    *,
    strides: int = 1,
    padding: str = "same",
    normalization: str | None = "batch",
    activation: str | None = "relu",
    gamma_initializer: str = "ones",
    name: str | None = None,
) -> keras.KerasTensor:
    """Convolution, normalization, activation.

    `padding` is Keras' "same" or "valid", or "centered": `kernel_size // 2` zeros on every side, so
    that strided windows are centered on the pixels that a strided shortcut keeps. Keras' "same"
    is off by one pixel there when the side is even; the size of the output is the same for odd
    kernels.
    """
    if padding == "centered":
        padding = "same"
        if strides > 1 and kernel_size > 1:
            x = keras.layers.ZeroPadding2D(kernel_size // 2, name=_join(name, "padding"))(x)
            padding = "valid"
    x = Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=normalization is None,
        kernel_initializer=kernel_initializer(activation),
        name=name,
    )(x)
    return _normalize_and_activate(x, normalization, activation, gamma_initializer, name)


def dense_bn(
    x: keras.KerasTensor,
    units: int,
    *,
    normalization: str | None = None,
    activation: str | None = "relu",
    dense: Callable[..., keras.Layer] = keras.layers.Dense,
    name: str | None = None,
) -> keras.KerasTensor:
    """Dense layer, normalization, activation, on `[batch, features]`."""
    x = dense(
        units,
        use_bias=normalization is None,
        kernel_initializer=kernel_initializer(activation),
        name=name,
    )(x)
    return _normalize_and_activate(x, normalization, activation, name=name)


def vgg_block(
    x: keras.KerasTensor,
    filters: int,
    convs: int,
    *,
    normalization: str | None = "batch",
    activation: str = "relu",
    name: str | None = None,
) -> keras.KerasTensor:
    """`convs` 3x3 convolutions and a 2x2 max pool that halves the sides, rounding up.

    Simonyan and Zisserman 2014, arXiv:1409.1556, section 2.1.
    """
    for i in range(1, convs + 1):
        x = conv_bn(
            x,
            filters,
            normalization=normalization,
            activation=activation,
            name=_join(name, f"conv{i}"),
        )
    return keras.layers.MaxPooling2D(2, padding="same", name=_join(name, "pool"))(x)


def inception_block(
    x: keras.KerasTensor,
    filters_1x1: int,
    reduce_3x3: int,
    filters_3x3: int,
    reduce_5x5: int,
    filters_5x5: int,
    filters_pool: int,
    *,
    normalization: str | None = "batch",
    activation: str = "relu",
    name: str | None = None,
) -> keras.KerasTensor:
    """The Inception module with dimension reductions, its arguments in the order of table 1.

    Four branches see the same map and are concatenated: 1x1; 1x1 then 3x3; 1x1 then 5x5; a 3x3 max
    pool then 1x1. Szegedy et al. 2014, arXiv:1409.4842, figure 2(b); batch normalization came a
    year later (arXiv:1502.03167), `normalization=None` is the original.
    """

    def conv(x, filters, kernel_size, part):
        return conv_bn(
            x,
            filters,
            kernel_size,
            normalization=normalization,
            activation=activation,
            name=_join(name, part),
        )

    pooled = keras.layers.MaxPooling2D(3, strides=1, padding="same", name=_join(name, "pool"))(x)
    branches = [
        conv(x, filters_1x1, 1, "1x1"),
        conv(conv(x, reduce_3x3, 1, "3x3_reduce"), filters_3x3, 3, "3x3"),
        conv(conv(x, reduce_5x5, 1, "5x5_reduce"), filters_5x5, 5, "5x5"),
        conv(pooled, filters_pool, 1, "pool_proj"),
    ]
    return keras.layers.Concatenate(name=_join(name, "concat"))(branches)


def projection_shortcut(
    x: keras.KerasTensor, filters: int, strides: int, name: str | None = None
) -> keras.KerasTensor:
    """A 1x1 convolution and batch normalization: option B of arXiv:1512.03385, section 3.3."""
    return conv_bn(x, filters, 1, strides=strides, activation=None, name=_join(name, "shortcut"))


def average_shortcut(
    x: keras.KerasTensor, filters: int, strides: int, name: str | None = None
) -> keras.KerasTensor:
    """An average pool, then the projection without strides: ResNet-D of arXiv:1812.01187, fig. 2c.

    A strided 1x1 convolution drops three pixels of four, and its gradient is slow on a CPU.
    """
    if strides > 1:
        pool = keras.layers.AveragePooling2D(strides, padding="same", name=_join(name, "average"))
        x = pool(x)
    return projection_shortcut(x, filters, 1, name)


def padding_shortcut(
    x: keras.KerasTensor, filters: int, strides: int, name: str | None = None
) -> keras.KerasTensor:
    """Every `strides`-th pixel, and zeros for the new channels: option A, free of parameters."""
    missing = filters - x.shape[-1]
    if missing < 0:
        raise UserError(f"A padding shortcut cannot turn {x.shape[-1]} channels into {filters}.")
    if strides > 1:
        x = keras.layers.AveragePooling2D(1, strides=strides, name=_join(name, "subsample"))(x)
    return keras.ops.pad(x, [[0, 0], [0, 0], [0, 0], [0, missing]])


Shortcut = Callable[[keras.KerasTensor, int, int, str | None], keras.KerasTensor]


def residual_block(
    x: keras.KerasTensor,
    filters: int,
    *,
    strides: int = 1,
    shortcut: Shortcut = projection_shortcut,
    activation: str = "relu",
    zero_gamma: bool = False,
    name: str | None = None,
) -> keras.KerasTensor:
    """activation(F(x) + x), F two 3x3 convolutions with batch normalization.

    Where F changes the shape, `shortcut` does so to x; else x is added as it is. `zero_gamma`
    starts the last normalization's scale at 0, hence the block at the identity (arXiv:1706.02677,
    section 5.1). He et al. 2015, arXiv:1512.03385, figure 2 and equations 1 and 2.
    """
    y = conv_bn(
        x,
        filters,
        strides=strides,
        padding="centered",
        activation=activation,
        name=_join(name, "conv1"),
    )
    y = conv_bn(
        y,
        filters,
        activation=None,
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=_join(name, "conv2"),
    )
    return _add(x, y, strides, shortcut, activation, name)


def bottleneck_block(
    x: keras.KerasTensor,
    filters: int,
    *,
    strides: int = 1,
    shortcut: Shortcut = projection_shortcut,
    activation: str = "relu",
    zero_gamma: bool = False,
    name: str | None = None,
) -> keras.KerasTensor:
    """activation(F(x) + x), F of 1x1, 3x3 and 1x1 convolutions; `4 * filters` channels leave.

    The 3x3 convolution has the strides (the paper's first 1x1 has them and skips three quarters of
    its input); shortcut and `zero_gamma` as in `residual_block`. arXiv:1512.03385, figure 5.
    """
    y = conv_bn(x, filters, 1, activation=activation, name=_join(name, "conv1"))
    y = conv_bn(
        y,
        filters,
        strides=strides,
        padding="centered",
        activation=activation,
        name=_join(name, "conv2"),
    )
    y = conv_bn(
        y,
        4 * filters,
        1,
        activation=None,
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=_join(name, "conv3"),
    )
    return _add(x, y, strides, shortcut, activation, name)


def _add(x, y, strides, shortcut, activation, name):
    if strides > 1 or x.shape[-1] != y.shape[-1]:
        x = shortcut(x, y.shape[-1], strides, name)
    total = keras.layers.Add(name=_join(name, "add"))([y, x])
    return keras.layers.Activation(activation, name=_join(name, activation))(total)


def _normalize_and_activate(x, normalization, activation, gamma_initializer="ones", name=None):
    if normalization == "batch":
        x = BatchNormalization(
            momentum=BATCH_NORMALIZATION_MOMENTUM,
            gamma_initializer=gamma_initializer,
            name=_join(name, "bn"),
        )(x)
    elif normalization is not None:
        raise UserError(f"normalization {normalization!r} is unknown; known: batch, None.")
    if activation is not None:
        x = keras.layers.Activation(activation, name=_join(name, activation))(x)
    return x


def _join(name, part):
    return None if name is None else f"{name}_{part}"
