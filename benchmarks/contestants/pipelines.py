"""Batches of shifted and mirrored images: kapps' pipeline, or Keras' layers in tf.data.

    python benchmarks/contestants/pipelines.py kapps|keras

Speaks the protocol of benchmarks/harness/worker.py.
"""

from __future__ import annotations

import itertools
import sys

from benchmarks.harness.worker import serve

BATCH, COUNT = 256, 60_000


def prepare():
    """The work: so many batches drawn."""
    import keras
    import numpy as np
    import tensorflow as tf

    from kapps import data, training
    from kapps.data.sources.arrays import gather

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (COUNT, 28, 28, 1)).astype(np.uint8)
    labels = random.integers(0, 10, COUNT).astype(np.int32)
    if sys.argv[1] == "kapps":
        augmentation, exact = (
            data.Augmentation(flip=True, crop=0.1),
            data.classification_targets(10),
        )
        batches = data.TrainingBatches(
            data.Split(labels, gather(images)),
            BATCH,
            prepare=lambda x, y, seed: augmentation(x, exact(y), seed),
        )
        dataset = data.without_autotune(batches.dataset(0, 10_000))
    else:
        flip, shift = (
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomTranslation(0.1, 0.1),
        )
        dataset = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(10_000).repeat()
        dataset = dataset.batch(BATCH, drop_remainder=True).map(
            lambda x, y: (shift(flip(x, training=True), training=True), tf.one_hot(y, 10)),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        dataset = dataset.prefetch(tf.data.AUTOTUNE)
    iterator = iter(dataset)

    def work(units):
        for _ in itertools.islice(iterator, units):
            pass

    return work, {"versions": training.versions()}


if __name__ == "__main__":
    serve(prepare)
