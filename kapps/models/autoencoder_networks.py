"""Encoders and decoders of autoencoders, and training them layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kapps import blocks
from kapps.errors import UserError
from kapps.layers import DepthToSpace
from kapps.models import arguments, steps
from kapps.models.autoencoder import Autoencoder, pixels_of, reconstruction_losses
from kapps.models.corruption import corrupt
from kapps.models.replicas import mend

# What may stand between the dense layers of a network that is trained layer by layer.
_OF_CHAINS = (
    keras.layers.InputLayer,
    keras.layers.Flatten,
    keras.layers.Dense,
    keras.layers.BatchNormalization,
    keras.layers.Activation,
    keras.layers.Reshape,
)


def linear_autoencoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    mean_picture: np.ndarray | None = None,
    **settings: Any,
) -> Autoencoder:
    """One affine map there and one back.

    Its lowest squared error is that of principal component analysis, and the columns of the
    decoder then span the same space (Baldi and Hornik 1989). Without the mean picture gradient
    descent takes very long to get there: the mean outweighs what varies.

    Args:
        image_shape: (height, width, channels).
        latent_dim: values in a code.
        mean_picture: of the training pictures, pixels of 0..255, [height, width, channels]; it is
            subtracted first and fixed, and the offset of the decoder begins with it.
        settings: further arguments of `Autoencoder`.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    arguments.integer("latent_dim", latent_dim)
    x = keras.Input(shape, name="x")
    centre = Centre(name="centre")
    y = keras.layers.Flatten(name="flatten")(centre(x))
    encoder = keras.Model(x, _code(y, latent_dim, "linear"), name="encoder")
    z = keras.Input((latent_dim,), name="z")
    values = keras.layers.Dense(math.prod(shape), dtype="float32", name="values")
    y = keras.layers.Reshape(shape, dtype="float32", name="picture")(values(z))
    decoder = keras.Model(z, _pixels(y, "linear", settings), name="decoder")
    if mean_picture is not None:
        if np.shape(mean_picture) != shape:
            raise UserError(f"mean_picture {np.shape(mean_picture)}: pictures are {shape}")
        mean = np.asarray(mean_picture, np.float32) / 255.0
        centre.mean.assign(mean)
        values.bias.assign(mean.ravel())
    return Autoencoder(encoder, decoder, **{"name": "linear", **settings})


def dense_autoencoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    units: int | Sequence[int] = (512, 256),
    activation: str = "relu",
    code_activation: str = "linear",
    normalization: str | None = None,
    output: str = "sigmoid",
    **settings: Any,
) -> Autoencoder:
    """Hidden dense layers there, and the same in reverse order back.

    Args:
        image_shape: (height, width, channels).
        latent_dim: values in a code.
        units: of the encoder's hidden layers; with many it is the stacked autoencoder of
            Hinton and Salakhutdinov 2006, which `greedy_pretrain` trains layer by layer.
        activation: of the hidden layers.
        code_activation: of the code: linear, or sigmoid for `sparsity="kl"`.
        normalization: "batch" or None, before the activations of the hidden layers.
        output: of the pixels: sigmoid or linear. With `reconstruction="bernoulli"` it has to be
            sigmoid, and the decoder ends with the logits.
        settings: further arguments of `Autoencoder`: reconstruction, corruption, sparsity, seed.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    arguments.integer("latent_dim", latent_dim)
    units = arguments.integers("units", units)
    options = {
        "activation": arguments.activation(activation),
        "normalization": arguments.one_of("normalization", normalization, ("batch", None)),
    }
    x = keras.Input(shape, name="x")
    y = keras.layers.Flatten(name="flatten")(x)
    for i, n in enumerate(units, start=1):
        y = blocks.dense_bn(y, n, **options, name=f"encode{i}")
    encoder = keras.Model(x, _code(y, latent_dim, code_activation), name="encoder")

    y = z = keras.Input((latent_dim,), name="z")
    for i, n in enumerate(reversed(units)):
        y = blocks.dense_bn(y, n, **options, name=f"decode{len(units) + 1 - i}")
    y = keras.layers.Dense(math.prod(shape), dtype="float32", name="decode1")(y)
    y = keras.layers.Reshape(shape, dtype="float32", name="picture")(y)
    decoder = keras.Model(z, _pixels(y, output, settings), name="decoder")
    return Autoencoder(encoder, decoder, **{"name": "dense", **settings})


def residual_autoencoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    units: int = 512,
    hidden: int = 1024,
    depth: int = 3,
    activation: str = "relu",
    dropout: float = 0.0,
    code_activation: str = "linear",
    output: str = "sigmoid",
    **settings: Any,
) -> Autoencoder:
    """Residual dense blocks between affine maps: `depth` of them there, as many back.

        x <- x + W2 activation(W1 normalize(x))

    with layer normalization before each block (arXiv:2002.04745, figure 1b) and W2 starting at
    zero, hence the whole at an affine map there and back. Gradient descent gets further in it than
    in a stack of plain layers, and matrix products are all that it costs.

    Args:
        image_shape: (height, width, channels).
        latent_dim: values in a code.
        units: width of x.
        hidden: rows of W1.
        depth: blocks of the encoder, and of the decoder.
        activation: inside the blocks.
        dropout: part of the hidden values that is dropped while training.
        code_activation: of the code: linear, or sigmoid for `sparsity="kl"`.
        output: of the pixels: sigmoid or linear, see `dense_autoencoder`.
        settings: further arguments of `Autoencoder`: reconstruction, corruption, sparsity, seed.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    for name, value in (("latent_dim", latent_dim), ("units", units), ("hidden", hidden)):
        arguments.integer(name, value)
    arguments.integer("depth", depth, minimum=0)
    options = (hidden, arguments.activation(activation), arguments.rate("dropout", dropout))
    x = keras.Input(shape, name="x")
    y = keras.layers.Flatten(name="flatten")(x)
    y = keras.layers.Dense(units, name="widen")(y)
    y = _residual_blocks(y, depth, *options)
    encoder = keras.Model(x, _code(y, latent_dim, code_activation), name="encoder")

    z = keras.Input((latent_dim,), name="z")
    y = _residual_blocks(keras.layers.Dense(units, name="widen")(z), depth, *options)
    y = keras.layers.Dense(math.prod(shape), dtype="float32", name="values")(y)
    y = keras.layers.Reshape(shape, dtype="float32", name="picture")(y)
    decoder = keras.Model(z, _pixels(y, output, settings), name="decoder")
    return Autoencoder(encoder, decoder, **{"name": "residual", **settings})


def conv_autoencoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    *,
    filters: int | Sequence[int] = (32, 64),
    activation: str = "relu",
    code_activation: str = "linear",
    normalization: str | None = "batch",
    output: str = "sigmoid",
    **settings: Any,
) -> Autoencoder:
    """Convolutions that halve the sides and a dense layer there, the mirror image of it back.

    Args:
        image_shape: (height, width, channels), of any size.
        latent_dim: values in a code.
        filters: channels after each halving.
        activation: of the convolutions.
        code_activation: of the code: linear, or sigmoid for `sparsity="kl"`.
        normalization: "batch" or None, before the activations.
        output: of the pixels: sigmoid or linear, see `dense_autoencoder`.
        settings: further arguments of `Autoencoder`: reconstruction, corruption, sparsity, seed.

    Raises:
        UserError: an argument is out of its range.
    """
    shape = arguments.image_shape(image_shape)
    arguments.integer("latent_dim", latent_dim)
    filters = arguments.integers("filters", filters)
    if not filters:
        raise UserError("filters is empty: give the number of filters of at least one stage.")
    options = {
        "activation": arguments.activation(activation),
        "normalization": arguments.one_of("normalization", normalization, ("batch", None)),
    }
    x = keras.Input(shape, name="x")
    y, sizes = downwards(x, filters, **options)
    y = keras.layers.Flatten(name="flatten")(y)
    encoder = keras.Model(x, _code(y, latent_dim, code_activation), name="encoder")

    z = keras.Input((latent_dim,), name="z")
    y = blocks.dense_bn(z, math.prod(sizes[-1]) * filters[-1], **options, name="unfold")
    y = keras.layers.Reshape((*sizes[-1], filters[-1]), name="map")(y)
    y = upwards(y, filters, sizes, **options)
    y = keras.layers.Conv2D(shape[2], 3, padding="same", dtype="float32", name="picture")(y)
    decoder = keras.Model(z, _pixels(y, output, settings), name="decoder")
    return Autoencoder(encoder, decoder, **{"name": "conv", **settings})


def downwards(x, filters: Sequence[int], **options: Any):
    """Convolutions that halve the sides, one to each entry of `filters`, and one more after it.

    Args:
        x: a map.
        filters: channels after each halving.
        options: activation and normalization.

    Returns:
        The map, and the sides (height, width) of all maps from x down.
    """
    sizes = [tuple(x.shape[1:3])]
    for i, n in enumerate(filters, start=1):
        x = blocks.conv_bn(x, n, 3, strides=2, **options, name=f"encode{i}_halve")
        x = blocks.conv_bn(x, n, 3, **options, name=f"encode{i}")
        sizes.append(tuple(x.shape[1:3]))
    return x, sizes


def upwards(y, filters: Sequence[int], sizes: Sequence[tuple[int, int]], **options: Any):
    """The mirror image of `downwards`: the map of the size of the picture.

    Args:
        y: a map of the last of the sizes.
        filters: as `downwards` had them.
        sizes: as it returned them.
        options: activation and normalization.
    """
    for i in range(len(filters), 0, -1):
        y = blocks.conv_bn(y, filters[i - 1], 3, **options, name=f"decode{i}")
        narrower = filters[max(0, i - 2)]
        # To four times the channels and depth to space: no product is computed twice.
        y = blocks.conv_bn(y, 4 * narrower, 3, **options, name=f"decode{i}_double")
        y = _crop(DepthToSpace(name=f"decode{i}_shuffle")(y), sizes[i - 1], f"decode{i}_crop")
    return y


def greedy_pretrain(
    model: Autoencoder,
    batches: tf.data.Dataset,
    *,
    epochs: int = 10,
    steps_per_epoch: int | None = None,
    learning_rate: float = 1e-3,
    verbose: str | int = 0,
) -> list[float]:
    """Train the layers of a dense autoencoder one after the other, the lowest first.

    The k-th layer of the encoder and the k-th of the decoder, counted from the picture, become an
    autoencoder of the codes that the k - 1 layers below give (Hinton and Salakhutdinov 2006,
    Bengio et al. 2007); the layers below stay as they are. With `corruption` its input is
    corrupted, too (Vincent et al. 2010, section 4.1). Train the whole model afterwards.

    Args:
        model: from `dense_autoencoder`; its weights are changed.
        batches: of `image` or `(image, anything)`; one epoch, or all with `steps_per_epoch`.
        epochs: for each layer.
        steps_per_epoch: batches in an epoch; all that there are when None.
        learning_rate: of Adam, for each layer anew; falls to 0 along half a cosine.
        verbose: as in `keras.Model.fit`.

    Returns:
        The squared error per value of each layer's autoencoder, after its training.

    Raises:
        UserError: the model is none of dense layers.
    """
    up, down = (_dense_stages(part) for part in (model.encoder, model.decoder))
    if len(up) != len(down):
        raise UserError(f"{model.name} has {len(up)} layers there and {len(down)} back")
    total = epochs * (steps_per_epoch or int(batches.cardinality()))
    errors = []
    for level in range(len(up)):
        layer = _Layer(model, up[:level], up[level], down[-1 - level])
        schedule = keras.optimizers.schedules.CosineDecay(learning_rate, max(1, total))
        layer.compile(keras.optimizers.Adam(schedule))
        mend(layer)
        history = layer.fit(
            batches, epochs=epochs, steps_per_epoch=steps_per_epoch, verbose=verbose, shuffle=False
        )
        errors.append(history.history["mse"][-1])
    return errors


class _Layer(keras.Model):
    """A layer of the encoder and one of the decoder, as an autoencoder of the codes below.

    Args:
        model: the whole.
        below: stages of the encoder under this one, fixed.
        encode: a stage of the encoder.
        decode: the decoder's counterpart.
    """

    def __init__(self, model, below, encode, decode):
        super().__init__(name=f"layer{len(below) + 1}")
        self.below, self.encode, self.decode = below, encode, decode
        self.settings, self.seed_generator = model.settings, model.seed_generator
        self.moved = [w for layer in (*encode, *decode) for w in layer.trainable_variables]
        self.tracker = keras.metrics.Mean("mse")
        self.built = True

    def compile(self, optimizer):
        """The optimizer moves this layer alone."""
        super().compile(optimizer)
        optimizer.build(self.moved)

    def train_step(self, data):
        """One step on the squared error of the codes below; of pictures, the model's own loss."""
        x = _apply(self.below, pixels_of(data), training=False)
        x = tf.cast(x, tf.float32)
        given, kind = x, self.settings["corruption"]
        if kind is not None:
            seed = steps.next_seed(self.seed_generator)
            given = corrupt(x, kind, self.settings["corruption_amount"], seed)
        loss = "squared_error" if self.below else self.settings["reconstruction"]

        def objective():
            y = _apply(self.decode, _apply(self.encode, given, training=True), training=True)
            loss_of_each, squared_error = reconstruction_losses(loss, x, y)
            return steps.average(loss_of_each), squared_error

        self.tracker.update_state(steps.minimize(self.optimizer, objective, self.moved))
        return {"mse": self.tracker.result()}

    @property
    def metrics(self):
        """Reset at the start of every epoch."""
        return [self.tracker]


def _dense_stages(network) -> list[list[keras.layers.Layer]]:
    """A chain of layers cut into pieces with one dense layer each."""
    stages = []
    for layer in network.layers:
        if not isinstance(layer, _OF_CHAINS):
            raise UserError(f"{layer.name}: layer by layer, only dense layers can be trained")
        if isinstance(layer, keras.layers.Dense) and stages and _has_dense(stages[-1]):
            stages.append([])
        stages = stages or [[]]
        if not isinstance(layer, keras.layers.InputLayer):
            stages[-1].append(layer)
    return stages


def _has_dense(stage):
    return any(isinstance(layer, keras.layers.Dense) for layer in stage)


def _apply(stages, x, training):
    """The output of layers, or of lists of them, one after the other."""
    for part in stages:
        if isinstance(part, list | tuple):
            x = _apply(part, x, training)
        elif isinstance(part, keras.layers.BatchNormalization):
            x = part(x, training=training)
        else:
            x = part(x)
    return x


@keras.saving.register_keras_serializable("kapps")
class Centre(keras.layers.Layer):
    """Subtracts a fixed picture, zeros at first: its weight `mean`."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})

    def build(self, input_shape: Any) -> None:
        """The weight has the shape of a picture."""
        self.mean = self.add_weight(
            shape=input_shape[1:], initializer="zeros", trainable=False, name="mean"
        )

    def call(self, x: Any) -> Any:
        """The same shape."""
        return x - self.mean


def _residual_blocks(x, depth, hidden, activation, dropout):
    """Blocks "block1", "block2", ... on [batch, units], and a last normalization."""
    units = x.shape[-1]
    for i in range(1, depth + 1):
        y = keras.layers.LayerNormalization(name=f"block{i}_norm")(x)
        y = blocks.dense_bn(y, hidden, activation=activation, name=f"block{i}_hidden")
        if dropout:
            y = keras.layers.Dropout(dropout, name=f"block{i}_dropout")(y)
        y = keras.layers.Dense(units, kernel_initializer="zeros", name=f"block{i}_out")(y)
        x = keras.layers.Add(name=f"block{i}_add")([x, y])
    return keras.layers.LayerNormalization(name="last_norm")(x)


def _code(y, latent_dim, activation):
    """The code, float32: a bottleneck of few values should not be a coarse one, too."""
    arguments.one_of("code_activation", activation, ("linear", "sigmoid"))
    return keras.layers.Dense(latent_dim, activation=activation, dtype="float32", name="code")(y)


def _pixels(y, output, settings):
    """The end of a decoder: pixels, or logits for the loss that takes them."""
    arguments.one_of("output", output, ("sigmoid", "linear"))
    if settings.get("reconstruction") == "bernoulli":
        if output == "linear":
            raise UserError("reconstruction bernoulli needs the output sigmoid")
        return y
    return keras.layers.Activation(output, dtype="float32", name="pixels")(y)


def _crop(y, size, name):
    """Twice a side that was rounded up may be one pixel too many."""
    excess = tuple((0, have - want) for have, want in zip(y.shape[1:3], size, strict=True))
    return keras.layers.Cropping2D(excess, name=name)(y) if any(map(any, excess)) else y
