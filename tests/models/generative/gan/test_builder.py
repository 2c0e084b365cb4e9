"""`models.gan`: both players from one set of arguments."""

import keras
import numpy as np
import pytest

from kapps import models
from kapps.errors import UserError


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["conv", "dense"])
def test_it_builds_what_its_parts_do(architecture):
    """The same weights as the two networks built one after the other, generator first."""
    shape, conditional = (8, 9, 2), {"classes": 3, "conditioning": "projection"}
    keras.utils.set_random_seed(0)
    if architecture == "conv":
        sizes = {"filters": 4, "dense_units": 6}
        made = models.gan(
            shape,
            5,
            **sizes,
            **conditional,
            upsampling="nearest",
            generator_normalization="layer",
            discriminator_normalization="spectral",
            r1=0.5,
            seed=7,
        )
        keras.utils.set_random_seed(0)
        generator = models.gan_generator(
            shape, 5, **sizes, classes=3, upsampling="nearest", normalization="layer"
        )
        judge = models.gan_discriminator(shape, **sizes, **conditional, normalization="spectral")
    else:
        made = models.gan(
            shape, 5, architecture="dense", units=(4, 6), **conditional, r1=0.5, seed=7
        )
        keras.utils.set_random_seed(0)
        generator = models.gan_dense_generator(
            shape, 5, classes=3, units=(4, 6), normalization="batch"
        )
        judge = models.gan_dense_discriminator(shape, units=(6, 4), **conditional)
    for one, other in ((made.generator, generator), (made.discriminator, judge)):
        for a, b in zip(one.weights, other.weights, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (made.r1, made.seed, made.classes, made.latent_dim) == (0.5, 7, 3, 5)
    assert made.predict([np.zeros((2, 5)), np.eye(3)[:2]], verbose=0).shape == (2, *shape)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"architecture": "resnet"}, "conv, dense"),
        ({"classes": 3}, "give both or neither"),
        ({"conditioning": "concat"}, "give both or neither"),
        ({"upsampling": "cubic"}, "upsampling"),
        ({"loss": "gan"}, "unknown loss"),
    ],
)
def test_mistakes_are_named(settings, words):
    with pytest.raises(UserError, match=words):
        models.gan((8, 8, 1), 3, **settings)
