"""Two GANs of the keras.io examples, rebuilt from their descriptions for 28x28 grey pictures.

What they are compared for is kept as it is described: networks, losses, noisy labels, one batch of
real and fake together, penalties, optimizers, latent sizes, and no average of the weights. What
had to change: the DCGAN example makes 64x64 pictures, so here it has one doubling less; the
WGAN-GP example has batches of 512, which is given up for the batch size of all rows.

https://keras.io/examples/generative/dcgan_overriding_train_step (Chollet, 2019)
https://keras.io/examples/generative/wgan_gp (Nandwani and Kumar, 2020)
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

LATENT_DIM = 128


class Sampler(keras.Model):
    """What both have: pictures from latent vectors."""

    def sample(self, count: int, seed: int = 0) -> np.ndarray:
        """Pictures uint8 [count, 28, 28, 1]."""
        pictures = []
        for start in range(0, count, 500):
            shape = (min(500, count - start), LATENT_DIM)
            z = tf.random.stateless_normal(shape, (seed, start))
            pictures.append(self.to_uint8(self.generator(z, training=False)))
        return np.concatenate(pictures)


class DCGAN(Sampler):
    """Binary cross-entropy on probabilities, noise on both labels, one concatenated batch."""

    def __init__(self):
        super().__init__()
        layers = keras.layers

        def conv(filters):
            return [layers.Conv2D(filters, 4, strides=2, padding="same"), layers.LeakyReLU(0.2)]

        def transposed(filters):
            return [
                layers.Conv2DTranspose(filters, 4, strides=2, padding="same"),
                layers.LeakyReLU(0.2),
            ]

        self.discriminator = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                *conv(64),
                *conv(128),
                *conv(128),
                layers.Flatten(),
                layers.Dropout(0.2),
                layers.Dense(1, activation="sigmoid", dtype="float32"),
            ]
        )
        self.generator = keras.Sequential(
            [
                keras.Input((LATENT_DIM,)),
                layers.Dense(7 * 7 * 128),
                layers.Reshape((7, 7, 128)),
                *transposed(128),
                *transposed(256),
                layers.Conv2D(1, 5, padding="same", activation="sigmoid", dtype="float32"),
            ]
        )
        self.d_loss = keras.metrics.Mean("d_loss")
        self.g_loss = keras.metrics.Mean("g_loss")
        self.g_optimizer = keras.optimizers.Adam(1e-4)
        self.built = True

    @property
    def metrics(self):
        """Reported losses."""
        return [self.d_loss, self.g_loss]

    def train_step(self, image):
        """Fakes are 1 and reals 0, each with up to 0.05 added."""
        real = tf.cast(image, tf.float32) / 255.0
        size = tf.shape(real)[0]
        both = tf.concat([self.generator(tf.random.normal((size, LATENT_DIM))), real], axis=0)
        labels = tf.concat([tf.ones((size, 1)), tf.zeros((size, 1))], axis=0)
        labels += 0.05 * tf.random.uniform(tf.shape(labels))
        entropy = keras.losses.BinaryCrossentropy()
        with tf.GradientTape() as tape:
            d_loss = entropy(labels, self.discriminator(both))
        weights = self.discriminator.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(d_loss, weights), weights, strict=True))
        with tf.GradientTape() as tape:
            fake = self.generator(tf.random.normal((size, LATENT_DIM)))
            g_loss = entropy(tf.zeros((size, 1)), self.discriminator(fake))
        weights = self.generator.trainable_weights
        self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, weights), weights, strict=True))
        self.d_loss.update_state(d_loss)
        self.g_loss.update_state(g_loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def to_uint8(self, pixels):
        """Pixels of 0..1 as levels."""
        return np.rint(np.asarray(pixels) * 255.0).astype(np.uint8)


class WGANGP(Sampler):
    """Three critic steps on one real batch, then one step of the generator."""

    def __init__(self):
        super().__init__()
        layers = keras.layers

        def conv(filters, dropout):
            made = [layers.Conv2D(filters, 5, strides=2, padding="same"), layers.LeakyReLU(0.2)]
            return made + ([layers.Dropout(dropout)] if dropout else [])

        def upsampled(filters, activation):
            return [
                layers.UpSampling2D(2),
                layers.Conv2D(filters, 3, padding="same", use_bias=False),
                layers.BatchNormalization(),
                activation,
            ]

        self.discriminator = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.ZeroPadding2D(2),
                *conv(64, 0.0),
                *conv(128, 0.3),
                *conv(256, 0.3),
                *conv(512, 0.0),
                layers.Flatten(),
                layers.Dropout(0.2),
                layers.Dense(1, dtype="float32"),
            ]
        )
        self.generator = keras.Sequential(
            [
                keras.Input((LATENT_DIM,)),
                layers.Dense(4 * 4 * 256, use_bias=False),
                layers.BatchNormalization(),
                layers.LeakyReLU(0.2),
                layers.Reshape((4, 4, 256)),
                *upsampled(128, layers.LeakyReLU(0.2)),
                *upsampled(64, layers.LeakyReLU(0.2)),
                *upsampled(1, layers.Activation("tanh", dtype="float32")),
                layers.Cropping2D(2, dtype="float32"),
            ]
        )
        self.d_loss = keras.metrics.Mean("d_loss")
        self.g_loss = keras.metrics.Mean("g_loss")
        self.g_optimizer = keras.optimizers.Adam(2e-4, beta_1=0.5, beta_2=0.9)
        self.built = True

    @property
    def metrics(self):
        """Reported losses."""
        return [self.d_loss, self.g_loss]

    def train_step(self, image):
        """Critic: mean of fakes minus mean of reals, and ten times the penalty."""
        real = tf.cast(image, tf.float32) / 127.5 - 1.0
        size = tf.shape(real)[0]
        weights = self.discriminator.trainable_weights
        for _ in range(3):
            fake = self.generator(tf.random.normal((size, LATENT_DIM)), training=True)
            with tf.GradientTape() as tape:
                fake_logits = self.discriminator(fake, training=True)
                real_logits = self.discriminator(real, training=True)
                d_loss = tf.reduce_mean(fake_logits) - tf.reduce_mean(real_logits)
                d_loss += 10.0 * self.penalty(real, fake)
            gradients = tape.gradient(d_loss, weights)
            self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        with tf.GradientTape() as tape:
            fake = self.generator(tf.random.normal((size, LATENT_DIM)), training=True)
            g_loss = -tf.reduce_mean(self.discriminator(fake, training=True))
        weights = self.generator.trainable_weights
        self.g_optimizer.apply_gradients(zip(tape.gradient(g_loss, weights), weights, strict=True))
        self.d_loss.update_state(d_loss)
        self.g_loss.update_state(g_loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def penalty(self, real, fake):
        """(|gradient| - 1)^2 between real and fake; alpha is uniform since 2023."""
        alpha = tf.random.uniform((tf.shape(real)[0], 1, 1, 1))
        between = real + alpha * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(between)
            logits = self.discriminator(between, training=True)
        gradient = tape.gradient(logits, between)
        norm = tf.sqrt(tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]))
        return tf.reduce_mean(tf.square(norm - 1.0))

    def to_uint8(self, pixels):
        """Pixels of -1..1 as levels."""
        return np.rint(np.asarray(pixels) * 127.5 + 127.5).astype(np.uint8)


# Optimizers of the discriminators.
EXAMPLES = {
    "dcgan": (DCGAN, lambda: keras.optimizers.Adam(1e-4)),
    "wgan_gp": (WGANGP, lambda: keras.optimizers.Adam(2e-4, beta_1=0.5, beta_2=0.9)),
}
