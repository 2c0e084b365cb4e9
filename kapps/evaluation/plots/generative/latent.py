"""Pictures of a latent space, and of the bound that was reached with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from kapps.evaluation.plots.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    WIDTH,
    YELLOW,
    calm,
    new_figure,
    short_names,
)

COLOURS = (BLUE, ORANGE, GREEN, PINK, YELLOW, SKY, "#000000", GREY, "#882255", "#661100")
MARKERS = "os^Dvp"  # tell the colours apart once they repeat
MOST_BARS = 64
MOST_CLASSES = 30


def latent_scatter(
    means: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """Where pictures lie in the latent space, coloured by class.

    Of more than two dimensions the two principal components are drawn, and the axes say which
    share of the variance each holds.

    Args:
        means: [n, latent_dim], as an encoder gives them.
        labels: int [n].
        class_names: by class; numbers when None. More than 30 classes get no colours.
    """
    means = np.asarray(means, np.float64)
    labels = np.zeros(len(means), int) if labels is None else np.asarray(labels)
    points, titles = _plane(means)
    classes = int(labels.max(initial=0)) + 1
    coloured = 1 < classes <= MOST_CLASSES
    figure = new_figure(WIDTH + (0.19 * -(-classes // 3) if coloured else 0))
    axes = calm(figure.subplots())
    size = float(np.clip(6000 / max(len(points), 1), 2, 24))
    if not coloured:
        axes.scatter(*points.T, s=size, color=BLUE, alpha=0.5, linewidth=0)
    names = short_names(class_names or [str(i) for i in range(classes)], 14) if coloured else []
    for i, name in enumerate(names):
        axes.scatter(
            *points[labels == i].T,
            s=size,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i // len(COLOURS) % len(MARKERS)],
            alpha=0.6,
            linewidth=0,
            label=name.lstrip("_") or str(i),
        )
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    if coloured:
        legend = figure.legend(
            loc="outside lower left", ncols=3, frameon=False, fontsize=8.5, markerscale=2.0
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    return figure


def kl_bars(kl: np.ndarray, active: np.ndarray | None = None) -> Figure:
    """The KL divergence of each latent dimension, in nats, the largest first.

    Args:
        kl: [latent_dim], mean over pictures.
        active: bool [latent_dim], the active units; the others are drawn pale. All when None.
    """
    kl = np.asarray(kl, np.float64)
    active = np.ones(len(kl), bool) if active is None else np.asarray(active, bool)
    order = np.argsort(-np.nan_to_num(kl), kind="stable")
    figure = new_figure(2.6)
    axes = calm(figure.subplots())
    axes.grid(False, axis="x")
    colours = np.where(active[order], BLUE, "#C4C4C4")
    axes.bar(np.arange(len(kl)), np.nan_to_num(kl)[order], color=list(colours), width=0.8)
    if len(kl) <= MOST_BARS:
        points = float(np.clip(260 / max(len(kl), 1), 4, 9))
        crowded = len(kl) > 16
        axes.set_xticks(np.arange(len(kl)), order, fontsize=points, rotation=90 * crowded)
        axes.set_xlabel("Latent dimension, the largest first")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("Rank of the latent dimension")
    axes.set_ylabel("KL, nats")
    axes.set_title(
        f"{np.nansum(kl):.1f} nats; {active.sum()} of {len(kl)} units active",
        loc="left",
        fontsize=10,
        fontweight="bold",
    )
    return figure


def code_frequencies(counts: np.ndarray) -> Figure:
    """How often each code of a codebook occurs, the most frequent first.

    Args:
        counts: int [codes].
    """
    counts = np.asarray(counts, np.float64)
    share = np.sort(counts)[::-1] / max(counts.sum(), 1)
    used = int(np.sum(counts > 0))
    figure = new_figure(2.6)
    axes = calm(figure.subplots())
    axes.grid(False, axis="x")
    axes.bar(np.arange(1, len(share) + 1), 100 * share, color=BLUE, width=1.0)
    axes.axhline(100 / len(share), color=ORANGE, linewidth=1.2, label="if all were equally used")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Rank of the code")
    axes.set_ylabel("Share, %")
    axes.legend(frameon=False, fontsize=8)
    axes.set_title(
        f"{used} of {len(share)} codes occur", loc="left", fontsize=10, fontweight="bold"
    )
    return figure


def bound_by_samples(
    samples: Sequence[int],
    nll: Sequence[float],
    errors: Sequence[float] | None = None,
    *,
    floor: float | None = None,
) -> Figure:
    """The importance-sampled bound on the negative log-likelihood, by its number of samples.

    The bound falls with more samples (arXiv:1509.00519); where it is still falling, the true
    value lies below.

    Args:
        samples: importance samples per picture.
        nll: nats.
        errors: standard errors of the mean over pictures.
        floor: nats that no model can go below, drawn as a line.
    """
    figure = new_figure(2.8)
    axes = calm(figure.subplots())
    if errors is None:
        axes.plot(samples, nll, "o-", color=BLUE, linewidth=1.8)
    else:
        axes.errorbar(samples, nll, errors, fmt="o-", color=BLUE, linewidth=1.8, capsize=3)
    axes.set_xscale("log")
    axes.set_xlabel("Importance samples per image")
    axes.set_ylabel("NLL at most, nats")
    for count, value in zip(samples, nll, strict=True):
        axes.annotate(
            f"{value:.2f}",
            (count, value),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.margins(0.12, 0.2)
    if floor is not None:
        axes.axhline(floor, color=GREY, linestyle=":", linewidth=1.2)
        axes.annotate(
            f"floor {floor:.2f}",
            (1, floor),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    return figure


def _plane(means: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    finite = np.nan_to_num(means)
    if means.shape[1] == 1:
        return np.stack([finite[:, 0], np.zeros(len(finite))], axis=-1), ("z0", "")
    if means.shape[1] == 2:
        return finite, ("z0", "z1")
    from sklearn.decomposition import PCA

    if len(finite) < 2 or not finite.std(axis=0).any():
        return finite[:, :2], ("z0", "z1")
    pca = PCA(2, svd_solver="full").fit(finite)
    first, second = (f"{100 * share:.0f} %" for share in pca.explained_variance_ratio_)
    return pca.transform(finite), (
        f"First principal component ({first} of the variance)",
        f"Second ({second})",
    )
