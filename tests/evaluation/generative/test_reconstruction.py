"""Reconstruction errors by hand, against an explicit projection, and on Fashion-MNIST."""

import numpy as np
import pytest

from kapps import evaluation
from kapps.data.sources import fashion
from kapps.errors import UserError


def test_mean_squared_error_by_hand():
    a = np.array([[[0, 255]], [[51, 0]]], np.uint8)
    b = np.array([[[0.0, 0.5]], [[0.2, 0.0]]])
    assert evaluation.reconstruction_mse(a, b) == pytest.approx(0.25 / 4)
    # Levels must not wrap around: 0 - 255 is not 1.
    assert evaluation.reconstruction_mse(a, 255 - a) == pytest.approx((1 + 1 + 0.36 + 1) / 4)
    assert evaluation.reconstruction_mse(b, b + 0.1) == pytest.approx(0.01)


def test_the_signal_to_noise_ratio_by_hand():
    """An error of a tenth of the range, squared 0.01, is 20 dB down; none is not infinitely so."""
    assert evaluation.psnr(0.01) == pytest.approx(20)
    assert evaluation.psnr(0.0) == pytest.approx(120)


@pytest.mark.parametrize("count", [200, 20])  # more, and fewer, pictures than pixels
def test_pca_is_the_projection_on_the_largest_directions(count):
    generator = np.random.default_rng(0)
    train = generator.random((count, 5, 6, 1)) * np.linspace(0.2, 1, 6)[:, None]
    test = generator.random((50, 5, 6, 1)) * np.linspace(0.2, 1, 6)[:, None]
    x, y = train.reshape(count, 30), test.reshape(50, 30)
    _, _, directions = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    found = evaluation.pca_mse(train, test, [1, 4, 13])
    for dims, error in found.items():
        basis = directions[:dims]
        kept = (y - x.mean(axis=0)) @ basis.T @ basis + x.mean(axis=0)
        assert error == pytest.approx(np.mean((y - kept) ** 2))
        assert evaluation.pca_mse(train, test, dims) == pytest.approx(error)
    levels = [np.rint(part * 255).astype(np.uint8) for part in (train, test)]
    assert evaluation.pca_mse(*levels, 4) == pytest.approx(found[4], rel=0.01)


def test_all_components_lose_nothing():
    pictures = np.random.default_rng(1).random((40, 3, 3, 1))
    assert evaluation.pca_mse(pictures, pictures[:7], 9) == pytest.approx(0, abs=1e-12)


def test_what_cannot_be_compared():
    a = np.zeros((4, 2, 2, 1))
    with pytest.raises(UserError, match="one shape"):
        evaluation.reconstruction_mse(a, a[:3])
    with pytest.raises(UserError, match="one shape"):
        evaluation.pca_mse(a, a[:, :1], 1)
    for dims in (0, 5, [1, 5], []):
        with pytest.raises(UserError, match="1 to 4 components"):
            evaluation.pca_mse(a, a, dims)
    with pytest.raises(UserError, match="Divide levels by 255"):
        evaluation.reconstruction_mse(a, a + 200.0)


@pytest.mark.slow
@pytest.mark.skipif(not fashion.DEBIAN.exists(), reason="Fashion-MNIST is not installed")
def test_pca_of_fashion_mnist():
    splits = fashion.read_idx(fashion.DEBIAN)
    known = {2: 0.0461, 8: 0.0266, 16: 0.0205, 32: 0.0151, 64: 0.0104, 128: 0.0063}
    found = evaluation.pca_mse(splits["train"][0], splits["test"][0], list(known))
    assert found == pytest.approx(known, abs=0.00006)
