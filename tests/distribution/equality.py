"""The same weights on one device, on two and on four: run by `test_equality.py`.

    python tests/distribution/equality.py [PART OF A CASE'S NAME]
    python tests/distribution/equality.py --serve
    python tests/distribution/equality.py --die DIRECTORY noisy|plain

Logical devices are fixed once per process, so all of this is one program of its own. It prints a
line of JSON per case: the largest differences from one device, of weights, figures and replicas,
and the facts of each number of devices. The second form does so for each line of its input: a list
in JSON, of the name of a case and a number of devices, or the directory of a training by the third,
which kills itself on two devices and is gone on with.
"""

import dataclasses
import functools
import json
import os
import signal
import sys
import tempfile
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from kapps import data, layers, losses, models, training
from kapps.training.fitting import state as states

# Cases in which it matters how many share a batch: sums over them, their order, their statistics.
# The others are tried on two devices; the graph of four takes twice as long to build.
BY_FOUR = (
    "cnn, batch normalization",
    "vae, importance weights, VampPrior",
    "gan, gradient penalty, two steps of the critic",
    "vq-vae",
    "fit, average, one-cycle, class weights",
)
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
        # Of several steps and second derivatives one is enough, which draws as the others do.
        augment=("translation",) if n_critic > 1 else ("color", "translation", "cutout"),
        **settings,
    )
    model.compile(keras.optimizers.SGD(0.05), keras.optimizers.SGD(0.05))
    return model


def gan_batches(replicas, n_critic):
    def ordered(*batch):
        return tuple(training.order_for_replicas(each, n_critic, replicas) for each in batch)

    x, y = draw(STEPS * BATCH * n_critic, (4, 4, 1), 0), one_hot(STEPS * BATCH * n_critic)
    return batches(x, y, size=BATCH * n_critic).map(ordered)


def compiled(build, optimizer=lambda: keras.optimizers.SGD(0.05)):
    def made():
        model = build()
        model.compile(optimizer())
        return model

    return made


def regularized(model):
    """Of every second kernel the squares cost something."""
    for kernel in [w for w in model.trainable_variables if w.name == "kernel"][::2]:
        kernel.regularizer = keras.regularizers.L2(0.1)
    return model


def vae(**settings):
    return models.dense_vae((4, 4, 1), 3, units=(6,), beta=0.5, **settings)


def char_rnn():
    """Clipped in every second step: a gradient that is twice as long shows in the others."""
    model = models.char_rnn(
        "\ufffdabcd", units=4, embedding=3, cell="gru", k1=5, k2=8, lanes=4, validation_lanes=4,
        clip=0.38,
    )  # fmt: skip
    model.compile(keras.optimizers.SGD(0.5))
    model.optimizer.build(model.trainable_variables)
    return model


SYMBOLS = np.random.default_rng(0).integers(1, 5, 4 * 16).astype(np.int32)


def text(replicas):
    return data.TextLanes(SYMBOLS, 4, 5, seed=3).dataset(0, 2)  # the second pass forgets the first


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


def series(count, seed=0, padded=False):
    x = np.random.default_rng(seed).normal(size=(count, 6, 2)).astype("float32")
    for i in range(count if padded else 0):  # the first devices' are the shorter ones
        x[i, 2 + i % BATCH // 2 :] = np.nan
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


class Outcome(NamedTuple):
    """What a training has left: variables and figures to compare, and facts that are the same."""

    variables: list
    figures: dict[str, float]
    facts: dict[str, Any]


def shuffled(*arrays):
    """Training batches of `training.fit`, and the same examples in their order."""
    with tf.device("CPU:0"):
        held = [tf.constant(array) for array in arrays]

    def load(rows, seed):
        return tuple(tf.gather(values, rows) for values in held)

    return data.IndexedBatches(len(arrays[0]), BATCH, load=load), batches(*arrays[:2])


def backbone():
    """Two stages, whose normalization has learned something of other pictures."""
    x = image = keras.Input(PICTURE, name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(x)
    stages = {}
    for stage, filters in (("stem", 3), ("block", 4)):
        stages[stage] = [
            keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
        ]
        for layer in stages[stage]:
            x = layer(x)
        x = keras.layers.Activation("relu6")(x)
    for seed, (_, norm) in enumerate(stages.values()):
        for statistic in (norm.moving_mean, norm.moving_variance):
            drawn = np.random.default_rng(seed).uniform(0.1, 0.5, statistic.shape)
            statistic.assign(drawn)
    return keras.Model(image, x, name="backbone"), stages


def transfer(strategy):
    """As the recipe: probes of pictures and of cached features, then all at different rates."""
    keras.utils.set_random_seed(0)
    x, y = draw(STEPS * BATCH, PICTURE, 0), one_hot(STEPS * BATCH)
    # Without the last one, or all would weigh the same.
    weights = (y @ data.class_weights(np.argmax(y[:-1], 1), CLASSES)).astype("float32")
    with strategy.scope():
        network, stages = backbone()
        model = models.transfer_classifier(network, CLASSES, dropout=0.0)
    figures, facts = {}, {}

    def fit(phase, model, x, factors=None):
        train, clean = shuffled(x, y, weights)
        with strategy.scope():
            rate = training.learning_rate_schedule("one-cycle", 0.01, steps=train.steps)
            optimizer = training.optimizer(
                "adamw", rate, weight_decay=0.5, global_clipnorm=0.5, rate_factors=factors
            )
            model.compile(optimizer, losses.softmax_cross_entropy, metrics=["accuracy"])
        history = training.fit(
            model, train, batches(x[: BATCH + 3], y[: BATCH + 3]), epochs=1, clean_train=clean,
            verbose=0,
        )  # fmt: skip
        figures.update({f"{phase} {k}": v for k, v in history.rows[-1].items()})

    backbone_variables = list(network.variables)
    before = [variable.numpy() for variable in backbone_variables]
    models.transfer.unfreeze(model, stages)
    fit("probe", model, x)
    split = data.Split(np.argmax(y, 1), lambda rows: tf.gather(x, rows))
    features = training.cached_features(models.transfer.features_of(model), split, None, {})[0]
    with strategy.scope():
        head = models.transfer.head_of(model)
    fit("cached", head, features)
    models.transfer.set_head(model, head)
    models.transfer.unfreeze(model, stages, tuple(stages))
    factors = training.decaying_factors(tuple(stages), 0.5)
    facts["factors"] = training.rate_factors(model, stages, factors)
    fit("tuned", model, x, facts["factors"])
    facts["moved"] = [
        any(not np.array_equal(copy, value) for copy in copies_of(strategy, variable))
        for variable, value in zip(backbone_variables, before, strict=True)
    ]
    facts["of"] = [variable.path.rpartition("/")[2] for variable in backbone_variables]
    return Outcome(everything(model), figures, facts)


@dataclasses.dataclass(frozen=True)
class Config:
    run_dir: str
    overwrite: bool = False


EXAMPLES, EPOCHS, SAVE_STEPS = 24, 7, 2
DIE_AT = 9  # of 3 steps an epoch: right after the checkpoint inside the third epoch


def fitted(strategy, noisy=False, plateau=False, run=None, callbacks=()):
    """All that `training.fit` adds: average, schedule or plateau, early stopping, best weights.

    With noise and statistics that each device has by itself it is not what one device gives.
    """
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(2)
    x = random.normal(size=(EXAMPLES + BATCH + 3, 4)).astype("float32")
    labels = np.argmax(x[:, :CLASSES] + 0.5 * random.normal(size=(len(x), CLASSES)), axis=1)
    y = np.eye(CLASSES, dtype="float32")[labels]
    weights = (y @ data.class_weights(labels, CLASSES)).astype("float32")
    train, clean = shuffled(x[:EXAMPLES], y[:EXAMPLES], weights[:EXAMPLES])
    steps, rate = EPOCHS * train.steps, 0.3
    if not plateau:
        rate = training.learning_rate_schedule("one-cycle", rate, steps=steps)
    with strategy.scope():
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(6),
                layers.BatchNormalization(momentum=0.8),
                keras.layers.Activation("relu"),
                *([keras.layers.Dropout(0.2, seed=1)] if noisy else []),
                keras.layers.Dense(CLASSES),
            ]
        )
        model.compile(
            training.optimizer(
                "momentum",
                rate,
                momentum_schedule=None if plateau else training.momentum_cycle(steps),
                weight_decay=0.01,
                global_clipnorm=0.5,
            ),
            losses.softmax_cross_entropy,
            metrics=["accuracy"],
        )
    stops = [keras.callbacks.EarlyStopping(patience=2)]
    if plateau:
        stops.append(keras.callbacks.ReduceLROnPlateau(factor=0.2, patience=1))
    history = training.fit(
        model,
        train,
        batches(x[EXAMPLES:], y[EXAMPLES:]),
        epochs=EPOCHS,
        run=run,
        clean_train=clean,
        ema=0.0 if noisy else 0.9,  # it would give all devices the statistics of the first
        callbacks=[*stops, *callbacks],
        save_steps=SAVE_STEPS,
        sync_batch_norm=not noisy,
        verbose=0,
    )
    facts = {
        "epochs": len(history.rows),
        "best epoch": history.best_epoch,
        "learning rates": [row["learning_rate"] for row in history.rows],
    }
    figures = {f"{i} {k}": v for i, row in enumerate(history.rows) for k, v in row.items()}
    return Outcome(everything(model), figures, facts)


SMALL = (4, 4, 1)
# name: what builds the model in the scope, training batches by replicas, validation batches. The
# last validation batch has three examples, so that one of four replicas has none. Or else a
# function that trains by a strategy.
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
        classifier(lambda: models.classifier("cnn", PICTURE, CLASSES, filters=(3,)), sgd()),
        *on_pictures(),
    ),
    "cnn, Muon": (
        classifier(
            lambda: models.classifier("cnn", PICTURE, CLASSES, filters=(3,)),
            lambda: training.optimizer("muon", 3e-3, weight_decay=0.05, global_clipnorm=0.5),
        ),
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
    "gru beside convolutions, padded series": (
        classifier(
            lambda: models.rnn_fcn(2, CLASSES, cell="gru", units=3, dropout=0.0),
            sgd(global_clipnorm=1.0),
        ),
        lambda replicas: series(STEPS * BATCH, padded=True),
        lambda: series(BATCH + 3, 1, padded=True),
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
        compiled(lambda: regularized(vae(free_bits=0.2))),
        *on_pictures(labels=False, shape=SMALL),
    ),
    "vae, importance weights, VampPrior": (
        compiled(lambda: vae(objective="iwae", samples=3, pseudo_inputs=2)),
        *on_pictures(labels=False, shape=SMALL),
    ),
    "gan, R1, batch normalization": (
        lambda: regularized(gan(r1=1.0)),
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
    "transfer, parameter groups": transfer,
    "fit, average, one-cycle, class weights": fitted,
    "fit, average, plateau, early stopping": functools.partial(fitted, plateau=True),
}


@functools.cache
def train(strategy, case):
    if callable(CASES[case]):
        return CASES[case](strategy)
    build, batches_of, validation = CASES[case]
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = build()
        training.patch_for_replicas(model)
    history = model.fit(
        batches_of(strategy.num_replicas_in_sync),
        validation_data=validation(),
        shuffle=False,
        verbose=0,
    )
    figures = {name: values[-1] for name, values in history.history.items()}
    return Outcome(everything(model), figures, {})


def everything(model):
    optimizers = [model.optimizer, *getattr(model, "further_optimizers", {}).values()]
    return [*model.variables, *(v for each in optimizers for v in each.variables)]


def copies_of(strategy, variable):
    return [copy.numpy() for copy in strategy.experimental_local_results(variable.value)]


def distance(one, other):
    return float(np.max(np.abs(np.subtract(one, other, dtype="float64")), initial=0))


def differences(strategies, case, count):
    """Of the same training on one device and on `count`."""
    one, strategy = train(strategies[1], case), strategies[count]
    several = train(strategy, case)
    pairs = list(zip(one.variables, several.variables, strict=True))
    assert [a.shape for a, _ in pairs] == [b.shape for _, b in pairs]
    assert one.figures.keys() == several.figures.keys(), (one.figures, several.figures)
    held = [copies_of(strategy, b) for _, b in pairs]
    return {
        "case": case,
        "devices": count,
        "weights": max(distance(a, b) for a, b in pairs),
        "figures": max(
            abs(several.figures[name] - value) / max(abs(value), 1.0)
            for name, value in one.figures.items()
        ),
        "replicas": max(distance(copies[0], copy) for copies in held for copy in copies),
        "facts": [one.facts, several.facts],
    }


class Die(keras.callbacks.Callback):
    """After that many steps: as `end` says."""

    def __init__(self, step, end):
        super().__init__()
        self.left, self.end = step, end

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.end()


def die(directory, variant):
    """The training of `resumed` up to its end: a SIGKILL."""
    with training.open_run("fit", Config(directory)) as run:
        kill = Die(DIE_AT, lambda: os.kill(os.getpid(), signal.SIGKILL))
        fitted(training.strategy("cpu:2"), variant == "noisy", run=run, callbacks=[kill])
    raise SystemExit("it has not been killed")


def resumed(strategies, variant, killed):
    """Two devices: a training that was killed and repeated, against one that was not."""
    noisy = variant == "noisy"
    with training.open_run("fit", Config(tempfile.mkdtemp())) as run:
        expected = fitted(strategies[2], noisy, run=run)
        uninterrupted = states.load_newest(run.checkpoints)[0].arrays
    steps = Die(0, None)
    with training.open_run("fit", Config(killed)) as run:
        newest = max(path.stem for path in run.checkpoints.glob("state-*"))
        again = fitted(strategies[2], noisy, run=run, callbacks=[steps])
        state = states.load_newest(run.checkpoints)[0].arrays
    pairs = zip(expected.variables, again.variables, strict=True)
    return {
        "case": f"resumed, {variant}",
        "newest": int(newest.removeprefix("state-")),
        "steps": -steps.left,
        "same bits": all(
            np.array_equal(*(copies_of(strategies[2], each) for each in pair)) for pair in pairs
        ),
        "same rows": again.figures == expected.figures and again.facts == expected.facts,
        # The last one's: what each device has by itself is nowhere else.
        "same checkpoint": state.keys() == uninterrupted.keys()
        and all(np.array_equal(state[name], value) for name, value in uninterrupted.items()),
        "copies": sum(name.startswith("copies/") for name in state),
    }


def dropout_masks(strategy):
    """What the layers of a mended model drop on each device, twice."""
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.Input((50,)), keras.layers.Dropout(0.5, seed=1)])
        model.compile("sgd", "mse")
    training.patch_for_replicas(model)
    training.patch_for_replicas(model)  # twice is as good as once

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
        training.patch_for_replicas(model)
    except ValueError as error:
        return str(error)
    return "accepted"


def saved(strategy):
    """The class under which a mended model is saved, and how far the loaded one is from it."""
    with strategy.scope():
        model = CASES["cnn, batch normalization"][0]()
        training.patch_for_replicas(model)
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
    training.patch_for_replicas(model)
    before = model.get_weights()[0]
    x = np.array([[1.0], [1.0], [1.0], [1e30]], "float32")
    model.fit(tf.data.Dataset.from_tensors((x, np.zeros_like(x))), verbose=0)
    moved = float(np.max(np.abs(model.get_weights()[0] - before)))
    return {"weights": moved, "scale": float(model.optimizer.dynamic_scale.numpy())}


def checks(strategies):
    strategy = strategies[LARGEST]
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


def brighter(images, seed):
    """An augmentation of one's own: each picture by a number of its own."""
    more = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed, 0, 20)
    return tf.cast(images, tf.float32) + more


AUGMENTED = {
    "resized crop": {"resized_crop": 0.25},
    "jitter": {"jitter": 0.4},
    "RandAugment": {"randaugment": 9.0},
    "own": {"own": data.OwnAugmentation(brighter)},
    "all": {"resized_crop": 0.25, "jitter": 0.4, "randaugment": 9.0, "mixup": 0.4},
}


def augmented(strategies):
    """The batches of one device, and those of two put together, compared bit by bit."""
    images = np.random.default_rng(0).integers(0, 256, (16, 6, 6, 3)).astype(np.uint8)
    split = data.Split(np.arange(16, dtype=np.int32), lambda rows: rows)
    exact, found = np.eye(16, dtype=np.float32), {}
    for name, settings in AUGMENTED.items():
        augmentation = data.Augmentation(**settings)

        def prepare(rows, labels, seed, augmentation=augmentation):
            return augmentation(tf.gather(images, rows), tf.gather(exact, labels), seed)

        batches = data.TrainingBatches(split, 8, seed=3, prepare=prepare)
        one = list(batches.dataset(0, 2))
        shared = strategies[2].experimental_distribute_dataset(batches.dataset(0, 2))
        two = [
            [tf.concat(strategies[2].experimental_local_results(part), 0) for part in batch]
            for batch in shared
        ]
        found[name] = {
            "batches": len(one),
            "same bits": len(one) == len(two)
            and all(
                np.array_equal(a, b)
                for pair in zip(one, two, strict=True)
                for a, b in zip(*pair, strict=True)
            ),
        }
    return {"case": "augmented", **found}


FURTHER = {
    "resumed, noisy": lambda strategies, killed: resumed(strategies, "noisy", killed),
    "resumed, plain": lambda strategies, killed: resumed(strategies, "plain", killed),
    "checks": lambda strategies, count: checks(strategies),
    "augmented": lambda strategies, count: augmented(strategies),
}


def answer(strategies, case, count):
    if case in FURTHER:
        return FURTHER[case](strategies, count)
    return differences(strategies, case, count)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--die"]:
        die(*sys.argv[2:])
    strategies = {4: training.strategy("cpu:4")}
    # TensorFlow's own way to have several in one test: else their messages would be mixed up.
    tf.distribute.MirroredStrategy._collective_key_base = 100_000
    strategies[2] = training.strategy("cpu:2")
    strategies[1] = tf.distribute.get_strategy()
    part = "".join(sys.argv[1:2])
    named = [(name, count) for name in CASES for count in (2, 4) if count == 2 or name in BY_FOUR]
    named += [("checks", 2), ("augmented", 2)]
    named = [case for case in named if part in case[0]]
    for case, count in map(json.loads, sys.stdin) if part == "--serve" else named:
        print(json.dumps(answer(strategies, case, count)), flush=True)
