"""Parameter counts of the papers' networks, and geometry from 8 to 224 pixels.

Sources: the counts of torchvision's models (its batch normalizations' scale and offset are
trainable, their averages are not); section 4.2 of arXiv:1512.03385; table 1 of arXiv:1409.4842.
"""

import functools
import math

import keras
import numpy as np
import pytest

from kapps import models
from kapps.models.images.variants import INCEPTION, RESNET, VGG
from models.weightless import without_weights

network = functools.partial(without_weights, models.classifier)


def parameters(model) -> int:
    return sum(math.prod(w.shape) for w in model.trainable_weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant, expected",
    [
        ("vgg11", 132_863_336),
        ("vgg13", 133_047_848),
        ("vgg16", 138_357_544),
        ("vgg19", 143_667_240),
    ],
)
def test_vgg_as_published(variant, expected):
    shape = (224, 224, 3)
    model = without_weights(models.vgg, variant, shape, 1000, head="dense", normalization=None)
    assert parameters(model) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant, expected",
    [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
    ],
)
def test_resnet_of_imagenet(variant, expected):
    assert parameters(network(variant, (224, 224, 3), 1000)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("n, millions", [(3, 0.27), (5, 0.46), (7, 0.66), (9, 0.85), (18, 1.7)])
def test_resnet_of_cifar(n, millions):
    # 2n convolutions for each of 16, 32, 64 filters, the first of a size from half as many.
    kernels = 9 * (3 * 16 + 2 * n * 16**2)
    kernels += 9 * sum((2 * n - 1) * f**2 + f * f // 2 for f in (32, 64))
    scales_and_offsets = 2 * (16 + 2 * n * (16 + 32 + 64))
    expected = kernels + scales_and_offsets + 64 * 10 + 10
    assert round(expected / 1e6, len(str(millions)) - 2) == millions  # table 6
    assert parameters(network(f"resnet{6 * n + 2}", (28, 28, 3), 10)) == expected


@pytest.mark.slow
def test_inception_v1_as_published():
    # Kernels and biases branch by branch from table 1; the sum is that of the BVLC GoogLeNet
    # without its auxiliary classifiers.
    rows = [
        (192, 64, 96, 128, 16, 32, 32),
        (256, 128, 128, 192, 32, 96, 64),
        (480, 192, 96, 208, 16, 48, 64),
        (512, 160, 112, 224, 24, 64, 64),
        (512, 128, 128, 256, 24, 64, 64),
        (512, 112, 144, 288, 32, 64, 64),
        (528, 256, 160, 320, 32, 128, 128),
        (832, 256, 160, 320, 32, 128, 128),
        (832, 384, 192, 384, 48, 128, 128),
    ]
    kernels = 49 * 3 * 64 + 64 * 64 + 9 * 64 * 192
    outputs = 64 + 64 + 192
    for c, a, rb, b, rc, c5, d in rows:
        kernels += c * (a + rb + rc + d) + 9 * rb * b + 25 * rc * c5
        outputs += a + rb + b + rc + c5 + d
    head = 1024 * 1000 + 1000
    assert kernels + outputs + head == 6_998_552
    build = ("inception_v1", (224, 224, 3), 1000)
    assert parameters(without_weights(models.inception, *build, normalization=None)) == 6_998_552
    # Normalized: a scale and an offset in place of each bias.
    assert parameters(network(*build)) == 6_998_552 + outputs


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, at_224, at_28",
    [
        ("cnn", 28, 4),
        ("vgg16", 7, 1),  # 28, 14, 7, 4, 2, 1
        ("inception_v1", 7, 7),
        ("inception_small", 14, 7),
        ("resnet18", 7, 4),
        ("resnet50", 7, 4),
        ("resnet20", 14, 7),
        ("resnet8_wide", 14, 4),  # 28, 14, 14, 7, 4
    ],
)
def test_last_feature_map(name, at_224, at_28):
    for side, expected in ((224, at_224), (28, at_28)):
        model = network(name, (side, side, 3), 1000 if side == 224 else 10)
        maps = [layer.output.shape for layer in model.layers if len(layer.output.shape) == 4]
        assert maps[-1][1:3] == (expected, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "vgg11", "inception_small", "resnet20"])
def test_any_number_of_channels_and_sides_that_differ(name):
    assert_shapes(name, (61, 130, 4))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["mlp", "cnn", "vgg11", "inception_v1", "inception_small", "resnet50", "resnet20"],
)
def test_small_pictures(name):
    assert_shapes(name, (8, 8, 1))


def assert_shapes(name, shape):
    model = network(name, shape, 3)
    assert model.input_shape == (None, *shape)
    assert model.output_shape == (None, 3)
    assert model.name == name


def kernel_of_stem(build, variant, shape, **kwargs):
    model = without_weights(build, variant, shape, 10, **kwargs)
    return model.trainable_weights[0].shape[0]


@pytest.mark.slow
def test_stem_for_the_size_or_as_asked():
    build = (models.resnet, "resnet8_wide")
    assert kernel_of_stem(*build, (64, 64, 3)) == 7
    assert kernel_of_stem(*build, (63, 200, 3)) == 3
    assert kernel_of_stem(*build, (64, 64, 3), stem="small") == 3
    assert kernel_of_stem(*build, (28, 28, 3), stem="imagenet") == 7


@pytest.mark.slow
def test_stem_of_inception():
    build = (models.inception, "inception_small", (64, 64, 3))
    assert kernel_of_stem(*build) == 7
    assert kernel_of_stem(*build, stem="small") == 3


def test_names_are_unique_and_complete():
    names = models.classifier_names()
    assert len(set(names)) == len(names)
    assert set(names) == {"mlp", "cnn", *VGG, *INCEPTION, *RESNET}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "vgg11", "inception_small", "resnet20"])
def test_weights_have_stable_names(name):
    """Weights of one build go into another by name, however many models were built between."""
    with keras.StatelessScope(initialize_variables=False):
        first, second = (models.classifier(name, (8, 8, 1), 3) for _ in range(2))
    keras.utils.clear_session(free_memory=False)
    assert [w.path for w in first.weights] == [w.path for w in second.weights]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    # One of each family, and whatever else there is.
    [
        "vgg11",
        "inception_small",
        "resnet20",
        *(n for n in models.classifier_names() if n not in {*VGG, *INCEPTION, *RESNET}),
    ],
)
def test_all_take_what_the_recipes_pass(name):
    usual = {"dropout": 0.1, "pixel_mean": 0.5, "pixel_std": 0.2}
    filters = np.zeros((2, 2, 1, 8), "float32")
    whitening = {} if name == "mlp" else {"whitening": filters, "whitening_strides": 2}
    model = without_weights(models.classifier, name, (32, 32, 1), 10, **usual, **whitening)
    assert model.output_shape == (None, 10)
    frozen = [w.shape for w in model.non_trainable_weights]
    assert (filters.shape in frozen) == (name != "mlp")
