"""The one table of model builders. `test_contracts.py` sweeps every row over every contract.

A new model family adds one row per variant that is worth the seconds: a `Case`, or what
`image_cases`, `autoencoder_cases`, `vae_cases`, `gan_case` and `series_case` make of a builder and
its arguments. The number of parameters is worked out by hand, layer by layer, so that it also
checks the architecture. These functions count the trainable parameters of a layer or block (`conv`
has no bias, but the scale and the offset of a batch normalization):

    dense, gated, gates                     dense, gated and recurrent layers
    conv, biased                            a convolution with batch normalization, or with offsets
    bottleneck, inception, inception_module, fcn
                                            blocks of EfficientNet, GoogLeNet, series networks
    downwards, upwards                      both halves of the hierarchical VAE
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kapps import models
from models.pretrained.small_backbone import backbone as small_backbone

# Texts come as tensors: Keras does not convert arrays of them.
Inputs = np.ndarray | list[np.ndarray] | dict[str, tf.Tensor]


def weighed_outputs(model: keras.Model, x) -> tf.Tensor:
    """The outputs, each with a weight of its own, so that no gradient cancels."""
    y = model(x, training=True)
    return tf.reduce_sum(y * tf.random.stateless_normal(tf.shape(y), (1, 2)))


@dataclass(frozen=True)
class Case:
    """A public builder with arguments, and what is known of its model.

    Attributes:
        name: of the row; `pytest tests/test_contracts.py -k NAME` sweeps it alone.
        builder: the public function that the row is of.
        build: makes the model.
        inputs: number of examples -> a batch, or a list or a dictionary of them for several inputs.
        output_shape: of one example.
        parameters: trainable ones; the moving averages are not among them.
        objective: what a gradient of every weight is taken of: the prior of a VAE does not touch
            its outputs.
        training_inputs: what it is trained on, where that is not what it is called on.
        twin: it differs from another row in its channels, depth or first layer alone. Shapes,
            parameters and gradients tell those apart; files and graphs are those of the other.
    """

    name: str
    builder: Callable
    build: Callable[[], keras.Model]
    inputs: Callable[[int], Inputs]
    output_shape: tuple[int, ...]
    parameters: int
    objective: Callable[[keras.Model, Inputs], tf.Tensor] = weighed_outputs
    training_inputs: Callable[[int], Inputs] | None = None
    twin: bool = False


def images(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """Noise of all grey levels, uint8 [count, *shape], the same for the same count."""
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def image_cases(name, builder, size, parameters, *arguments, twin=False, **kwargs) -> list[Case]:
    """A row per entry of `parameters`, {channels: count}; `size` is height and width.

    What is built is `builder(*arguments, (*size, channels), 10, **kwargs)`.
    """

    def case(channels):
        shape = (*size, channels)
        return Case(
            name=f"{name}-{channels}",
            builder=builder,
            build=lambda: builder(*arguments, shape, 10, **kwargs),
            inputs=lambda count: images(count, shape),
            output_shape=(10,),
            parameters=parameters[channels],
            twin=twin or channels != max(parameters),
        )

    return [case(channels) for channels in parameters]


def autoencoder_cases(name, builder, size, parameters, **kwargs) -> list[Case]:
    """A row per entry of `parameters`, {channels: count}; codes of 5 values."""

    def case(channels):
        shape = (*size, channels)
        return Case(
            name=f"{name}-{channels}",
            builder=builder,
            build=lambda: builder(shape, 5, **kwargs),
            inputs=lambda count: images(count, shape),
            output_shape=shape,
            parameters=parameters[channels],
            twin=channels != max(parameters),
        )

    return [case(channels) for channels in parameters]


def vae_cases(name, builder, parameters, classes=0, **kwargs) -> list[Case]:
    """A row per entry of `parameters`, {channels: count}; 7 x 9 pixels, three latents."""

    def case(channels):
        shape = (7, 9, channels)

        def inputs(count):
            labels = np.eye(CLASSES, dtype="float32")[np.arange(count) % CLASSES]
            return [images(count, shape), labels] if classes else images(count, shape)

        def objective(model, x):
            image, labels = x if classes else (x, None)
            log_w = model.log_weights(image / np.float32(255), 2, (1, 2), labels=labels)
            return tf.reduce_sum(log_w * tf.random.stateless_normal(tf.shape(log_w), (3, 4)))

        return Case(
            name=f"{name}-{channels}",
            builder=builder,
            build=lambda: builder(shape, 3, **kwargs, **({"classes": classes} if classes else {})),
            inputs=inputs,
            output_shape=shape,
            parameters=parameters[channels],
            objective=objective,
            twin=channels != max(parameters),
        )

    return [case(channels) for channels in parameters]


def conv(filters_in, filters, size=3):
    """A convolution without bias and its batch normalization (scale and offset)."""
    return size * size * filters_in * filters + 2 * filters


def bottleneck(filters_in, filters, size, expansion):
    """A mobile inverted bottleneck: widened unless `expansion` is 1, filtered, narrowed."""
    wide = filters_in * expansion
    widened = conv(filters_in, wide, 1) if expansion > 1 else 0
    return widened + conv(1, wide, size) + conv(wide, filters, 1)


# Table 1 of arXiv:1905.11946: filters in and out, kernel, expansion of the first block of a stage,
# and how many follow that have as many filters in as out.
LITE0_FEATURES = (
    conv(3, 32)
    + sum(
        bottleneck(i, o, size, expansion) + more * bottleneck(o, o, size, expansion)
        for i, o, size, expansion, more in (
            (32, 16, 3, 1, 0),
            (16, 24, 3, 6, 1),
            (24, 40, 5, 6, 1),
            (40, 80, 3, 6, 2),
            (80, 112, 5, 6, 2),
            (112, 192, 5, 6, 3),
            (192, 320, 3, 6, 0),
        )
    )
    + conv(320, 1280, 1)
)


def biased(filters_in, filters, *size):
    """A convolution with offsets."""
    return math.prod(size or (3, 3)) * filters_in * filters + filters


# Column D of table 1, arXiv:1409.1556.
VGG16_FILTERS = (3, 64, 64, 128, 128, *(256,) * 3, *(512,) * 6)
VGG16_FEATURES = sum(map(biased, VGG16_FILTERS, VGG16_FILTERS[1:]))


def code_maps(count: int) -> list[np.ndarray]:
    """Maps of 2 x 3 codes out of five, and labels."""
    codes = np.random.default_rng(count).integers(0, 5, (count, 2, 3), dtype=np.int32)
    return [codes, np.eye(CLASSES, dtype="float32")[np.arange(count) % CLASSES]]


WORDS = ("the", "cat", "sat", "on", ",")


def few_texts(count: int) -> tf.Tensor:
    """Of unequal length, with words that are not known, and with all that are."""
    texts = ["The cat, unknown, sat on the mat", "cat", "Sat on a cat", "the , the"]
    return tf.constant([texts[i % 4] for i in range(count)])


def inception_module(channels, filters):
    """Of a series: narrowed, filters of 40, 20 and 10 steps over that, one step over the maximum.

    Scale and offset of all four, arXiv:1909.04939.
    """
    kernels = filters * filters * (40 + 20 + 10)
    return 2 * channels * filters + kernels + 2 * 4 * filters


def dense(units_in, units):
    """A kernel and its offsets."""
    return units_in * units + units


def gated(units_in, units):
    """A value and its gate; as many numbers as the mean and the log-variance of a Gaussian."""
    return 2 * dense(units_in, units)


def downwards(channels):
    """Residual convolutions 7 x 9 -> 4 x 5 -> 2 x 3, of four and six filters."""
    return biased(channels, 4, 5, 5) + 2 * biased(4, 4) + biased(4, 6) + 2 * biased(6, 6)


def upwards(channels):
    """The way back; depth to space gives 4 x 6 and 8 x 10, which are cut."""
    first = 2 * biased(6, 6) + biased(6, 4 * 4)
    second = 2 * biased(4, 4) + biased(4, 4 * 2)
    return first + second + 2 * biased(2, 2) + biased(2, channels)


def inception(channels, a, b_reduce, b, c_reduce, c, d):
    """GoogLeNet's module: 1 x 1, 3 x 3 and 5 x 5 filters and a pool, table 1 of arXiv:1409.4842."""
    return (
        conv(channels, a, 1)
        + (conv(channels, b_reduce, 1) + conv(b_reduce, b))
        + (conv(channels, c_reduce, 1) + conv(c_reduce, c, 5))
        + conv(channels, d, 1)
    )


CLASSES, LATENT, GAME = 3, 5, (4, 3, 2)


def gan_case(name, builder, shape, parameters, twin=False, **kwargs) -> Case:
    """A network of a GAN; conditional ones get every class in a batch of three or more."""
    makes = builder in (models.gan_generator, models.gan_dense_generator)

    def inputs(count):
        if makes:
            x = np.random.default_rng(count).normal(size=(count, LATENT)).astype("float32")
        else:
            x = images(count, shape) / np.float32(127.5) - np.float32(1)
        labels = np.eye(CLASSES, dtype="float32")[np.arange(count) % CLASSES]
        return [x, labels] if "classes" in kwargs else x

    return Case(
        name=name,
        builder=builder,
        build=lambda: builder(shape, *([LATENT] if makes else []), **kwargs),
        inputs=inputs,
        output_shape=shape if makes else (1,),
        parameters=parameters,
        twin=twin,
    )


GANS = [
    # 10 pixels are 5 in the generator's first map; 19 are 10.
    *[
        gan_case(
            f"gan_generator-{channels}",
            models.gan_generator,
            (10, 19, channels),
            # Scale and offset of the normalization in the place of a bias.
            (LATENT * 5 * 10 * 8 + 2 * 8)
            + (4 * 4 * 8 * 4 + 2 * 4)
            + (3 * 3 * 4 * channels + channels),
            twin=channels == 1,
            filters=4,
            dense_units=0,
        )
        for channels in (1, 3)
    ],
    gan_case(
        "gan_generator-conditional",
        models.gan_generator,
        (8, 9, 2),
        CLASSES * LATENT
        + dense(2 * LATENT, 11)
        + dense(11, 4 * 5 * 7)
        + (3 * 3 * 7 * 6 + 6)
        + (3 * 3 * 6 * 2 + 2),
        filters=(6, 7),
        dense_units=11,
        normalization=None,
        upsampling="bilinear",
        classes=CLASSES,
    ),
    *[
        gan_case(
            f"gan_discriminator-{channels}",
            models.gan_discriminator,
            (10, 19, channels),
            (3 * 3 * channels * 4 + 4) + (4 * 4 * 4 * 8 + 8) + dense(5 * 10 * 8, 1),
            twin=channels == 1,
            filters=4,
            dense_units=0,
        )
        for channels in (1, 3)
    ],
    gan_case(
        "gan_discriminator-concat",
        models.gan_discriminator,
        (8, 9, 2),
        CLASSES * 8 * 9  # one map of the class
        + (3 * 3 * (2 + 1) * 4 + 4)
        + (4 * 4 * 4 * 8 + 2 * 8)
        + dense(4 * 5 * 8, 1),
        filters=4,
        dense_units=0,
        normalization="layer",
        classes=CLASSES,
        conditioning="concat",
    ),
    gan_case(
        "gan_discriminator-projection",
        models.gan_discriminator,
        (8, 9, 2),
        (3 * 3 * 2 * 4 + 4)
        + (4 * 4 * 4 * 8 + 8)
        + dense(4 * 5 * 8, 6)
        + dense(6, 1)
        + CLASSES * 6,  # one vector of each class
        filters=4,
        dense_units=6,
        normalization="spectral",
        classes=CLASSES,
        conditioning="projection",
    ),
    gan_case(
        "gan_dense_generator",
        models.gan_dense_generator,
        (4, 3, 2),
        (LATENT * 6 + 2 * 6) + (6 * 7 + 2 * 7) + dense(7, 24),
        units=(6, 7),
        normalization="layer",
    ),
    gan_case(
        "gan_dense_discriminator",
        models.gan_dense_discriminator,
        (4, 3, 2),
        dense(24, 7) + dense(7, 6) + dense(6, 1) + 6 * CLASSES,
        units=(7, 6),
        normalization="spectral",
        classes=CLASSES,
        conditioning="projection",
    ),
    Case(
        name="gan",
        builder=models.gan,
        build=lambda: models.gan(
            GAME,
            LATENT,
            architecture="dense",
            units=(6, 7),
            discriminator_normalization="layer",
            ema=0.0,  # the averaged generator is the generator
        ),
        inputs=lambda count: np.random.default_rng(count).normal(size=(count, LATENT)),
        output_shape=GAME,
        parameters=(LATENT * 6 + 2 * 6)
        + (6 * 7 + 2 * 7)
        + dense(7, 24)
        + (dense(24, 7) + 7 * 6 + 2 * 6 + dense(6, 1)),
        objective=lambda model, z: tf.reduce_sum(
            model.discriminator(model.generator(z, training=True), training=True)
        ),
        training_inputs=lambda count: images(count, GAME),
    ),
]


def gates(units_in, units, count):
    """As many kernels from the inputs and from the units themselves, each with its offsets."""
    return count * (units_in * units + units * units + units)


def fcn(features):
    """128, 256 and 128 filters over 8, 5 and 3 steps, scales and offsets: arXiv:1709.05206."""
    return (8 * features * 128 + 2 * 128) + (5 * 128 * 256 + 2 * 256) + (3 * 256 * 128 + 2 * 128)


def series(count: int) -> np.ndarray:
    """Series of up to eleven steps of two values, all but the first padded with NaN."""
    x = np.random.default_rng(count).normal(size=(count, 11, 2)).astype("float32")
    for i in range(1, count):
        x[i, 11 - i :] = np.nan
    return x


def series_case(name, builder, parameters, twin=False, **kwargs) -> Case:
    """Two values per step, three outputs."""
    return Case(
        name=name,
        builder=builder,
        build=lambda: builder(2, 3, **kwargs),
        inputs=series,
        output_shape=(3,),
        parameters=parameters,
        twin=twin,
    )


COLUMNS = {
    "age": {"kind": "number", "mean": 40.0, "std": 12.0, "median": 38.0, "indicator": True},
    "City": {"kind": "string", "vocabulary": ["Köln", "Oslo"], "missing": ["", "?"]},
    "rooms": {"kind": "integer", "vocabulary": [1, 2, 3], "missing": []},
}


def table_rows(count: int) -> dict[str, tf.Tensor]:
    """Raw columns by name, in another order than the builder got them, with gaps."""
    columns = {
        "rooms": np.arange(count, dtype=np.int32) % 3 + 1,
        "age": np.where(np.arange(count) % 4 == 3, np.nan, 30.0 + np.arange(count)).astype("f4"),
        "City": np.array(["Köln", "Oslo", "Rome", "?"], object)[np.arange(count) % 4],
    }
    return {name: tf.constant(values[:, None]) for name, values in columns.items()}


CASES = [
    *GANS,
    # The one with the fewest layers; the next row has those of EfficientNet-Lite0, whose kinds of
    # layers `transfer_classifier` has, too; test_backbone.py saves, serves and trains it.
    Case(
        name="backbone",
        builder=models.backbone,
        build=lambda: models.backbone("vgg16", weights="none", input_shape=(33, 64, 1)),
        inputs=lambda count: images(count, (33, 64, 1)),
        output_shape=(1, 2, 512),
        parameters=VGG16_FEATURES,
    ),
    Case(
        name="pretrained_classifier",
        builder=models.pretrained_classifier,
        build=lambda: models.pretrained_classifier(input_shape=(33, 40, 3)),
        inputs=lambda count: images(count, (33, 40, 3)),
        output_shape=(1000,),
        parameters=LITE0_FEATURES + dense(1280, 1000),
        twin=True,
    ),
    *image_cases(
        "mlp",
        models.mlp,
        (8, 9),
        {c: dense(72 * c, 20) + dense(20, 15) + dense(15, 10) for c in (1, 3)},
        units=(20, 15),
        dropout=0.3,
    ),
    # Inputs: a number and whether it is missing, two cities and none, three sizes.
    *[
        Case(
            name=f"tabular_mlp-{name}",
            builder=models.tabular_mlp,
            build=lambda classes=classes, options=options: models.tabular_mlp(
                COLUMNS, classes, units=(7, 6), **options
            ),
            inputs=table_rows,
            output_shape=(classes or 1,),
            parameters=parameters + dense(6, classes or 1),
        )
        for name, classes, options, parameters in (
            ("classes", 3, {"dropout": 0.2}, dense(2 + 3 + 3, 7) + dense(7, 6)),
            (
                "regression",
                0,
                {"normalization": "batch", "target_mean": 5.0, "target_std": 2.0},
                (2 + 3 + 3) * 7 + 2 * 7 + 7 * 6 + 2 * 6,
            ),
        )
    ],
    # Two bins more, and two networks of each kind.
    *[
        Case(
            name=f"tabular_mlp-members-{name}",
            builder=models.tabular_mlp,
            build=lambda classes=classes: models.tabular_mlp(
                COLUMNS, classes, units=(7,), bins={"age": [20.0, 30.0, 60.0]}, members=2
            ),
            inputs=table_rows,
            output_shape=(classes or 1,),
            parameters=2 * (dense(2 + 3 + 3 + 2, 7) + dense(7, classes or 1)),
        )
        for name, classes in (
            ("classes", 3),
            ("regression", 0),
        )
    ],
    # A vector for padding, unknown words and each of five words; five units weigh.
    *[
        Case(
            name=f"text_classifier-{kind}",
            builder=models.text_classifier,
            build=lambda kind=kind: models.text_classifier(
                WORDS, 3, kind=kind, embedding=6, units=5, dropout=0.2
            ),
            inputs=few_texts,
            output_shape=(3,),
            parameters=7 * 6 + parameters,
            twin=kind == "mean",  # of the wide one
        )
        for kind, parameters in (
            ("mean", dense(6, 3)),
            ("attention", dense(6, 5) + 5 + dense(2 * 6, 3)),
            # A GRU as cuDNN has it: three gates, two biases each.
            ("gru", 2 * 3 * 5 * (6 + 5 + 2) + dense(10, 5) + 5 + dense(20, 3)),
            ("lstm", 2 * 4 * 5 * (6 + 5 + 1) + dense(10, 5) + 5 + dense(20, 3)),
        )
    ],
    Case(
        name="text_classifier-wide",
        builder=models.text_classifier,
        build=lambda: models.text_classifier(
            WORDS, 3, kind="mean", embedding=6, dropout=0.2, idf=[1.0, 1.5, 2.0, 2.5, 3.0]
        ),
        inputs=few_texts,
        output_shape=(3,),
        parameters=7 * 6 + dense(6, 3) + 7 * 3,
    ),
    *image_cases(
        "mlp-normalized",
        models.mlp,
        (8, 9),
        {c: 72 * c * 20 + 2 * 20 + dense(20, 10) for c in (1, 3)},  # no bias, scale and offset
        units=20,
        normalization="batch",
        activation="tanh",
    ),
    *image_cases(
        "cnn",
        models.cnn,
        (12, 10),
        {
            c: conv(c, 32)
            + conv(32, 32)
            + conv(32, 64)
            + conv(64, 64)
            + conv(64, 128)
            + conv(128, 128)
            + dense(128, 10)
            for c in (1, 3)
        },
    ),
    *image_cases(
        "cnn-tuned",
        models.cnn,
        (28, 28),
        # 28 -> (28 - 5) // 2 + 1 = 12 -> 10 -> average pool 5 -> same conv 5; 5 * 5 * 7 inputs.
        # Biases, as there is no normalization.
        {
            c: (25 * c * 6 + 6)
            + (25 * 6 * 6 + 6)
            + (9 * 6 * 7 + 7)
            + dense(112, 11)
            + dense(11, 10)
            for c in (1, 3)
        },
        filters=(6, 7),
        kernel_size=[5, 3],
        strides=(2, 1),
        padding=("valid", "same"),
        convs_per_stage=(2, 1),
        pooling=("average", None),
        normalization=None,
        activation="elu",
        stage_dropout=(0.0, 0.2),
        dense_units=11,
        dropout=0.5,
    ),
    *image_cases(
        "vgg11",
        models.vgg,
        (8, 8),
        {
            c: conv(c, 64)
            + conv(64, 128)
            + conv(128, 256)
            + conv(256, 256)
            + conv(256, 512)
            + 3 * conv(512, 512)
            + dense(512, 10)
            for c in (1, 3)
        },
        "vgg11",
    ),
    *image_cases(
        "inception_small",
        models.inception,
        (16, 16),
        {
            c: conv(c, 64)
            + inception(64, 32, 48, 64, 8, 16, 16)  # 128 channels
            + inception(128, 64, 64, 96, 16, 48, 32)  # 240
            + inception(240, 96, 48, 104, 8, 24, 32)  # 256
            + inception(256, 128, 80, 160, 16, 64, 64)  # 416
            + inception(416, 192, 96, 192, 24, 64, 64)  # 512
            + dense(512, 10)
            for c in (3,)
        },
        "inception_small",
    ),
    # Eight frozen filters of 2x2 pixels, of which the offsets are trained.
    *image_cases(
        "cnn-whitened",
        models.cnn,
        (7, 8),
        {1: 8 + conv(8, 4) + conv(4, 4) + dense(4, 10)},
        filters=4,
        whitening=np.random.default_rng(0).normal(size=(2, 2, 1, 8)),
    ),
    # 6n + 2 layers, shortcuts without parameters: section 4.2 of arXiv:1512.03385.
    *image_cases(
        "resnet20",
        models.resnet,
        (12, 12),
        {
            c: conv(c, 16)
            + 6 * conv(16, 16)
            + conv(16, 32)
            + 5 * conv(32, 32)
            + conv(32, 64)
            + 5 * conv(64, 64)
            + dense(64, 10)
            for c in (1, 3)
        },
        "resnet20",
    ),
    # A first stage without projection, then two with one.
    *image_cases(
        "resnet8_wide",
        models.resnet,
        (9, 11),
        {
            c: conv(c, 64)
            + 2 * conv(64, 64)
            + (conv(64, 128) + conv(128, 128) + conv(64, 128, 1))
            + (conv(128, 256) + conv(256, 256) + conv(128, 256, 1))
            + dense(256, 10)
            for c in (1, 3)
        },
        "resnet8_wide",
    ),
    # The stem of ImageNet, strides 2 and 2.
    *image_cases(
        "resnet8_wide-64",
        models.resnet,
        (64, 64),
        {
            c: conv(c, 64, 7)
            + 2 * conv(64, 64)
            + (conv(64, 128) + conv(128, 128) + conv(64, 128, 1))
            + (conv(128, 256) + conv(256, 256) + conv(128, 256, 1))
            + dense(256, 10)
            for c in (3,)
        },
        "resnet8_wide",
        twin=True,
    ),
    *image_cases(
        "perceptron",
        models.perceptron,
        (7, 9),
        {c: dense(63 * c, 10) for c in (1, 3)},
        pocket=True,
    ),
    *image_cases("delta_rule", models.delta_rule, (7, 9), {c: dense(63 * c, 10) for c in (1, 3)}),
    Case(
        name="stacked_mlp",
        builder=models.stacked_mlp,
        build=lambda: models.stacked_mlp(5, 2, (4, 3), 2, mean=0.2, std=0.5, spread=1.0),
        inputs=lambda count: np.random.default_rng(count).normal(size=(count, 2)).astype("f4"),
        output_shape=(5, 2),
        parameters=5 * (dense(2, 4) + dense(4, 3) + dense(3, 2)),
    ),
    *image_cases(
        "classifier",
        models.classifier,
        (8, 8),
        {c: dense(64 * c, 5) + dense(5, 10) for c in (1, 3)},
        "mlp",
        units=5,
    ),
    *autoencoder_cases(
        "linear_autoencoder",
        models.linear_autoencoder,
        (7, 9),
        {c: dense(63 * c, 5) + dense(5, 63 * c) for c in (1, 3)},
    ),
    *autoencoder_cases(
        "dense_autoencoder",
        models.dense_autoencoder,
        (7, 9),
        {
            c: dense(63 * c, 20)
            + dense(20, 10)
            + dense(10, 5)
            + dense(5, 10)
            + dense(10, 20)
            + dense(20, 63 * c)
            for c in (1, 3)
        },
        units=(20, 10),
        reconstruction="bernoulli",
        corruption="masking",
        sparsity="l1",
    ),
    *autoencoder_cases(
        "residual_autoencoder",
        models.residual_autoencoder,
        (7, 9),
        {
            c: dense(63 * c, 12)
            + dense(12, 5)
            + dense(5, 12)
            + dense(12, 63 * c)
            # A scale and an offset for each block and after the last.
            + 4 * (dense(12, 20) + dense(20, 12))
            + 6 * 2 * 12
            for c in (1, 3)
        },
        units=12,
        hidden=20,
        depth=2,
        dropout=0.1,
    ),
    # 7 x 9 -> 4 x 5 -> 2 x 3 and back; depth to space gives 4 x 6 and 8 x 10, which are cut.
    *autoencoder_cases(
        "conv_autoencoder",
        models.conv_autoencoder,
        (7, 9),
        {
            c: (conv(c, 4) + conv(4, 4) + conv(4, 6) + conv(6, 6) + dense(36, 5))
            + (5 * 36 + 2 * 36)  # no bias, scale and offset
            + (conv(6, 6) + conv(6, 16) + conv(4, 4) + conv(4, 16) + (9 * 4 * c + c))
            for c in (1, 3)
        },
        filters=(4, 6),
    ),
    *vae_cases(
        "dense_vae",
        models.dense_vae,
        {
            c: gated(63 * c, 8)
            + gated(8, 6)
            + gated(6, 3)
            # back, and two pictures of the prior
            + gated(3, 6)
            + gated(6, 8)
            + dense(8, 63 * c)
            + 2 * 63 * c
            for c in (1, 3)
        },
        units=(8, 6),
        pseudo_inputs=2,
    ),
    *vae_cases(
        "conv_vae",
        models.conv_vae,
        {
            c: downwards(c)
            + gated(36, 8)
            + gated(8, 3)
            # a mean and a scale for each channel
            + gated(3, 8)
            + dense(8, 36)
            + upwards(2 * c)
            for c in (1, 3)
        },
        filters=(4, 6),
        units=8,
        likelihood="discretized_logistic",
    ),
    *vae_cases(
        "conv_vae-conditional",
        models.conv_vae,
        {
            1: downwards(1)
            + gated(36 + CLASSES, 8)
            + gated(8, 3)
            + gated(3 + CLASSES, 8)
            + dense(8, 36)
            + upwards(1)
        },
        classes=CLASSES,
        filters=(4, 6),
        units=8,
    ),
    # The upper latents as a map, three times: beside the features, for the prior of the lower
    # latents, and beside these (two channels).
    *vae_cases(
        "hierarchical_vae",
        models.hierarchical_vae,
        {
            c: downwards(c)
            + gated(36, 8)
            + gated(8, 3)
            + 3 * (gated(3, 8) + dense(8, 36))
            + biased(6 + 6, 6, 1)
            + 2 * (2 * biased(6, 6) + 2 * biased(6, 2))
            + biased(2 + 6, 6)
            + upwards(c)
            for c in (1, 3)
        },
        filters=(4, 6),
        units=8,
        inner_channels=2,
    ),
    # 7 x 9 -> 4 x 5 -> 2 x 3 codes of three values; the codebook is moved by averages.
    *[
        Case(
            name=f"vq_vae-{c}",
            builder=models.vq_vae,
            build=lambda c=c: models.vq_vae((7, 9, c), codes=8, code_dim=3, filters=(4, 6)),
            inputs=lambda count, c=c: images(count, (7, 9, c)),
            output_shape=(7, 9, c),
            parameters=(biased(c, 4) + biased(4, 4) + biased(4, 6) + biased(6, 6))
            + biased(6, 3, 1)
            + (biased(3, 6) + biased(6, 16) + biased(4, 4) + biased(4, 16) + biased(4, c)),
            twin=c == 1,
        )
        for c in (1, 3)
    ],
    # Per layer: rows above, the row to the left, from one to the other, out. The gate of the last
    # layer's stack of rows leads nowhere, so the class shifts three gates and not four.
    Case(
        name="code_prior",
        builder=models.code_prior,
        build=lambda: models.code_prior((2, 3), 5, filters=4, depth=1, classes=CLASSES),
        inputs=code_maps,
        output_shape=(2, 3, 5),
        parameters=5 * 4
        + 2 * (biased(4, 8, 2, 3) + biased(4, 8, 1, 2) + biased(8, 8, 1) + biased(4, 4, 1))
        + 3 * CLASSES * 8
        + biased(4, 4, 1)
        + biased(4, 5, 1),
    ),
    # A GRU has two offsets per gate, one of them inside what the reset gate multiplies.
    series_case(
        "rnn-gru",
        models.rnn,
        gates(2, 4, 3) + 3 * 4 + gates(4, 5, 3) + 3 * 5 + dense(5, 3),
        units=(4, 5),
        dropout=0.1,
        recurrent_dropout=0.1,
    ),
    # Both directions projected to 3: six features a step, a scale and an offset for each; two
    # values a step become six through the first shortcut.
    series_case(
        "rnn-lstm-both-ways",
        models.rnn,
        2 * (gates(2, 4, 4) + dense(4, 3))
        + (2 * 6 + 2 * 6)
        + 2 * (gates(6, 5, 4) + dense(5, 3))
        + 2 * 6
        + dense(6, 3),
        cell="lstm",
        units=(4, 5),
        bidirectional=True,
        residual=True,
        projection=3,
    ),
    # Table of section 3.1, three filters: two values narrowed to three, later twelve; kernels of
    # 40, 20 and 10 steps; a shortcut from two values, and from twelve, to twelve.
    *[
        series_case(
            f"inception_time-{depth}",
            models.inception_time,
            inception_module(2, 3)
            + (depth - 1) * inception_module(12, 3)
            + sum((past * 12 + 2 * 12) for past in (2, 12)[: depth // 3])
            + dense(12, 3),
            twin=depth != 3,
            depth=depth,
            filters=3,
        )
        for depth in (2, 3, 6)
    ],
    series_case(
        "rnn_fcn-lstm",
        models.rnn_fcn,
        gates(2, 8, 4) + fcn(2) + dense(8 + 128, 3),
    ),
    # The shuffled series have two steps of eleven values.
    series_case(
        "rnn_fcn-gru",
        models.rnn_fcn,
        gates(11, 4, 3) + 3 * 4 + fcn(2) + dense(4 + 128, 3),
        cell="gru",
        units=4,
        shuffle_steps=11,
    ),
    # A vector of 4 for each of six symbols; GRUs with two offsets per gate; the first shortcut.
    Case(
        name="char_rnn-gru",
        builder=models.char_rnn,
        build=lambda: models.char_rnn(
            "\ufffdabcde",
            cell="gru",
            units=5,
            layers=2,
            embedding=4,
            residual=True,
            k1=7,
            k2=10,
            lanes=4,
        ),
        inputs=lambda count: np.random.default_rng(count).integers(0, 6, (count, 7), np.int32),
        output_shape=(7, 6),
        parameters=6 * 4
        + gates(4, 5, 3)
        + gates(5, 5, 3)
        + 2 * (3 * 5 + 2 * 5)
        + 4 * 5
        + dense(5, 6),
    ),
    # Three convolutions without offsets, a scale and an offset per filter of each, the head.
    Case(
        name="transfer_classifier",
        builder=models.transfer_classifier,
        build=lambda: models.transfer_classifier(small_backbone(), 10),
        inputs=lambda count: images(count, (12, 12, 3)),
        output_shape=(10,),
        parameters=9 * (3 * 4 + 4 * 6 + 6 * 8) + 2 * (4 + 6 + 8) + dense(8, 10),
    ),
]
