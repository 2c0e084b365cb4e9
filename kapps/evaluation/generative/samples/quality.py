"""All that is measured of samples, each figure beside what real pictures get."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kapps.errors import UserError
from kapps.evaluation.generative.samples.class_scores import class_balance_kl, classifier_score
from kapps.evaluation.generative.samples.distances import frechet_distance, kernel_distance
from kapps.evaluation.generative.samples.features import Features
from kapps.evaluation.generative.samples.manifolds import (
    NEIGHBOURS,
    density_coverage,
    precision_recall,
)
from kapps.evaluation.generative.samples.two_sample import nearest_neighbour_test
from kapps.evaluation.sample_grids import SampleGrids

if TYPE_CHECKING:
    from kapps.data import ImageData

# What a row of the table is called, and what is good.
MEANINGS = {
    "frechet": ("Fréchet distance", "low"),
    "kid": ("kernel distance (95 % interval)", "about 0"),
    "precision": ("precision: samples look real", "high"),
    "recall": ("recall: samples vary as real images do", "high"),
    "density": ("density", "about 1"),
    "coverage": ("coverage", "high"),
    "nn_accuracy": ("nearest-neighbour test", "0.5"),
    "classifier_score": ("classifier score", "as real"),
    "class_balance_kl": ("class balance (KL, nats)", "about 0"),
}
MOST_SAMPLES = 5000  # measured after an epoch, unless told otherwise
DRAWN = 64  # after an epoch


def sample_quality(
    extractor: Features,
    samples: np.ndarray,
    real: np.ndarray,
    floor_real: np.ndarray,
    *,
    k: int = NEIGHBOURS,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure samples against real pictures, and other real pictures as if they were samples.

    No figure here can be read without the second one, its floor: the Fréchet distance of two
    halves of the same data is not zero, their precision is not one. A model is as good as the data
    where a figure is at its floor. All of these figures depend on how many images there are, so
    the three sets are cut, at random, to the size of the smallest.

    Keys: `frechet`, `kid` with its standard error `kid_error` and its 95 % interval `kid_low`,
    `kid_high`, `precision`, `recall`, `density`,
    `coverage`, `nn_accuracy` (0.5 is best), and, where the extractor knows classes,
    `classifier_score` and `class_balance_kl` (0: real shares of classes); each with `_floor`
    added for the real pictures in place of samples. `samples`, `real_examples`, `floor_examples`
    count the pictures; `extractor` is the hash of the feature network.

    Args:
        extractor: where features come from.
        samples: pictures uint8 [n, H, W, C].
        real: pictures uint8 [m, H, W, C] that the model was not trained on.
        floor_real: other real images uint8; best such as the feature network was not trained on
            either.
        k: neighbours, for precision, recall, density and coverage.
        seed: seed of subsets.

    Raises:
        UserError: too few pictures for the features, or pictures the extractor does not take.
    """
    count = min(len(samples), len(real), len(floor_real))
    random = np.random.default_rng(seed)
    samples, real, floor_real = (_cut(x, count, random) for x in (samples, real, floor_real))
    reference = extractor.both(real)
    found = _figures(extractor.both(samples), reference, k, seed)
    floor = _figures(extractor.both(floor_real), reference, k, seed)
    figures: dict[str, Any] = {}
    for name, value in found.items():
        figures[name] = value
        figures[f"{name}_floor"] = floor[name]
    return {
        **figures,
        "samples": len(samples),
        "real_examples": len(real),
        "floor_examples": len(floor_real),
        "extractor": extractor.sha256,
    }


def _cut(images: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    if len(images) == count:
        return images
    return images[np.sort(random.choice(len(images), count, replace=False))]


def check_enough(extractor: Features, counts: Mapping[str, int]) -> None:
    """Refuses data on which samples could not be measured, before anything is trained.

    Args:
        extractor: where features come from.
        counts: pictures of each split.

    Raises:
        UserError: the validation or the test split has not more pictures than there are features.
    """
    for name in ("validation", "test"):
        if counts[name] <= extractor.width:
            how = " (--validation-fraction)" if name == "validation" else ""
            raise UserError(
                f"{counts[name]} {name} pictures are too few to measure samples by: a Fréchet "
                f"distance of {extractor.width} features needs more than {extractor.width}. Use "
                f"more pictures, or a larger part of them for {name}{how}"
            )


def quality_table(figures: Mapping[str, Any]) -> tuple[str, Sequence[str], Sequence[Sequence]]:
    """What `sample_quality` found as a table for `write_report`: title, column names, rows."""
    columns = ("figure", "samples", "real against real", "N of each", "good is")
    rows = [
        (title, _shown(figures, name), _shown(figures, name, "_floor"), figures["samples"], good)
        for name, (title, good) in MEANINGS.items()
        if name in figures
    ]
    return "Samples against real pictures", columns, rows


def watch_samples(
    model: Any,
    images: ImageData,
    extractor: Features,
    run: pathlib.Path,
    *,
    every: int = 1,
    seed: int = 0,
) -> list[keras.callbacks.Callback]:
    """Callbacks that measure and draw what a model makes, as it learns.

    `SampleQuality` against the whole validation split, and `SampleGrids` of 64 samples.

    Args:
        model: has `sample(count, seed)`.
        images: what it is trained on.
        extractor: where features come from.
        run: the run directory.
        every: measure after so many epochs; they are drawn after each.
        seed: of the samples.
    """
    held = images.splits["validation"]
    real = held.take(range(len(held)))
    return [
        SampleQuality(extractor, model.sample, real, every=every, seed=seed),
        SampleGrids(lambda: model.sample(DRAWN, seed), run),
    ]


class SampleQuality(keras.callbacks.Callback):
    """Puts the quality of a model's samples into the epoch's logs, as `val_frechet` and so on.

    `val_frechet`, `val_kid`, `val_precision`, `val_recall`, `val_density`, `val_coverage` are those
    of `sample_quality` without floors, so `training.fit(monitor="val_frechet", mode="min")` keeps
    the best epoch. Every measurement draws from the same seed: it is a function of the weights, and
    a resumed training sees the figures of an uninterrupted one. Where weights are averaged for
    validation, the averages are measured. Epochs that are not measured get NaN, which is never the
    best.

    Args:
        extractor: where features come from.
        model_sample: `(count, seed) -> pictures uint8 [count, H, W, C]`, such as `model.sample`.
        real: pictures uint8 [n, H, W, C] of the validation split: test is for the end.
        every: measure after so many epochs.
        count: how many samples, at most as many as there are real pictures; by default all of
            these, up to 5000. The real ones are cut to the same count, at random.
        seed: of the samples.

    Raises:
        UserError: not more pictures or samples than features.
    """

    def __init__(
        self,
        extractor: Features,
        model_sample: Callable[[int, int], np.ndarray],
        real: np.ndarray,
        *,
        every: int = 1,
        count: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        self.count = min(len(real), MOST_SAMPLES if count is None else count)
        if self.count <= extractor.width:
            raise UserError(
                f"{len(real)} real pictures and {self.count} samples are too few for a Fréchet "
                f"distance of {extractor.width} features: more than {extractor.width} are needed."
            )
        if every < 1:
            raise UserError(f"every {every}: measure after 1 epoch or more")
        self.extractor, self.model_sample = extractor, model_sample
        self.every, self.seed = every, seed
        self._real = extractor.features(_cut(real, self.count, np.random.default_rng(seed)))
        self._due, self._found = True, None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Say whether this epoch is measured."""
        self._due, self._found = (epoch + 1) % self.every == 0, None

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Measure while the weights that are validated, perhaps averages, are in the model."""
        if self._due and self._found is None:
            self._found = self._measure()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Add the figures to the logs."""
        if self._due and self._found is None:  # a training without validation data
            self._found = self._measure()
        if logs is not None:
            found = self._found or dict.fromkeys(_FEATURE_FIGURES, float("nan"))
            logs.update({f"val_{name}": found[name] for name in _FEATURE_FIGURES})

    def _measure(self) -> dict[str, float]:
        samples = self.extractor.features(self.model_sample(self.count, self.seed))
        return _of_features(samples, self._real, NEIGHBOURS, self.seed)


_FEATURE_FIGURES = ("frechet", "kid", "precision", "recall", "density", "coverage")


def _of_features(samples: np.ndarray, real: np.ndarray, k: int, seed: int) -> dict[str, float]:
    kid = kernel_distance(samples, real, seed=seed)
    return {
        "frechet": frechet_distance(samples, real),
        "kid": kid.value,
        "kid_error": kid.error,
        "kid_low": kid.low,
        "kid_high": kid.high,
        **precision_recall(real, samples, k)._asdict(),
        **density_coverage(real, samples, k)._asdict(),
    }


def _figures(samples, real, k: int, seed: int) -> dict[str, float]:
    """All figures of (features, probabilities or None) against those of real pictures."""
    found = _of_features(samples[0], real[0], k, seed)
    found["nn_accuracy"] = nearest_neighbour_test(real[0], samples[0], seed=seed).accuracy
    if samples[1] is not None:
        splits = min(10, len(samples[1]))
        found["classifier_score"] = classifier_score(samples[1], splits=splits, seed=seed).value
        found["class_balance_kl"] = class_balance_kl(samples[1], real[1])
    return found


def _shown(figures: Mapping[str, Any], name: str, end: str = "") -> str | float:
    value = figures[name + end]
    if name == "kid":
        low, high = figures[f"kid_low{end}"], figures[f"kid_high{end}"]
        return f"{value:.3g} ({low:.2g} to {high:.2g})"
    return value
