"""A head that begins as a logistic regression: scikit-learn's own, in the units of the features."""

import types

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kapps import training
from kapps.data.images.files.headers import median_side
from kapps.errors import UserError
from kapps.training.fitting import linear_probe


def blobs(classes, count=40, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(classes, count)
    centres = rng.normal(size=(max(classes) + 1, 5)) * [1, 2, 3, 0, 1]
    features = centres[labels] + rng.normal(size=(len(labels), 5)) * [1, 5, 1, 0, 3] + 7
    return features, labels  # the fourth feature is always 7


@pytest.mark.parametrize("balanced", [False, True])
def test_two_classes_have_scikit_learns_difference_of_logits(monkeypatch, balanced):
    monkeypatch.setattr(linear_probe, "PENALTIES", np.array([0.1]))
    x, y = blobs([0, 1])
    x, y = x[:60], y[:60]  # forty of one, twenty of the other
    kernel, bias = training.logistic_weights(x, y, 2, balanced=balanced)
    weighting = "balanced" if balanced else None
    model = LogisticRegression(C=0.1, max_iter=200, tol=1e-2, class_weight=weighting)
    expected = make_pipeline(StandardScaler(), model).fit(x, y).decision_function(x)
    logits = x @ kernel + bias
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected, rtol=1e-6, atol=1e-8)
    assert not kernel[3].any()


def test_the_penalty_is_the_one_that_predicts_best(monkeypatch):
    """Half of the features are noise: a C that shrinks nothing learns the examples by heart."""
    tried = np.array([1e-4, 1e4])
    monkeypatch.setattr(linear_probe, "PENALTIES", tried)
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = np.concatenate([y[:, None] + rng.normal(size=(60, 1)), rng.normal(size=(60, 80))], axis=1)
    small, _ = training.logistic_weights(x, y, 2)
    monkeypatch.setattr(linear_probe, "PENALTIES", tried[:1])
    expected, _ = training.logistic_weights(x, y, 2)
    np.testing.assert_array_equal(small, expected)


def test_a_class_without_examples_is_never_the_answer():
    x, y = blobs([0, 2, 3])
    kernel, bias = training.logistic_weights(x, y, 4)
    said = (x @ kernel + bias).argmax(axis=1)
    assert set(said) == {0, 2, 3} and np.mean(said == y) > 0.7


def test_a_head_begins_with_them_unless_another_run_gives_its_weights():
    x, y = blobs([0, 1])
    splits = {"train": types.SimpleNamespace(labels=y)}
    images = types.SimpleNamespace(splits=splits, kind="classes", classes=2)
    config = types.SimpleNamespace(seed=0, class_weights=False, start_from=None)
    head = keras.Sequential([keras.Input((5,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    before = head.get_weights()
    for changes in ({"start_from": "runs/x"}, {}):
        asked = types.SimpleNamespace(**vars(config) | changes)
        kind = {} if changes else {"kind": "number"}
        others = types.SimpleNamespace(**vars(images) | kind)
        training.begin_with_regression(head, x, others, asked)
        np.testing.assert_array_equal(head.get_weights()[0], before[0])
    training.begin_with_regression(head, x, images, config)
    expected = training.logistic_weights(x, y, 2)
    for weight, value in zip(head.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-6)
    assert np.mean(head.predict(x, verbose=0).argmax(1) == y) > 0.6


def test_the_median_of_the_longer_sides():
    assert median_side([(10, 20), (40, 30), (90, 5)]) == 40
    with pytest.raises(UserError, match="image_size"):
        median_side([])
