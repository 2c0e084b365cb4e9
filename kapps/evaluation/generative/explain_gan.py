"""A trained GAN, measured and explained: figures, pictures and words for its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from kapps.evaluation import plots
from kapps.evaluation.explanation import Explanation
from kapps.evaluation.generative.latent_paths import lerp, slerp
from kapps.evaluation.generative.samples.neighbours import nearest_neighbours
from kapps.evaluation.generative.samples.quality import quality_table, sample_quality
from kapps.evaluation.generative.samples.synthetic import train_on_synthetic
from kapps.evaluation.verdicts.samples import gan_verdict

if TYPE_CHECKING:
    from kapps.data import ImageData
    from kapps.evaluation.generative.samples.features import Features
    from kapps.models import GAN

SAMPLES, COLUMNS, PATHS = 64, 8, 3  # what is drawn
TOGETHER = 500  # pictures at a time
MOST_SAMPLES = 10_000  # compared with pictures
MOST_TRAINING = 60_000  # training pictures in memory, and samples to learn from


def explain_gan(
    model: GAN,
    images: ImageData,
    history: Sequence[Mapping[str, Any]],
    extractor: Features,
    *,
    tstr: bool = True,
    seed: int = 0,
) -> Explanation:
    """Measure a GAN, once, on the test split, and draw what explains it.

    Every figure of `sample_quality` is there as `test_...`, beside what the validation split gets
    in the place of samples. `discriminator_accuracy` is the share of pairs of a test picture and a
    sample of which the discriminator thinks rightly: 0.5 is a guess, 1 is a discriminator that
    teaches nothing any more.

    Args:
        model: computes in float32.
        images: what it was trained on.
        history: rows of metrics.csv.
        extractor: the features in which samples are compared with pictures.
        tstr: of a conditional model, also train a classifier on samples and test it on pictures.
        seed: of all draws.

    Raises:
        UserError: fewer pictures than features.
    """
    test, validation = images.splits["test"], images.splits["validation"]
    train = images.splits["train"].take(range(min(len(images.splits["train"]), MOST_TRAINING)))
    real = test.take(range(len(test)))
    count = min(len(real), MOST_SAMPLES)
    samples = model.sample(count, seed + 1)
    others = validation.take(range(len(validation)))
    found = sample_quality(extractor, samples, real, others, seed=seed)
    metrics: dict[str, Any] = {f"test_{name}": value for name, value in found.items()}
    metrics["discriminator_accuracy"] = _told_apart(model, real, test.labels, samples)
    tables = [quality_table(found)]
    if model.classes and tstr:
        learned, table = learned_from_samples(model, images, len(train), seed)
        metrics |= learned
        tables.append(table)
    verdict = _verdict(images, history, extractor, samples, real, train, metrics)
    metrics |= {"test_examples": len(real), "verdict": verdict.label}
    figures = [
        *_sample_figures(model, images, train, seed),
        (
            "Learning curves",
            plots.training_curves(history, monitor="val_frechet"),
            "The players' losses say who is ahead, not how good the samples are; the Fréchet "
            "distance, on the validation split, does.",
        ),
        ("Interpolations", _interpolations(model, seed), "From one latent vector to another."),
    ]
    headline = (
        f"Fréchet distance {metrics['test_frechet']:.3g} in the features of a classifier (hash "
        f"{metrics['test_extractor'][:12]}; real images: {metrics['test_frechet_floor']:.3g}), "
        f"coverage {metrics['test_coverage']:.1%}, {metrics['test_samples']} samples and as "
        "many images."
    )
    return Explanation(metrics, verdict, figures, tables, headline=headline)


def _told_apart(model, real, labels, samples) -> float:
    """Share of pairs (real, sample) in the right order of logits: the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    of_real = _logits(model, real, _one_hot(model, labels))
    of_samples = _logits(model, samples, _one_hot(model, np.arange(len(samples))))
    logits = np.concatenate([of_real, of_samples])
    if not np.isfinite(logits).all():
        return float("nan")
    return float(roc_auc_score(np.arange(len(logits)) < len(of_real), logits))


def _logits(model, pictures, labels) -> np.ndarray:
    parts = []
    for start in range(0, len(pictures), TOGETHER):
        rows = slice(start, start + TOGETHER)
        parts.append(model.judge(pictures[rows], None if labels is None else labels[rows]))
    return np.concatenate([np.asarray(part) for part in parts])


def _one_hot(model, labels) -> np.ndarray | None:
    """One-hot labels; classes in turn for row numbers, as `sample` takes them."""
    if not model.classes:
        return None
    return np.eye(model.classes, dtype=np.float32)[np.asarray(labels) % model.classes]


def learned_from_samples(
    model: Any, images: ImageData, count: int, seed: int
) -> tuple[dict[str, Any], tuple[str, Sequence[str], Sequence[Sequence]]]:
    """What a classifier learns from samples of a conditional model: figures, and their table."""
    labels = np.arange(count) % model.classes
    samples = model.sample(count, seed + 2, _one_hot(model, labels))
    learned = train_on_synthetic(samples, labels, images, seed=seed)._asdict()
    rows = [
        ("samples", learned["accuracy"], learned["examples"]),
        ("real pictures", learned["real"], len(images.splits["train"])),
    ]
    return (
        {f"test_tstr_{name}": value for name, value in learned.items()},
        ("A classifier trained on", ("images", "accuracy", "N"), rows),
    )


def _verdict(images, history, extractor, samples, real, train, metrics):
    (ours, our_classes), (theirs, their_classes) = extractor.both(samples), extractor.both(real)
    known = our_classes is not None
    return gan_verdict(
        samples,
        real,
        sample_features=ours,
        real_features=theirs,
        sample_classes=our_classes.argmax(-1) if known else None,
        real_classes=their_classes.argmax(-1) if known else None,
        class_names=images.class_names if known else None,
        coverage=metrics["test_coverage"],
        coverage_floor=metrics["test_coverage_floor"],
        train=train,
        discriminator_accuracy=metrics["discriminator_accuracy"],
        history=history,
    )


def _sample_figures(model, images, train, seed) -> list[tuple[str, Figure, str]]:
    count = COLUMNS * model.classes if model.classes else SAMPLES
    classes = np.arange(count) % model.classes if model.classes else None
    samples = model.sample(count, seed)
    near, distances = nearest_neighbours(samples[:COLUMNS], train, min(5, len(train)))
    names = images.class_names
    return [
        (
            "Samples",
            plots.sample_grid(samples, classes, names),
            "From the averaged generator, which is the one published; not hand-picked.",
        ),
        (
            "Real pictures",
            plots.sample_grid(train[: len(samples)]),
            "As many training images.",
        ),
        (
            "Nearest training pictures",
            plots.neighbour_grid(samples[:COLUMNS], train[near], distances),
            "Samples, and the training images nearest to each in pixels: learned, or memorized?",
        ),
        (
            "Samples without averaging",
            plots.sample_grid(_unaveraged(model, count, seed), classes, names),
            "The same latent vectors, through the generator's last weights.",
        ),
    ]


def _unaveraged(model, count, seed) -> np.ndarray:
    """Pixels of 0..1 by the generator itself, for the latent vectors of `sample`."""
    z = np.asarray(model.latents(count, np.array([seed, 0], np.int32)))
    labels = _one_hot(model, np.arange(count))
    made = model.generator(z if labels is None else [z, labels], training=False)
    return 0.5 * (np.asarray(made) + 1.0)


def _interpolations(model, seed) -> Figure:
    ends = np.asarray(model.latents(2 * PATHS, np.array([seed, 3], np.int32)))
    paths = []
    for i in range(PATHS):
        labels = _one_hot(model, np.full(COLUMNS, i))
        for walk in (slerp, lerp):
            z = walk(ends[2 * i], ends[2 * i + 1], COLUMNS).astype(np.float32)
            paths.append(np.asarray(model.generate(z, labels)))
    return plots.interpolation_grid(paths, ["spherical", "linear"] * PATHS)
