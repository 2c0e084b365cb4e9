"""Recipes up to the end of their training, by one process or by several workers.

    python worker.py '[[DIRECTORY, RECIPE, SETTINGS OF THE FIT], ...]'

Of "half" there is no recipe: it is the training of `half.py`.

Nothing is evaluated, exported or drawn: that is the business of one process, the chief, which is
stopped here. The others are not: they have to leave by themselves.
"""

import functools
import json
import pathlib
import sys

from kapps import training
from kapps.command_line import call
from kapps.training.distributed import devices
from kapps.training.fitting import linear_probe, more_epochs, phases

ROOT = pathlib.Path(__file__).parents[2]
# Tiny, and with what is hard to share: augmentation, batch normalization, noise, several critics,
# a memory of every lane, phases.
SETTINGS = {
    "image_classifier": {
        "model": "cnn",
        "filters": (4,),
        "optimizer": "momentum",
        "learning_rate": 0.01,
        "clip": 1.0,
        "ema": 0.9,
        "erasing": 0.5,
        "cutmix": 1.0,
        "epochs": 3,
        "batch_size": 128,
    },
    "vae": {
        "units": (16,),
        "latent_dim": 3,
        "learning_rate": 1e-3,
        "epochs": 2,
        "batch_size": 128,
    },
    "gan": {
        "model": "dense",
        "units": (16,),
        "loss": "wasserstein",
        "regularizer": "gradient_penalty",
        "n_critic": 2,
        "measure_every": 2,
        "learning_rate": 1e-4,
        "epochs": 2,
        "batch_size": 64,
    },
    "char_rnn": {
        "dataset": f"text:{ROOT / 'LICENSE'}",
        "units": 6,
        "embedding": 4,
        "k1": 12,
        "k2": 16,
        "sample_length": 5,
        "epochs": 2,
        "batch_size": 128,
    },
    "transfer_learning": {
        "backbone": "small",
        "weights": "none",
        "image_size": 12,
        "dropout": 0.0,  # layers drop other units on each device
        "batch_norm": "train",
        "optimizer": "momentum",
        "learning_rate": 0.01,  # the head begins at its optimum: more would throw it far away
        "epochs": 2,
        "fine_tune_epochs": 1,
        "batch_size": 256,
    },
    "perceptron": {"rule": "delta", "epochs": 2, "batch_size": 256},
    "xor_mlp": {"seeds": 2, "epochs": 1},
}


def train(recipe, directory, **saving):
    """One recipe, into DIRECTORY/RECIPE: the chief up to the end of the training."""
    import importlib

    module = importlib.import_module(f"recipes.{recipe}")
    settings = {**SETTINGS[recipe], "precision": "float32", "export": False}
    config = module.Config(run_dir=str(pathlib.Path(directory, recipe)), **settings)
    place, whole = training.cluster(), training.fit
    places = (training, phases, more_epochs)
    for place_of_fit in places:
        place_of_fit.fit = functools.partial(whole, verbose=2, **saving)
    try:
        if place is None or place.index == 0:
            with training.open_run(recipe, config) as run:
                module.fit(config, run)
        else:
            assert call(module, config) == {"worker": place.index}
    finally:
        for place_of_fit in places:
            place_of_fit.fit = whole


if __name__ == "__main__":
    import small_transfer
    from distribution import half
    from kapps import command_line

    devices.JOIN_SECONDS = 120.0
    small_transfer.install()
    if (place := training.cluster()) and place.index:  # as on a machine that rounds otherwise
        own = linear_probe.logistic_weights
        linear_probe.logistic_weights = lambda *a, **k: [w + 0.1 for w in own(*a, **k)]
    with command_line.exit_codes():
        for directory, recipe, saving in json.loads(sys.argv[1]):
            if recipe == "half":
                half.train(directory)
            else:
                train(recipe, directory, **saving)
