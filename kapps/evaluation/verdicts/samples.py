"""Did a generator collapse, copy, or learn? A verdict in words on its samples.

In the order in which they are tried:

diverged             pixels, or the losses at the end, are not finite numbers
collapsed            (almost) the same image for every latent vector
memorized            samples are copies of training images, or nearer to them than to unseen images
not learned          the samples vary, but hardly any real image has one nearby
mode collapse in part
                     classes are missing or far from their true shares, the samples spread at most
                     half as far as real images, or they repeat one another
under-trained        none of these, yet samples cover less than half of what other real images
                     cover: they are not good enough yet
healthy              everything else
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from kapps.evaluation.verdicts.collapse import Judgement, diverged
from kapps.evaluation.verdicts.variety import SAME, class_shares, copies, some, unit, variety
from kapps.evaluation.verdicts.words import listed

POOR = 0.5  # spread relative to that of real images, or coverage to its floor
REPEATED = 0.25  # spacing of the samples, relative to that of real images
CLOSE = 0.75  # the same, below which poor coverage is a lack of variety, and not of quality
DUPLICATES = 0.1  # share of the samples with a twin, beyond that of real images
COPIED = 0.05  # share that are training images, beyond what the dataset repeats by itself
NEARER = 0.75  # share nearer to a training image than to an unseen one; 0.5 is chance
UNEVEN = 0.2  # share of samples of the wrong class, beyond chance
FOOLED_NEVER = 0.99  # accuracy at which a discriminator is saturated


def gan_verdict(
    samples: np.ndarray,
    real: np.ndarray,
    *,
    sample_features: np.ndarray | None = None,
    real_features: np.ndarray | None = None,
    sample_classes: np.ndarray | None = None,
    real_classes: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    coverage: float | None = None,
    coverage_floor: float = 1.0,
    train: np.ndarray | None = None,
    discriminator_accuracy: float | None = None,
    history: Sequence[Mapping] = (),
) -> Judgement:
    """Do the samples of a generator vary as real images do?

    The spread of a set is the root mean square distance of two of its members; its spacing is the
    median distance of a member to its nearest other one, which tells ten images that are
    repeated a thousand times from ten thousand images. Both are measured on pixels, and on
    features where they are given, and are shown relative to real images.

    Args:
        samples: [n, H, W, C], uint8 or float 0..1; a thousand say enough.
        real: as many real images, or about as many.
        sample_features: [n, d], what a classifier makes of the samples.
        real_features: [m, d].
        sample_classes: int [n], which class a classifier takes each sample for.
        real_classes: int [m], the same classifier on real images.
        class_names: by class; numbers when None.
        coverage: share of real images with a sample nearby (arXiv:2002.09797).
        coverage_floor: the same for a second draw of real images in the place of samples.
        train: images that it was trained on, to find copies of them; `real` are others.
        discriminator_accuracy: share of real and generated images that it tells apart.
        history: rows of metrics.csv; losses that are not finite at the end mean divergence.
    """
    if not np.isfinite(samples).all():
        return diverged("generated pixels are not finite numbers")
    lost = [k for k, v in (history[-1] if history else {}).items() if _is_broken(k, v)]
    if lost:
        be = "is" if len(lost) == 1 else "are"
        return diverged(f"at the end {' and '.join(lost)} {be} not a finite number")
    numbers = variety(unit(samples), unit(real), "")
    if sample_features is not None and real_features is not None:
        numbers |= variety(some(sample_features), some(real_features), "_features")
    if coverage is not None:
        numbers |= {"coverage": float(coverage), "coverage_floor": float(coverage_floor)}
    missing: list[str] = []
    if sample_classes is not None and real_classes is not None:
        missing, shares = class_shares(sample_classes, real_classes, class_names)
        numbers |= shares
    if train is not None:
        numbers |= copies(samples, train, real)
    story = _story(numbers)
    saturated = discriminator_accuracy is not None and discriminator_accuracy >= FOOLED_NEVER
    if discriminator_accuracy is not None:
        numbers["discriminator_accuracy"] = float(discriminator_accuracy)
    told = (
        f" The discriminator gets {100 * discriminator_accuracy:.1f} % of the images right: it is "
        "saturated, and the generator learns nothing more from it."
        if saturated and discriminator_accuracy is not None
        else ""
    )
    label, words, advice = _judge(numbers, missing, saturated)
    if label == "healthy":
        return Judgement(label, f"{words}{story}", numbers)
    return Judgement(label, f"{words}{story}{told} {advice}", numbers)


def _judge(numbers: dict[str, float], missing: list[str], saturated: bool) -> tuple[str, str, str]:
    """Label, what is wrong, and what to try."""
    spread, spacing = (
        min(value for name, value in numbers.items() if name.startswith(kind))
        for kind in ("spread", "spacing")
    )
    covered = numbers.get("coverage", 1.0) / max(numbers.get("coverage_floor", 1.0), 1e-12)
    duplicates, copied = numbers["duplicates"], numbers.get("copies", 0.0)
    uneven = numbers.get("class_imbalance", 0.0) - numbers.get("class_imbalance_by_chance", 0.0)
    varied = spread >= POOR and spacing >= REPEATED and duplicates < DUPLICATES and not missing
    advice = _advice(saturated)
    if spread < SAME:
        words = (
            "The generator collapsed: it draws (almost) the same image whatever the latent vector."
        )
        return "collapsed", words, advice
    if copied >= COPIED or numbers.get("nearer_train", 0.5) >= NEARER:
        return (
            "memorized",
            f"The generator repeats its training images: {100 * copied:.0f} % of the samples are "
            "(almost) copies.",
            "Try more training images, augmentation of real and generated images alike, a smaller "
            "discriminator, or fewer epochs.",
        )
    if covered < SAME and varied:
        return (
            "not learned",
            "The samples vary, but are not like the data: hardly any real image has a sample "
            "nearby.",
            advice if saturated else f"Train longer. If the losses no longer move: {advice}",
        )
    if missing or spread < POOR or spacing < REPEATED or duplicates >= DUPLICATES:
        words = "The generator collapsed in part."
        words += f" The samples lack {listed(missing)}." if missing else ""
        if duplicates >= DUPLICATES or spacing < REPEATED:
            words += " Samples repeat one another."
        return "mode collapse in part", words, advice
    if uneven >= UNEVEN:
        return (
            "mode collapse in part",
            "The generator prefers some classes: they are drawn far more often than they occur.",
            advice,
        )
    if covered < POOR:
        if spacing < CLOSE:
            return "mode collapse in part", "The generator collapsed in part.", advice
        return (
            "under-trained",
            "The samples vary as real images do, but are not yet as good: this is not a collapse.",
            advice if saturated else "Train longer.",
        )
    return "healthy", "The samples vary as real images do.", ""


def _story(numbers: dict[str, float]) -> str:
    where = "features" if "spread_features" in numbers else "pixels"
    ending = "_features" if where == "features" else ""
    spread, spacing = numbers["spread" + ending], numbers["spacing" + ending]
    story = (
        f" In {where}, two samples are {100 * spread:.0f} % as far apart as two real images, and "
        f"nearest neighbours {100 * spacing:.0f} %."
    )
    if "coverage" in numbers:
        story += (
            f" The samples cover {100 * numbers['coverage']:.1f} % of the real images (other real"
            f" images cover {100 * numbers['coverage_floor']:.1f} %)."
        )
    if numbers.get("classes_expected"):
        hit = numbers["classes_expected"] - numbers["classes_missing"]
        story += (
            f" {hit} of {numbers['classes_expected']} classes occur;"
            f" {100 * numbers['class_imbalance']:.0f} % of the samples would have to change class"
            f" to match the data ({100 * numbers['class_imbalance_by_chance']:.0f} % by chance)."
        )
    if numbers["duplicates"] >= 0.01:
        story += f" {100 * numbers['duplicates']:.0f} % have an (almost) identical twin."
    if "copies" in numbers:
        story += (
            f" {100 * numbers['copies']:.0f} % are (almost) copies of a training image, and "
            f"{100 * numbers['nearer_train']:.0f} % are nearer to one than to an unseen image "
            "(50 % is chance)."
        )
    return story


def _advice(saturated: bool) -> str:
    first = "a lower learning rate for the discriminator, " if saturated else ""
    return (
        f"Try {first}another loss (the non-saturating one instead of minimax, or a relativistic "
        "one), R1 and R2 penalties, spectral normalization, or larger batches."
    )


def _is_broken(name: str, value) -> bool:
    return "loss" in name and isinstance(value, int | float) and not math.isfinite(value)
