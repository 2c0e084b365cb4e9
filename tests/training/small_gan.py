"""A small GAN with everything switched on that has a state; also a program that kills itself.

python small_gan.py RUN_DIR
"""

import hashlib
import sys

import keras
import numpy as np

from kapps import data, models, training
from training import small

SHAPE = (8, 8, 1)
PRECISION, SAVE_STEPS, DIE_AT = "mixed_float16", 3, 9


def train(run=None, *, callbacks=(), save_steps=None, epochs=3):
    training.seed_everything(0)
    images = data.load("digits", seed=0)
    exact = data.classification_targets(10)
    batches = data.TrainingBatches(
        images.splits["train"], 256, seed=0, prepare=lambda x, y, seed: (x, exact(y))
    )
    validation = data.evaluation_batches(
        images.splits["validation"], 100, prepare=lambda x, y: (x, exact(y))
    )
    model = models.GAN(
        models.gan_dense_generator(SHAPE, 6, classes=10, units=(16,), normalization="batch"),
        models.gan_dense_discriminator(
            SHAPE, classes=10, conditioning="projection", units=(16,), normalization="spectral"
        ),
        r1=0.1,
        penalty_interval=3,
        n_critic=2,
        augment=("translation",),
        ema=0.9,
    )
    model.compile(
        keras.optimizers.Adam(1e-3, beta_1=0.0),
        keras.optimizers.Adam(
            training.learning_rate_schedule("cosine", 2e-3, steps=2 * epochs * batches.steps)
        ),
    )
    history = training.fit(
        model,
        batches,
        validation,
        epochs=epochs,
        run=run,
        callbacks=callbacks,
        save_steps=save_steps,
        verbose=0,
    )
    return model, history


def digest(model):
    parts = (model, model.optimizer, *model.further_optimizers.values())
    arrays = [np.asarray(v) for part in parts for v in part.variables]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


if __name__ == "__main__":
    with (
        training.precision_policy(PRECISION),
        training.open_run("small", small.Config(sys.argv[1])) as run,
    ):
        train(run, callbacks=[small.Die(DIE_AT)], save_steps=SAVE_STEPS)
