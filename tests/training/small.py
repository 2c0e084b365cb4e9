"""A small training with everything switched on that has a state; also a program to be killed.

python small.py RUN_DIR SAVE_STEPS STEP_TO_DIE_AT
"""

import dataclasses
import hashlib
import sys

import keras
import numpy as np

from crashes import Die
from kapps import data, losses, training

EPOCHS = 4


@dataclasses.dataclass(frozen=True)
class Config:
    run_dir: str
    overwrite: bool = False


def network():
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )


def train(
    run=None,
    *,
    ema=0.98,
    callbacks=(),
    save_steps=None,
    epochs=EPOCHS,
    schedule="one-cycle",
    augment=True,
    save_minutes=5.0,
    verbose=0,
    **settings,
):
    training.seed_everything(0)
    images = data.load("digits", seed=0)
    everything = dict(crop=0.125, rotation=10.0, erasing=0.2, mixup=0.2, cutmix=1.0)
    augmentation = data.Augmentation(**everything if augment else {})
    exact = data.classification_targets(10)
    batches = data.TrainingBatches(
        images.splits["train"],
        128,
        seed=0,
        prepare=lambda x, y, seed: augmentation(x, data.smooth(exact(y), 0.1), seed),
    )
    evaluation = dict(batch_size=128, prepare=lambda x, y: (x, exact(y)))
    model = network()
    steps = epochs * batches.steps
    model.compile(
        training.optimizer(
            "adamw",
            training.learning_rate_schedule(schedule, 0.01, steps=steps),
            momentum_schedule=training.momentum_cycle(steps),
            weight_decay=0.05,
            global_clipnorm=1.0,
        ),
        losses.softmax_cross_entropy,
        metrics=["accuracy"],
    )
    history = training.fit(
        model,
        batches,
        data.evaluation_batches(images.splits["validation"], **evaluation),
        epochs=epochs,
        run=run,
        clean_train=data.evaluation_batches(images.splits["train"], **evaluation, limit=200),
        ema=ema,
        callbacks=callbacks,
        save_steps=save_steps,
        save_minutes=save_minutes,
        verbose=verbose,
        **settings,
    )
    return model, history


def digest(model):
    return hashlib.sha256(b"".join(np.asarray(w).tobytes() for w in model.variables)).hexdigest()


if __name__ == "__main__":
    with training.open_run("small", Config(sys.argv[1])) as run:
        train(run, callbacks=[Die(int(sys.argv[3]))], save_steps=int(sys.argv[2]))
