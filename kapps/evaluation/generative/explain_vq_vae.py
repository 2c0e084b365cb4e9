"""A trained VQ-VAE and its prior, measured and explained: figures and words for its report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from kapps import training
from kapps.evaluation import plots
from kapps.evaluation.explanation import Explanation
from kapps.evaluation.generative.explain_gan import learned_from_samples
from kapps.evaluation.generative.explain_vae import (
    COLUMNS,
    MOST_SAMPLES,
    MOST_TRAINING,
    SAMPLES,
    classes_in_turn,
    in_parts,
    one_of_each,
    pca_of,
    sample_figures,
)
from kapps.evaluation.generative.reconstruction import reconstruction_mse
from kapps.evaluation.generative.samples.quality import quality_table, sample_quality
from kapps.evaluation.verdicts.collapse import codebook_verdict
from kapps.evaluation.verdicts.reconstruction import reconstruction_fit

if TYPE_CHECKING:
    from kapps.data import ImageData
    from kapps.evaluation.generative.samples.features import Features
    from kapps.models import VQVAE

MOST_TILES = 64  # codes whose picture is drawn


def explain_vq_vae(
    model: VQVAE,
    images: ImageData,
    autoencoder_history: Sequence[Mapping[str, Any]],
    prior_history: Sequence[Mapping[str, Any]],
    *,
    kept: int | None = None,
    extractor: Features | None = None,
    tstr: bool = True,
    seed: int = 0,
) -> Explanation:
    """Measure a VQ-VAE with its prior, once, on the test split, and draw what explains it.

    `test_code_nats` is what the prior says of the codes of a test picture, -log p(codes);
    `test_code_bits` the same in bits, which is what a picture takes when its codes are kept by the
    prior; `most_code_bits` is what they take without one.

    Args:
        model: computes in float32, and has a prior.
        images: what it was trained on.
        autoencoder_history: rows of metrics.csv of the networks and the codebook.
        prior_history: those of the prior.
        kept: the epoch whose networks and codebook these are, from 1; by default that of the lowest
            `val_loss`.
        extractor: measures the quality of samples by its features; None leaves that out.
        tstr: of a conditional prior, also train a classifier on samples and test it on pictures.
        seed: of all draws.
    """
    if model.prior is None:
        raise ValueError("a VQ-VAE without a prior has no samples to measure")
    test = images.splits["test"]
    real, labels = test.take(range(len(test))), test.labels
    train = images.splits["train"].take(range(min(len(images.splits["train"]), MOST_TRAINING)))
    (codes,) = in_parts(lambda x, _: model.encode(x), real, None)
    (made,) = in_parts(lambda x, _: model.decode(x), codes, None)
    counts = np.bincount(codes.ravel(), minlength=model.codes)
    mse = reconstruction_mse(real, made)
    mean_mse = float(np.mean((real / 255.0 - train.mean(axis=0) / 255.0) ** 2))
    fit = reconstruction_fit(
        autoencoder_history,
        validation_examples=images.counts["validation"],
        train_examples=training.clean_examples(images.counts),
        kept=kept,
    )
    verdict = codebook_verdict(mse, mean_error=mean_mse, counts=counts, fit=fit)
    one_hot = np.eye(model.classes, dtype=np.float32)[labels] if model.classes else None
    (nats,) = in_parts(model.prior.negative_log_likelihood, codes, one_hot)
    pca = pca_of(train, real, model.latent_dim)
    metrics: dict[str, Any] = {
        "test_mse": mse,
        "pca_mse": pca,
        "mean_picture_mse": mean_mse,
        "test_code_nats": float(nats.mean()),
        "test_code_bits": float(nats.mean()) / math.log(2),
        "most_code_bits": model.latent_dim * math.log2(model.codes),
        "test_perplexity": verdict.numbers.get("perplexity"),
        "test_code_usage": float(np.mean(counts > 0)),
        "test_examples": len(real),
        "verdict": verdict.label,
    }
    samples = model.sample(SAMPLES, seed, classes_in_turn(model, SAMPLES))
    words = "Codes drawn from the prior, one after the other, and decoded; not hand-picked."
    chosen = one_of_each(labels)[:COLUMNS]
    figures = [
        (
            "Learning curves",
            plots.training_curves(autoencoder_history, monitor="val_loss"),
            "For encoder, codebook and decoder. The perplexity is over all codes of an epoch.",
        ),
        (
            "Learning curves of the prior",
            plots.training_curves(prior_history, monitor="val_loss"),
            "Nats per image for its codes.",
        ),
        *sample_figures(model, images, samples, train, words),
        (
            "Reconstructions",
            plots.reconstruction_grid(real[chosen], made[chosen]),
            "Test images, their reconstructions from the codes, and the difference.",
        ),
        *_code_figures(model, counts),
    ]
    tables = [_errors(model, metrics), _bits(model, metrics)]
    if extractor is not None:
        validation = images.splits["validation"]
        count = min(len(real), MOST_SAMPLES)
        samples = model.sample(count, seed + 1, classes_in_turn(model, count))
        others = validation.take(range(len(validation)))
        found = sample_quality(extractor, samples, real, others, seed=seed)
        metrics |= {f"test_{name}": value for name, value in found.items()}
        tables.append(quality_table(found))
    if model.classes and tstr:
        learned, table = learned_from_samples(model, images, len(train), seed)
        metrics |= learned
        tables.append(table)
    headline = (
        f"Squared error per test pixel {mse:.5f}; with the prior an image takes "
        f"{metrics['test_code_bits']:.1f} bits ({len(real)} images)."
    )
    return Explanation(metrics, verdict, figures, tables, headline=headline)


def _code_figures(model, counts) -> list[tuple[str, Figure, str]]:
    frequent = np.argsort(-counts, kind="stable")[:MOST_TILES]
    maps = np.broadcast_to(frequent[:, None, None], (len(frequent), *model.code_shape))
    (tiles,) = in_parts(lambda codes, _: model.decode(codes), maps.astype(np.int32), None)
    return [
        (
            "Use of the codebook",
            plots.code_frequencies(counts),
            "In the codes of the test images.",
        ),
        (
            "What the codes look like",
            plots.sample_grid(tiles),
            "Decoded maps with the same code everywhere; the most frequent codes first.",
        ),
    ]


def _errors(model, metrics) -> tuple[str, Sequence[str], Sequence[Sequence]]:
    code = f"{model.latent_dim} of {model.codes} codes: {metrics['most_code_bits']:.0f} bits"
    rows = [("mean picture", "none", metrics["mean_picture_mse"])]
    if metrics["pca_mse"] is not None:
        rows.append(("PCA", f"{model.latent_dim} numbers", metrics["pca_mse"]))
    rows.append(("this VQ-VAE", code, metrics["test_mse"]))
    return "Error of a pixel (0 to 1, squared)", ("model", "code", "MSE"), rows


def _bits(model, metrics) -> tuple[str, Sequence[str], Sequence[Sequence]]:
    by_frequency = model.latent_dim * math.log2(metrics["test_perplexity"] or 1.0)
    rows = [
        ("all codes equally likely", metrics["most_code_bits"]),
        ("by frequency", by_frequency),
        ("by the prior, given the codes before", metrics["test_code_bits"]),
    ]
    return "Bits per image for its codes", ("coding", "bits"), rows
