"""Generators and discriminators, for images of any size and number of channels.

Both sides of the game see pixels of -1..1, `[batch, height, width, channels]`; `kapps.models.GAN`
translates from and to pixels of 0..255. Images and logits are float32 whatever the policy.

The two halve and double the sides until the smaller one is 7 or less: 28 pixels are 14 and 7 in the
discriminator, 7, 14 and 28 in the generator. Sides round up, and the generator crops what is too
much, so that the sides may be odd and unequal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from kapps.blocks import BATCH_NORMALIZATION_MOMENTUM
from kapps.errors import UserError
from kapps.layers import BatchNormalization, Conv2D, SpectralNormalization
from kapps.models import arguments

CONDITIONINGS = (None, "concat", "projection", "auxiliary")
UPSAMPLINGS = ("transposed", "nearest", "bilinear")
_SMALLEST_SIDE = 7  # a map is halved as long as its smaller side is larger than this
_MOST_DOUBLINGS = 3  # of the filters
_LEAK = 0.2


def gan_generator(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    classes: int = 0,
    filters: int | Sequence[int] = 24,
    dense_units: int = 512,
    normalization: str | None = "batch",
    upsampling: str = "transposed",
    name: str = "generator",
) -> keras.Model:
    """A convolutional generator in the manner of DCGAN (arXiv:1511.06434).

    Dense layers make the smallest map; each stage doubles its sides, normalizes and rectifies; a
    last 3x3 convolution and tanh make the image. The ways to double the sides:

    * "transposed": 4x4 transposed convolutions of stride 2. The kernel is a multiple of the
      stride, so every pixel is reached by as many weights (Odena et al. 2016,
      distill.pub/2016/deconv-checkerboard), and the last convolution smooths what is left. Each
      output costs 4 weights per pair of channels, where
    * "nearest" and "bilinear" interpolation before 3x3 convolutions cost 9. They have no
      checkerboards at all.

    With `classes` an embedding of the label, as long as the latent vector, is concatenated to it
    (arXiv:1411.1784).

    Args:
        image_shape: (height, width, channels).
        latent_dim: length of the latent vectors.
        classes: conditional on one-hot labels of that many classes; 0 is not.
        filters: of the largest map, to be doubled (three times at most) for each smaller one; or
            one for each map, the largest first.
        dense_units: of a hidden layer between the latent vector and the smallest map, as in
            InfoGAN (arXiv:1606.03657, table 1); 0 is none.
        normalization: "batch", "layer" (over a whole image, arXiv:1607.06450) or None.
        upsampling: "transposed", "nearest" or "bilinear".
        name: of the model.

    Returns:
        A functional model: "z" `[batch, latent_dim]`, with `classes` also "labels"
        `[batch, classes]` -> pixels of -1..1.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    maps = _maps(shape, filters)
    arguments.one_of("normalization", normalization, tuple(_NORMALIZATIONS))
    arguments.one_of("upsampling", upsampling, UPSAMPLINGS)
    inputs, x = _latent_input(latent_dim, classes)

    if arguments.integer("dense_units", dense_units, minimum=0):
        x = _dense(x, dense_units, normalization)
    height, width, n = maps[-1]
    x = keras.layers.Dense(
        height * width * n, use_bias=normalization is None, kernel_initializer="he_normal"
    )(x)
    x = keras.layers.Reshape((height, width, n))(x)
    x = keras.layers.ReLU()(_normalize(x, normalization))
    for height, width, n in reversed(maps[:-1]):
        x = _double(x, n, upsampling, use_bias=normalization is None)
        x = _crop(x, height, width)
        x = keras.layers.ReLU()(_normalize(x, normalization))
    x = keras.layers.Conv2D(shape[-1], 3, padding="same", kernel_initializer="glorot_normal")(x)
    x = keras.layers.Activation("tanh", dtype="float32", name="pixels")(x)
    return keras.Model(inputs, x, name=name)


def gan_discriminator(
    image_shape: tuple[int, int, int],
    *,
    classes: int = 0,
    conditioning: str | None = None,
    filters: int | Sequence[int] = 24,
    dense_units: int = 512,
    normalization: str | None = None,
    name: str = "discriminator",
) -> keras.Model:
    """A convolutional discriminator, the mirror of `gan_generator`.

    A 3x3 convolution, then a 4x4 convolution of stride 2 for each halving, then a dense layer, all
    with leaky ReLU, then the logit. The hidden dense layer matters: the last map is of features
    that have seen 12 of 28 pixels, and their weighted sum alone takes an image that is half shirt
    and half shoe for a real one. What it does with labels, which are one-hot:

    * None: nothing;
    * "concat": a learned map of the class is one more channel of the image (arXiv:1411.1784);
    * "projection": the inner product of the features with a vector of the class is added to the
      logit (arXiv:1802.05637, eq. 3);
    * "auxiliary": takes none, and classifies the image beside judging it (arXiv:1610.09585).

    Normalize by "spectral" (the Lipschitz constant of each layer), "layer" (for gradient
    penalties, arXiv:1704.00028, section 4), or not at all (for R1 and R2, arXiv:2501.05441).
    "batch" makes the logit of an image depend on its neighbors and has no penalties.

    Args:
        image_shape: (height, width, channels).
        classes: number of classes; 0 without conditioning.
        conditioning: None, "concat", "projection" or "auxiliary".
        filters: of the largest map, to be doubled (three times at most) for each smaller one; or
            one for each map, the largest first.
        dense_units: of the hidden layer after the last map; 0 is none.
        normalization: None, "spectral", "layer" or "batch".
        name: of the model.

    Returns:
        A functional model: "image" `[batch, *image_shape]` of -1..1, and "labels"
        `[batch, classes]` for concat and projection -> "logits" `[batch, 1]`, and for auxiliary
        "class_logits" `[batch, classes]`.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    maps = _maps(shape, filters)
    inputs, x, labels = _image_input(shape, classes, conditioning, normalization)
    for i, (_, _, n) in enumerate(maps):
        x = _spectral(
            Conv2D(
                n,
                4 if i else 3,
                strides=2 if i else 1,
                padding="same",
                use_bias=normalization not in ("layer", "batch") or i == 0,
                kernel_initializer="he_normal",
            ),
            normalization,
        )(x)
        if i:  # the first layer is not normalized, as in arXiv:1511.06434
            x = _normalize(x, normalization)
        x = keras.layers.LeakyReLU(_LEAK)(x)
    x = keras.layers.Flatten()(x)
    if arguments.integer("dense_units", dense_units, minimum=0):
        hidden = keras.layers.Dense(dense_units, kernel_initializer="he_normal", name="hidden")
        x = keras.layers.LeakyReLU(_LEAK)(_spectral(hidden, normalization)(x))
    outputs = _judge(x, labels, classes, conditioning, normalization)
    return keras.Model(inputs, outputs, name=name)


def gan_dense_generator(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    classes: int = 0,
    units: int | Sequence[int] = (128, 256),
    normalization: str | None = None,
    name: str = "generator",
) -> keras.Model:
    """A generator of dense layers, for tiny images; inputs and output as `gan_generator`.

    Args:
        image_shape: (height, width, channels).
        latent_dim: length of the latent vectors.
        classes: conditional on one-hot labels of that many classes; 0 is not.
        units: of the hidden layers.
        normalization: "batch", "layer" or None.
        name: of the model.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    units = arguments.integers("units", units)
    arguments.one_of("normalization", normalization, tuple(_NORMALIZATIONS))
    inputs, x = _latent_input(latent_dim, classes)
    for n in units:
        x = _dense(x, n, normalization)
    x = keras.layers.Dense(math.prod(shape), kernel_initializer="glorot_normal")(x)
    x = keras.layers.Activation("tanh", dtype="float32")(x)
    x = keras.layers.Reshape(shape, dtype="float32", name="pixels")(x)
    return keras.Model(inputs, x, name=name)


def gan_dense_discriminator(
    image_shape: tuple[int, int, int],
    *,
    classes: int = 0,
    conditioning: str | None = None,
    units: int | Sequence[int] = (256, 128),
    normalization: str | None = None,
    name: str = "discriminator",
) -> keras.Model:
    """A discriminator of dense layers, for tiny images; the rest as `gan_discriminator`.

    Args:
        image_shape: (height, width, channels).
        classes: number of classes; 0 without conditioning.
        conditioning: None, "concat", "projection" or "auxiliary".
        units: of the hidden layers.
        normalization: None, "spectral", "layer" or "batch".
        name: of the model.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    units = arguments.integers("units", units)
    inputs, x, labels = _image_input(shape, classes, conditioning, normalization)
    x = keras.layers.Flatten()(x)
    for i, n in enumerate(units):
        bias = normalization not in ("layer", "batch") or i == 0
        x = _spectral(
            keras.layers.Dense(n, use_bias=bias, kernel_initializer="he_normal"), normalization
        )(x)
        if i:
            x = _normalize(x, normalization)
        x = keras.layers.LeakyReLU(_LEAK)(x)
    outputs = _judge(x, labels, classes, conditioning, normalization)
    return keras.Model(inputs, outputs, name=name)


def _maps(shape, filters):
    """(height, width, filters) of every map, the largest first."""
    sides = [shape[:2]]
    while min(sides[-1]) > _SMALLEST_SIDE:
        sides.append(tuple(-(-side // 2) for side in sides[-1]))
    if isinstance(filters, list | tuple):
        filters = arguments.integers("filters", filters)
        if len(filters) != len(sides):
            raise UserError(
                f"filters has {len(filters)} values, and images of {shape[0]}x{shape[1]} pixels "
                f"have {len(sides)} maps: {', '.join(f'{h}x{w}' for h, w in sides)}."
            )
    else:
        first = arguments.integer("filters", filters)
        filters = [first * 2 ** min(i, _MOST_DOUBLINGS) for i in range(len(sides))]
    return [(*side, n) for side, n in zip(sides, filters, strict=True)]


def _latent_input(latent_dim, classes):
    z = keras.Input((arguments.integer("latent_dim", latent_dim),), name="z", dtype="float32")
    if not arguments.integer("classes", classes, minimum=0):
        return z, z
    labels = keras.Input((classes,), name="labels", dtype="float32")
    # As long as z and with a variance of 1 as well: a one-hot vector would carry little weight.
    embedding = keras.layers.Dense(
        latent_dim,
        use_bias=False,
        kernel_initializer=keras.initializers.RandomNormal(stddev=1.0),
        name="class_embedding",
    )(labels)
    return [z, labels], keras.layers.Concatenate()([z, embedding])


def _image_input(shape, classes, conditioning, normalization):
    """Inputs of the model, what the first layer gets, and the labels if there are."""
    arguments.one_of("conditioning", conditioning, CONDITIONINGS)
    arguments.one_of("normalization", normalization, ("spectral", *_NORMALIZATIONS))
    arguments.integer("classes", classes, minimum=0)
    if (classes > 0) != (conditioning is not None):
        raise UserError(
            f"classes {classes} and conditioning {conditioning!r}: give both or neither."
        )
    image = keras.Input(shape, name="image", dtype="float32")
    if conditioning in (None, "auxiliary"):
        return image, image, None
    labels = keras.Input((classes,), name="labels", dtype="float32")
    if conditioning == "projection":
        return [image, labels], image, labels
    height, width, _ = shape
    plane = _spectral(
        keras.layers.Dense(
            height * width,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="class_map",
        ),
        normalization,
    )(labels)
    plane = keras.layers.Reshape((height, width, 1))(plane)
    return [image, labels], keras.layers.Concatenate()([image, plane]), labels


def _judge(x, labels, classes, conditioning, normalization):
    """From features `[batch, n]` to the outputs of a discriminator."""

    def linear(outputs, name, use_bias=True):
        layer = keras.layers.Dense(outputs, use_bias=use_bias, dtype="float32", name=name)
        return _spectral(layer, normalization)(x)

    if conditioning == "projection":
        # Column k of the kernel is the vector of class k.
        products = linear(classes, "class_vectors", use_bias=False)
        chosen = keras.layers.Dot(axes=1, dtype="float32", name="projection")([products, labels])
        return keras.layers.Add(dtype="float32", name="logits")([linear(1, "judgement"), chosen])
    logits = linear(1, "logits")
    if conditioning == "auxiliary":
        return [logits, linear(classes, "class_logits")]
    return logits


def _dense(x, units, normalization):
    """Dense layer of a generator, normalized and rectified."""
    bias = normalization is None
    x = keras.layers.Dense(units, use_bias=bias, kernel_initializer="he_normal")(x)
    return keras.layers.ReLU()(_normalize(x, normalization))


def _double(x, filters, upsampling, use_bias):
    settings = dict(padding="same", use_bias=use_bias, kernel_initializer="he_normal")
    if upsampling == "transposed":
        settings["kernel_initializer"] = he_normal_transposed(strides=2)
        return keras.layers.Conv2DTranspose(filters, 4, strides=2, **settings)(x)
    x = keras.layers.UpSampling2D(2, interpolation=upsampling)(x)
    return Conv2D(filters, 3, **settings)(x)


def he_normal_transposed(strides: int) -> keras.initializers.Initializer:
    """He et al. 2015 (arXiv:1502.01852), variance 2 / fan_in, for `Conv2DTranspose`.

    Each output is a sum over kernel_size^2 / strides^2 pixels of the input and all its channels,
    which come last in the kernel: Keras' fan_out / strides^2. Its own "he_normal" takes the number
    of output channels for that of the input.
    """
    return keras.initializers.VarianceScaling(2.0 * strides**2, "fan_out", "truncated_normal")


def _crop(x, height, width):
    """The first `height` rows and `width` columns."""
    bottom, right = x.shape[1] - height, x.shape[2] - width
    if not (bottom or right):
        return x
    return keras.layers.Cropping2D(((0, bottom), (0, right)))(x)


def _normalize(x, normalization):
    layer = _NORMALIZATIONS.get(normalization)
    return layer()(x) if layer else x


def _spectral(layer, normalization):
    if normalization != "spectral":
        return layer
    return SpectralNormalization(layer, name=layer.name)


_NORMALIZATIONS = {
    "batch": lambda: BatchNormalization(momentum=BATCH_NORMALIZATION_MOMENTUM),
    "layer": lambda: keras.layers.GroupNormalization(groups=1),  # a whole image, as one group
    None: None,
}
