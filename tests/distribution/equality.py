"""The same weights on one device, on two and on four: run by `test_equality.py`.

    python tests/distribution/equality.py

Logical devices are fixed once per process, so all of this is one program of its own. It prints a
line of JSON per case: the largest differences from one device, of weights, figures and replicas.
"""

import json
import sys
import tempfile

import keras
import numpy as np
import tensorflow as tf

from kapps import data, losses, models, training

LARGEST = 4
BATCH, STEPS = 8, 3
PICTURE, CLASSES = (8, 8, 1), 3


def draw(count, shape, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype("float32")


def one_hot(count, classes=CLASSES):
    return np.eye(classes, dtype="float32")[np.arange(count) % classes]


def batches(*arrays, size=BATCH):
    arrays = arrays if len(arrays) > 1 else arrays[0]
    return tf.data.Dataset.from_tensor_slices(arrays).batch(size)


def pictures(count, labels=True, weights=False, shape=PICTURE, seed=0):
    x, y = draw(count, shape, seed), one_hot(count)
    if weights:  # of classes
        return batches(x, y, y @ np.array([[0.5], [2.0], [1.0]], "float32"))
    return batches(x, y) if labels else batches(x)


def classifier(network, optimizer, **compiling):
    def build():
        model = network()
        loss = losses.softmax_cross_entropy
        model.compile(optimizer(), loss, metrics=["accuracy"], **compiling)
        return model

    return build


def generator(normalization="batch"):
    return models.gan_dense_generator(
        (4, 4, 1), 3, classes=CLASSES, units=(6,), normalization=normalization
    )


def gan(n_critic=1, **settings):
    conditional = {"classes": CLASSES, "conditioning": "projection"}
    model = models.GAN(
        generator(None if n_critic > 1 else "batch"),
        models.gan_dense_discriminator(
            (4, 4, 1), units=(7,), normalization="spectral", **conditional
        ),
        n_critic=n_critic,
        augment=("color", "translation", "cutout"),
        **settings,
    )
    model.compile(keras.optimizers.SGD(0.05), keras.optimizers.SGD(0.05))
    return model


def gan_batches(replicas, n_critic):
    def ordered(*batch):
        return tuple(models.order_for_replicas(each, n_critic, replicas) for each in batch)

    x, y = draw(STEPS * BATCH * n_critic, (4, 4, 1), 0), one_hot(STEPS * BATCH * n_critic)
    return batches(x, y, size=BATCH * n_critic).map(ordered)


def compiled(build, optimizer=lambda: keras.optimizers.SGD(0.05)):
    def made():
        model = build()
        model.compile(optimizer())
        return model

    return made


def vae(**settings):
    return models.dense_vae((4, 4, 1), 3, units=(6,), beta=0.5, **settings)


def char_rnn():
    model = models.char_rnn(
        "\ufffdabcd", units=4, embedding=3, cell="gru", k1=5, k2=8, lanes=4, validation_lanes=4,
        clip=0.05,
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(0.5))
    model.optimizer.build(model.trainable_variables)
    return model


SYMBOLS = np.random.default_rng(0).integers(1, 5, 4 * 16).astype(np.int32)


def text(replicas):
    return data.TextLanes(SYMBOLS, 4, 5, seed=3).dataset(0, 1)


def embedding():
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            keras.layers.Embedding(6, 4),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES),
        ]
    )


def words(count, seed=0):
    return batches(np.random.default_rng(seed).integers(0, 6, (count, 5)), one_hot(count))


def series(count, seed=0):
    x = np.random.default_rng(seed).normal(size=(count, 6, 2)).astype("float32")
    return batches(x, one_hot(count))


def adamw():
    rate = training.learning_rate_schedule("one-cycle", 0.01, steps=STEPS)
    return training.optimizer("adamw", rate, weight_decay=0.05, global_clipnorm=0.05)


def sgd(**settings):
    return lambda: keras.optimizers.SGD(0.05, momentum=0.9, **settings)


def on_pictures(labels=True, weights=False, shape=PICTURE):
    return (
        lambda replicas: pictures(STEPS * BATCH, labels, weights, shape),
        lambda: pictures(BATCH + 3, labels, shape=shape, seed=1),
    )


SMALL = (4, 4, 1)
# name: what builds the model in the scope, training batches by replicas, validation batches. The
# last validation batch has three examples, so that one of four replicas has none.
CASES = {
    "mlp, AdamW, one-cycle, clipped, class weights": (
        classifier(lambda: models.classifier("mlp", PICTURE, CLASSES), adamw),
        *on_pictures(weights=True),
    ),
    "cnn": (
        classifier(
            lambda: models.classifier("cnn", PICTURE, CLASSES, filters=(3,), normalization=None),
            sgd(clipvalue=0.01),
        ),
        *on_pictures(),
    ),
    "cnn, batch normalization": (
        classifier(lambda: models.classifier("cnn", PICTURE, CLASSES, filters=(3, 4)), sgd()),
        *on_pictures(),
    ),
    "embedding, clipped, three steps at once": (
        classifier(embedding, sgd(clipnorm=0.05), steps_per_execution=3),
        lambda replicas: words(STEPS * BATCH),
        lambda: words(BATCH + 3, 1),
    ),
    "gru": (
        classifier(
            lambda: models.rnn(2, CLASSES, units=(4,), cell="gru"), sgd(global_clipnorm=0.1)
        ),
        lambda replicas: series(STEPS * BATCH),
        lambda: series(BATCH + 3, 1),
    ),
    "truncated bptt, clipped": (
        char_rnn,
        text,
        lambda: data.text_stream(SYMBOLS, lanes=4, steps=7),
    ),
    "autoencoder, denoising, sparse": (
        compiled(
            lambda: models.dense_autoencoder(
                SMALL,
                3,
                units=5,
                code_activation="sigmoid",
                sparsity="kl",
                sparsity_weight=1.0,
                corruption="gaussian",
            )  # fmt: skip
        ),
        *on_pictures(labels=False, shape=SMALL),
    ),
    "vae, free bits": (
        compiled(lambda: vae(free_bits=0.2)),
        *on_pictures(labels=False, shape=SMALL),
    ),
    "vae, importance weights, VampPrior": (
        compiled(lambda: vae(objective="iwae", samples=3, pseudo_inputs=2)),
        *on_pictures(labels=False, shape=SMALL),
    ),
    "gan, R1, batch normalization": (
        lambda: gan(r1=1.0),
        lambda replicas: gan_batches(replicas, 1),
        lambda: pictures(BATCH + 3, shape=SMALL, seed=1),
    ),
    "gan, gradient penalty, two steps of the critic": (
        lambda: gan(2, loss="wasserstein", gradient_penalty=1.0),
        lambda replicas: gan_batches(replicas, 2),
        lambda: pictures(BATCH + 3, shape=SMALL, seed=1),
    ),
    "vq-vae": (
        compiled(
            lambda: models.vq_vae(
                SMALL, codes=24, code_dim=2, filters=(4,), restart_after=1, decay=0.5
            )
        ),
        *on_pictures(labels=False, shape=SMALL),
    ),
    "delta rule": (
        compiled(lambda: models.delta_rule(SMALL, CLASSES)),
        *on_pictures(shape=SMALL),
    ),
}


ON_TWO = ("cnn, batch normalization", "vae, free bits", "truncated bptt, clipped")


def train(strategy, case):
    build, batches_of, validation = CASES[case]
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = build()
        models.mend(model)
    history = model.fit(
        batches_of(strategy.num_replicas_in_sync),
        validation_data=validation(),
        shuffle=False,
        verbose=0,
    )
    return model, {name: values[-1] for name, values in history.history.items()}


def everything(model):
    optimizers = [model.optimizer, *getattr(model, "further_optimizers", {}).values()]
    return [*model.variables, *(v for each in optimizers for v in each.variables)]


def differences(strategies, case):
    one, figures = train(strategies[1], case)
    found = {"case": case, "weights": {}, "figures": {}, "replicas": {}}
    for count in (2, 4) if case in ON_TWO else (4,):
        strategy = strategies[count]
        several, others = train(strategy, case)
        pairs = list(zip(everything(one), everything(several), strict=True))
        assert [a.shape for a, _ in pairs] == [b.shape for _, b in pairs]
        found["weights"][count] = max(
            float(np.max(np.abs(np.subtract(a, b, dtype="float64")), initial=0)) for a, b in pairs
        )
        assert figures.keys() == others.keys(), (figures, others)
        found["figures"][count] = max(
            abs(others[name] - value) / max(abs(value), 1.0) for name, value in figures.items()
        )
        held = [strategy.experimental_local_results(b.value) for _, b in pairs]
        found["replicas"][count] = max(
            float(np.max(np.abs(np.subtract(copies[0], copy)), initial=0))
            for copies in held
            for copy in copies
        )
    return found


def dropout_masks(strategy):
    """What the layers of a mended model drop on each device, twice."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.Input((50,)), keras.layers.Dropout(0.5, seed=1)])
        model.compile("sgd", "mse")
    models.mend(model)
    models.mend(model)  # twice is as good as once

    def dropped():
        return model(tf.ones([1, 50]), training=True)

    run = tf.function(lambda: strategy.run(dropped), autograph=False)
    return [[v.numpy() for v in strategy.experimental_local_results(run())] for _ in range(2)]


def refusal(strategy, **compiling):
    with strategy.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        settings = {"gradient_accumulation_steps": compiling.pop("steps", None)}
        model.compile(keras.optimizers.SGD(**settings), "mse", **compiling)
    try:
        models.mend(model)
    except ValueError as error:
        return str(error)
    return "accepted"


def saved(strategy):
    """The class under which a mended model is saved, and how far the loaded one is from it."""
    with strategy.scope():
        model = CASES["cnn, batch normalization"][0]()
        models.mend(model)
    kind = keras.saving.serialize_keras_object(model)["class_name"]
    path = f"{tempfile.mkdtemp()}/model.keras"
    model.save(path)
    x = draw(4, PICTURE, 0)
    loaded = keras.models.load_model(path)
    assert not vars(loaded).keys() & {"_make_function", "_maybe_symbolic_build"}
    return [kind, float(np.max(np.abs(loaded(x) - model(x))))]


def overflow(strategy):
    with strategy.scope():
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)), "mse")
    models.mend(model)
    before = model.get_weights()[0]
    x = np.array([[1.0], [1.0], [1.0], [1e30]], "float32")
    model.fit(tf.data.Dataset.from_tensors((x, np.zeros_like(x))), verbose=0)
    moved = float(np.max(np.abs(model.get_weights()[0] - before)))
    return {"weights": moved, "scale": float(model.optimizer.dynamic_scale.numpy())}


def checks(strategy):
    first, again = dropout_masks(strategy), dropout_masks(strategy)
    drawn = [mask.tobytes() for masks in first for mask in masks]
    return {
        "case": "checks",
        "noise differs": len(set(drawn)) == 2 * LARGEST,
        "noise comes back": np.array_equal(first, again),
        "gradient_accumulation_steps=2": refusal(strategy, steps=2),
        "jit_compile=True": refusal(strategy, jit_compile=True),
        "saved": saved(strategy),
        "overflow": overflow(strategy),
    }


if __name__ == "__main__":
    strategies = {4: training.strategy("cpu:4")}
    # TensorFlow's own way to have several in one test: else their messages would be mixed up.
    tf.distribute.MirroredStrategy._collective_key_base = 100_000
    strategies[2] = training.strategy("cpu:2")
    strategies[1] = tf.distribute.get_strategy()
    for name in CASES:
        if len(sys.argv) > 1 and sys.argv[1] not in name:
            continue
        print(json.dumps(differences(strategies, name)), flush=True)
    print(json.dumps(checks(strategies[LARGEST])))
