"""Bad arguments are the user's mistakes, told by the name of the argument."""

import pytest

from kapps import models
from kapps.errors import UserError

SHAPE = (8, 8, 1)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: models.cnn(SHAPE, 10, filters=-3), r"filters\[0\] .* at least 1; got -3"),
        (lambda: models.cnn(SHAPE, 10, filters=(8, 1.5)), r"filters\[1\] .* got 1.5"),
        (lambda: models.cnn(SHAPE, 10, filters=True), "filters"),
        (lambda: models.cnn(SHAPE, 10, filters=()), "filters is empty"),
        (lambda: models.cnn(SHAPE, 10, kernel_size=0), "kernel_size"),
        (lambda: models.cnn(SHAPE, 10, strides=0), "strides"),
        (lambda: models.cnn(SHAPE, 10, strides=(1, 2)), "strides has 2 values for 3 stages"),
        (lambda: models.cnn(SHAPE, 10, padding="full"), "padding 'full' .* same, valid"),
        (lambda: models.cnn(SHAPE, 10, padding=("same", "no", "same")), "padding 'no'"),
        (lambda: models.cnn(SHAPE, 10, pooling="mean"), "pooling 'mean' .* max, average, None"),
        (lambda: models.cnn(SHAPE, 10, pool_size=0), "pool_size"),
        (lambda: models.cnn(SHAPE, 10, convs_per_stage=0), "convs_per_stage"),
        (lambda: models.cnn(SHAPE, 10, stage_dropout=(0, 0, 1.0)), "stage_dropout .* got 1.0"),
        (lambda: models.cnn(SHAPE, 10, normalization="layer"), "normalization 'layer'"),
        (lambda: models.cnn(SHAPE, 10, dense_units=0), "dense_units"),
        (lambda: models.mlp(SHAPE, 10, units=(5, 0)), r"units\[1\]"),
        (lambda: models.mlp(SHAPE, 10, normalization="layer"), "normalization"),
        (
            lambda: models.vgg("vgg12", SHAPE, 10),
            "'vgg12' .* vgg7, vgg9, vgg11, vgg13, vgg16, vgg19",
        ),
        (lambda: models.vgg("vgg11", SHAPE, 10, head="flatten"), "head 'flatten'"),
        (lambda: models.vgg("vgg11", SHAPE, 10, normalization="layer"), "normalization"),
        (lambda: models.inception("v1", SHAPE, 10), "'v1' .* inception_v1, inception_small"),
        (lambda: models.inception("inception_small", SHAPE, 10, stem="big"), "stem 'big'"),
        (lambda: models.inception("inception_small", SHAPE, 10, normalization=""), "normalization"),
        (lambda: models.resnet("resnet21", SHAPE, 10), "'resnet21' .* resnet18"),
        (lambda: models.resnet("resnet10", SHAPE, 10, stem="7x7"), "auto, imagenet, small, pooled"),
        (lambda: models.classifier("alexnet", SHAPE, 10), "'alexnet' .* mlp, cnn, vgg7"),
        (lambda: models.classifier("vgg11", SHAPE, 10, dropout=1), "dropout"),
    ],
)
def test_is_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "cnn", "vgg11", "inception_small", "resnet10"])
@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"classes": 1}, "classes must be an integer of at least 2"),
        ({"classes": 2.0}, "classes"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1; got -0.1"),
        ({"dropout": 1.0}, "dropout"),
        ({"image_shape": (8, 8)}, "image_shape must be"),
        ({"image_shape": (8, None, 1)}, r"image_shape\[1\]"),
        ({"image_shape": 8}, "image_shape must be"),
        ({"activation": "rellu"}, "activation must be the name"),
        ({"activation": None}, "activation must be the name"),
    ],
)
def test_is_refused_by_all(name, kwargs, message):
    with pytest.raises(UserError, match=message):
        models.classifier(**{"name": name, "image_shape": SHAPE, "classes": 3} | kwargs)
