"""Did a generative model collapse? A verdict in words, for each kind of model.

Posterior of a VAE (`posterior_verdict`)
    diverged             a KL divergence or the reconstruction is not a finite number
    posterior collapsed  no active unit, or less than 0.1 nats in all of them, or reconstructions no
                         better than the mean picture: the latent code says nothing
    partly collapsed     a quarter of the units or fewer are active
    healthy              everything else

Samples of a GAN (`gan_verdict`)
    diverged             pixels, or the losses at the end, are not finite numbers
    collapsed            (almost) the same picture for every latent vector
    not learned          the samples vary, but hardly a real picture has one nearby
    mode collapse in part
                         classes are missing, the samples spread half as far as real pictures or
                         less, repeat one another, or cover less than half of what other real
                         pictures cover
    healthy              everything else

Autoencoder (`autoencoder_verdict`)
    diverged, collapsed (no better than the mean picture), dead code (most units never change), no
    better than PCA, healthy

Codebook of a VQ-VAE (`codebook_verdict`)
    diverged, collapsed (no better than the mean picture), dead code (a quarter of the codes or
    fewer occur), healthy
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

ACTIVE = 0.01  # nats of KL, where the active units themselves are not given
NOTHING = 0.1  # nats in the whole code
FEW = 0.25  # active share of the units at or below which a posterior is partly collapsed
NO_BETTER = 0.01  # of the mean picture's error, or of PCA's
SAME = 0.1  # spread of the samples relative to that of real pictures, or coverage to its floor
POOR = 0.5  # the same
REPEATED = 0.25  # spacing of the samples, relative to that of real pictures
MISSING = 0.1  # share of a class among the samples, relative to its share of real pictures
EXPECTED = 20  # samples that a class should have, for its absence to mean something
FOOLED_NEVER = 0.99  # accuracy at which a discriminator is saturated
DEAD = 1e-3  # standard deviation of a unit of a code, relative to that of the liveliest
MOST_COMPARED = 2000  # pictures whose spread and spacing are measured


@dataclass(frozen=True)
class Judgement:
    """What was found about one model; `dataclasses.asdict` of it is valid JSON."""

    label: str
    """One of those in the docstring of this module."""
    sentence: str
    """The reasons with their numbers, and what to try."""
    numbers: dict[str, float] = field(default_factory=dict)
    """What the judgement stands on."""


def posterior_verdict(
    kl: np.ndarray,
    active: np.ndarray | int | None = None,
    *,
    reconstruction: float | None = None,
    mean_picture: float | None = None,
) -> Judgement:
    """Is the latent code of a VAE in use?

    Args:
        kl: [latent_dim], KL divergence of each unit in nats, mean over pictures.
        active: the active units (arXiv:1509.00519: the variance over pictures of the posterior's
            mean is above 0.01), bool [latent_dim] or how many. Those with 0.01 nats when None.
        reconstruction: how badly pictures are reconstructed, nats or squared error.
        mean_picture: the same for always answering the best constant picture.
    """
    kl = np.asarray(kl, np.float64).ravel()
    given = [x for x in (reconstruction, mean_picture) if x is not None]
    if not np.isfinite([*kl, *given]).all():
        return _diverged("the KL divergence or the reconstruction is not a finite number")
    units, nats = len(kl), float(kl.sum())
    count = int(np.sum(kl > ACTIVE)) if active is None else int(np.sum(active))
    numbers = {"active_units": count, "latent_dim": units, "kl": nats}
    useless = None
    if reconstruction is not None and mean_picture is not None:
        gain = (mean_picture - reconstruction) / max(abs(mean_picture), 1e-12)
        numbers["gain_over_mean_picture"] = float(gain)
        useless = gain < NO_BETTER
    used = f"{count} of {units} latent units are active and hold {nats:.2f} nats in all"
    compared = _compared(reconstruction, mean_picture, "the mean picture")
    advice = (
        "Try a KL warm-up over more epochs, free bits (0.1 to 0.5 nats per unit), a lower beta, or "
        "a weaker decoder."
    )
    if count == 0 or nats < NOTHING:
        alone = "" if useless in (None, True) else " What is reconstructed, the decoder does alone."
        return Judgement(
            "posterior collapsed",
            f"The posterior collapsed: {used}, so the code says nothing about the picture."
            f"{compared}{alone} {advice}",
            numbers,
        )
    if useless:
        return Judgement(
            "posterior collapsed",
            f"The decoder does not use the code: {used}, and yet pictures are reconstructed no "
            f"better than by one picture for all.{compared} Try a lower learning rate, a decoder "
            "whose first layer is wider, or a lower beta.",
            numbers,
        )
    if count < units and count <= max(1, FEW * units):
        return Judgement(
            "partly collapsed",
            f"The posterior collapsed in part: {used}; the other {units - count} say nothing."
            f"{compared} {advice} A smaller latent space would do as well as this one.",
            numbers,
        )
    rest = "" if count == units else f" The other {units - count} are not needed."
    return Judgement("healthy", f"The latent code is in use: {used}.{rest}{compared}", numbers)


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
    discriminator_accuracy: float | None = None,
    history: Sequence[Mapping] = (),
) -> Judgement:
    """Do the samples of a generator vary as real pictures do?

    The spread of a set is the root mean square distance of two of its members; its spacing is the
    median distance of a member to its nearest other one, which tells ten pictures that are
    repeated a thousand times from ten thousand pictures. Both are measured on pixels, and on
    features where they are given, and are shown relative to real pictures.

    Args:
        samples: [n, H, W, C], uint8 or float 0..1; a thousand say enough.
        real: as many real pictures, or about as many.
        sample_features: [n, d], what a classifier makes of the samples.
        real_features: [m, d].
        sample_classes: int [n], which class a classifier takes each sample for.
        real_classes: int [m], the same classifier on real pictures.
        class_names: by class; numbers when None.
        coverage: share of real pictures with a sample nearby (arXiv:2002.09797).
        coverage_floor: the same for a second draw of real pictures in place of samples.
        discriminator_accuracy: share of real and generated pictures that it tells apart.
        history: rows of metrics.csv; losses that are not finite at the end mean divergence.
    """
    if not np.isfinite(samples).all():
        return _diverged("generated pixels are not finite numbers")
    lost = [k for k, v in (history[-1] if history else {}).items() if _is_broken(k, v)]
    if lost:
        return _diverged(f"at the end {' and '.join(lost)} {_be(lost)} not a finite number")
    numbers = _variety(_unit(samples), _unit(real), "")
    if sample_features is not None and real_features is not None:
        numbers |= _variety(_some(sample_features), _some(real_features), "_features")
    if coverage is not None:
        numbers |= {"coverage": float(coverage), "coverage_floor": float(coverage_floor)}
    missing: list[str] = []
    if sample_classes is not None and real_classes is not None:
        missing, shares = _missing(sample_classes, real_classes, class_names)
        numbers |= shares
    story = _gan_story(numbers)
    saturated = discriminator_accuracy is not None and discriminator_accuracy >= FOOLED_NEVER
    if discriminator_accuracy is not None:
        numbers["discriminator_accuracy"] = float(discriminator_accuracy)
    told = (
        f" The discriminator tells {100 * discriminator_accuracy:.1f} % of the pictures right: it "
        "is saturated and teaches the generator nothing more."
        if saturated and discriminator_accuracy is not None
        else ""
    )
    advice = _gan_advice(saturated)
    spread, spacing = (
        min(value for name, value in numbers.items() if name.startswith(kind))
        for kind in ("spread", "spacing")
    )
    if spread < SAME:
        return Judgement(
            "collapsed",
            f"The generator collapsed: it draws (almost) the same picture whatever the latent "
            f"vector.{story}{told} {advice}",
            numbers,
        )
    covered = 1.0 if coverage is None else coverage / max(coverage_floor, 1e-12)
    if covered < SAME and spread >= POOR and spacing >= REPEATED and not missing:
        return Judgement(
            "not learned",
            f"The samples vary, but they are not like the data: hardly a real picture has a sample "
            f"nearby.{story}{told} Train longer; if the losses no longer move: {advice}",
            numbers,
        )
    if missing or spread < POOR or spacing < REPEATED or covered < POOR:
        reasons = f" The samples lack {_list(missing)}." if missing else ""
        reasons += " Samples repeat one another." if spacing < REPEATED else ""
        return Judgement(
            "mode collapse in part",
            f"The generator collapsed in part.{reasons}{story}{told} {advice}",
            numbers,
        )
    return Judgement("healthy", f"The samples vary as real pictures do.{story}", numbers)


def autoencoder_verdict(
    error: float,
    *,
    mean_error: float,
    pca_error: float | None = None,
    codes: np.ndarray | None = None,
    linear: bool = False,
) -> Judgement:
    """Has an autoencoder learned more than the obvious?

    Args:
        error: mean squared error of a pixel, on pictures it has not seen.
        mean_error: the same for always answering the mean training picture.
        pca_error: the same for PCA with as many components as the code has units.
        codes: [n, code units], to find units that never change.
        linear: the model is linear, so that PCA is the best it can reach.
    """
    codes = None if codes is None else np.asarray(codes, np.float64).reshape(len(codes), -1)
    if not (math.isfinite(error) and (codes is None or np.isfinite(codes).all())):
        return _diverged("the error or the code is not a finite number")
    numbers = {"error": float(error), "mean_error": float(mean_error)}
    dead = units = 0
    if codes is not None:
        spread = codes.std(axis=0)
        units, dead = len(spread), int(np.sum(spread <= DEAD * spread.max()))
        numbers |= {"dead_units": dead, "code_units": units}
    idle = f" {dead} of {units} units of the code never change." if dead else ""
    story = _compared(error, mean_error, "the mean picture", "The mean squared error is ")
    if error >= (1 - NO_BETTER) * mean_error or (units and dead == units):
        return Judgement(
            "collapsed",
            f"The autoencoder collapsed: it answers (almost) the same picture to every one.{story}"
            f"{idle} Try a tenth of the learning rate, another activation than ReLU in the code, "
            "or less sparsity.",
            numbers,
        )
    if dead > units / 2:
        return Judgement(
            "dead code",
            f"Most of the code is dead.{idle}{story} Try a lower learning rate, an activation that "
            "does not die (ELU, linear), less sparsity, or a smaller code.",
            numbers,
        )
    if pca_error is not None:
        numbers["pca_error"] = float(pca_error)
        against = _compared(error, pca_error, f"PCA with {units or 'as many'} components")
        if linear and error <= (1 + NO_BETTER) * pca_error:
            return Judgement(
                "healthy", f"A linear autoencoder can do no better than PCA.{against}", numbers
            )
        if error > (1 - NO_BETTER) * pca_error:
            how = "It has not yet reached PCA." if linear else "PCA does as well without training."
            return Judgement(
                "no better than PCA",
                f"{how}{against}{idle} Train longer, or try another learning rate"
                f"{'' if linear else ' or more units'}.",
                numbers,
            )
        story = against
    return Judgement("healthy", f"It reconstructs what it has not seen.{story}{idle}", numbers)


def codebook_verdict(error: float, *, mean_error: float, counts: np.ndarray) -> Judgement:
    """Does a VQ-VAE reconstruct, and does it use its codebook?

    Args:
        error: mean squared error of a pixel, on pictures it has not seen.
        mean_error: the same for always answering the mean training picture.
        counts: how often each code occurs in these pictures, int [codes].
    """
    if not math.isfinite(error):
        return _diverged("the error is not a finite number")
    counts = np.asarray(counts, np.float64)
    share = counts / counts.sum()
    used, codes = int(np.sum(counts > 0)), len(counts)
    perplexity = math.exp(-float(np.sum(share[share > 0] * np.log(share[share > 0]))))
    numbers = {
        "error": float(error),
        "mean_error": float(mean_error),
        "used_codes": used,
        "codes": codes,
        "perplexity": perplexity,
    }
    usage = f" {used} of {codes} codes occur, as if {perplexity:.1f} were used alike."
    story = _compared(error, mean_error, "the mean picture", "The mean squared error is ")
    if error >= (1 - NO_BETTER) * mean_error or used == 1:
        return Judgement(
            "collapsed",
            f"The VQ-VAE collapsed: it answers (almost) the same picture to every one.{story}"
            f"{usage} Try a tenth of the learning rate, or a smaller weight of the commitment.",
            numbers,
        )
    if used <= FEW * codes:
        return Judgement(
            "dead code",
            f"Most of the codebook is dead.{usage}{story} Try earlier restarts of idle codes, "
            "shorter vectors, or fewer codes.",
            numbers,
        )
    return Judgement("healthy", f"It reconstructs what it has not seen.{story}{usage}", numbers)


def _variety(ours: np.ndarray, theirs: np.ndarray, ending: str) -> dict[str, float]:
    return {
        f"{name}{ending}": measure(ours) / measure(theirs) if measure(theirs) > 0 else 1.0
        for name, measure in (("spread", _spread), ("spacing", _spacing))
    }


def _spread(points: np.ndarray) -> float:
    """Root mean square distance of two different points: twice the variance, over all axes."""
    return math.sqrt(2 * float(points.var(axis=0, ddof=1).sum())) if len(points) > 1 else 0.0


def _spacing(points: np.ndarray) -> float:
    from sklearn.neighbors import NearestNeighbors

    if len(points) < 2:
        return 0.0
    # Centred, squares stay small and their differences exact.
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(points - points.mean(axis=0))
    return float(np.median(search.kneighbors()[0]))


def _missing(sample_classes, real_classes, class_names) -> tuple[list[str], dict[str, float]]:
    ours, theirs = np.asarray(sample_classes, int), np.asarray(real_classes, int)
    classes = int(max(ours.max(), theirs.max())) + 1
    counts = np.bincount(ours, minlength=classes)
    expected = np.bincount(theirs, minlength=classes) / len(theirs) * len(ours)
    names = class_names or [str(i) for i in range(classes)]
    judged = expected >= EXPECTED
    absent = judged & (counts < MISSING * expected)
    # Total variation: the share of samples that would have to be of another class.
    distance = 0.5 * float(np.abs(counts - expected).sum() / len(ours))
    return [str(names[i]) for i in np.flatnonzero(absent)], {
        "classes_missing": int(absent.sum()),
        "classes_expected": int(judged.sum()),
        "class_imbalance": distance,
    }


def _gan_story(numbers: dict[str, float]) -> str:
    where = "features" if "spread_features" in numbers else "pixels"
    ending = "_features" if where == "features" else ""
    spread, spacing = numbers["spread" + ending], numbers["spacing" + ending]
    story = (
        f" By {where}, two samples lie {100 * spread:.0f} % as far apart as two real pictures, and "
        f"nearest neighbours {100 * spacing:.0f} %."
    )
    if "coverage" in numbers:
        story += (
            f" The samples cover {100 * numbers['coverage']:.1f} % of the real pictures (other real"
            f" pictures cover {100 * numbers['coverage_floor']:.1f} %)."
        )
    if numbers.get("classes_expected"):
        hit = numbers["classes_expected"] - numbers["classes_missing"]
        story += (
            f" {hit} of {numbers['classes_expected']} classes are drawn;"
            f" {100 * numbers['class_imbalance']:.0f} % of the samples would have to be of another"
            " class."
        )
    return story


def _gan_advice(saturated: bool) -> str:
    first = "a lower learning rate of the discriminator, " if saturated else ""
    return (
        f"Try {first}another loss (the non-saturating one instead of minimax, or a relativistic "
        "one), R1 and R2 penalties, spectral normalisation, or larger batches."
    )


def _compared(value, reference, name: str, words: str = "The error of reconstruction is ") -> str:
    if value is None or reference is None:
        return ""
    return f" {words}{value:.4g}; that of {name} is {reference:.4g}."


def _diverged(what: str) -> Judgement:
    return Judgement(
        "diverged",
        f"The training diverged: {what}. Try a tenth of the learning rate, a warm-up or gradient "
        "clipping, and float32 instead of 16 bits.",
    )


def _some(points: np.ndarray) -> np.ndarray:
    """At most `MOST_COMPARED` rows, from all over: pictures may be sorted by class."""
    points = np.asarray(points)[:: -(-len(points) // MOST_COMPARED) or 1]
    return points.reshape(len(points), -1).astype(np.float64)


def _unit(images: np.ndarray) -> np.ndarray:
    return _some(images) / (255 if np.issubdtype(np.asarray(images).dtype, np.integer) else 1)


def _is_broken(name: str, value) -> bool:
    return "loss" in name and isinstance(value, int | float) and not math.isfinite(value)


def _be(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
