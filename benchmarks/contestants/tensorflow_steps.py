"""Training steps of networks of kapps, or of the same from stock Keras layers, by `fit`.

    python benchmarks/contestants/tensorflow_steps.py NETWORK [--stock] [--bfloat16]

Speaks the protocol of benchmarks/harness/worker.py.
"""

from __future__ import annotations

import argparse

from benchmarks.harness.worker import serve


def prepare():
    """The work: so many steps on a batch that stays the same."""
    import keras
    import numpy as np
    import tensorflow as tf

    from kapps import layers, losses, models, training

    random = np.random.default_rng(0)

    def images(count, *shape):
        return random.integers(0, 256, (count, *shape)).astype("float32")

    def classes(count):
        return np.eye(10, dtype="float32")[random.integers(0, 10, count)]

    def rnn(cell):
        return models.rnn(28, 10, cell=cell, units=(128, 128))

    def tabular():
        return keras.Sequential(
            [
                keras.Input((40,)),
                keras.layers.Dense(256, activation="relu"),
                keras.layers.Dense(256, activation="relu"),
                keras.layers.Dense(10, dtype="float32"),
            ]
        )

    lanes, k1 = 64, 50
    networks = {
        "resnet": (
            lambda: models.resnet("resnet8_wide", (28, 28, 1), 10),
            lambda: (images(256, 28, 28, 1), classes(256)),
        ),
        "vgg": (
            lambda: models.vgg("vgg11", (32, 32, 3), 10),
            lambda: (images(64, 32, 32, 3), classes(64)),
        ),
        "cnn": (
            lambda: models.cnn((28, 28, 1), 10),
            lambda: (images(128, 28, 28, 1), classes(128)),
        ),
        "efficientnet": (
            lambda: models.transfer_classifier(
                models.backbone("efficientnet_lite0", weights="none", input_shape=(160, 160, 3)), 10
            ),
            lambda: (images(32, 160, 160, 3), classes(32)),
        ),
        "lstm": (
            lambda: rnn("lstm"),
            lambda: (random.normal(size=(128, 28, 28)).astype("float32"), classes(128)),
        ),
        "gru": (
            lambda: rnn("gru"),
            lambda: (random.normal(size=(128, 28, 28)).astype("float32"), classes(128)),
        ),
        "tabular": (
            tabular,
            lambda: (random.normal(size=(256, 40)).astype("float32"), classes(256)),
        ),
        "vae": (lambda: models.dense_vae((28, 28, 1)), lambda: images(128, 28, 28, 1)),
        "gan": (lambda: models.gan((28, 28, 1), 64), lambda: images(64, 28, 28, 1)),
        "char_rnn": (
            lambda: models.char_rnn(
                "\ufffd" + "".join(map(chr, range(97, 123))), units=128, k1=k1, k2=k1, lanes=lanes
            ),
            lambda: None,
        ),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=networks)
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--jit", action="store_true")
    parser.add_argument("--optimizer", default="adam")
    given = parser.parse_args()

    fast = (
        layers.BatchNormalization,
        layers.Conv2D,
        layers.DepthwiseConv2D,
        layers.GRU,
        layers.LSTM,
    )

    def stock(model):
        def clone(layer):
            ours = isinstance(layer, fast)
            kind = getattr(keras.layers, type(layer).__name__) if ours else type(layer)
            return kind.from_config(layer.get_config())

        return keras.models.clone_model(model, clone_function=clone, recursive=True)

    def optimizer():
        if given.optimizer == "keras-muon":
            return keras.optimizers.Muon(1e-3)
        if given.optimizer == "adam":
            return keras.optimizers.Adam(1e-3) if given.stock else training.optimizer("adam", 1e-3)
        return training.optimizer(given.optimizer, 1e-3, weight_decay=0.05)

    build, batch = networks[given.network]
    with training.precision_policy("mixed_bfloat16" if given.bfloat16 else "float32"):
        model = build()
        own_step = type(model).train_step is not keras.Model.train_step
        if given.stock:
            if own_step:
                raise SystemExit(f"{given.network} has a training step of its own: no stock form")
            model = stock(model)
        if given.network == "gan":
            model.compile(optimizer(), optimizer(), jit_compile=given.jit)
        elif own_step:
            model.compile(optimizer(), jit_compile=given.jit)
        else:
            model.compile(optimizer(), losses.softmax_cross_entropy, jit_compile=given.jit)
    if given.network == "char_rnn":
        from kapps import data

        symbols = random.integers(1, 27, lanes * k1 * 40).astype(np.int32)
        streams = data.TextLanes(symbols, lanes, k1, seed=0)
        dataset = streams.dataset(0, 10_000)
    else:
        dataset = tf.data.Dataset.from_tensors(batch()).repeat()
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = dataset.with_options(options)

    def work(units):
        model.fit(dataset.take(units), shuffle=False, verbose=0)

    facts = {"parameters": model.count_params(), "versions": training.versions()}
    return work, facts


if __name__ == "__main__":
    serve(prepare)
