"""Posterior figures against SciPy and Gaussians whose information has a closed form."""

import numpy as np
import pytest
from scipy import integrate, stats

from kapps import evaluation
from kapps.errors import UserError


def test_active_units_by_hand():
    # Variances over the data (of a sample): 1, 0.02 and 0.
    means = np.array([[0.0, 0.0, 7.0], [1.0, 0.1, 7.0], [2.0, 0.3, 7.0], [1.0, 0.0, 7.0]])
    found = evaluation.active_units(means)
    assert found.count == 2
    np.testing.assert_allclose(found.variances, [2 / 3, 0.06 / 3, 0])
    assert evaluation.active_units(means, threshold=0.1).count == 1
    # Exactly at the threshold is not above it.
    edge = np.array([[-0.1], [0.1]]) * np.sqrt(0.5)
    assert evaluation.active_units(edge, threshold=0.0100001).count == 0
    with pytest.raises(UserError, match="two"):
        evaluation.active_units(means[:1])


def test_kl_by_integration():
    mean, log_var = np.array([[0.7, 0.0], [-1.0, 0.0]]), np.array([[-0.5, 0.0], [0.4, 0.0]])

    def divergence(m, v):
        q = stats.norm(m, np.exp(v / 2))
        return integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), -12, 12)[0]

    exact = np.mean([divergence(0.7, -0.5), divergence(-1.0, 0.4)])
    np.testing.assert_allclose(evaluation.kl_per_dimension(mean, log_var), [exact, 0], atol=1e-8)
    # N(1, 1) from N(0, 1): half a nat.
    assert evaluation.kl_per_dimension([[1.0]], [[0.0]]) == pytest.approx(0.5)


@pytest.mark.parametrize("deviation", [0.5, 1.0, 2.0])
def test_mutual_information_of_a_gaussian_channel(deviation):
    # mean ~ N(0, 1), z = mean + deviation * noise: I = log(1 + 1 / deviation^2) / 2 a dimension.
    mean = np.random.default_rng(8).normal(size=(2000, 2))
    log_var = np.full_like(mean, 2 * np.log(deviation))
    exact = 2 * 0.5 * np.log(1 + 1 / deviation**2)
    assert evaluation.mutual_information(mean, log_var) == pytest.approx(exact, abs=0.06)


def test_mutual_information_at_its_ends():
    # A collapsed posterior tells nothing; pictures that are far apart are all told apart.
    flat = np.zeros((300, 4))
    assert evaluation.mutual_information(flat, flat) == pytest.approx(0, abs=1e-12)
    far = 100.0 * np.arange(300)[:, None]
    found = evaluation.mutual_information(far, np.zeros((300, 1)))
    assert found == pytest.approx(np.log(300), abs=1e-6)


def test_mutual_information_by_its_definition():
    generator = np.random.default_rng(1)
    mean, log_var = generator.normal(size=(2, 40, 3))
    noise = np.random.default_rng(9).standard_normal((40, 3))
    z = mean + np.exp(log_var / 2) * noise
    densities = stats.norm.logpdf(z[:, None], mean[None], np.exp(log_var / 2)[None]).sum(axis=-1)
    exact = np.mean(np.diag(densities) - np.log(np.exp(densities).mean(axis=1)))
    assert evaluation.mutual_information(mean, log_var, seed=9) == pytest.approx(exact)


def test_shapes_and_numbers_are_checked():
    good = np.zeros((4, 2))
    for measure in (evaluation.kl_per_dimension, evaluation.mutual_information):
        with pytest.raises(UserError, match="one shape"):
            measure(good, good[:, :1])
        with pytest.raises(UserError, match="log_var must be finite"):
            measure(good, np.full((4, 2), np.inf))
    with pytest.raises(UserError, match=r"\[n, d\]"):
        evaluation.active_units(np.zeros(4))
