"""A trained autoencoder, measured and explained: figures and words for its report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from kapps import data, models, training
from kapps.evaluation import plots
from kapps.evaluation.explanation import Explanation, Figures, Tables
from kapps.evaluation.generative.explain_vae import (
    COLUMNS,
    MOST_TRAINING,
    MOST_VALUES_FOR_PCA,
    SCATTERED,
    in_parts,
    one_of_each,
)
from kapps.evaluation.generative.latent_paths import lerp
from kapps.evaluation.generative.reconstruction import pca_mse, psnr, reconstruction_mse
from kapps.evaluation.verdicts.collapse import autoencoder_verdict
from kapps.evaluation.verdicts.reconstruction import reconstruction_fit

if TYPE_CHECKING:
    from kapps.data import ImageData
    from kapps.models import Autoencoder

PATHS = 4  # interpolations that are drawn


def explain_autoencoder(
    model: Autoencoder,
    images: ImageData,
    history: Sequence[Mapping[str, Any]],
    *,
    kind: str = "dense",
    left_out: str | None = None,
    layer_errors: Sequence[float] = (),
    kept: int | None = None,
    seed: int = 0,
) -> Explanation:
    """Measure an autoencoder, once, on the test split, and draw what explains it.

    Errors are squared, per pixel, in units of 0..1, beside those of the mean image and of PCA. Of a
    denoising autoencoder `test_denoised_mse` is the error after noise of its kind was put on the
    test images, and `noisy_mse` that of the noise itself. With a class that was left out,
    `test_anomaly_auc` is the area under the ROC curve of the error as a sign of that class: the
    probability that an image of it has a higher error than one of the others.

    Args:
        model: computes in float32.
        images: the dataset; all other figures are those of the classes that are not left out.
        history: rows of metrics.csv.
        kind: of network; a "linear" one can do no better than PCA.
        left_out: the class that it was trained without.
        layer_errors: what training layer by layer has reached, layer after layer.
        kept: the epoch whose weights these are, from 1; by default that of the lowest `val_loss`.
        seed: of the noise.

    Raises:
        UserError: there is no such class, or no other.
    """
    known = data.without_class(images, left_out)
    test = known.splits["test"]
    real, labels = test.take(range(len(test))), test.labels
    (codes,) = in_parts(lambda x, _: model.encode(x), real, None)
    (made,) = in_parts(lambda z, _: model.decode(z), codes, None)
    errors = ((made - real / 255.0) ** 2).mean(axis=(1, 2, 3))
    mean_error, pca = _linear_errors(known.splits["train"], real, model.latent_dim)
    denoising = model.corruption is not None
    mse = reconstruction_mse(real, made)
    fit = reconstruction_fit(
        history,
        measure="mse",
        nothing=mean_error,
        validation_examples=known.counts["validation"],
        train_examples=training.clean_examples(known.counts),
        kept=kept,
    )
    verdict = autoencoder_verdict(
        mse,
        mean_error=mean_error,
        # PCA of clean images is no yardstick for a network that has learned to undo noise.
        pca_error=None if denoising else pca.get(model.latent_dim),
        codes=codes,
        linear=kind == "linear",
        fit=fit,
    )
    metrics = {
        "test_mse": mse,
        "test_psnr": psnr(mse),
        "pca_mse": pca.get(model.latent_dim),
        "mean_picture_mse": mean_error,
        "test_examples": len(test),
        "verdict": verdict.label,
    }
    shown, given = made, []
    if denoising:
        noisy, shown = _denoised(model, real, seed)
        given = [("noisy", noisy.clip(0, 1))]
        metrics["test_denoised_mse"] = reconstruction_mse(real, shown)
        metrics["noisy_mse"] = reconstruction_mse(real, noisy)
    if left_out is not None:
        metrics["test_anomaly_auc"] = _anomaly_auc(model, images, left_out)
    figures = [
        *_reconstructions(real, labels, shown, given, made, errors),
        *_curves_and_codes(model, images, history, codes, labels),
    ]
    tables = _tables(kind, model, images, metrics, pca, labels, errors)
    if layer_errors:
        rows = list(enumerate(layer_errors, start=1))
        tables.append(("Layer by layer, before", ("layer", "squared error per value"), rows))
    return Explanation(metrics, verdict, figures, tables, headline=_headline(metrics))


def _linear_errors(
    train: data.Split, real: np.ndarray, latent_dim: int
) -> tuple[float, dict[int, float]]:
    """Errors of the mean training image, and of PCA by its number of components.

    Of PCA there are none where images are too large or too few for as many components as the code
    has values.
    """
    known = train.take(range(min(len(train), MOST_TRAINING)))
    mean_error = float(((real / 255.0 - known.mean(axis=0) / 255.0) ** 2).mean())
    values = math.prod(known.shape[1:])
    most = min(len(known), values, latent_dim)
    if latent_dim > most or values > MOST_VALUES_FOR_PCA:
        return mean_error, {}
    dims = sorted({*(2**i for i in range(most.bit_length())), most})
    return mean_error, pca_mse(known, real, dims)


def _denoised(model, real: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The images with noise, pixels of 0..1, and what the model makes of them."""
    noise = model.corruption, model.corruption_amount
    x = tf.cast(real, tf.float32) / 255.0
    noisy = models.corrupt(x, *noise, tf.constant([seed, 1])).numpy()
    return noisy, in_parts(lambda x, _: model.reconstruct(x), noisy * 255.0, None)[0]


def _anomaly_auc(model, images: ImageData, left_out: str) -> float:
    from sklearn.metrics import roc_auc_score

    test = images.splits["test"]
    anomalous = test.labels == images.class_names.index(left_out)
    return float(roc_auc_score(anomalous, model.reconstruction_error(test.take(range(len(test))))))


def _reconstructions(real, labels, shown, given, made, errors) -> Figures:
    chosen, worst = one_of_each(labels)[:COLUMNS], np.argsort(-errors)[:COLUMNS]
    grid = plots.reconstruction_grid
    others = [(name, pixels[chosen]) for name, pixels in given]
    return [
        (
            "Reconstructions",
            grid(real[chosen], shown[chosen], others),
            "Test images, their reconstructions, and the difference.",
        ),
        (
            "Worst reconstructions",
            grid(real[worst], made[worst]),
            "The test images with the highest errors: this is how anomalies are found.",
        ),
    ]


def _curves_and_codes(model, images: ImageData, history, codes, labels) -> Figures:
    half = len(codes) // 2
    paths = [
        model.decode(lerp(codes[i], codes[half + i], COLUMNS)).numpy()
        for i in range(min(PATHS, half))
    ]
    return [
        (
            "Learning curves",
            plots.training_curves(history, monitor="val_mse"),
            "While training, and in evaluation mode on clean images, as validation is measured.",
        ),
        (
            "Codes",
            plots.latent_scatter(codes[:SCATTERED], labels[:SCATTERED], images.class_names),
            "Test images in code space; training did not use the classes.",
        ),
        (
            "Interpolation",
            plots.interpolation_grid(paths),
            "From one test image to another, along a straight line between their codes.",
        ),
    ]


def _tables(kind: str, model, images: ImageData, metrics, pca, labels, errors) -> Tables:
    compared = [
        ("mean image", 0, metrics["mean_picture_mse"]),
        *(("PCA", count, error) for count, error in pca.items()),
        (f"this {kind} autoencoder", model.latent_dim, metrics["test_mse"]),
    ]
    classes = [
        (name, float(errors[labels == i].mean()), int((labels == i).sum()))
        for i, name in enumerate(images.class_names)
        if (labels == i).any()
    ]
    return [
        (
            "Error of a pixel (0 to 1, squared)",
            ("model", "code", "MSE", "PSNR, dB"),
            [(*row, psnr(row[2])) for row in compared],
        ),
        ("Class by class", ("class", "MSE", "images"), classes),
    ]


def _headline(metrics: Mapping[str, Any]) -> str:
    against = "" if metrics["pca_mse"] is None else f" (PCA: {metrics['pca_mse']:.5f})"
    return (
        f"Mean squared error per test pixel {metrics['test_mse']:.5f}{against}, "
        f"{metrics['test_psnr']:.1f} dB, {metrics['test_examples']} images."
    )
