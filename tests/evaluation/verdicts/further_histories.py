"""More learning curves: schedules, odd splits, regressions, several labels, images.

Rows as in `histories`; `judge` says which verdict is asked.
"""

from __future__ import annotations

import math

import numpy as np

from evaluation.verdicts.histories import (
    AUGMENTED,
    BINARY,
    FASHION,
    NO_AUGMENTATION,
    RARE,
    SMALL,
    History,
    decay,
    rows,
)
from kapps import evaluation
from kapps.evaluation.verdicts.labels import labels_verdict

NUMBERS = dict(validation_examples=1000, train_examples=4000)
LABELS = dict(validation_examples=500, train_examples=2000, ignorance=0.4, spread=1.0)
IMAGES = dict(validation_examples=6000, train_examples=6000, nothing=385.0)


def broken(history, column, epochs, value=math.nan):
    """The same, with no number in these epochs, from 1."""
    return [row | ({column: value} if i + 1 in epochs else {}) for i, row in enumerate(history)]


def cycles(low, high, length, epochs):
    """A learning rate that falls from high to low, again and again."""
    phase = np.arange(epochs) % length / (length - 1)
    return high * (low / high) ** phase


def losses(epochs, train, val, **more):
    """Curves without a score."""
    return rows(epochs, train_loss=train, val_loss=val, **more)


SCHEDULES = [
    History(
        "the rate fell to a tenth, and the loss with it, then flat", "well fitted",
        "The step is the schedule's; what came after it is a plateau.",
        rows(20, train_loss={1: 1.0, 15: 0.40, 16: 0.40, 17: 0.29, 20: 0.285},
             val_loss={1: 1.0, 15: 0.42, 16: 0.42, 17: 0.32, 20: 0.315},
             train_accuracy={1: 0.7, 16: 0.88, 17: 0.91, 20: 0.912},
             val_accuracy={1: 0.7, 16: 0.87, 17: 0.895, 20: 0.897},
             learning_rate=[1e-3] * 16 + [1e-4] * 4), FASHION, never=("too early",),
    ),
    History(
        "cosine with restarts, ended with a cycle", "well fitted",
        "Both losses jump at each restart and are lower at the end of each cycle.",
        rows(24, train_loss=decay(0.6, 0.15, 24, 0.1) + 0.2 * cycles(0.01, 1, 8, 24),
             val_loss=decay(0.6, 0.20, 24, 0.1) + 0.2 * cycles(0.01, 1, 8, 24),
             train_accuracy=0.95 - 0.08 * cycles(0.01, 1, 8, 24),
             val_accuracy=0.93 - 0.08 * cycles(0.01, 1, 8, 24),
             learning_rate=cycles(1e-6, 1e-3, 8, 24)), FASHION, ("(epoch 24)",), ("unstable",),
    ),
    History(
        "cosine with restarts, stopped just after a restart", "unstable",
        "The large steps of a new cycle, not the network: stop where a cycle ends.",
        rows(19, train_loss=decay(0.6, 0.15, 19, 0.1) + 0.4 * cycles(0.01, 1, 8, 19),
             val_loss=decay(0.6, 0.20, 19, 0.1) + 0.4 * cycles(0.01, 1, 8, 19),
             train_accuracy=0.95 - 0.08 * cycles(0.01, 1, 8, 19),
             val_accuracy=0.93 - 0.08 * cycles(0.01, 1, 8, 19),
             learning_rate=cycles(1e-6, 1e-3, 8, 19)),
        FASHION, ("(epoch 16)", "learning rate rose again", "end of a cycle"), ("a third of",),
    ),
    History(
        "a schedule that fell to two fifths, and losses that rise all the same", "unstable",
        "No rate rose: the steps are still too large.",
        rows(16, train_loss={1: 1.2, 8: 0.4, 16: 0.7}, val_loss={1: 1.2, 8: 0.43, 16: 0.75},
             train_accuracy={1: 0.5, 8: 0.87, 16: 0.78}, val_accuracy={1: 0.5, 8: 0.86, 16: 0.77},
             learning_rate={1: 1e-3, 6: 4e-4}),
        FASHION, ("a third of the learning rate",), ("rose again", "end of a cycle"),
    ),
    History(
        "second phase: fine-tuning at a constant small rate, still falling", "still improving",
        "Its own rate never fell: more epochs.",
        rows(8, train_loss={1: 0.6, 8: 0.25}, val_loss={1: 0.6, 8: 0.28}, learning_rate={1: 1e-5},
             train_accuracy={1: 0.8, 8: 0.92}, val_accuracy={1: 0.8, 8: 0.91}), FASHION,
    ),
    History(
        "linear probe at its end", "well fitted", "A head learns in a few epochs.",
        rows(10, train_loss={1: 0.5, 3: 0.32, 10: 0.31}, val_loss={1: 0.5, 3: 0.34, 10: 0.333},
             train_accuracy={1: 0.85, 3: 0.9}, val_accuracy={1: 0.85, 3: 0.89}), FASHION,
    ),
    History(
        "the schedule ended before half was learned, still falling", "still improving",
        "Halved in the last quarter: a longer schedule comes before a larger network.",
        rows(8, train_loss={1: 2.3, 8: 1.2}, val_loss={1: 2.3, 8: 1.25},
             train_accuracy={1: 0.1, 8: 0.45}, val_accuracy={1: 0.1, 8: 0.44},
             learning_rate={1: 1e-3, 8: 1e-6}),
        FASHION, ("more epochs",), ("no longer gets better",),
    ),
    History(
        "warm-up, then falling to the end of the schedule", "well fitted",
        "The first epochs hardly move, by design.",
        rows(20, train_loss={1: 2.29, 4: 2.0, 10: 0.6, 20: 0.3},
             val_loss={1: 2.29, 4: 2.0, 10: 0.62, 20: 0.33},
             train_accuracy={1: 0.12, 4: 0.3, 10: 0.8, 20: 0.91},
             val_accuracy={1: 0.12, 4: 0.3, 10: 0.79, 20: 0.90},
             learning_rate={1: 1e-5, 4: 1e-3, 20: 1e-6}), FASHION, ("longer schedule",),
    ),
    History(
        "losses that leap up and down with every epoch", "unstable",
        "Three times as high and back: the steps are too large.",
        rows(20, train_loss=[1.5, *[0.3, 0.9] * 9, 0.3], val_loss=[1.5, *[0.33, 0.95] * 9, 0.33],
             train_accuracy=[0.5, *[0.90, 0.72] * 9, 0.90],
             val_accuracy=[0.5, *[0.89, 0.71] * 9, 0.89]),
        FASHION, ("up and down", "learning rate"), ("fits well", "larger network"),
    ),
    History(
        "a rate of nothing", "not learned", "Not a digit moves, at chance.",
        rows(6, train_loss={1: 2.31}, val_loss={1: 2.31}, learning_rate={1: 0.0},
             train_accuracy={1: 0.09}, val_accuracy={1: 0.1}),
        FASHION, ("Neither loss changed at all",), ("more epochs", "ten times lower"),
    ),
    History(
        "a jump on both in the last epoch", "well fitted", "The epoch before is kept.",
        rows(20, **AUGMENTED | {
            "train_loss": {1: 0.45, 5: 0.24, 12: 0.14, 19: 0.085, 20: 0.6},
            "train_accuracy": {1: 0.83, 5: 0.91, 19: 0.970, 20: 0.8},
            "val_accuracy": {1: 0.83, 5: 0.90, 19: 0.943, 20: 0.79},
            "val_loss": {1: 0.46, 5: 0.27, 12: 0.185, 19: 0.165, 20: 0.65}}),
        FASHION, ("(epoch 19)",),
    ),
]  # fmt: skip

SPLITS = [
    History(
        "twelve validation examples, eleven right", "cannot tell", "One is eight points.",
        rows(12, train_loss={1: 0.7, 12: 0.2}, val_loss={1: 0.7, 12: 0.25},
             train_accuracy={1: 0.5, 12: 0.96}, val_accuracy={1: 0.5, 12: 11 / 12},
             learning_rate={1: 1e-3, 12: 1e-6}),
        dict(validation_examples=12, train_examples=120, baseline_accuracy=0.5),
        ("12 validation examples", "too few"), ("fits well",),
    ),
    History(
        "twelve validation examples, six right of two classes", "over-fitted",
        "Wilson's upper end of 6 of 12 is 75 %: even so 25 points.",
        rows(12, train_loss={1: 0.7, 12: 0.01}, val_loss={1: 0.7, 12: 1.9},
             train_accuracy={1: 0.5, 12: 1.0}, val_accuracy={1: 0.5}),
        dict(validation_examples=12, train_examples=120, baseline_accuracy=0.5),
        ("chance",),
    ),
    History(
        "validation of one class only", "cannot tell",
        "Whoever always says that class is right: the figure is worth nothing.",
        rows(10, train_loss={1: 0.6, 10: 0.2}, val_loss={1: 0.5, 6: 0.1},
             train_accuracy={1: 0.7, 10: 0.93}, val_accuracy={1: 1.0}),
        BINARY | dict(baseline_accuracy=1.0), ("most frequent class",), ("fits well",),
    ),
    History(
        "all right from the first epoch on", "well fitted",
        "Nothing is left; so easy a task asks for a look at the inputs.",
        rows(10, train_loss={1: 1e-3, 10: 1e-6}, val_loss={1: 1e-3, 10: 2e-6},
             train_accuracy={1: 1.0}, val_accuracy={1: 1.0}),
        FASHION, ("answer is among the inputs",), ("larger network", "To get further"),
    ),
    History(
        "all right, after some epochs", "well fitted", "Nothing is left to get.",
        rows(10, train_loss={1: 1.0, 10: 1e-4}, val_loss={1: 1.0, 10: 2e-4},
             train_accuracy={1: 0.6, 8: 1.0}, val_accuracy={1: 0.6, 8: 1.0}),
        FASHION, never=("larger network", "among the inputs"),
    ),
    History(
        "imbalanced, somewhat above the base rate", "plateau",
        "97 % where 95 % is free: two fifths of what can be learned.",
        rows(12, train_loss={1: 0.3, 6: 0.1}, val_loss={1: 0.3, 6: 0.105},
             train_accuracy={1: 0.95, 6: 0.971}, val_accuracy={1: 0.95, 6: 0.97}),
        RARE, ("95.0 %",),
    ),
    History(
        "class weights, all classes alike, three classes", "over-fitted",
        "The balanced accuracy is fine; the gap is not.",
        rows(12, train_loss={1: 1.0, 12: 0.02}, val_loss={1: 1.0, 5: 0.6, 12: 1.1},
             train_accuracy={1: 0.5, 12: 0.99}, val_accuracy={1: 0.5, 5: 0.75, 12: 0.76}),
        FASHION | dict(baseline_accuracy=0.7, weighted=True, balanced_accuracy=0.74, classes=3),
    ),
    History(
        "validation much easier than training", "well fitted",
        "No over-fitting; but a person asks how that comes.",
        rows(15, train_loss={1: 1.0, 10: 0.7}, val_loss={1: 0.6, 10: 0.2},
             train_accuracy={1: 0.6, 10: 0.75}, val_accuracy={1: 0.8, 10: 0.94}),
        FASHION, ("easier than training examples",),
    ),
    History(
        "mixup and label smoothing: the running figures are the worst", "well fitted",
        "Measured clean, training is two points ahead; 0.5 nats are the floor of smoothing.",
        rows(30, train_loss={1: 1.2, 20: 0.62, 30: 0.58}, val_loss={1: 1.2, 20: 0.66, 30: 0.64},
             loss={1: 1.9, 30: 1.3}, accuracy={1: 0.4, 30: 0.66},
             train_accuracy={1: 0.75, 30: 0.965}, val_accuracy={1: 0.74, 30: 0.945},
             learning_rate={1: 1e-3, 30: 1e-6}), FASHION, never=("under",),
    ),
    History(
        "label smoothing, all training examples right by epoch 8", "over-fitted",
        "The floor hides the loss, not the eleven points.",
        rows(40, train_loss={1: 1.2, 8: 0.52, 40: 0.502}, val_loss={1: 1.2, 8: 0.85, 40: 0.88},
             train_accuracy={1: 0.7, 8: 1.0}, val_accuracy={1: 0.65, 8: 0.88, 40: 0.885}),
        FASHION, ("11.5 points",),
    ),
    History(
        "wrong classes in the validation folder", "validation differs",
        "Worse than chance from the first epoch on.",
        rows(10, train_loss={1: 0.4, 10: 0.1}, val_loss={1: 2.0, 10: 4.0},
             train_accuracy={1: 0.85, 10: 0.97}, accuracy={1: 0.75, 10: 0.96},
             val_accuracy={1: 0.12, 10: 0.04}), BINARY, ("one source",),
    ),
    History(
        "late understanding (grokking)", "well fitted",
        "By heart for sixty epochs, then the rule: what is kept is the rule.",
        rows(100, train_loss={1: 2.3, 5: 0.01, 100: 0.001},
             val_loss={1: 2.3, 5: 4.0, 60: 5.0, 80: 0.05, 100: 0.01},
             train_accuracy={1: 0.1, 5: 1.0}, val_accuracy={1: 0.1, 60: 0.12, 80: 0.99}), FASHION,
        never=("by heart",),
    ),
    History(
        "double descent", "well fitted", "Up, and then further down than before.",
        rows(60, train_loss={1: 1.5, 20: 0.3, 60: 0.12}, learning_rate={1: 1e-3, 60: 1e-6},
             val_loss={1: 1.5, 10: 0.5, 25: 0.8, 50: 0.2, 60: 0.18},
             train_accuracy={1: 0.5, 20: 0.92, 60: 0.97},
             val_accuracy={1: 0.5, 10: 0.85, 25: 0.82, 50: 0.94, 60: 0.945}), FASHION,
    ),
    History(
        "no number in epochs 2 and 3, then fine", "well fitted",
        "It recovered; a person still wants to know.",
        broken(rows(20, **AUGMENTED), "loss", (2, 3)), FASHION,
        ("epochs 2 and 3", "not a finite number"), ("diverged",),
    ),
    History(
        "no number on validation in the first epoch", "over-fitted", "The others tell the story.",
        broken(rows(20, **NO_AUGMENTATION), "val_loss", (1,), math.inf), FASHION,
        ("in epoch 1 ", "not a finite number"), ("diverged",),
    ),
    History(
        "best in the first epoch, worse ever after", "over-fitted",
        "From 80 to 74 % while training examples are learned by heart.",
        rows(12, train_loss={1: 0.5, 12: 0.01}, val_loss={1: 0.55, 12: 1.6},
             train_accuracy={1: 0.83, 12: 1.0}, val_accuracy={1: 0.80, 12: 0.74}),
        FASHION | dict(kept=12), ("fell from 80.0 %",), ("more epochs,",),
    ),
    History(
        "a gap on validation, and another one on test", "over-fitted",
        "Thirteen points by heart, fifteen more on test: memory comes first.",
        rows(20, train_loss={1: 1.0, 20: 0.1}, val_loss={1: 1.0, 12: 0.45},
             train_accuracy={1: 0.7, 20: 0.98}, val_accuracy={1: 0.7, 12: 0.85}),
        FASHION | dict(kept=20, test_accuracy=0.70, test_examples=1000),
        ("lower than on validation",),
    ),
    History(
        "a test split that is easier", "well fitted", "Nothing to complain of.",
        rows(20, **AUGMENTED), FASHION | dict(test_accuracy=0.99, test_examples=1000),
        never=("lower than on validation",),
    ),
    History(
        "240 training examples and an old schedule", "still improving|slightly over-fitted",
        "Both fall; the gap is there, and small.",
        rows(12, train_loss={1: 0.69, 12: 0.25}, val_loss={1: 0.69, 12: 0.35},
             train_accuracy={1: 0.5, 12: 0.95}, val_accuracy={1: 0.5, 12: 0.88}),
        SMALL | dict(validation_examples=200), ("more epochs",),
    ),
]  # fmt: skip

REGRESSIONS = [
    History(
        "worse than the mean on both", "not learned", "R2 of -40 %.",
        losses(10, {1: 1.8, 6: 1.4}, {1: 1.8, 6: 1.4}), NUMBERS, ("\N{MINUS SIGN}40.0 %",),
        ("fits well",), evaluation.regression_verdict,
    ),
    History(
        "R2 negative on validation alone", "over-fitted", "Learned by heart, useless elsewhere.",
        losses(20, {1: 1.0, 20: 0.05}, {1: 1.05, 3: 1.02, 20: 1.6}), NUMBERS | dict(kept=20),
        ("\N{MINUS SIGN}60.0 %",), ("more epochs,",), evaluation.regression_verdict,
    ),
    History(
        "a target that hardly varies: noise", "not learned", "Nobody can explain noise.",
        losses(10, {1: 1.02, 10: 0.99}, {1: 1.02, 10: 1.01}), NUMBERS | dict(linear_r2=0.003),
        (), ("under-fits",), evaluation.regression_verdict,
    ),
    History(
        "a number per picture, well learned", "well fitted", "Two points apart.",
        losses(20, {1: 0.9, 20: 0.08}, {1: 0.9, 20: 0.10}, learning_rate={1: 1e-3, 20: 1e-6}),
        NUMBERS, ("explain 92.0 %",), (), evaluation.regression_verdict,
    ),
    History(
        "a test split that cannot be explained", "test differs",
        "R2 of 0.9 on training, 0.85 on validation, -0.2 on test: not memory, another source.",
        losses(20, {1: 0.9, 20: 0.10}, {1: 0.9, 20: 0.15}, learning_rate={1: 1e-3, 20: 1e-6}),
        NUMBERS | dict(test_r2=-0.2, test_r2_interval=(-0.5, 0.1), test_examples=300),
        ("lower than on validation",), ("fits well", "dropout"), evaluation.regression_verdict,
    ),
    History(
        "twelve validation rows", "cannot tell", "A mean of twelve squares says little.",
        losses(20, {1: 0.9, 20: 0.30}, {1: 0.9, 20: 0.35}, learning_rate={1: 1e-3, 20: 1e-6}),
        dict(validation_examples=12, train_examples=100, kurtosis=6.0), ("too few",), (),
        evaluation.regression_verdict,
    ),
    History(
        "losses of nothing: an exact rule was found", "well fitted", "All variance explained.",
        losses(20, {1: 0.5, 20: 1e-7}, {1: 0.5, 20: 1e-7}), NUMBERS, ("100.0 %",),
        ("larger network",), evaluation.regression_verdict,
    ),
    History(
        "rare labels: the loss is that of frequencies", "not learned", "99 % right, nothing known.",
        losses(10, {1: 0.5, 4: 0.398}, {1: 0.5, 4: 0.401}), LABELS, ("removes 0 %",), (),
        labels_verdict,
    ),
    History(
        "several labels, begun far above who knows nothing", "still improving",
        "From 3 nats to 0.2, and falling by a tenth per epoch.",
        losses(12, {1: 3.0, 2: 0.4, 12: 0.15}, {1: 3.0, 2: 0.42, 12: 0.17}), LABELS, (),
        ("diverged",), labels_verdict,
    ),
    History(
        "several labels, half is known and no more", "plateau",
        "The curves cannot say whether more can be known.",
        losses(20, {1: 0.4, 6: 0.23}, {1: 0.4, 6: 0.235}), LABELS, ("cannot say",), (),
        labels_verdict,
    ),
    History(
        "several labels, forty pictures", "cannot tell", "The error of the mean is a tenth.",
        losses(12, {1: 0.4, 8: 0.15}, {1: 0.4, 8: 0.18}, learning_rate={1: 1e-3, 12: 1e-6}),
        LABELS | dict(validation_examples=40, spread=1.5), ("too few",), (), labels_verdict,
    ),
    History(
        "a VAE that reconstructs training images alone", "over-fitted",
        "Of 150 nats learned 60 hold for training images only.",
        losses(30, {1: 300, 30: 175}, {1: 302, 12: 235, 30: 240}), IMAGES | dict(kept=30),
        ("(235.0)", "went on to 175.0"), (), evaluation.reconstruction_fit,
    ),
    History(
        "nats below nothing (a density), well fitted", "well fitted",
        "What is learned counts, not where nought lies.",
        losses(30, {1: -300, 30: -900}, {1: -300, 30: -893}, learning_rate={1: 1e-3, 30: 1e-6}),
        IMAGES | dict(nothing=0.0), ("(\N{MINUS SIGN}893.0)",), (), evaluation.reconstruction_fit,
    ),
]  # fmt: skip

FURTHER = [*SCHEDULES, *SPLITS, *REGRESSIONS]
