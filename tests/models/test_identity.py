import keras
import numpy as np

from kapps import models


def test_a_new_network_hands_on_its_channels():
    """Three convolutions, no bias: the first four of eight channels are those that came in."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((5, 6, 4)),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.Conv2D(8, (1, 5), padding="same", use_bias=False),
            layers.Conv2D(4, 3, padding="same", use_bias=False),
        ]
    )
    first = model.layers[0].kernel.numpy()
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 4)).astype("float32")
    assert np.abs(model(x) - x).max() > 0.1
    models.start_at_identity(model)
    np.testing.assert_allclose(model(x), x, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.layers[0].kernel.numpy()[..., 4:], first[..., 4:])


def test_what_is_no_trained_convolution_with_a_middle_stays():
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 4)),
            layers.Conv2D(4, 1),
            layers.Conv2D(4, 2),
            layers.Conv2D(4, 3, groups=2),
            layers.DepthwiseConv2D(3),
            layers.Conv2D(4, 3, trainable=False),
            layers.Conv2DTranspose(4, 3),
        ]
    )
    before = model.get_weights()
    models.start_at_identity(model)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
