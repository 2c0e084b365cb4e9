"""Tiny players, and games whose every number can be worked out by hand."""

import keras
import numpy as np

from kapps import models

SHAPE, LATENT = (4, 3, 1), 3
PIXELS = 12


def pictures(count=8, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype("float32")


def one_hot(count, classes):
    return np.eye(classes, dtype="float32")[np.arange(count) % classes]


def gan(*, classes=0, conditioning=None, of_generator=None, of_discriminator=None, **settings):
    """Of dense layers."""
    generator = models.gan_dense_generator(
        SHAPE, LATENT, classes=classes, units=(6,), normalization=of_generator
    )
    discriminator = models.gan_dense_discriminator(
        SHAPE,
        classes=classes,
        conditioning=conditioning,
        units=(7, 6),
        normalization=of_discriminator,
    )
    return models.GAN(generator, discriminator, **settings)


def linear_game(weight, bias=0.0, **settings):
    """A generator that makes zeros (grey), and a discriminator `weight . x + bias`."""
    z = keras.Input((LATENT,))
    picture = keras.layers.Dense(PIXELS, activation="tanh", kernel_initializer="zeros")(z)
    generator = keras.Model(z, keras.layers.Reshape(SHAPE)(picture))
    x = keras.Input(SHAPE)
    judgement = keras.layers.Dense(1)
    discriminator = keras.Model(x, judgement(keras.layers.Flatten()(x)))
    judgement.set_weights([np.reshape(weight, (PIXELS, 1)), np.array([bias])])
    return models.GAN(generator, discriminator, **settings)


def weights(network):
    return [w.numpy() for w in network.weights]


def same(before, after):
    return [np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
