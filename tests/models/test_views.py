import keras
import numpy as np
import pytest

from kapps import models
from kapps.errors import UserError

# Odd kernels and no global pool: what is shifted or mirrored is another image to it.
MODEL = dict(filters=(3,), dense_units=(6,), pooling=None)


def images(count=5, shape=(6, 7, 3)):
    return np.random.default_rng(0).integers(0, 256, (count, *shape)).astype("float32")


def logits(model, x):
    return np.asarray(model(x))


def shifted(x, rows, columns):
    """NumPy's: further down and right, zeros coming in."""
    moved = np.zeros_like(x)
    height, width = x.shape[1:3]
    moved[:, max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = x[
        :, max(-rows, 0) : height - max(rows, 0), max(-columns, 0) : width - max(columns, 0)
    ]
    return moved


@pytest.mark.slow
def test_logits_are_the_weighted_mean_of_those_of_the_views(tmp_path):
    model, x = models.cnn((6, 7, 3), 4, **MODEL), images()
    by_hand = {
        shift: [
            logits(model, shifted(x, shift, shift)),
            logits(model, shifted(x, shift, shift)[:, :, ::-1]),
        ]
        for shift in (0, 1, -1)
    }
    mean = {shift: np.mean(both, axis=0) for shift, both in by_hand.items()}
    looking = models.with_views(model, mirror=True, shift=1)
    expected = mean[0] / 2 + mean[1] / 4 + mean[-1] / 4
    np.testing.assert_allclose(logits(looking, x), expected, rtol=1e-4, atol=1e-5)
    looking.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(logits(again, x), expected, rtol=1e-4, atol=1e-5)
    only = models.with_views(model, shift=2)
    expected = logits(model, x) / 2 + sum(logits(model, shifted(x, s, s)) for s in (2, -2)) / 4
    np.testing.assert_allclose(logits(only, x), expected, rtol=1e-4, atol=1e-5)
    only = models.with_views(model, mirror=True)
    np.testing.assert_allclose(logits(only, x), mean[0], rtol=1e-4, atol=1e-5)


def test_a_mirror_image_gets_the_same_answer():
    looking, x = models.with_views(models.cnn((6, 7, 3), 4, **MODEL), mirror=True), images()
    np.testing.assert_allclose(logits(looking, x), logits(looking, x[:, :, ::-1]), rtol=1e-4)


def test_no_views_are_the_model_itself_and_all_of_the_image_is_too_far():
    model = models.cnn((6, 7, 3), 4, **MODEL)
    assert models.with_views(model) is model
    with pytest.raises(UserError, match="shift 6"):
        models.with_views(model, shift=6)


def test_each_view_costs_a_pass():
    model = models.cnn((6, 7, 3), 4, **MODEL)
    looking = models.with_views(model, mirror=True, shift=1)
    assert models.multiply_adds(looking) == 6 * models.multiply_adds(model)
    assert looking.count_params() == model.count_params()
