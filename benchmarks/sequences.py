"""Recurrent networks on sets of the UCR and UEA archives and on rows of Fashion-MNIST.

    python benchmarks/sequences.py                         all rows of ROWS (about an hour)
    python benchmarks/sequences.py --only GunPoint-rnn

Of a few candidates the one with the best cross-validation inside the training split is taken (three
folds, fewer steps; the lower loss decides, because a fold has few series). It is then trained on
all training series for a fixed number of steps, from five seeds, and the weights of the last step
are tested: neither an epoch nor a setting is chosen by test figures. Every row goes into
benchmarks/results/sequences.json when it is there.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from scipy import special
from sklearn.model_selection import StratifiedKFold

from kapps import data, files, losses, models, training

RESULTS = pathlib.Path(__file__).parent / "results" / "sequences.json"
MILD = {"window": 0.1, "warp": 0.3, "scale": 0.1, "jitter": 0.03}
FAINT = {"scale": 0.1, "jitter": 0.03}
STRONG = {"window": 0.2, "warp": 0.6, "scale": 0.2, "jitter": 0.1}
STACK = {"units": (64, 64), "bidirectional": True, "residual": True, "dropout": 0.2}


def recurrent(frame: int, steps: int, target: float, tried: int = 3, fold_steps: int = 300):
    """A row of recurrent layers alone, on frames of so many steps; the first few are tried."""
    return {
        "builder": models.rnn,
        "candidates": [
            {**STACK, "frame": frame, "pooling": "mean", "augmentation": MILD},
            {**STACK, "frame": frame, "pooling": "last", "augmentation": MILD},
            {**STACK, "frame": frame, "pooling": "mean", "augmentation": STRONG},
        ][:tried],
        "fold_steps": fold_steps,
        "steps": steps,
        "batch_size": 32,
        "target": target,
    }


def beside_convolutions(shuffle_steps: int, steps: int, target: float) -> dict:
    """A row of LSTM-FCN; what is tried differs in the augmentation alone."""
    return {
        "builder": models.rnn_fcn,
        "candidates": [
            {"units": 8, "shuffle_steps": shuffle_steps, "augmentation": strengths}
            for strengths in (MILD, FAINT, {})
        ],
        "fold_steps": 400,
        "steps": steps,
        "batch_size": 16,
        "target": target,
    }


# Name of the set and of the network: what is tried, how long it is trained, what is hoped for.
ROWS = {
    "GunPoint-rnn": recurrent(10, 800, 0.97),
    "ItalyPowerDemand-rnn": recurrent(1, 800, 0.96),
    "JapaneseVowels-rnn": recurrent(1, 500, 0.975, tried=2, fold_steps=150),
    "BasicMotions-rnn": recurrent(5, 400, 0.97, tried=2, fold_steps=150),
    "ArrowHead-rnn": recurrent(10, 600, 0.75, tried=2, fold_steps=200),
    "ItalyPowerDemand-lstm_fcn": beside_convolutions(24, 1500, 0.96),
    "GunPoint-lstm_fcn": beside_convolutions(150, 500, 0.99),
    "ArrowHead-lstm_fcn": beside_convolutions(251, 1500, 0.84),
    # 28 rows of 28 pixels; 4,000 steps are eight and a half epochs. One seed takes as long as all
    # five of a small set: --seeds 1.
    "fashion_mnist-rnn": {
        "builder": models.rnn,
        "candidates": [
            {"units": (128,), "bidirectional": True, "dropout": 0.2, "augmentation": {}}
        ],
        "steps": 4000,
        "batch_size": 128,
        "target": 0.90,
    },
}
FOLDS, RATE = 3, 3e-3


class Network:
    """One network and its graph, trained again and again from the weights of another seed."""

    def __init__(self, row, arguments, train, classes):
        self.row, self.classes = row, classes
        self.arguments = dict(arguments)
        strengths = self.arguments.pop("augmentation")
        self.mean, self.std = data.sequence_statistics(train)
        self.augment = data.SeriesAugmentation(**strengths, std=tuple(self.std.tolist()))
        self.model = self._built(0)
        self.ask = tf.function(lambda x: self.model(x, training=False))

    def _built(self, seed):
        keras.utils.set_random_seed(seed)
        return self.row["builder"](
            len(self.mean),
            self.classes,
            feature_mean=self.mean.tolist(),
            feature_std=self.std.tolist(),
            **self.arguments,
        )

    def logits(self, x, y, unseen, steps, seed):
        """Train on x, y for so many steps; the logits of unseen series."""
        self.model.set_weights(self._built(seed).get_weights())
        if getattr(self, "steps", None) != steps:  # the schedule is part of the graph
            self.steps = steps
            self.model.compile(
                training.optimizer(
                    "adamw",
                    training.learning_rate_schedule("one-cycle", RATE, steps=steps),
                    momentum_schedule=training.momentum_cycle(steps),
                    weight_decay=0.01,
                    global_clipnorm=1.0,
                ),
                loss=losses.softmax_cross_entropy,
            )
        for variable in self.model.optimizer.variables:  # the count of steps, and all averages
            variable.assign(np.zeros(variable.shape, variable.dtype))
        count, size = len(x), self.row["batch_size"]
        values = tf.constant(x)
        targets = data.smooth(tf.one_hot(y, self.classes), 0.1)

        def load(rows, key):
            chosen = self.augment(tf.gather(values, rows % count), key)
            return tf.ensure_shape(chosen, [size, *x.shape[1:]]), tf.gather(targets, rows % count)

        passes = -(-steps * size // count) + 1
        batches = data.IndexedBatches(count * passes, size, seed=seed, load=load)
        self.model.fit(batches.dataset(0, 1).take(steps), steps_per_epoch=steps, verbose=0)
        parts = [unseen[i : i + 256] for i in range(0, len(unseen), 256)]
        return np.concatenate([self.ask(tf.constant(part)).numpy() for part in parts])


def cross_validated(row, candidate, train, classes) -> tuple[float, float]:
    """Accuracy and loss over the folds of the training split."""
    network = Network(row, candidate, train, classes)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    right, nats = 0, 0.0
    for seed, (rest, fold) in enumerate(folds.split(train.labels, train.labels)):
        x, y = train.values[rest], train.labels[rest]
        found = network.logits(x, y, train.values[fold], row["fold_steps"], seed)
        right += np.sum(found.argmax(1) == train.labels[fold])
        log_p = special.log_softmax(found.astype(float), axis=1)
        nats -= log_p[np.arange(len(fold)), train.labels[fold]].sum()
    return float(right / len(train)), float(nats / len(train))


def measure(name: str, seeds: int) -> dict:
    """All there is to say about one row."""
    row, start = ROWS[name], time.monotonic()
    series = data.load_sequences(name.split("-")[0], validation_fraction=0)
    train, test = series.splits["train"], series.splits["test"]
    tried = []
    for candidate in row["candidates"] if len(row["candidates"]) > 1 else ():
        accuracy, loss = cross_validated(row, candidate, train, series.classes)
        tried.append({**candidate, "cv_accuracy": accuracy, "cv_loss": loss})
        print(name, tried[-1], flush=True)
    best = int(np.argmin([one["cv_loss"] for one in tried])) if tried else 0
    chosen = row["candidates"][best]
    network = Network(row, chosen, train, series.classes)
    accuracies = []
    for seed in range(seeds):
        found = network.logits(train.values, train.labels, test.values, row["steps"], seed)
        accuracies.append(float(np.mean(found.argmax(1) == test.labels)))
        print(name, seed, accuracies[-1], flush=True)
    return {
        "mean": float(np.mean(accuracies)),
        "standard_deviation": float(np.std(accuracies, ddof=1)) if seeds > 1 else None,
        "accuracies": accuracies,
        "target": row["target"],
        "reached": bool(np.mean(accuracies) >= row["target"]),
        "chosen": chosen,
        "tried": tried,
        "steps": row["steps"],
        "fold_steps": row.get("fold_steps"),
        "batch_size": row["batch_size"],
        "learning_rate": RATE,
        "parameters": network.model.count_params(),
        "train_series": len(train),
        "test_series": len(test),
        "seconds": time.monotonic() - start,
    }


def main() -> None:
    """Rows by name, each written when it is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    for name in options.only:
        found = measure(name, options.seeds)
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": {}}
        known |= {
            "measured_alone": False,
            "machine": training.machine(),
            "versions": training.versions(),
        }
        known["rows"][name] = found
        files.write_json(RESULTS, known)
        print(f"{name}: {found['mean']:.2%} +- {found['standard_deviation']}", flush=True)


if __name__ == "__main__":
    main()
