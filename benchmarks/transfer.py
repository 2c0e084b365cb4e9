"""Transfer learning: what it is worth with few pictures, and what a cache of features saves.

    python benchmarks/transfer.py classes
    python benchmarks/transfer.py cache

classes: Fashion-MNIST, five classes to learn from beforehand (another five for every seed) and the
other five to adapt to, with 10, 50 and 200 pictures of each. The same small CNN from scratch, and
after pre-training: a linear probe, then fine-tuning of all stages. Pre-training also learns which
way up a picture is: a class turned by 90, 180 or 270 degrees is another class (Lee et al. 2020,
arXiv:1910.05872), so five classes teach as twenty. Beside it a linear probe on EfficientNet-Lite0
with ImageNet weights.

Every training has a fixed length and no validation: the test pictures (500 of each class) choose
nothing. Settings were chosen on other divisions into classes, those of the seeds 100 and 101 (with
200 pictures: 101 alone), by the accuracy on 500 training pictures of each class that no training
draws from: from scratch two rates at each size, and 40 epochs or more with 10 and 50; fine-tuning
two or three rates; quarter turns or none by a probe (seed 100). The rates of pre-training and of
the probe are older, chosen on the division of seed 100 and 300 test pictures of each class of it.

cache: the recipe's probe of ten epochs at 160x160, with cached features and without.

Writes benchmarks/results/transfer_classes.json and transfer_cache.json.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import pathlib
import sys
import tempfile
import time
from typing import Literal

import keras
import numpy as np
import tensorflow as tf
import tyro

from kapps import data, files, losses, models, training
from kapps.command_line import call
from kapps.data.images.files import decode
from kapps.models.pretrained import transfer

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
from recipes import transfer_learning  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / "results"
SHOTS = (10, 50, 200)
POOL, TESTED = 400, 500  # pictures of a class that trainings draw from, and that they are tested on
TURNS = 4  # of the pictures to learn from beforehand, as classes of their own
PRETRAIN_EPOCHS, PROBE_EPOCHS = 4, 30
SCRATCH_EPOCHS, TUNE_EPOCHS = {10: 120, 50: 40, 200: 40}, {10: 40, 50: 40, 200: 40}
BATCH, PRETRAIN_RATE, PROBE_RATE, SCRATCH_RATE = 32, 3e-3, 0.05, 1e-2
TUNE_RATE = {10: 2e-3, 50: 1e-2, 200: 1e-2}
SIDE = 64  # of the pictures that EfficientNet-Lite0 sees


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured."""

    what: tyro.conf.Positional[Literal["classes", "cache"]]
    """one of the two"""
    seeds: int = 5
    """classes: how often"""
    networks: str = ""
    """classes: a folder to keep pre-trained networks in, and to take them from"""
    pictures: int = 360
    """cache: of the data set that is made for it"""
    tiny: bool = False
    """does it run at all? One seed, an epoch each; nothing is written"""


def main(config: Config) -> None:
    """Measure, print, write."""
    if config.tiny:
        make_tiny()
        config = dataclasses.replace(config, seeds=1, pictures=48)
    if config.what == "classes":
        result = classes(config.seeds, config.networks)
    else:
        result = cache(config.pictures)
    if config.tiny:
        return
    about = {
        "machine": training.machine(),
        "shared_machine": "other work ran beside it: trust ratios, not seconds",
        "versions": training.versions(),
    }
    files.write_json(RESULTS / f"transfer_{config.what}.json", about | result)


def make_tiny() -> None:
    """An epoch of everything, on few pictures."""
    global POOL, TESTED, PRETRAIN_EPOCHS, PROBE_EPOCHS, SHOTS
    POOL, TESTED, PRETRAIN_EPOCHS, PROBE_EPOCHS, SHOTS = 40, 10, 1, 1, SHOTS[:1]
    SCRATCH_EPOCHS.update(dict.fromkeys(SHOTS, 1))
    TUNE_EPOCHS.update(dict.fromkeys(SHOTS, 1))


def classes(seeds: int, networks: str) -> dict:
    """The table of accuracies, with each seed's."""
    clothes = data.load("fashion_mnist")
    train, test = (clothes.splits[name] for name in ("train", "test"))
    pool = {c: np.flatnonzero(train.labels == c)[:POOL] for c in range(10)}
    tested = {c: np.flatnonzero(test.labels == c)[:TESTED] for c in range(10)}
    looked = {
        "train": imagenet_features(train, np.concatenate(list(pool.values()))),
        "test": imagenet_features(test, np.concatenate(list(tested.values()))),
    }
    found = {name: {shots: [] for shots in SHOTS} for name in METHODS}
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(10)
        before, after = order[:5], order[5:]
        begin = time.perf_counter()
        backbone = pretrained(train, before, seed, networks)
        seconds = time.perf_counter() - begin
        print(f"seed {seed}: pre-trained on {sorted(before.tolist())} in {seconds:.0f} s")
        x_test = test.take(np.concatenate([tested[c] for c in after]))
        features_test = np.concatenate(
            [looked["test"][c * TESTED : (c + 1) * TESTED] for c in after]
        )
        y_test = np.repeat(np.arange(5), TESTED)
        for shots in SHOTS:
            rng = np.random.default_rng((seed, shots))
            chosen = [rng.choice(POOL, shots, replace=False) for _ in after]
            rows = np.concatenate([pool[c][i] for c, i in zip(after, chosen, strict=True)])
            y = np.repeat(np.arange(5), shots)
            x = train.take(rows)
            features = np.concatenate(
                [looked["train"][c * POOL + i] for c, i in zip(after, chosen, strict=True)]
            )
            training.seed_everything(seed)
            scratch = network(5)
            fit(scratch, x, y, SCRATCH_EPOCHS[shots], SCRATCH_RATE, seed, augment=True)
            found["scratch"][shots].append(accuracy(scratch, x_test, y_test))
            probe, tuned = adapted(backbone, x, y, shots, seed, x_test, y_test)
            found["probe"][shots].append(probe)
            found["probe_and_fine_tuning"][shots].append(tuned)
            head = keras.Sequential([keras.Input(features.shape[1:]), keras.layers.Dense(5)])
            fit(head, features, y, 2 * PROBE_EPOCHS, PROBE_RATE, seed)
            found["imagenet_probe"][shots].append(accuracy(head, features_test, y_test))
            print(shots, {name: round(values[shots][-1], 4) for name, values in found.items()})
        keras.backend.clear_session()
    table = {
        str(shots): {
            name: {
                "mean": float(np.mean(v[shots])),
                "sd": float(np.std(v[shots], ddof=min(1, seeds - 1))),
            }
            for name, v in found.items()
        }
        for shots in SHOTS
    }
    for shots, row in table.items():
        print(shots, {name: f"{v['mean']:.2%} +- {v['sd']:.2%}" for name, v in row.items()})
    settings = {
        "pretrain_epochs": PRETRAIN_EPOCHS,
        "scratch_epochs": SCRATCH_EPOCHS,
        "probe_epochs": PROBE_EPOCHS,
        "fine_tune_epochs": TUNE_EPOCHS,
        "turns": TURNS,
        "learning_rates": {
            "pretraining": PRETRAIN_RATE,
            "scratch": SCRATCH_RATE,
            "probe": PROBE_RATE,
            "fine_tuning": TUNE_RATE,
        },
        "parameters": network(5).count_params(),
    }
    each = {name: {str(s): v[s] for s in SHOTS} for name, v in found.items()}
    return {"settings": settings, "seeds": seeds, "table": table, "each": each}


METHODS = ("scratch", "probe", "probe_and_fine_tuning", "imagenet_probe")


def network(outputs: int) -> keras.Model:
    """A plain CNN with three stages of one convolution."""
    return models.cnn((28, 28, 1), outputs, filters=(32, 64, 128), convs_per_stage=1)


def pretrained(train: data.Split, chosen, seed: int, folder: str) -> keras.Model:
    """The CNN's features, after it has learned to tell five classes and which way up they are."""
    kept = pathlib.Path(folder, f"pretrained_{seed}.keras")
    if folder and kept.exists():
        return keras.models.load_model(kept, compile=False)
    training.seed_everything(seed)
    rows = np.flatnonzero(np.isin(train.labels, chosen))
    rows = rows[: POOL * 15]  # as many as there are, but for a tiny one
    labels = np.argsort(np.argsort(chosen))[np.searchsorted(np.sort(chosen), train.labels[rows])]
    model = network(5 * TURNS)
    how = {"augment": True, "batch": 128, "turns": TURNS}
    fit(model, train.take(rows), labels, PRETRAIN_EPOCHS, PRETRAIN_RATE, seed, **how)
    features = keras.Model(model.input, model.get_layer("global_pool").input, name="small_cnn")
    if folder:
        kept.parent.mkdir(parents=True, exist_ok=True)
        features.save(kept)
    return features


def adapted(pretrained, x, y, shots, seed, x_test, y_test) -> tuple[float, float]:
    """Test accuracy of the probe, and after fine-tuning."""
    backbone = keras.models.clone_model(pretrained)
    backbone.set_weights(pretrained.get_weights())
    stages = {
        name: [layer for layer in backbone.layers if layer.name.startswith(name) and layer.weights]
        for name in ("stage1", "stage2", "stage3")
    }
    training.seed_everything(seed)
    model = models.transfer_classifier(backbone, 5, dropout=0.0)
    transfer.unfreeze(model, stages)
    head = transfer.head_of(model)
    both = np.concatenate([x, x[:, :, ::-1]])  # mirrored, too: features of a shoe know its side
    features = transfer.features_of(model).predict(both, verbose=0)
    fit(head, features, np.tile(y, 2), PROBE_EPOCHS, PROBE_RATE, seed)
    transfer.set_head(model, head)
    probe = accuracy(model, x_test, y_test)
    transfer.unfreeze(model, stages, tuple(stages))
    factors = training.decaying_factors(tuple(stages), 0.7)
    factors = training.rate_factors(model, stages, factors)
    fit(model, x, y, TUNE_EPOCHS[shots], TUNE_RATE[shots], seed, augment=True, factors=factors)
    return probe, accuracy(model, x_test, y_test)


def fit(
    model, x, y, epochs, rate, seed, *, augment=False, batch=BATCH, factors=None, turns=1
) -> None:
    """One-cycle AdamW for a fixed number of epochs.

    With `turns` 4 a class turned by 90, 180 and 270 degrees is three classes more, and an epoch
    still has as many pictures as there are.
    """
    augmentation = data.Augmentation(flip=True, crop=0.1) if augment else data.Augmentation()
    exact, held = data.classification_targets(model.output_shape[-1]), tf.constant(x)
    labels = np.concatenate([y + 5 * turn for turn in range(turns)]).astype(np.int32)

    def prepare(rows, labels, seed):
        pictures, targets = augmentation(tf.gather(held, rows % len(x)), exact(labels), seed)
        if turns > 1:
            pictures = turned(pictures, rows // len(x))
        return pictures, targets

    split = data.Split(labels, lambda rows: rows)
    batches = data.TrainingBatches(split, batch, seed=seed, prepare=prepare)
    steps = epochs * batches.steps // turns
    model.compile(
        training.optimizer(
            "adamw",
            training.learning_rate_schedule("one-cycle", rate, steps=steps),
            momentum_schedule=training.momentum_cycle(steps),
            weight_decay=0.05,
            rate_factors=factors,
        ),
        losses.softmax_cross_entropy,
    )
    model.fit(batches.dataset(0, epochs), steps_per_epoch=steps, epochs=1, verbose=0)


def turned(pictures: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """Every picture by its own number of quarter turns."""
    every = tf.stack([tf.image.rot90(pictures, k) for k in range(TURNS)], axis=1)
    return tf.ensure_shape(tf.gather(every, turns, batch_dims=1), pictures.shape)


def accuracy(model, x, y) -> float:
    """On pictures, or on features."""
    return float(np.mean(model.predict(x, batch_size=500, verbose=0).argmax(axis=-1) == y))


def imagenet_features(split: data.Split, rows) -> np.ndarray:
    """Of EfficientNet-Lite0, in the order of the rows."""
    backbone = models.backbone(input_shape=(SIDE, SIDE, 1))
    extractor = transfer.features_of(models.transfer_classifier(backbone, 5))
    lookup = tf.constant(rows, tf.int64)
    large = data.Split(
        split.labels[rows],
        lambda i: decode.fit(split.images(tf.gather(lookup, i)), (SIDE, SIDE, 1)),
    )
    return training.cached_features(extractor, large, None, {})[0]


def cache(pictures: int) -> dict:
    """Seconds of a probe's epochs with and without cached features, and both accuracies."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (6, 3))
    labels = np.arange(pictures) % 6
    noise = rng.normal(0, 80, (pictures, 20, 20, 3))
    small = np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8)
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        np.savez(f"{scratch}/data.npz", images=small, labels=labels)
        for name, cached in (("with", True), ("without", False)):
            config = transfer_learning.Config(
                dataset=f"npz:{scratch}/data.npz",
                image_size=160,
                epochs=10,
                fine_tune_epochs=0,
                augment=False,
                cache=cached,
                export=False,
                run_dir=f"{scratch}/{name}",
            )
            begin = time.perf_counter()
            # As long as it takes until the head is trained: features, epochs, validation.
            with contextlib.redirect_stdout(io.StringIO()):
                metrics, seconds = timed_probe(config)
            whole = time.perf_counter() - begin
            rows[name] = {
                "seconds": seconds,
                "seconds_with_report": whole,
                "test_accuracy": metrics["test_accuracy"],
                "probe_val_accuracy": metrics["probe_val_accuracy"],
            }
            print(name, rows[name])
    ratio = rows["without"]["seconds"] / rows["with"]["seconds"]
    print(f"{ratio:.1f} times as fast with cached features")
    return {"pictures": pictures, "image_size": 160, "epochs": 10, "rows": rows, "ratio": ratio}


def timed_probe(config) -> tuple[dict, float]:
    """The recipe's figures, and the seconds of its probe, features included."""
    begins, ends = [], []
    features, phase = transfer_learning.feature_batches, training.fit_phase

    def computed(*arguments, **settings):
        begins.append(time.perf_counter())
        return features(*arguments, **settings)

    def trained(*arguments, **settings):
        begins.append(time.perf_counter())
        history = phase(*arguments, **settings)
        ends.append(time.perf_counter())
        return history

    transfer_learning.feature_batches, training.fit_phase = computed, trained
    try:
        return call(transfer_learning, config), ends[0] - begins[0]
    finally:
        transfer_learning.feature_batches, training.fit_phase = features, phase


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
