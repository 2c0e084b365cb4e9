import keras
import pytest

from kapps import models
from kapps.errors import UserError
from kapps.layers import SpectralNormalization
from models.weightless import without_weights

layers = keras.layers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "arguments", "giga"),
    [
        # torchvision's documentation: GFLOPS, counted as multiply-adds.
        (models.vgg, dict(variant="vgg16", head="dense", normalization=None), 15.47),
        (models.resnet, dict(variant="resnet18"), 1.81),
        (models.resnet, dict(variant="resnet50"), 4.09),
    ],
)
def test_published_counts(build, arguments, giga):
    model = without_weights(build, image_shape=(224, 224, 3), classes=1000, **arguments)
    assert models.multiply_adds(model) / 1e9 == pytest.approx(giga, abs=0.006)


def test_by_hand():
    inputs = keras.Input((9, 9, 2))
    x = layers.Conv2D(4, 3, strides=2)(inputs)  # 4x4 positions of 3*3*2*4
    x = layers.DepthwiseConv2D(3, padding="same")(x)  # 4x4 positions of 3*3*4
    x = layers.Conv2DTranspose(5, 2, strides=2)(x)  # 4x4 positions read, 2*2*5*4 each
    x = layers.BatchNormalization()(x)
    x = layers.Dense(6)(x)  # on 8x8 positions, 5*6
    inner = keras.Sequential([keras.Input((8, 8, 6)), layers.Flatten(), layers.Dense(3)])
    model = keras.Model(inputs, inner(x))  # 384*3
    expected = 16 * 72 + 16 * 36 + 16 * 80 + 64 * 30 + 384 * 3
    assert models.multiply_adds(model) == expected


BY_HAND = {  # layer, its input, multiply-adds
    # 5x5 outputs: 3*3 per channel of 2*2 channels, then 1*1*4*7
    "separable": (layers.SeparableConv2D(7, 3, depth_multiplier=2), (7, 7, 2), 25 * (36 + 28)),
    "separable in time": (layers.SeparableConv1D(5, 2, strides=2), (8, 3), 4 * (2 * 3 + 15)),
    "depthwise in time": (layers.DepthwiseConv1D(3, padding="same"), (8, 4), 8 * 12),
    "grouped": (layers.Conv2D(6, 3, groups=2), (5, 5, 4), 9 * 9 * 2 * 6),
    "transposed": (layers.Conv1DTranspose(5, 4, strides=2), (6, 3), 6 * 4 * 3 * 5),
    # 4 gates from 3 inputs and 5 units, on 7 steps; 3 of a GRU
    "lstm": (layers.LSTM(5), (7, 3), 7 * 4 * (3 + 5) * 5),
    "gru": (layers.GRU(5, return_sequences=True), (7, 3), 7 * 3 * (3 + 5) * 5),
    "both ways": (layers.Bidirectional(layers.SimpleRNN(5)), (7, 3), 2 * 7 * (3 + 5) * 5),
    "einsum": (layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (4, 6), 4 * 6 * 2 * 3),
    "einsum with dots": (layers.EinsumDense("...x,xy->...y", 5), (2, 3, 4), 2 * 3 * 4 * 5),
    "copies": (layers.EinsumDense("nci,cio->nco", (3, 5)), (3, 4), 3 * 4 * 5),
    "spectral": (SpectralNormalization(layers.Conv2DTranspose(2, 3)), (4, 4, 1), 16 * 18),
    "per step": (layers.TimeDistributed(layers.Dense(5)), (7, 3), 7 * 15),
    "embedding": (layers.Embedding(9, 4), (7,), 0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_layers_by_hand(name):
    layer, shape, expected = BY_HAND[name]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    assert models.multiply_adds(model) == expected


def test_attention_by_hand():
    """Six queries of 8, ten keys of 8 and values of 5; 2 heads with keys of 3 and values of 4."""
    query, key, value = keras.Input((6, 8)), keras.Input((10, 8)), keras.Input((10, 5))
    attend = layers.MultiHeadAttention(num_heads=2, key_dim=3, value_dim=4, output_shape=7)
    model = keras.Model([query, key, value], attend(query, value, key))
    projections = 6 * 8 * 2 * 3 + 10 * 8 * 2 * 3 + 10 * 5 * 2 * 4 + 6 * 2 * 4 * 7
    assert models.multiply_adds(model) == projections + 6 * 10 * 2 * 3 + 6 * 10 * 2 * 4


def test_a_layer_that_is_called_twice_works_twice():
    one, other, dense = keras.Input((3,)), keras.Input((3,)), layers.Dense(4)
    model = keras.Model([one, other], layers.Add()([dense(one), dense(other)]))
    assert models.multiply_adds(model) == 2 * 12


def test_steps_stand_for_open_lengths():
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, layers.LSTM(5)(inputs))
    assert models.multiply_adds(model, steps=11) == 11 * models.multiply_adds(model) == 11 * 160


def test_what_is_not_counted_is_refused():
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, layers.Attention(name="look")([inputs, inputs]))
    with pytest.raises(UserError, match="look are not counted"):
        models.multiply_adds(model)
