"""Does an autoencoder or a VAE over-fit? Its terms for `kapps.evaluation.verdicts.curves`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from kapps.evaluation.verdicts.curves import Verdict, judge_curves
from kapps.evaluation.verdicts.measured import Measured, Terms, curves_of
from kapps.evaluation.verdicts.words import loss
from kapps.training.fitting.kept_epoch import best_epoch

SPREAD = 0.5  # standard deviation of an image's loss, relative to what there is to be learned


def reconstruction_fit(
    history: Sequence[Mapping],
    *,
    validation_examples: int,
    train_examples: int,
    measure: str = "loss",
    nothing: float | None = None,
    kept: int | None = None,
) -> Verdict | None:
    """Judge the learning curves of a model whose loss is a squared error or nats of an image.

    Nats may be negative, and have a floor that nobody knows, so all is relative to what was
    learned: from the loss of who knows nothing to the lowest on validation images. None where there
    is nothing to compare: columns are missing, or nothing was learned.

    Args:
        history: rows of metrics.csv with `loss`, `train_loss` and `val_loss`.
        measure: what stands there in the place of `loss`; a squared error, `mse`, where the loss
            has a penalty in it.
        validation_examples: how many images `val_loss` is the mean of.
        train_examples: how many `train_loss` is the mean of.
        nothing: the loss of the mean image; that of the first epoch, on validation images, when
            None: what is learned is more than from there on, so gaps look larger.
        kept: the epoch whose weights are kept, from 1; by default the one that is lowest on
            validation images.
    """
    names = {f"{split}{measure}": f"{split}loss" for split in ("", "train_", "val_")}
    if not history or any(name not in row for row in history for name in names):
        return None
    curves = curves_of(history, tuple(names))
    curves = {names.get(name, name): values for name, values in curves.items()}
    place = best_epoch(history, f"val_{measure}")
    if place is None:
        return None
    lowest = float(curves["val_loss"][place])
    finite = curves["val_loss"][np.isfinite(curves["val_loss"])]
    most = float(finite[0]) if nothing is None else nothing
    learned = most - lowest
    if not learned > 0:
        return None
    for split in ("", "train_", "val_"):
        curves[f"{split}score"] = (most - curves[f"{split}loss"]) / learned
        curves[f"{split}loss"] = curves[f"{split}loss"] - lowest + learned

    def interval(train: float, val: float, *losses: float) -> tuple[float, float]:
        width = 1.96 * SPREAD * math.hypot(train_examples**-0.5, validation_examples**-0.5)
        return train - val - width, train - val + width

    def scores(run: Measured) -> str:
        of_train, of_val = (
            loss(float(values[run.kept]) + lowest - learned)
            for values in (run.train_loss, run.val_loss)
        )
        return f"have a loss of {of_train} on training images and {of_val} on validation images"

    terms = Terms(
        interval=interval,
        scores=scores,
        unit="% of what was learned",
        score="share of what can be learned",
        chance=lambda run: False,
        skill=0.9,
        ignorance=2 * learned,
        counts=(train_examples, validation_examples),
        shift=learned - lowest,
        relative="% of what was learned",
    )
    return judge_curves(curves, terms, kept or place + 1)
