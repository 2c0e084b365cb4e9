"""Learning curves, and what a sane person would say of them.

Each row: what it is, the labels that are right, why, the history, and what is known beside it.
`says` and `never` are pieces of the sentence that must be, and must not be, in it.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from kapps import evaluation

RESULTS = pathlib.Path(__file__).parents[3] / "benchmarks" / "results"


@dataclasses.dataclass(frozen=True)
class History:
    what: str
    labels: str
    """One, or several with | between."""
    why: str
    rows: list[dict[str, Any]]
    known: dict[str, Any]
    says: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    judge: Callable[..., Any] = evaluation.overfitting_verdict


def curve(points, epochs):
    """Straight lines through {epoch: value}; or a list, as it is."""
    if isinstance(points, dict):
        return np.interp(np.arange(1, epochs + 1), list(points), list(points.values()))
    return np.asarray(points, float)


def rows(epochs, *, noise=0.0, seed=0, learning_rate=None, running=0.01, **curves):
    """metrics.csv rows from {epoch: value} curves; `noise` is that of the validation loss."""
    rng = np.random.default_rng(seed)
    columns = {name: curve(points, epochs) for name, points in curves.items()}
    columns["val_loss"] = columns["val_loss"] + noise * rng.normal(size=epochs)
    columns.setdefault("loss", 1.2 * columns["train_loss"])
    if "train_accuracy" in columns:
        columns.setdefault("accuracy", columns["train_accuracy"] - running)
    columns["learning_rate"] = curve({1: 1e-3} if learning_rate is None else learning_rate, epochs)
    columns["epoch"] = np.arange(1, epochs + 1)
    return [{name: float(values[i]) for name, values in columns.items()} for i in range(epochs)]


def decay(first, last, epochs, rate):
    """An exponential from `first` towards `last`."""
    return last + (first - last) * np.exp(-rate * np.arange(epochs))


def benchmark(name, epochs=None):
    found = json.loads((RESULTS / f"{name}.json").read_text())["epochs"]
    return found[:epochs]


FASHION = dict(validation_examples=6000, train_examples=6000, baseline_accuracy=0.1)
DIGITS = dict(validation_examples=144, train_examples=1294, baseline_accuracy=0.11)
SMALL = dict(validation_examples=60, train_examples=240, baseline_accuracy=0.5)
BINARY = dict(validation_examples=500, train_examples=2000, baseline_accuracy=0.5)
RARE = dict(validation_examples=1000, train_examples=4000, baseline_accuracy=0.95)

NO_AUGMENTATION = dict(
    train_loss={1: 0.38, 3: 0.22, 7: 0.12, 14: 0.03, 20: 0.005},
    val_loss={1: 0.42, 3: 0.29, 7: 0.23, 14: 0.31, 20: 0.40},
    train_accuracy={1: 0.86, 7: 0.957, 14: 0.99, 20: 0.999},
    val_accuracy={1: 0.85, 7: 0.918, 20: 0.924},
)
AUGMENTED = dict(
    train_loss={1: 0.45, 5: 0.24, 12: 0.14, 20: 0.085},
    val_loss={1: 0.46, 5: 0.27, 12: 0.185, 17: 0.166, 20: 0.165},
    train_accuracy={1: 0.83, 5: 0.91, 20: 0.970},
    val_accuracy={1: 0.83, 5: 0.90, 20: 0.943},
    learning_rate={1: 1e-3, 20: 1e-6},
)
DIGITS_CNN = dict(
    train_loss={1: 1.2, 5: 0.15, 15: 0.012, 30: 0.003},
    val_loss={1: 1.25, 5: 0.2, 15: 0.062, 30: 0.051},
    train_accuracy={1: 0.7, 5: 0.97, 12: 1.0, 30: 1.0},
    val_accuracy={1: 0.68, 5: 0.95, 12: 0.983, 30: 0.986},
)
CONSTANT = dict(
    train_loss={1: 2.303}, val_loss={1: 2.303}, train_accuracy={1: 0.1}, val_accuracy={1: 0.1}
)
FLAT = dict(
    train_loss={1: 0.5, 5: 0.25}, val_loss={1: 0.5, 5: 0.3},
    train_accuracy={1: 0.8, 5: 0.92}, val_accuracy={1: 0.8, 5: 0.9},
)  # fmt: skip
FALLING = dict(
    train_loss={1: 0.8, 5: 0.4}, val_loss={1: 0.8, 5: 0.42},
    train_accuracy={1: 0.7, 5: 0.86}, val_accuracy={1: 0.7, 5: 0.85},
)  # fmt: skip
NOISY_LABELS = dict(
    train_loss={1: 2.2, 6: 1.876}, val_loss={1: 2.2, 6: 1.88},
    train_accuracy={1: 0.3, 6: 0.465}, val_accuracy={1: 0.3, 6: 0.46},
)  # fmt: skip

# The twelve of the issue, each as it was told.
ISSUE = [
    History(
        "class weights: balanced accuracy fine, accuracy under the base rate", "well fitted",
        "It finds the rare class, and pays with false positives, as it was told to.",
        rows(12, train_loss={1: 0.6, 8: 0.3}, val_loss={1: 0.6, 8: 0.31},
             train_accuracy={1: 0.7, 8: 0.90}, val_accuracy={1: 0.7, 8: 0.895}),
        RARE | dict(weighted=True, balanced_accuracy=0.88, classes=2),
        ("balanced accuracy", "88.0 %"), ("not learned",),
    ),
    History(
        "the same, balanced accuracy unknown", "cannot tell",
        "An accuracy under the base rate is what class weights make, and what failure makes.",
        rows(12, train_loss={1: 0.6, 8: 0.3}, val_loss={1: 0.6, 8: 0.31},
             train_accuracy={1: 0.7, 8: 0.90}, val_accuracy={1: 0.7, 8: 0.895}),
        RARE | dict(weighted=True),
        ("balanced accuracy",), ("not learned",),
    ),
    History(
        "training and validation loss both rising", "unstable",
        "Over-fitting lowers the training loss; this raises it.",
        rows(15, train_loss={1: 0.9, 4: 0.30, 15: 0.40}, val_loss={1: 0.9, 4: 0.32, 15: 0.42},
             train_accuracy={1: 0.7, 4: 0.90, 15: 0.86}, val_accuracy={1: 0.7, 4: 0.89, 15: 0.855}),
        FASHION, ("loss rose on training examples",), ("fits well",),
    ),
    History(
        "memorized by epoch 3 with tiny losses, validation up 67 %", "over-fitted",
        "The training loss wobbles around nothing; only validation got worse.",
        rows(20, train_loss=[0.5, 0.01, 1e-5, *np.linspace(1.2e-5, 3e-5, 17)],
             val_loss={1: 0.6, 3: 0.30, 15: 0.50},
             train_accuracy={1: 0.85, 2: 0.999, 3: 1.0}, val_accuracy={1: 0.80, 3: 0.92}),
        DIGITS | dict(validation_examples=400),
        ("67 %",), ("unstable",),
    ),
    History(
        "fine-tuning whose loss goes from 0.05 to 0.16 at 95 %", "unstable",
        "Fine-tuning made a good network somewhat worse; it still knows nearly everything.",
        rows(8, train_loss={1: 0.05, 8: 0.16}, val_loss={1: 0.06, 8: 0.17},
             train_accuracy={1: 0.985, 8: 0.95}, val_accuracy={1: 0.98, 8: 0.947}),
        FASHION, ("epoch 1",), ("diverged",),
    ),
    History(
        "loss 1e6 to 1e5 at chance accuracy", "not learned",
        "Falling, but a guess costs 2.3 nats: nothing has been learned.",
        rows(10, train_loss={1: 1e6, 10: 1e5}, val_loss={1: 1e6, 10: 1e5},
             train_accuracy={1: 0.1}, val_accuracy={1: 0.1}),
        FASHION, ("far above", "scaled"), ("too early", "more epochs"),
    ),
    History(
        "a gap of 34 points, validation loss still falling", "over-fitted",
        "More epochs help a little; the gap is what is wrong.",
        rows(10, train_loss={1: 1.6, 10: 0.08}, val_loss={1: 1.9, 10: 1.2}, running=0.2,
             train_accuracy={1: 0.45, 10: 0.99}, val_accuracy={1: 0.40, 10: 0.65}),
        FASHION, ("34.0 points", "still falling"), ("stopped too early",),
    ),
    History(
        "100 epochs that fall by 1.2 % each to the end", "still improving",
        "A quarter of a hundred epochs brings 26 %.",
        rows(100, train_loss=2.0 * 0.988 ** np.arange(100), val_loss=2.05 * 0.988 ** np.arange(100),
             train_accuracy={1: 0.3, 100: 0.80}, val_accuracy={1: 0.3, 100: 0.795}),
        FASHION, ("more epochs",), ("fits well",),
    ),
    History(
        "60 % label noise at its ceiling, which is known", "well fitted",
        "0.4 + 0.6 / 10 is all there is.",
        rows(15, **NOISY_LABELS), FASHION | dict(ceiling=0.46),
        ("46.0 %", "better labels"), ("larger network",),
    ),
    History(
        "60 % label noise at its ceiling, which is unknown", "plateau",
        "Too small a network looks the same: the curves cannot tell.",
        rows(15, **NOISY_LABELS), FASHION,
        ("cannot say", "wrong labels"), ("it has not even learned",),
    ),
    History(
        "validation from another source", "validation differs",
        "The gap was there before anything could be learned by heart, and did not grow.",
        rows(15, train_loss={1: 0.5, 8: 0.12}, val_loss={1: 1.4, 8: 1.2},
             train_accuracy={1: 0.85, 8: 0.96}, val_accuracy={1: 0.58, 8: 0.70}),
        FASHION, ("after the first epoch", "one source"), ("knows its", "dropout"),
    ),
    History(
        "NaN accuracy with finite loss", "cannot tell",
        "A broken metric says nothing; the loss is fine.",
        rows(10, train_loss={1: 1.0, 10: 0.2}, val_loss={1: 1.0, 10: 0.25},
             train_accuracy={1: np.nan}, val_accuracy={1: np.nan}),
        FASHION, ("not a number", "metric"), ("diverged",),
    ),
    History(
        "training loss 5.9e-5, validation 0.094, best epoch 4 of 60", "slightly over-fitted",
        "It knows the training examples by heart, and 56 epochs gained nothing.",
        rows(60, train_loss=[0.6, 0.2, 0.1, 0.05, *np.geomspace(0.03, 5.9e-5, 56)],
             val_loss={1: 0.7, 4: 0.090, 60: 0.094},
             train_accuracy={1: 0.85, 4: 0.985, 8: 1.0}, val_accuracy={1: 0.82, 4: 0.972}),
        DIGITS | dict(validation_examples=360),
        ("epoch 4", "not help"), ("longer schedule", "fits well"),
    ),
    History(
        "372 training images: training 98 %, validation 88 %, test 77 %", "over-fitted",
        "21 points between what it was trained on and what counts.",
        rows(20, train_loss={1: 1.2, 20: 0.10}, val_loss={1: 1.2, 12: 0.42}, running=0.2,
             train_accuracy={1: 0.6, 20: 0.98}, val_accuracy={1: 0.58, 12: 0.87, 20: 0.88}),
        dict(validation_examples=92, train_examples=372, baseline_accuracy=0.25,
             test_accuracy=0.77, test_examples=116),
        ("77.0 %", "lower than on validation"), ("fits well",),
    ),
]  # fmt: skip

FROM_BENCHMARKS = [
    History(
        "Fashion-MNIST without augmentation, 20 epochs", "over-fitted",
        "Every training example is right, 93 % of others; loss up by a third, accuracy up as well.",
        benchmark("fashion_mnist_resnet_20_epochs_no_augmentation_seed0"), FASHION,
        ("epoch 19", "From epoch 7 on it became over-confident", "still rose",
         "from 91.6 %"),
        ("stop near",),
    ),
    History(
        "the same, the weights of epoch 6 kept", "slightly over-fitted",
        "3.5 points at epoch 6; what came later is the path.",
        benchmark("fashion_mnist_resnet_20_epochs_no_augmentation_seed0"),
        FASHION | dict(kept=6), ("(epoch 6)", "91.6 %"),
    ),
    History(
        "Fashion-MNIST with augmentation, 20 epochs", "well fitted",
        "Three points apart, and nothing rose.",
        benchmark("fashion_mnist_resnet_20_epochs_seed0"), FASHION, ("longer schedule",),
    ),
    History(
        "its first five epochs", "still improving", "Everything falls, at a high learning rate.",
        benchmark("fashion_mnist_resnet_20_epochs_seed0", 6), FASHION,
    ),
    History(
        "5 epochs of one cycle", "well fitted", "Annealed, and one point apart.",
        benchmark("fashion_mnist_resnet_5_epochs_seed0"), FASHION,
    ),
    History(
        "MLP, 60 epochs", "well fitted", "Two points and a half apart, annealed.",
        benchmark("fashion_mnist_mlp_seed0"), FASHION,
    ),
    History(
        "small CNN, 20 epochs", "well fitted", "One point apart, annealed.",
        benchmark("fashion_mnist_cnn_seed0"), FASHION,
    ),
    History(
        "small CNN, two epochs", "too short to say", "Two points lie on every line.",
        benchmark("fashion_mnist_cnn_seed0", 2), FASHION,
    ),
]  # fmt: skip

BY_HAND = [
    History("no augmentation", "over-fitted", "7.5 points and +67 %.",
            rows(20, **NO_AUGMENTATION), FASHION, ("7.5 points",)),
    History("the same, noisy", "over-fitted", "Noise does not hide it.",
            rows(20, noise=0.02, **NO_AUGMENTATION), FASHION),
    History("augmented", "well fitted", "2.7 points, both losses fall.",
            rows(20, **AUGMENTED), FASHION),
    History("augmented, noisy", "well fitted", "Noise is no rise.",
            rows(20, noise=0.008, **AUGMENTED), FASHION),
    History("digits, both losses falling", "well fitted", "1.4 points, and all is learned.",
            rows(30, **DIGITS_CNN), DIGITS),
    History("digits, noisy", "well fitted", "The same.",
            rows(30, noise=0.005, **DIGITS_CNN), DIGITS),
    History("constant classifier", "not learned", "10 % of ten classes.",
            rows(10, **CONSTANT), FASHION, ("10.0 %",), ("fits well", "by heart")),
    History("constant classifier, noisy", "not learned", "The same.",
            rows(10, noise=0.02, **CONSTANT), FASHION),
    History("chance, the loss falls slowly", "not learned", "Falling below 2.30 is a beginning.",
            rows(10, train_loss={1: 2.31, 10: 2.1}, val_loss={1: 2.31, 10: 2.1},
                 train_accuracy={1: 0.1, 10: 0.12}, val_accuracy={1: 0.1, 10: 0.105}),
            FASHION, ("still falling",)),
    History("flat noise for 100 epochs", "well fitted", "Noise alone.",
            rows(100, noise=0.03, **FLAT), FASHION),
    History("slow rise under noise", "slightly over-fitted|over-fitted", "40 % over 52 epochs.",
            rows(60, noise=0.03, **FLAT | {
                "val_loss": {1: 0.5, 8: 0.3, 60: 0.42}, "train_loss": {1: 0.5, 60: 0.1},
                "train_accuracy": {1: 0.8, 60: 0.96}}), FASHION),
    History("slight rise", "slightly over-fitted", "11 % and 2.7 points.",
            rows(20, **AUGMENTED | {"val_loss": {1: 0.46, 12: 0.18, 20: 0.20}}), FASHION),
    History("large gap, flat validation loss", "over-fitted", "19 points.",
            rows(15, **FLAT | {"train_accuracy": {1: 0.7, 15: 0.99},
                               "val_accuracy": {1: 0.7, 5: 0.79, 15: 0.8},
                               "train_loss": {1: 0.8, 15: 0.05}, "val_loss": {1: 0.9, 8: 0.6}}),
            FASHION),
    History("seven points, flat validation loss", "slightly over-fitted", "Surely five.",
            rows(15, **FLAT | {"train_accuracy": {1: 0.8, 15: 0.97},
                               "val_accuracy": {1: 0.8, 5: 0.895, 15: 0.9},
                               "train_loss": {1: 0.5, 15: 0.1}}), FASHION),
    History("random labels learned by heart", "over-fitted",
            "Validation stays at chance while training rises to 60 %.",
            rows(40, train_loss={1: 2.3, 40: 1.2}, val_loss={1: 2.31, 40: 3.9},
                 train_accuracy={1: 0.1, 40: 0.6}, val_accuracy={1: 0.1}),
            FASHION, ("chance", "labels match"), ("smaller network",)),
    History("ten points on a hundred examples", "slightly over-fitted",
            "There, but five points is as likely.",
            rows(15, train_loss={1: 0.6, 15: 0.35}, val_loss={1: 0.6, 10: 0.5},
                 train_accuracy={1: 0.7, 15: 0.956}, val_accuracy={1: 0.7, 10: 0.84, 15: 0.85}),
            DIGITS | {"validation_examples": 100}),
    History("two mistakes of 60", "well fitted", "3.3 points.",
            rows(15, train_loss={1: 0.6, 15: 0.05}, val_loss={1: 0.6, 10: 0.12},
                 train_accuracy={1: 0.7, 15: 1.0}, val_accuracy={1: 0.7, 10: 0.967}), SMALL),
    History("two mistakes of 20", "cannot tell", "From nothing to thirty points.",
            rows(15, train_loss={1: 0.6, 15: 0.1}, val_loss={1: 0.6, 10: 0.2},
                 train_accuracy={1: 0.7, 15: 0.95}, val_accuracy={1: 0.7, 10: 0.90}),
            SMALL | {"validation_examples": 20}, ("too few",), ("fits well", "by heart")),
    History("a strong rise on too few examples", "slightly over-fitted",
            "The same sixty examples got twice as costly.",
            rows(15, train_loss={1: 0.6, 15: 0.02}, val_loss={1: 0.6, 6: 0.15, 15: 0.3},
                 train_accuracy={1: 0.7, 15: 1.0}, val_accuracy={1: 0.7, 10: 0.983}), SMALL),
    History("few examples, a high baseline", "well fitted", "90 % was the base rate, 97 % is not.",
            rows(15, train_loss={1: 0.2, 15: 0.02}, val_loss={1: 0.2, 6: 0.05},
                 train_accuracy={1: 0.9, 5: 1.0}, val_accuracy={1: 0.9, 10: 0.967}),
            SMALL | {"baseline_accuracy": 0.9, "validation_examples": 120}),
    History("stopped while falling", "still improving", "A quarter less per epoch.",
            rows(5, **FALLING), FASHION, ("more epochs",)),
    History("falling, but the schedule has ended", "well fitted", "Only a longer one would help.",
            rows(5, learning_rate={1: 1e-3, 5: 1e-6}, **FALLING), FASHION, ("longer schedule",)),
    History("six points and still falling", "slightly over-fitted",
            "Train on, but with more augmentation.",
            rows(8, train_loss={1: 1.5, 8: 0.25}, val_loss={1: 1.6, 8: 0.5},
                 train_accuracy={1: 0.5, 8: 0.93}, val_accuracy={1: 0.5, 8: 0.865}),
            FASHION, ("still falling", "more epochs"), ("smaller", "will not help")),
    History("a spike in the last epoch", "well fitted", "One epoch says nothing.",
            rows(20, **AUGMENTED | {"val_loss": {1: 0.46, 12: 0.185, 19: 0.165, 20: 0.9}}),
            FASHION),
    History("a spike in the middle", "well fitted", "It came back.",
            rows(20, **AUGMENTED | {
                "val_loss": {1: 0.46, 9: 0.22, 10: 2.0, 11: 0.2, 17: 0.166, 20: 0.165}}), FASHION),
    History("low plateau", "plateau", "38 % of ten classes, and no word on why.",
            rows(20, train_loss={1: 2.2, 6: 1.7}, val_loss={1: 2.2, 6: 1.7},
                 train_accuracy={1: 0.2, 6: 0.38}, val_accuracy={1: 0.2, 6: 0.38}), FASHION),
    History("low plateau under a known ceiling", "under-fitted", "The labels allow 90 %.",
            rows(20, train_loss={1: 2.2, 6: 1.7}, val_loss={1: 2.2, 6: 1.7},
                 train_accuracy={1: 0.2, 6: 0.38}, val_accuracy={1: 0.2, 6: 0.38}),
            FASHION | {"ceiling": 0.9}, ("90.0 %", "larger network")),
    History("imbalanced, no better than the majority", "not learned", "95 % is the base rate.",
            rows(10, train_loss={1: 0.3, 4: 0.2}, val_loss={1: 0.3, 4: 0.2},
                 train_accuracy={1: 0.95}, val_accuracy={1: 0.95}), RARE, ("95.0 %",)),
    History("imbalanced, below the majority without class weights", "not learned",
            "Nobody asked for less than the base rate.",
            rows(10, train_loss={1: 0.4, 4: 0.3}, val_loss={1: 0.4, 4: 0.3},
                 train_accuracy={1: 0.90}, val_accuracy={1: 0.90}), RARE),
    History("class weights, and a balanced accuracy of a guess", "not learned",
            "50 % of two classes.",
            rows(10, train_loss={1: 0.7, 4: 0.69}, val_loss={1: 0.7, 4: 0.69},
                 train_accuracy={1: 0.5}, val_accuracy={1: 0.5}),
            RARE | dict(weighted=True, balanced_accuracy=0.51, classes=2)),
    History("both losses climb", "unstable", "Twice as high on both.",
            rows(12, train_loss={1: 1.5, 5: 0.4, 12: 0.9}, val_loss={1: 1.5, 5: 0.45, 12: 1.0},
                 train_accuracy={1: 0.5, 5: 0.87, 12: 0.7},
                 val_accuracy={1: 0.5, 5: 0.85, 12: 0.68}),
            FASHION, ("(epoch 5)", "learning rate"), ("more epochs",)),
    History("loss explodes", "diverged", "900 nats after one.",
            rows(8, train_loss={1: 2.0, 3: 1.0, 8: 900.0}, val_loss={1: 2.0, 3: 1.1, 8: 950.0},
                 train_accuracy={1: 0.3, 3: 0.6, 8: 0.1}, val_accuracy={1: 0.3, 3: 0.6, 8: 0.1}),
            FASHION, ("(epoch 3)",)),
    History("two epochs", "too short to say", "Two points lie on every line.",
            rows(2, **NO_AUGMENTATION), FASHION),
    History("one epoch", "too short to say", "One says less.",
            rows(1, **NO_AUGMENTATION), FASHION, ("One epoch cannot",)),
    History("three epochs, still falling", "still improving", "Halved in three.",
            rows(3, train_loss={1: 1.5, 3: 0.6}, val_loss={1: 1.5, 3: 0.62},
                 train_accuracy={1: 0.5, 3: 0.8}, val_accuracy={1: 0.5, 3: 0.79}), FASHION),
    History("hard validation, BatchNorm not yet settled", "well fitted",
            "10 % after the first epoch, on both: moving averages lag.",
            rows(15, train_loss={1: 3.0, 2: 0.6, 10: 0.2}, val_loss={1: 3.0, 2: 0.6, 10: 0.22},
                 train_accuracy={1: 0.10, 2: 0.8, 10: 0.93}, accuracy={1: 0.75, 10: 0.93},
                 val_accuracy={1: 0.10, 2: 0.8, 10: 0.925}), FASHION),
    History("a dozen passes in the first epoch", "over-fitted",
            "The gap was there, but examples were not new: the running accuracy is lower.",
            rows(10, train_loss={1: 0.3, 10: 0.02}, val_loss={1: 0.9, 5: 0.8, 10: 0.85},
                 train_accuracy={1: 0.92, 10: 0.995}, accuracy={1: 0.60, 10: 0.99},
                 val_accuracy={1: 0.72, 10: 0.78}), FASHION, never=("one source",)),
    History("harder validation, easy for nobody", "validation differs",
            "25 points from the start, and 27 at the end.",
            rows(20, train_loss={1: 0.6, 20: 0.2}, val_loss={1: 1.3, 20: 1.15},
                 train_accuracy={1: 0.80, 20: 0.94}, val_accuracy={1: 0.55, 20: 0.67}), FASHION),
    History("another source, and learned by heart as well", "over-fitted",
            "From 12 points to 40: most of it came by training.",
            rows(20, train_loss={1: 0.8, 20: 0.01}, val_loss={1: 1.1, 5: 1.0, 20: 2.2},
                 train_accuracy={1: 0.70, 20: 1.0}, val_accuracy={1: 0.56, 20: 0.60}), FASHION),
    History("validation easier than training", "well fitted", "Dropout is off, and luck.",
            rows(20, learning_rate={1: 1e-3, 20: 1e-6},
                 train_loss={1: 0.8, 20: 0.2}, val_loss={1: 0.8, 20: 0.18},
                 train_accuracy={1: 0.7, 20: 0.93}, val_accuracy={1: 0.7, 20: 0.935}), FASHION),
    History("surer than right, hardly a gap", "slightly over-fitted",
            "Accuracy is the same to half a point; the loss doubled.",
            rows(20, train_loss={1: 0.3, 6: 0.02, 20: 1e-4}, val_loss={1: 0.3, 6: 0.05, 20: 0.1},
                 train_accuracy={1: 0.93, 6: 0.995, 12: 1.0}, val_accuracy={1: 0.93, 6: 0.985}),
            FASHION, ("over-confident", "temperature"), ("smaller network",)),
    History("tiny losses that double", "well fitted", "From 0.0001 to 0.0002 is nothing.",
            rows(20, train_loss={1: 0.1, 5: 1e-5}, val_loss={1: 0.1, 5: 1e-4, 20: 2e-4},
                 train_accuracy={1: 0.99, 5: 1.0}, val_accuracy={1: 0.99, 5: 1.0}), FASHION),
    History("accuracy falls after its best epoch", "over-fitted",
            "Kept is epoch 5; what came after lost six points.",
            rows(20, train_loss={1: 1.0, 20: 0.01}, val_loss={1: 1.0, 5: 0.6, 20: 1.5},
                 train_accuracy={1: 0.7, 5: 0.93, 20: 1.0},
                 val_accuracy={1: 0.68, 5: 0.82, 20: 0.76}),
            FASHION, ("(epoch 5)", "fell from 82.0 %"), ("surer",)),
    History("a test split that agrees", "well fitted", "97, 94.3, 94.0.",
            rows(20, **AUGMENTED), FASHION | dict(test_accuracy=0.94, test_examples=10_000),
            ("94.0 %",), ("lower than on validation",)),
    History("a test split that is lower by chance", "well fitted", "Five of a hundred.",
            rows(20, **AUGMENTED), FASHION | dict(test_accuracy=0.90, test_examples=100),
            never=("lower than on validation",)),
    History("a binary problem, noisy and well fitted", "well fitted", "70 % on both is skill 0.4",
            rows(20, train_loss={1: 0.69, 10: 0.55}, val_loss={1: 0.69, 10: 0.56},
                 train_accuracy={1: 0.5, 10: 0.77}, val_accuracy={1: 0.5, 10: 0.76}), BINARY),
    History("a binary problem at 60 %", "plateau", "A fifth of the skill, and no more to come.",
            rows(20, train_loss={1: 0.69, 10: 0.66}, val_loss={1: 0.69, 10: 0.665},
                 train_accuracy={1: 0.5, 10: 0.61}, val_accuracy={1: 0.5, 10: 0.60}), BINARY),
    History("accuracies missing in the first epochs", "well fitted",
            "The kept epoch has one, and that is enough.",
            [row | ({"val_accuracy": float("nan")} if i < 3 else {})
             for i, row in enumerate(rows(20, **AUGMENTED))], FASHION),
    History("one broken epoch in the middle", "over-fitted", "The others tell the story.",
            [row | ({"val_loss": float("inf")} if i == 9 else {})
             for i, row in enumerate(rows(20, **NO_AUGMENTATION))], FASHION),
    History("not a number at the end", "diverged", "From epoch 11 on.",
            [row | ({"loss": float("nan")} if i >= 10 else {})
             for i, row in enumerate(rows(20, **AUGMENTED))], FASHION,
            ("from epoch 11 on", "(epoch 10)")),
]  # fmt: skip

HISTORIES = [*ISSUE, *FROM_BENCHMARKS, *BY_HAND]
