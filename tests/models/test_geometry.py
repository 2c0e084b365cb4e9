"""The shape algebra against Keras' own, and against building the network."""

import contextlib
import re

import keras
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from kapps import models
from kapps.errors import UserError
from kapps.models import geometry

windows = st.builds(
    geometry.Window,
    name=st.just("window"),
    size=st.integers(1, 7),
    strides=st.integers(1, 4),
    padding=st.sampled_from(["same", "valid"]),
)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(side=st.integers(1, 40), window=windows)
def test_output_side_is_that_of_keras(side, window):
    conv = keras.layers.Conv2D(1, window.size, window.strides, window.padding)
    pool = keras.layers.MaxPooling2D(window.size, window.strides, window.padding)
    expected = geometry.output_side(side, window)
    for layer in (conv, pool):
        if expected >= 1:
            assert layer.compute_output_shape((None, side, 40, 1))[1] == expected
        else:  # Keras 3.12 makes an empty picture where later ones refuse
            with contextlib.suppress(ValueError):
                assert layer(keras.Input((side, 40, 1))).shape[1] < 1


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(chain=st.lists(windows, max_size=8))
def test_smallest_side_passes_and_one_less_does_not(chain):
    smallest = geometry.smallest_side(chain)
    geometry.check(chain, (smallest, smallest, 1))
    geometry.check(chain, (smallest, smallest + 5, 1))
    for shape in ((smallest - 1, smallest, 1), (smallest, smallest - 1, 1)):
        if smallest > 1:
            with pytest.raises(UserError):
                geometry.check(chain, shape)


def test_by_hand():
    valid = [geometry.Window(f"w{i}", 7, 2, "valid") for i in range(1, 4)]
    # 1 pixel needs 7, 7 need (7 - 1) * 2 + 7 = 19, 19 need 43.
    assert geometry.smallest_side(valid) == 43
    # 28 -> 11 -> 3, and 7 do not fit in 3.
    with pytest.raises(UserError, match="^w3: a 7x7 window.* the 3x3 map.* 28x28 .*43x43"):
        geometry.check(valid, (28, 28, 1))
    with pytest.raises(UserError, match="^w2: .* the 1x19 map"):
        geometry.check(valid, (7, 43, 1))
    geometry.check([geometry.Window("same", 9, 5, "same")] * 3, (1, 1, 1))


@st.composite
def configurations(draw):
    stages = draw(st.integers(1, 3))

    def each(values):
        return tuple(draw(values) for _ in range(stages))

    return {
        "filters": each(st.just(2)),
        "kernel_size": each(st.integers(1, 5)),
        "strides": each(st.integers(1, 3)),
        "padding": each(st.sampled_from(["same", "valid"])),
        "convs_per_stage": each(st.integers(1, 2)),
        "pooling": each(st.sampled_from(["max", "average", None])),
        "pool_size": each(st.integers(1, 3)),
        "normalization": None,
    }


@pytest.mark.slow
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(kwargs=configurations())
def test_cnn_builds_from_the_smallest_picture_on(kwargs):
    try:
        models.cnn((1, 1, 1), 2, **kwargs)
        return  # nothing is smaller
    except UserError as error:
        smallest = int(re.search(r"smallest image .* is (\d+)x\1\.", str(error))[1])
    model = models.cnn((smallest, smallest, 1), 2, **kwargs)
    assert model.output_shape == (None, 2)
    with pytest.raises(UserError, match=r"^stage \d, (conv \d|pool): "):
        models.cnn((smallest, smallest - 1, 1), 2, **kwargs)


def test_cnn_names_the_layer():
    with pytest.raises(UserError, match="^stage 2, conv 1: a 5x5 window .* 4x4 map .* 8x8 image"):
        models.cnn((8, 8, 1), 10, filters=(4, 4), kernel_size=5, padding="valid", pooling=None,
                   convs_per_stage=1)  # fmt: skip
    with pytest.raises(UserError, match="^stage 1, pool: .* smallest .* is 8x8"):
        models.cnn((7, 7, 1), 10, filters=4, kernel_size=5, padding="valid", pool_size=4,
                   convs_per_stage=1)  # fmt: skip
