"""Did a generative model collapse? A verdict in words for each kind of model.

Posterior of a VAE (`posterior_verdict`)
    diverged             a KL divergence or the reconstruction is not a finite number
    posterior collapsed  no active unit, or less than 0.1 nats in total, or reconstructions no
                         better than the mean image: the latent code carries no information
    blurred              the code carries fewer nats than naming the class of an image takes (log 10
                         if there are no classes); or the reconstruction error is twice that of
                         PCA; or hardly any real image has a sample nearby
    partly collapsed     a quarter of the units or fewer are active, and reconstructions are not
                         known to be as good as PCA's
    over-fitted ...      by the learning curves, if given (`reconstruction_fit`)
    healthy              everything else

Autoencoder (`autoencoder_verdict`)
    diverged, collapsed (no better than the mean image), dead code (most units never change), no
    better than PCA, over-fitted ..., healthy

Codebook of a VQ-VAE (`codebook_verdict`)
    diverged, collapsed (no better than the mean image), dead code (a quarter of the codes or fewer
    occur), over-fitted ..., healthy

Samples of a generator: `kapps.evaluation.verdicts.samples`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from kapps.evaluation.verdicts.curves import Verdict

ACTIVE = 0.01  # nats of KL, where the active units themselves are not given
NOTHING = 0.1  # nats in the whole code
FEW = 0.25  # active share of the units at or below which a posterior is partly collapsed
NO_BETTER = 0.01  # of the mean image's error, or of PCA's
TEN_KINDS = 10  # of images, where nobody says how many classes there are
BLURRED = 2.0  # times the error of PCA with as many components
UNLIKE = 0.1  # coverage of the samples, relative to that of other real images
DEAD = 1e-3  # standard deviation of a unit of a code, relative to that of the liveliest


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
    pca_error: float | None = None,
    coverage: float | None = None,
    coverage_floor: float = 1.0,
    classes: int = TEN_KINDS,
    fit: Verdict | None = None,
) -> Judgement:
    """Is the latent code of a VAE in use?

    Args:
        kl: [latent_dim], KL divergence of each unit in nats, mean over images.
        active: the active units (arXiv:1509.00519: the variance over images of the posterior's
            mean is above 0.01), bool [latent_dim] or how many. Those with 0.01 nats when None.
        reconstruction: how badly images are reconstructed, nats or squared error.
        mean_picture: the same for always answering the best constant image.
        pca_error: the same for PCA with as many components as the code has units; only where
            `reconstruction` is a squared error.
        coverage: share of real images with a sample nearby (arXiv:2002.09797).
        coverage_floor: the same for a second draw of real images in the place of samples.
        classes: of the images. What a code says of them is at most its KL (the mutual information
            of both is, arXiv:1606.03657), and log(classes) nats are what their name alone takes.
        fit: what `reconstruction_fit` says of the learning curves.
    """
    kl = np.asarray(kl, np.float64).ravel()
    given = [x for x in (reconstruction, mean_picture) if x is not None]
    if not np.isfinite([*kl, *given]).all():
        return diverged("the KL divergence or the reconstruction is not a finite number")
    units, nats = len(kl), float(kl.sum())
    count = int(np.sum(kl > ACTIVE)) if active is None else int(np.sum(active))
    numbers = {"active_units": count, "latent_dim": units, "kl": nats}
    useless = None
    if reconstruction is not None and mean_picture is not None:
        gain = (mean_picture - reconstruction) / max(abs(mean_picture), 1e-12)
        numbers["gain_over_mean_picture"] = float(gain)
        useless = gain < NO_BETTER
    used = f"{count} of {units} latent units are active and carry {nats:.2f} nats in total"
    against = compared(reconstruction, mean_picture, "the mean image")
    advice = (
        "Try a KL warm-up over more epochs, free bits (0.1 to 0.5 nats per unit), a lower beta, or "
        "a weaker decoder."
    )
    if count == 0 or nats < NOTHING:
        alone = "" if useless in (None, True) else " The decoder reconstructs without it."
        return Judgement(
            "posterior collapsed",
            f"The posterior collapsed: {used}, so the code says nothing about the image."
            f"{against}{alone} {advice}",
            numbers,
        )
    if useless:
        return Judgement(
            "posterior collapsed",
            f"The decoder does not use the code: {used}, yet reconstructions are no better than "
            f"the mean image.{against} Try a lower learning rate, a decoder whose first layer is "
            "wider, or a lower beta.",
            numbers,
        )
    mush = _mush(nats, classes, reconstruction, pca_error, coverage, coverage_floor)
    if mush:
        return Judgement(
            "blurred",
            f"The images are blurred: {mush}. {used[0].upper()}{used[1:]}.{against} {advice}",
            numbers,
        )
    good = pca_error is not None and reconstruction is not None and reconstruction <= pca_error
    if count < units and count <= max(1, FEW * units) and not good:
        return Judgement(
            "partly collapsed",
            f"The posterior collapsed in part: {used}; the other {units - count} are unused."
            f"{against} {advice}",
            numbers,
        )
    rest = ""
    if count < units:
        rest = f" The other {units - count} are not needed: a smaller latent space would do."
    return with_fit(
        Judgement("healthy", f"The latent code is in use: {used}.{rest}{against}", numbers), fit
    )


def _mush(nats, classes, reconstruction, pca_error, coverage, floor) -> str:
    if None not in (reconstruction, pca_error) and reconstruction >= BLURRED * pca_error:
        return f"the reconstruction error is {reconstruction / pca_error:.1f} times that of PCA"
    if nats < math.log(classes):
        return (
            f"a code of {nats:.1f} nats tells about {max(1, round(math.exp(nats)))} images apart, "
            f"fewer than there are classes ({classes})"
        )
    if coverage is not None and coverage < UNLIKE * floor:
        return (
            f"only {100 * coverage:.1f} % of the real images have a sample nearby (of other real "
            f"images {100 * floor:.1f} %)"
        )
    return ""


def with_fit(judgement: Judgement, fit: Verdict | None) -> Judgement:
    """A healthy model that over-fits is not healthy."""
    if fit is None or fit.label not in ("over-fitted", "slightly over-fitted", "unstable"):
        return judgement
    numbers = judgement.numbers | ({} if fit.gap is None else {"gap": fit.gap})
    return Judgement(fit.label, f"{fit.sentence} {judgement.sentence}", numbers)


def autoencoder_verdict(
    error: float,
    *,
    mean_error: float,
    pca_error: float | None = None,
    codes: np.ndarray | None = None,
    linear: bool = False,
    fit: Verdict | None = None,
) -> Judgement:
    """Has an autoencoder learned more than the obvious?

    Args:
        error: mean squared error of a pixel, on images it has not seen.
        mean_error: the same for always answering the mean training picture.
        pca_error: the same for PCA with as many components as the code has units.
        codes: [n, code units], to find units that never change.
        linear: the model is linear, so that PCA is the best it can reach.
        fit: what `reconstruction_fit` says of the learning curves.
    """
    codes = None if codes is None else np.asarray(codes, np.float64).reshape(len(codes), -1)
    if not (math.isfinite(error) and (codes is None or np.isfinite(codes).all())):
        return diverged("the error or the code is not a finite number")
    numbers = {"error": float(error), "mean_error": float(mean_error)}
    dead = units = 0
    if codes is not None:
        spread = codes.std(axis=0)
        units, dead = len(spread), int(np.sum(spread <= DEAD * spread.max()))
        numbers |= {"dead_units": dead, "code_units": units}
    idle = f" {dead} of {units} units of the code never change." if dead else ""
    story = compared(error, mean_error, "the mean image", "The mean squared error is ")
    if error >= (1 - NO_BETTER) * mean_error or (units and dead == units):
        return Judgement(
            "collapsed",
            f"The autoencoder collapsed: its output is (almost) the same for every image.{story}"
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
        against = compared(error, pca_error, f"PCA with {units or 'as many'} components")
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
    return with_fit(
        Judgement("healthy", f"It reconstructs what it has not seen.{story}{idle}", numbers), fit
    )


def codebook_verdict(
    error: float, *, mean_error: float, counts: np.ndarray, fit: Verdict | None = None
) -> Judgement:
    """Does a VQ-VAE reconstruct, and does it use its codebook?

    Args:
        error: mean squared error of a pixel, on images it has not seen.
        mean_error: the same for always answering the mean training picture.
        counts: how often each code occurs in these images, int [codes].
        fit: what `reconstruction_fit` says of the learning curves.
    """
    if not math.isfinite(error):
        return diverged("the error is not a finite number")
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
    usage = f" {used} of {codes} codes occur, with a perplexity of {perplexity:.1f}."
    story = compared(error, mean_error, "the mean image", "The mean squared error is ")
    if error >= (1 - NO_BETTER) * mean_error or used == 1:
        return Judgement(
            "collapsed",
            f"The VQ-VAE collapsed: its output is (almost) the same for every image.{story}"
            f"{usage} Try a tenth of the learning rate, or a smaller commitment weight.",
            numbers,
        )
    if used <= FEW * codes:
        return Judgement(
            "dead code",
            f"Most of the codebook is dead.{usage}{story} Try earlier restarts of idle codes, "
            "shorter vectors, or fewer codes.",
            numbers,
        )
    return with_fit(
        Judgement("healthy", f"It reconstructs what it has not seen.{story}{usage}", numbers), fit
    )


def compared(value, reference, name: str, words: str = "The reconstruction error is ") -> str:
    """A sentence with both; nothing where one is unknown."""
    if value is None or reference is None:
        return ""
    return f" {words}{value:.4g}; that of {name} is {reference:.4g}."


def diverged(what: str) -> Judgement:
    """The judgement on numbers that are none; `what` is a clause."""
    return Judgement(
        "diverged",
        f"The training diverged: {what}. Try a tenth of the learning rate, a warm-up or gradient "
        "clipping, and float32 instead of 16 bits.",
    )
