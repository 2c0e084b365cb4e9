"""Blocks against TensorFlow's operations and numpy, with random weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import blocks
from kapps.errors import UserError


def model_of(block, shape, *args, **kwargs):
    """The block as a model, with random weights, and a batch for it."""
    inputs = keras.Input(shape)
    model = keras.Model(inputs, block(inputs, *args, **kwargs))
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(0.2, 1.0, w.shape) for w in model.weights])
    return model, rng.normal(size=(2, *shape)).astype("float32")


def weight(model, path):
    return next(w.value for w in model.weights if w.path == path)


def convolve(x, model, name, strides=1):
    """Convolution padded by half its size, and batch normalization, by the operations alone."""
    kernel = weight(model, f"{name}/kernel")
    p = kernel.shape[0] // 2
    x = tf.nn.conv2d(x, kernel, strides, [[0, 0], [p, p], [p, p], [0, 0]])
    gamma, beta, mean, variance = (
        weight(model, f"{name}_bn/{part}")
        for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return (x - mean) / tf.sqrt(variance + 1e-3) * gamma + beta


def assert_close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [7, 8])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_centered_padding_is_even(side, kernel_size):
    """Sampling every second pixel after a convolution without strides is the definition."""
    model, x = model_of(
        blocks.conv_bn, (side, side, 2), 3, kernel_size, strides=2, padding="centered", name="c"
    )
    assert_close(model(x), tf.nn.relu(convolve(x, model, "c"))[:, ::2, ::2])


def test_conv_without_normalization_has_a_bias():
    model, x = model_of(blocks.conv_bn, (5, 5, 2), 3, normalization=None, name="c")
    kernel, bias = model.weights
    assert_close(model(x), tf.nn.relu(tf.nn.conv2d(x, kernel.value, 1, "SAME") + bias.value))


def test_unknown_normalization():
    with pytest.raises(UserError, match="'instance'.*known: batch, None"):
        blocks.conv_bn(keras.Input((4, 4, 1)), 2, normalization="instance")


@pytest.mark.parametrize(
    "activation, bound", [("relu", 2.0), ("gelu", 2.0), ("tanh", 1.6), ("selu", 1.0)]
)
def test_initial_variance(activation, bound):
    """fan_in times variance: 2 (He), 2 fan_in / (fan_in + fan_out) (Glorot), 1 (LeCun)."""
    layer = keras.layers.Dense(100, kernel_initializer=blocks.kernel_initializer(activation))
    layer.build((None, 400))
    # The mean of 40,000 squares has a relative error of 0.7 %.
    assert np.var(layer.kernel) * 400 == pytest.approx(bound, rel=0.03)


def test_vgg_block():
    model, x = model_of(blocks.vgg_block, (5, 6, 2), 3, 2, name="s")
    y = tf.nn.relu(convolve(x, model, "s_conv1"))
    y = tf.nn.relu(convolve(y, model, "s_conv2"))
    assert model.output_shape == (None, 3, 3, 3)
    assert_close(model(x), tf.nn.max_pool2d(y, 2, 2, "SAME"))


def test_inception_block():
    model, x = model_of(blocks.inception_block, (5, 6, 2), 3, 4, 5, 6, 7, 8, name="i")

    def conv(x, part):
        return tf.nn.relu(convolve(x, model, f"i_{part}"))

    branches = [
        conv(x, "1x1"),
        conv(conv(x, "3x3_reduce"), "3x3"),
        conv(conv(x, "5x5_reduce"), "5x5"),
        conv(tf.nn.max_pool2d(x, 3, 1, "SAME"), "pool_proj"),
    ]
    assert [b.shape[-1] for b in branches] == [3, 5, 7, 8]
    assert weight(model, "i_5x5/kernel").shape == (5, 5, 6, 7)
    assert_close(model(x), tf.concat(branches, -1))


@pytest.mark.parametrize("strides, filters", [(1, 4), (2, 4), (1, 6)])
@pytest.mark.parametrize(
    "shortcut", [blocks.projection_shortcut, blocks.average_shortcut, blocks.padding_shortcut]
)
def test_residual_block(strides, filters, shortcut):
    model, x = model_of(
        blocks.residual_block, (8, 7, 4), filters, strides=strides, shortcut=shortcut, name="r"
    )
    y = tf.nn.relu(convolve(x, model, "r_conv1", strides))
    y = convolve(y, model, "r_conv2")
    if (strides, filters) == (1, 4):
        kept = x
    elif shortcut is blocks.projection_shortcut:
        kept = convolve(x, model, "r_shortcut", strides)
    elif shortcut is blocks.average_shortcut:
        averaged = tf.nn.avg_pool2d(x, strides, strides, "SAME")
        kept = convolve(averaged, model, "r_shortcut")
    else:
        kept = np.pad(x[:, ::strides, ::strides], [(0, 0)] * 3 + [(0, filters - 4)])
    assert_close(model(x), tf.nn.relu(y + kept))
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    projected = shortcut is not blocks.padding_shortcut and (strides, filters) != (1, 4)
    assert len(convolutions) == 2 + projected


@pytest.mark.parametrize("strides, channels", [(1, 12), (2, 12), (1, 5)])
def test_bottleneck_block(strides, channels):
    model, x = model_of(blocks.bottleneck_block, (8, 7, channels), 3, strides=strides, name="b")
    y = tf.nn.relu(convolve(x, model, "b_conv1"))
    y = tf.nn.relu(convolve(y, model, "b_conv2", strides))
    y = convolve(y, model, "b_conv3")
    kept = x if (strides, channels) == (1, 12) else convolve(x, model, "b_shortcut", strides)
    assert_close(model(x), tf.nn.relu(y + kept))


@pytest.mark.parametrize("block, filters", [("residual_block", 4), ("bottleneck_block", 1)])
def test_zero_gamma_starts_at_the_identity(block, filters):
    inputs = keras.Input((6, 6, 4))
    model = keras.Model(inputs, getattr(blocks, block)(inputs, filters, zero_gamma=True))
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 4)).astype("float32")
    np.testing.assert_array_equal(model(x, training=True), np.maximum(x, 0))


def test_padding_shortcut_cannot_drop_channels():
    with pytest.raises(UserError, match="4 channels into 3"):
        blocks.padding_shortcut(keras.Input((4, 4, 4)), 3, 1)
