"""Importance sampling against models whose marginal likelihood has a closed form."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from kapps import evaluation
from kapps.data.sources import fashion
from kapps.errors import UserError

LOG_2PI = math.log(2.0 * math.pi)


def normal(x, mean, deviation):
    return -0.5 * (tf.square((x - mean) / deviation) + LOG_2PI) - tf.math.log(deviation)


class LinearGaussian:
    """z ~ N(0, I), x ~ N(W z + mu, s^2 I): probabilistic PCA (Tipping and Bishop 1999)."""

    def __init__(self, dims=6, latents=2, scale=0.5, blunt=2.0):
        generator = np.random.default_rng(1)
        self.loadings = generator.normal(size=(dims, latents))
        self.offset, self.scale, self.blunt = generator.normal(size=dims), scale, blunt
        # The exact posterior is N(M^-1 W^T (x - mu), s^2 M^-1), M = W^T W + s^2 I; q is an
        # independent Gaussian about its mean, wider than it.
        precision = self.loadings.T @ self.loadings + scale**2 * np.eye(latents)
        self.gain = np.linalg.solve(precision, self.loadings.T)
        self.width = blunt * scale * np.sqrt(np.diag(np.linalg.inv(precision)))

    def draw(self, count):
        generator = np.random.default_rng(2)
        z = generator.normal(size=(count, self.loadings.shape[1]))
        noise = self.scale * generator.normal(size=(count, len(self.offset)))
        return (z @ self.loadings.T + self.offset + noise).astype(np.float32)

    def nll(self, x):
        covariance = self.loadings @ self.loadings.T + self.scale**2 * np.eye(len(self.offset))
        return -stats.multivariate_normal(self.offset, covariance).logpdf(x)

    def log_weights(self, x, samples, seed):
        loadings = tf.constant(self.loadings, tf.float32)
        mean = (x - self.offset.astype(np.float32)) @ self.gain.T.astype(np.float32)
        width = tf.constant(self.width, tf.float32)
        shape = (samples, *mean.shape)
        z = mean + width * tf.random.stateless_normal(shape, seed)
        seen = tf.einsum("sbl,dl->sbd", z, loadings) + self.offset.astype(np.float32)
        likelihood = tf.reduce_sum(normal(x, seen, tf.constant(self.scale)), -1)
        prior = tf.reduce_sum(normal(z, 0.0, tf.constant(1.0)), -1)
        return likelihood + prior - tf.reduce_sum(normal(z, mean, width), -1)


def numbered(x, samples, seed):
    """Log weights that tell who asked: the picture's own number, and all that was drawn so far."""
    noise = tf.random.stateless_normal((samples, x.shape[0]), seed)
    return x[:, 0] + 3.0 * noise


@pytest.mark.slow
def test_the_marginal_likelihood_of_probabilistic_pca():
    model = LinearGaussian()
    x = model.draw(60)
    found = evaluation.importance_nll(model.log_weights, x, samples=5000, progress=False)
    exact = model.nll(x)
    np.testing.assert_allclose(found.per_image, exact, atol=0.15)
    assert found.nll == pytest.approx(exact.mean(), abs=0.02)
    assert found.error == pytest.approx(exact.std(ddof=1) / math.sqrt(60), rel=0.02)
    # One sample: the ELBO, which q's width leaves short of the likelihood by KL(q || posterior).
    assert found.trend[1] - exact.mean() > 1
    assert list(found.trend) == [1, 50, 500, 5000]
    assert found.trend[50] == pytest.approx(exact.mean(), abs=0.1)
    assert found.elbo_gap == pytest.approx(found.trend[1] - found.nll)


def test_an_exact_posterior_needs_one_sample():
    # One latent, q = the posterior itself: every weight is p(x), whatever was drawn.
    model = LinearGaussian(latents=1, blunt=1.0)
    x = model.draw(5)
    found = evaluation.importance_nll(model.log_weights, x, samples=3, progress=False)
    np.testing.assert_allclose(found.per_image, model.nll(x), rtol=1e-4)
    assert found.trend[1] == pytest.approx(found.trend[3], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("samples", [1, 2, 49, 50, 51, 503, 1001])
@pytest.mark.parametrize("rows", [1, 7, 64, 10_000])
def test_any_number_of_samples_and_any_chunk_is_exact(samples, rows):
    """Weight s of picture i is log(s + 1) + i: the mean over samples is known for every prefix."""
    if samples > 100 and rows < 64:
        pytest.skip("thousands of calls that show nothing new")
    drawn = []

    def log_weights(x, count, seed):
        # The calls for a picture come one after the other, and the sample's number goes on.
        place = seed[1] % -(-samples // count) * count
        drawn.append((count, x.shape[0]))
        number = tf.cast(place + tf.range(count), tf.float32)
        return tf.math.log(number + 1.0)[:, None] + x[:, 0]

    x = np.arange(9, dtype=np.float32)[:, None]
    found = evaluation.importance_nll(
        log_weights, x, samples=samples, chunk_rows=rows, progress=False
    )
    np.testing.assert_allclose(found.per_image, -math.log((samples + 1) / 2) - x[:, 0], atol=1e-5)
    expected = {n: -math.log((n + 1) / 2) - 4 for n in {1, 50, 500, samples} if n <= samples}
    assert found.trend == pytest.approx(expected, abs=1e-5)
    assert len(drawn) == 1  # traced once: chunks have one shape
    assert math.prod(drawn[0]) <= max(rows, 1)


def test_one_sample_is_the_negative_elbo():
    x = np.arange(4, dtype=np.float32)[:, None]
    found = evaluation.importance_nll(numbered, x, samples=1, seed=5, progress=False)
    weights = numbered(tf.constant(x), 1, tf.constant([5, 0]))
    assert found.nll == pytest.approx(-float(tf.reduce_mean(weights)), rel=1e-6)
    assert found.trend == {1: found.nll}
    assert found.samples == 1 and found.dimensions == 1


@pytest.mark.parametrize("level", [-1e4, -300.0, 0.0, 300.0, 1e4])
def test_weights_that_no_exponential_can_hold(level):
    # Half of the weights e^level, half of them 3 e^level: the mean is 2 e^level.
    def log_weights(x, samples, seed):
        high = tf.cast(tf.range(samples) % 2, tf.float32) * math.log(3.0)
        return level + high[:, None] + 0.0 * x[:, 0]

    x = np.zeros((3, 2), np.float32)
    found = evaluation.importance_nll(log_weights, x, samples=100, chunk_rows=60, progress=False)
    np.testing.assert_allclose(found.per_image, -level - math.log(2), rtol=1e-6, atol=1e-3)
    assert found.error == 0


@pytest.mark.slow
def test_sums_are_kept_in_64_bits():
    # 1 + 4999 e^-20: in float32 the small ones vanish one by one (e^-20 is 2e-9).
    def log_weights(x, samples, seed):
        first = tf.cast(tf.range(samples) + seed[1] == 0, tf.float32)
        return (-20.0 * (1.0 - first))[:, None] + 0.0 * x[:, 0]

    found = evaluation.importance_nll(
        log_weights, np.zeros((1, 1), np.float32), samples=5000, chunk_rows=10, progress=False
    )
    exact = -math.log((1 + 4999 * math.exp(-20)) / 5000)
    assert found.nll == pytest.approx(exact, abs=1e-9)


def test_draws_differ_between_chunks_and_pictures_and_follow_the_seed():
    x = np.zeros((40, 1), np.float32)
    ask = dict(samples=30, chunk_rows=60, progress=False)
    found = evaluation.importance_nll(numbered, x, seed=1, **ask)
    assert len(np.unique(found.per_image)) == 40
    again = evaluation.importance_nll(numbered, x, seed=1, **ask)
    np.testing.assert_array_equal(found.per_image, again.per_image)
    other = evaluation.importance_nll(numbered, x, seed=2, **ask)
    assert not np.any(found.per_image == other.per_image)


def test_labels_go_with_their_pictures():
    def log_weights(x, samples, seed, labels):
        return tf.zeros((samples, 1)) + x[:, 0] - labels[:, 0]

    x = np.arange(7, dtype=np.float32)[:, None]
    found = evaluation.importance_nll(
        log_weights, x, labels=x + 0.5, samples=4, chunk_rows=8, progress=False
    )
    np.testing.assert_allclose(found.per_image, 0.5)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_weights_that_are_no_numbers_are_refused(broken):
    def log_weights(x, samples, seed):
        return tf.fill((samples, x.shape[0]), broken)

    with pytest.raises(UserError, match="not finite"):
        evaluation.importance_nll(log_weights, np.zeros((2, 1)), samples=3, progress=False)


def test_a_weight_of_zero_counts():
    # One of two samples cannot have made the picture: half of the likelihood remains.
    def log_weights(x, samples, seed):
        return tf.repeat(tf.constant([[-math.inf], [1.0]]), x.shape[0], axis=1)

    found = evaluation.importance_nll(log_weights, np.zeros((2, 1)), samples=2, progress=False)
    np.testing.assert_allclose(found.per_image, -1.0 + math.log(2), rtol=1e-6)


def test_wrong_shapes_and_counts_are_refused():
    def swapped(x, samples, seed):
        return tf.zeros((x.shape[0], samples))

    with pytest.raises(UserError, match=r"\(4, 3\)"):
        evaluation.importance_nll(swapped, np.zeros((3, 1)), samples=4, progress=False)
    for count, ask in ((0, {}), (2, {"samples": 0}), (2, {"chunk_rows": 0})):
        with pytest.raises(UserError, match="at least one"):
            evaluation.importance_nll(numbered, np.zeros((count, 1)), **ask)


def test_figures_and_the_note_below_the_floor():
    def log_weights(x, samples, seed):
        return tf.fill((samples, x.shape[0]), -100.0)

    x = np.zeros((2, 4, 4, 1), np.float32)
    found = evaluation.importance_nll(log_weights, x, samples=60, progress=False)
    figures = found.figures(floor=120.0)
    assert figures["nll"] == pytest.approx(100)
    assert figures["nll_bits_per_dimension"] == pytest.approx(100 / (16 * math.log(2)))
    assert figures["nll_with_50"] == pytest.approx(100) and figures["nll_samples"] == 60
    assert figures["nll_images"] == 2 and figures["nll_below_floor"]
    assert not found.figures(floor=99.0)["nll_below_floor"]
    assert "nll_floor" not in found.figures()
    assert evaluation.floor_note(120.0, 120.0) is None
    assert "below 120.00 nats" in evaluation.floor_note(100.0, 120.0)


def test_progress_ends_at_the_last_call(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "kapps.data.progress.track",
        lambda items, what, total: seen.append((what, total)) or items,
    )
    evaluation.importance_nll(numbered, np.zeros((9, 1)), samples=6, chunk_rows=12)
    assert seen == [("importance sampling", 5)]  # 2 pictures of 6 samples at a time


def test_bits_per_dimension():
    # A uniform code over 256 levels takes 8 bits a pixel.
    assert evaluation.bits_per_dimension(784 * math.log(256), 784) == pytest.approx(8)


def test_binarization_entropy_by_hand():
    # 0 and 1 are certain, a half is one bit; pictures are summed over, not averaged.
    pixels = np.array([[0.0, 1.0, 0.5], [0.5, 0.5, 0.0]])
    assert evaluation.binarization_entropy(pixels) == pytest.approx(1.5 * math.log(2))
    pictures = np.array([[0, 255, 51]], np.uint8)  # 51 / 255 = 0.2
    exact = stats.bernoulli(0.2).entropy()
    assert evaluation.binarization_entropy(pictures) == pytest.approx(exact)
    assert evaluation.binarization_entropy(pictures / 255) == pytest.approx(exact)
    for wrong in (np.array([[0.0, 2.0]]), np.array([[-0.1]]), np.zeros((0, 4)), np.array([np.nan])):
        with pytest.raises(UserError):
            evaluation.binarization_entropy(wrong)


@pytest.mark.slow
def test_the_floor_of_fashion_mnist():
    folder = fashion.idx_folder(None)
    if folder is None:
        pytest.skip("Fashion-MNIST is not installed")
    splits = fashion.read_idx(folder)
    floors = {name: evaluation.binarization_entropy(x) for name, (x, _) in splits.items()}
    # Measured elsewhere, pixel by pixel.
    assert floors["test"] == pytest.approx(189.86, abs=0.01)
    assert floors["train"] == pytest.approx(188.28, abs=0.01)


def test_random_binarization_costs_at_least_its_entropy():
    # The best model of coins of known bias: its cross-entropy averages to the entropy.
    generator = np.random.default_rng(0)
    bias = generator.random((400, 50))
    tossed = generator.random((400, 50)) < bias
    cost = -(special.xlogy(tossed, bias) + special.xlog1py(~tossed, -bias)).sum(axis=1).mean()
    assert evaluation.binarization_entropy(bias) == pytest.approx(cost, rel=0.02)
