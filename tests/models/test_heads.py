import keras
import numpy as np
import pytest

from kapps import models
from kapps.errors import UserError


def normalized(image, **kwargs):
    model = models.mlp(image.shape[1:], 2, units=(), **kwargs)
    return keras.Model(model.input, model.get_layer("rescaling").output).predict(image, verbose=0)


IMAGE = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)


def test_pixels_become_minus_one_to_one_by_default():
    np.testing.assert_allclose(normalized(IMAGE), IMAGE / 127.5 - 1, rtol=1e-5, atol=1e-6)


def test_pixel_statistics_per_channel():
    mean, std = np.array([0.1, 0.2, 0.3]), np.array([0.5, 0.25, 0.125])
    expected = (IMAGE / 255 - mean) / std
    for kind in (tuple, list, np.asarray):
        result = normalized(IMAGE, pixel_mean=kind(mean), pixel_std=kind(std))
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-5)


def test_pixels_of_its_own_statistics_are_standardized():
    mean, std = (IMAGE / 255).mean((0, 1, 2)), (IMAGE / 255).std((0, 1, 2))
    result = normalized(IMAGE, pixel_mean=mean, pixel_std=std)
    np.testing.assert_allclose(result.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(result.std((0, 1, 2)), 1, rtol=1e-5)


def test_rescaling_is_exact_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        result = normalized(IMAGE[..., :1] / np.float32(3))
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(result, IMAGE[..., :1] / 3 / 127.5 - 1, rtol=1e-5, atol=1e-6)


def test_bytes_and_floats_give_the_same():
    model = models.cnn((4, 5, 3), 2, filters=3)
    a = model.predict(IMAGE, verbose=0)
    np.testing.assert_array_equal(a, model.predict(IMAGE.astype("float32"), verbose=0))


def test_names_of_input_and_output():
    model = models.mlp((4, 5, 3), 7)
    assert [(x.name, x.dtype) for x in model.inputs] == [("image", "float32")]
    assert model.output_names == ["logits"]


@pytest.mark.parametrize(
    "kwargs, message",
    [
        ({"pixel_std": 0.0}, "pixel_std must be positive"),
        ({"pixel_std": (0.1, 0.2, -0.3)}, "pixel_std must be positive"),
        ({"pixel_mean": (0.1, 0.2)}, "pixel_mean .* 3 channels"),
        ({"pixel_mean": None}, "pixel_mean must be a finite number"),
        ({"pixel_mean": "abc"}, "pixel_mean must be a finite number"),
        ({"pixel_mean": float("nan")}, "pixel_mean must be a finite number"),
    ],
)
def test_bad_statistics(kwargs, message):
    with pytest.raises(UserError, match=message):
        models.mlp((4, 5, 3), 2, **kwargs)
