"""Epochs over a table of 100,000 rows of 40 numbers: an MLP (256, 256), batch 256, Adam, float32.

    python benchmarks/contestants/table_epochs.py kapps|stock

Speaks the protocol of benchmarks/harness/worker.py. Rows come in a new order in each epoch.
"""

from __future__ import annotations

import itertools
import sys

from benchmarks.harness.worker import serve

ROWS, BATCH = 100_000, 256


def prepare():
    """The work: so many epochs."""
    import keras
    import numpy as np
    import tensorflow as tf

    from kapps import data, losses, training

    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 40)).astype(np.float32)
    y = np.eye(10, dtype=np.float32)[random.integers(0, 10, ROWS)]
    hidden = [keras.layers.Dense(256, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((40,)), *hidden, keras.layers.Dense(10)])
    facts = {"parameters": model.count_params(), "versions": training.versions()}
    if sys.argv[1] == "stock":
        model.compile("adam", keras.losses.CategoricalCrossentropy(from_logits=True))
        return lambda units: model.fit(x, y, batch_size=BATCH, epochs=units, verbose=0), facts
    model.compile(training.optimizer("adam", 1e-3), losses.softmax_cross_entropy)
    with tf.device("CPU:0"):
        rows, targets = tf.constant(x), tf.constant(y)
    batches = data.IndexedBatches(
        ROWS, BATCH, seed=0, load=lambda at, seed: (tf.gather(rows, at), tf.gather(targets, at))
    )
    epochs = itertools.count()

    def work(units):
        for epoch in itertools.islice(epochs, units):
            model.fit(batches.dataset(epoch, epoch + 1), shuffle=False, verbose=0)

    return work, facts


if __name__ == "__main__":
    serve(prepare)
