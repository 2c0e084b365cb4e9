"""A trained VAE, measured and explained: figures, pictures and words for its report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from kapps import data, training
from kapps.evaluation import plots
from kapps.evaluation.explanation import Explanation
from kapps.evaluation.generative.latent_paths import lerp, normal_grid, slerp, traversal
from kapps.evaluation.generative.likelihood import binarization_entropy, floor_note, importance_nll
from kapps.evaluation.generative.posterior import active_units, kl_per_dimension, mutual_information
from kapps.evaluation.generative.reconstruction import pca_mse, reconstruction_mse
from kapps.evaluation.generative.samples.neighbours import nearest_neighbours
from kapps.evaluation.generative.samples.quality import quality_table, sample_quality
from kapps.evaluation.verdicts.collapse import posterior_verdict
from kapps.evaluation.verdicts.reconstruction import reconstruction_fit

if TYPE_CHECKING:
    from kapps.data import ImageData
    from kapps.evaluation.generative.samples.features import Features
    from kapps.models import VAE

NOT_DENSITIES = ("bernoulli", "discretized_logistic")  # their nats are bits per dimension
SAMPLES, COLUMNS, DIMENSIONS, PATHS, SIDE = 64, 8, 8, 3, 15  # what is drawn
TOGETHER = 500  # pictures at a time
SCATTERED = 2000  # points of the latent space
MOST_SAMPLES = 10_000  # compared with pictures
MOST_TRAINING = 60_000  # training pictures in memory
MOST_VALUES_FOR_PCA = 4096  # of a picture
REACH = np.linspace(-3, 3, 7)  # 99.7 % of the prior


class _Test(NamedTuple):
    """The test split and its posteriors."""

    grey: np.ndarray  # uint8 [n, H, W, C]
    given: np.ndarray  # what the model is made for: binarized for a Bernoulli likelihood
    labels: np.ndarray  # int [n]
    condition: np.ndarray | None  # one-hot labels of a conditional model
    mean: np.ndarray
    log_var: np.ndarray
    made: np.ndarray  # reconstructions of the greys, pixels of 0..1


def explain_vae(
    model: VAE,
    images: ImageData,
    history: Sequence[Mapping[str, Any]],
    *,
    nll_samples: int = 500,
    extractor: Features | None = None,
    kept: int | None = None,
    seed: int = 0,
) -> Explanation:
    """Measure a VAE, once, on the test split, and draw what explains it.

    Binarized test pictures are those of `data.binarized`; the squared error of reconstruction is
    that of the greys. `test_nll` is the importance-sampled bound on -log p(x), in nats.

    Args:
        model: computes in float32; it is compiled here, if it is not.
        images: what it was trained on.
        history: rows of metrics.csv.
        nll_samples: importance samples per picture.
        extractor: measures the quality of samples by its features; None leaves that out.
        kept: the epoch whose weights these are, from 1; by default that of the lowest `val_loss`.
        seed: of all draws.

    Raises:
        UserError: the model's log weights are not finite numbers.
    """
    test = _examine(model, images.splits["test"])
    train = images.splits["train"].take(range(min(len(images.splits["train"]), MOST_TRAINING)))
    likelihood, metrics, notes = _bounds(model, test, nll_samples, seed)
    kl, active = kl_per_dimension(test.mean, test.log_var), active_units(test.mean)
    mse = reconstruction_mse(test.grey, test.made)
    mean_mse = float(np.mean((test.grey / 255.0 - train.mean(axis=0) / 255.0) ** 2))
    pca = pca_of(train, test.grey, model.latent_dim)
    metrics |= {
        "active_units": active.count,
        "mutual_information": mutual_information(
            test.mean[:SCATTERED], test.log_var[:SCATTERED], seed=seed
        ),
        "test_mse": mse,
        "pca_mse": pca,
        "mean_picture_mse": mean_mse,
        "test_examples": len(test.grey),
    }
    units = active.variances > 0.01
    fit = reconstruction_fit(
        history,
        validation_examples=images.counts["validation"],
        train_examples=training.clean_examples(images.counts),
        kept=kept,
    )
    quality = {} if extractor is None else _quality(model, images, test.grey, extractor, seed)
    verdict = posterior_verdict(
        kl,
        units,
        reconstruction=mse,
        mean_picture=mean_mse,
        pca_error=pca,
        coverage=quality.get("coverage"),
        coverage_floor=quality.get("coverage_floor", 1.0),
        classes=images.classes,
        fit=fit,
    )
    below = metrics["test_kl"] - float(kl.sum())
    if model.posteriors:
        words = f" The levels below hold {below:.2f} nats."
        verdict = dataclasses.replace(verdict, sentence=verdict.sentence + words)
    metrics["verdict"] = verdict.label
    samples = model.sample(SAMPLES, seed, classes_in_turn(model, SAMPLES))
    figures = [
        (
            "Learning curves",
            plots.training_curves(history, monitor="val_loss"),
            "Nats per image. In evaluation mode and on validation the KL has its full weight.",
        ),
        *_sample_figures(model, images, samples, train),
        *_picture_figures(test),
        *_latent_figures(model, images, test, kl, units),
        (
            "Bound by importance samples",
            plots.bound_by_samples(
                list(likelihood.trend),
                list(likelihood.trend.values()),
                floor=metrics.get("test_nll_floor"),
            ),
            "While the curve still falls, the true value lies below it.",
        ),
    ]
    tables = _tables(likelihood, model, metrics)
    if quality:
        tables.append(quality_table(quality))
        metrics |= {f"test_{name}": value for name, value in quality.items()}
    headline = (
        f"Negative log-likelihood of a test image at most {metrics['test_nll']:.2f} nats "
        f"(95 % interval {metrics['test_nll_low']:.2f} to {metrics['test_nll_high']:.2f}, "
        f"{nll_samples} importance samples, {len(test.grey)} images), negative ELBO "
        f"{metrics['test_negative_elbo']:.2f} nats."
    )
    return Explanation(metrics, verdict, figures, tables, headline=headline, notes=notes)


def _examine(model, split) -> _Test:
    grey = split.take(range(len(split)))
    given = grey
    if model.likelihood == "bernoulli":
        given = data.binarized(split).take(range(len(split)))
    condition = np.eye(model.classes, dtype=np.float32)[split.labels] if model.classes else None
    mean, log_var = in_parts(model.encode, given, condition)
    (made,) = in_parts(model.reconstruct, grey, condition)
    return _Test(grey, given, split.labels, condition, mean, log_var, made)


def in_parts(function: Callable, x: np.ndarray, labels: np.ndarray | None) -> list[np.ndarray]:
    """The outputs of a function of (x, labels) on many rows, a part after the other."""
    parts = []
    for start in range(0, len(x), TOGETHER):
        rows = slice(start, start + TOGETHER)
        found = function(x[rows], None if labels is None else labels[rows])
        parts.append(found if isinstance(found, tuple) else (found,))
    return [np.concatenate([np.asarray(y) for y in column]) for column in zip(*parts, strict=True)]


def _bounds(model, test: _Test, samples: int, seed: int) -> tuple:
    """The likelihood, metrics about it, and notes."""
    if not model.compiled:
        model.compile()
    found = model.evaluate(
        test.given, test.condition, batch_size=TOGETHER, verbose=0, return_dict=True
    )
    likelihood = importance_nll(
        model.log_weights,
        test.given / np.float32(255),
        labels=test.condition,
        samples=samples,
        seed=seed,
    )
    floor = binarization_entropy(test.grey) if model.likelihood == "bernoulli" else None
    metrics = {
        "test_nll": likelihood.nll,
        "test_nll_error": likelihood.error,
        "test_nll_low": likelihood.interval[0],
        "test_nll_high": likelihood.interval[1],
        "test_nll_samples": samples,
    }
    if floor is not None:
        metrics["test_nll_floor"] = floor
    if model.likelihood in NOT_DENSITIES:
        metrics["test_bits_per_dimension"] = likelihood.figures()["nll_bits_per_dimension"]
    for name in ("negative_elbo", "reconstruction", "kl"):
        metrics[f"test_{name}"] = found[name]
    if model.objective != "elbo":
        metrics["test_bound"] = found["loss"]
    note = None if floor is None else floor_note(likelihood.nll, floor)
    return likelihood, metrics, [note] if note else []


def pca_of(train: np.ndarray, grey: np.ndarray, dims: int) -> float | None:
    """Squared error of as many principal components; None where there are none."""
    values = grey[0].size
    if values > MOST_VALUES_FOR_PCA or dims > min(len(train), values):
        return None
    return pca_mse(train, grey, dims)


def classes_in_turn(model: Any, count: int) -> np.ndarray | None:
    """One-hot labels, as many of each class; None for an unconditional model."""
    if not model.classes:
        return None
    return np.eye(model.classes, dtype=np.float32)[np.arange(count) % model.classes]


def _sample_figures(model, images, samples, train) -> list[tuple[str, Figure, str]]:
    words = "Expected pixels for latents drawn from the prior."
    figures = sample_figures(model, images, samples, train, words)
    if hasattr(model.prior, "pseudo_inputs"):
        pictures = np.array(model.prior.pseudo_inputs)[:SAMPLES]
        words = "The prior is the mixture of the posteriors of these learned images."
        figures.append(("Pseudo-inputs", plots.sample_grid(pictures), words))
    return figures


def sample_figures(
    model: Any, images: ImageData, samples: np.ndarray, train: np.ndarray, words: str
) -> list[tuple[str, Figure, str]]:
    """Samples, of classes in turn if there are classes, and the training pictures near to some."""
    classes = np.arange(len(samples)) % model.classes if model.classes else None
    near, distances = nearest_neighbours(samples[:COLUMNS], train, min(5, len(train)))
    return [
        ("Samples", plots.sample_grid(samples, classes, images.class_names), words),
        (
            "Nearest training pictures",
            plots.neighbour_grid(samples[:COLUMNS], train[near], distances),
            "Samples, and the training images nearest to each in pixels: learned, or memorized?",
        ),
    ]


def _picture_figures(test: _Test) -> list[tuple[str, Figure, str]]:
    chosen = one_of_each(test.labels)[:COLUMNS]
    others = [] if test.given is test.grey else [("binarized", test.given[chosen])]
    grid = plots.reconstruction_grid(test.grey[chosen], test.made[chosen], others)
    words = "Test images, reconstructions of their grey levels, and the difference."
    return [("Reconstructions", grid, words)]


def one_of_each(labels: np.ndarray) -> np.ndarray:
    """The row of the first example of each class."""
    return np.unique(labels, return_index=True)[1]


def _latent_figures(model, images, test: _Test, kl, units) -> list[tuple[str, Figure, str]]:
    def decode(z: np.ndarray, like: int) -> np.ndarray:
        """Pixels of points [..., latent_dim], under the condition of one test picture."""
        flat = z.reshape(-1, z.shape[-1]).astype(np.float32)
        given = None
        if test.condition is not None:
            given = np.repeat(test.condition[like : like + 1], len(flat), axis=0)
        (pixels,) = in_parts(model.decode, flat, given)
        return pixels.reshape(*z.shape[:-1], *pixels.shape[1:])

    ends = one_of_each(test.labels)
    first, ends = int(ends[0]), np.resize(ends, 2 * PATHS).reshape(PATHS, 2)
    dimensions = np.argsort(-kl, kind="stable")[:DIMENSIONS]
    paths = [
        decode(walk(test.mean[a], test.mean[b], COLUMNS), int(a))
        for a, b in ends
        for walk in (slerp, lerp)
    ]
    figures = [
        (
            "Latent traversals",
            plots.traversal_grid(
                decode(traversal(test.mean[first], dimensions, REACH), first), dimensions, REACH
            ),
            "One latent at a time goes from -3 to 3, the others stay as for a test image; shown "
            "for the latents with the highest KL.",
        ),
        (
            "Interpolations",
            plots.interpolation_grid(paths, ["spherical", "linear"] * PATHS),
            "From one test image to another.",
        ),
        (
            "Latent space",
            plots.latent_scatter(
                test.mean[:SCATTERED], test.labels[:SCATTERED], images.class_names
            ),
            "Posterior means of test images.",
        ),
        (
            "KL of each latent",
            plots.kl_bars(kl, units),
            "Relative to N(0, 1), mean over test images; unused latents are pale.",
        ),
    ]
    if model.latent_dim == 2:
        grid = plots.manifold_grid(decode(normal_grid(SIDE), first))
        words = "The decoded latent space, in steps of equal probability."
        figures.append(("Manifold", grid, words))
    return figures


def _quality(model, images, grey, extractor, seed) -> dict[str, Any]:
    validation = images.splits["validation"]
    count = min(len(grey), MOST_SAMPLES)
    samples = model.sample(count, seed + 1, classes_in_turn(model, count))
    others = validation.take(range(len(validation)))
    return sample_quality(extractor, samples, grey, others, seed=seed)


def _tables(likelihood, model, metrics) -> list[tuple[str, Sequence[str], Sequence[Sequence]]]:
    errors = [("mean picture", 0, metrics["mean_picture_mse"])]
    if metrics["pca_mse"] is not None:
        errors.append(("PCA", model.latent_dim, metrics["pca_mse"]))
    errors.append(("this VAE", model.latent_dim, metrics["test_mse"]))
    return [
        (
            "Bound on the negative log-likelihood",
            ("importance samples", "nats"),
            list(likelihood.trend.items()),
        ),
        ("Error of a pixel (0 to 1, squared)", ("model", "code", "MSE"), errors),
    ]
