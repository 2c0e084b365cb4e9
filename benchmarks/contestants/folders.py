"""Passes over a folder of pictures: kapps, or `image_dataset_from_directory` with Keras.

    python benchmarks/contestants/folders.py kapps|kapps-again|keras FOLDER SIDE BATCH [first]

Batches are shuffled, of resized pictures without augmentation. kapps-again uses what an earlier
process has kept. Speaks the protocol of benchmarks/harness/worker.py; a unit is a pass. The first
pass, with all that comes before it but the imports, is in the facts; with `first` they are printed,
and that is all.
"""

from __future__ import annotations

import functools
import itertools
import json
import sys
import time

from benchmarks.harness.worker import serve


def passes_of_kapps(folder, side, batch, afresh=True):
    """A function to the batches of the next pass; nothing is kept of the folder at the start."""
    from kapps import data
    from kapps.data.images import loading

    spec = f"folder:{folder}"
    if afresh:
        data.clean(spec)
    all_pictures, _ = loading.read(data.parse(spec), None, side, 3, decoded="disk")
    train = data.TrainingBatches(
        data.Split(all_pictures.labels, all_pictures.images),
        batch,
        prepare=lambda x, y, seed: (x, y),
    )
    epochs = itertools.count()

    def next_pass():
        # Begun anew, as the others are: one pipeline for all passes, as `fit` has it, would fill
        # its buffers while another contestant has its turn.
        epoch = next(epochs)
        return data.without_autotune(train.dataset(epoch, epoch + 1))

    return next_pass


def passes_of_keras(folder, side, batch):
    """The same by Keras' own reader."""
    import keras
    import tensorflow as tf

    read = keras.utils.image_dataset_from_directory(
        folder, image_size=(side, side), batch_size=batch, seed=0, verbose=False
    ).prefetch(tf.data.AUTOTUNE)
    return lambda: read


def prepare():
    """The work: so many passes."""
    import keras  # noqa: F401
    import numpy  # noqa: F401
    import tensorflow  # noqa: F401

    from kapps import data, training

    which, folder, side, batch = sys.argv[1:5]
    _ = data.load, data.TrainingBatches  # imported, as the others are
    begun = time.perf_counter()
    passes = {
        "kapps": passes_of_kapps,
        "kapps-again": functools.partial(passes_of_kapps, afresh=False),
        "keras": passes_of_keras,
    }[which]
    next_pass = passes(folder, int(side), int(batch))

    def work(units):
        for _ in range(units):
            for _ in next_pass():
                pass

    work(1)
    first = time.perf_counter() - begun
    return work, {"first_pass_seconds": first, "versions": training.versions()}


if __name__ == "__main__":
    if sys.argv[-1] == "first":
        print(json.dumps(prepare()[1]))
    else:
        serve(prepare)
