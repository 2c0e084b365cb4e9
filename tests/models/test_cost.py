import keras
import pytest

from kapps import models
from models.pretrained.weightless import without_weights


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
    layers = keras.layers
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
