import keras
import numpy as np
import pytest

from kapps import models

IMAGE = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 1), dtype=np.uint8)


def sides(model):
    return [
        layer.output.shape[1]
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D) or "pool" in layer.name
    ]


@pytest.mark.parametrize(
    "padding, expected",
    [
        # convolution 3, pool 3, convolution 3, pool 3, global pool (its channels)
        ("valid", [18, 6, 4, 1, 3]),
        ("same", [20, 7, 7, 3, 3]),
        (("valid", "same"), [18, 6, 6, 2, 3]),
    ],
)
def test_padding_is_that_of_convolutions_and_pools(padding, expected):
    model = models.cnn(
        (20, 20, 1), 2, filters=(2, 3), convs_per_stage=1, pool_size=3, padding=padding
    )
    assert sides(model) == expected


def test_one_value_per_stage():
    model = models.cnn(
        (20, 20, 1),
        2,
        filters=[4, 6],
        kernel_size=(5, 1),
        strides=[2, 1],
        convs_per_stage=(1, 2),
        pooling=("average", None),
        stage_dropout=(0.0, 0.5),
    )
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [(c.filters, c.kernel_size[0], c.strides[0]) for c in convolutions] == [
        (4, 5, 2),
        (6, 1, 1),
        (6, 1, 1),
    ]
    pools = [layer for layer in model.layers if "pool" in layer.name and "global" not in layer.name]
    assert [type(pool) for pool in pools] == [keras.layers.AveragePooling2D]
    assert [layer.name for layer in model.layers if "dropout" in layer.name] == ["stage2_dropout"]


def test_stage_dropout_drops_whole_channels():
    model = models.cnn((20, 20, 1), 2, filters=64, convs_per_stage=1, stage_dropout=0.5)
    maps = keras.Model(model.input, model.get_layer("stage1_dropout").output)
    dropped = np.asarray(maps(IMAGE, training=True))
    kept = np.asarray(maps(IMAGE, training=False))
    silent = (dropped == 0).all(axis=(1, 2))  # [batch, channels]
    # Of 128 channels 64 +- 5.7 are dropped: five deviations.
    assert 36 <= silent.sum() <= 92
    assert not (kept == 0).all(axis=(1, 2)).any()


@pytest.mark.parametrize("dense_units", [(), 16, (16, 16)])
def test_dropout_acts_in_training_only(dense_units):
    model = models.cnn((20, 20, 1), 5, filters=8, dense_units=dense_units, dropout=0.5)
    # (the moving averages of batch normalization change with every call in training mode)
    frozen = [layer for layer in model.layers if "bn" in layer.name]
    for layer in frozen:
        layer.trainable = False
    assert not np.array_equal(model(IMAGE, training=True), model(IMAGE, training=True))
    assert np.array_equal(model(IMAGE, training=False), model(IMAGE, training=False))
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(dropouts) == (2 if dense_units == (16, 16) else 1)
