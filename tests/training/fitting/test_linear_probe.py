"""A head that begins as a regression: scikit-learn's own, in the units of the features."""

import types

import keras
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV
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


def test_a_feature_that_hardly_varies_decides_nothing_where_it_does():
    """One picture in 80 has 1e-6 in a channel that is 0 in all others; a served one has 3."""
    x, y = blobs([0, 1])
    x[:, 3] = 0.0
    x[np.flatnonzero(y)[0], 3] = 1e-6
    other = x[:1] + [[0, 0, 0, 3.0, 0]]
    for kernel, bias in (
        training.logistic_weights(x, y, 2),
        training.label_weights(x, y[:, None]),
        training.number_weights(x, y.astype(float)),
    ):
        moved = (other @ kernel + bias) - (x[:1] @ kernel + bias)
        assert np.abs(moved).max() < 0.5 * np.ptp(x @ kernel, axis=0).min()


def test_labels_have_scikit_learns_logits_each(monkeypatch):
    """And one that no example has is rare everywhere."""
    monkeypatch.setattr(linear_probe, "PENALTIES", np.array([0.1]))
    x, y = blobs([0, 1])
    other = (x[:, 1] > 7).astype(int)
    kernel, bias = training.label_weights(x, np.stack([y, other, 0 * y], axis=1))
    for i, truth in enumerate((y, other)):
        model = LogisticRegression(C=0.1, max_iter=200, tol=1e-2)
        expected = make_pipeline(StandardScaler(), model).fit(x, truth).decision_function(x)
        np.testing.assert_allclose((x @ kernel + bias)[:, i], expected, rtol=1e-6, atol=1e-8)
    assert not kernel[:, 2].any() and bias[2] == pytest.approx(np.log(0.001 / 0.999))


def test_numbers_have_scikit_learns_ridge_regression():
    x, y = blobs([0, 1])
    z = 3.0 * x[:, 0] - x[:, 1] + y
    kernel, bias = training.number_weights(x, z)
    expected = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 5, 15))).fit(x, z)
    np.testing.assert_allclose((x @ kernel + bias)[:, 0], expected.predict(x), rtol=1e-6)


def picture_data(kind, labels):
    splits = {"train": types.SimpleNamespace(labels=labels)}
    return types.SimpleNamespace(splits=splits, kind=kind, classes=2)


CONFIG = types.SimpleNamespace(seed=0, class_weights=False, start_from=None)


def test_a_head_begins_with_them_unless_another_run_gives_its_weights():
    x, y = blobs([0, 1])
    head = keras.Sequential([keras.Input((5,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)])
    before, images = head.get_weights(), picture_data("classes", y)
    other = types.SimpleNamespace(**vars(CONFIG) | {"start_from": "runs/x"})
    assert not training.begin_with_regression(head, x, images, other)
    assert not training.begin_with_regression(head, x, picture_data("classes", 0 * y), CONFIG)
    np.testing.assert_array_equal(head.get_weights()[0], before[0])
    assert training.begin_with_regression(head, x, images, CONFIG)
    expected = training.logistic_weights(x, y, 2)
    for weight, value in zip(head.get_weights(), expected, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-6)
    assert np.mean(head.predict(x, verbose=0).argmax(1) == y) > 0.6


def test_a_head_for_labels_or_numbers_begins_with_theirs():
    x, y = blobs([0, 1])
    both = np.stack([y, 1 - y], axis=1)
    head = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2)])
    assert training.begin_with_regression(head, x, picture_data("labels", both), CONFIG)
    np.testing.assert_allclose(head.get_weights()[0], training.label_weights(x, both)[0], rtol=1e-5)
    z = 3.0 * x[:, 0] - x[:, 1] + 100
    head = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    assert training.begin_with_regression(head, x, picture_data("number", z), CONFIG)
    said = head.predict(x, verbose=0)[:, 0] * z.std() + z.mean()
    np.testing.assert_allclose(said, z, atol=0.1)  # there is no noise


def test_the_first_epoch_counts_as_it_began():
    """Its row is that of the weights before any step, and they are kept if no epoch is better."""
    keras.utils.set_random_seed(0)
    x, y = blobs([0, 1])
    z = (3.0 * x[:, 0] - x[:, 1])[:, None]
    head = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    head.set_weights(list(training.number_weights(x, z[:, 0])))
    before = [weight.copy() for weight in head.get_weights()]
    head.compile(keras.optimizers.SGD(0.05), loss="mse")  # too much for it
    loss = head.evaluate(x, z, verbose=0)
    ends = []
    told = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append((logs["val_loss"], head.get_weights()))
    )
    head.fit(x, z, epochs=2, validation_data=(x, z), verbose=0,
             callbacks=[training.CountsAsItBegan(head), told])  # fmt: skip
    assert ends[0][0] == pytest.approx(loss, rel=1e-4) and not ends[1][0] <= 2 * loss
    np.testing.assert_array_equal(ends[0][1][0], before[0])
    assert (ends[1][1][0] != before[0]).any()


def test_the_median_of_the_longer_sides():
    assert median_side([(10, 20), (40, 30), (90, 5)]) == 40
    with pytest.raises(UserError, match="image_size"):
        median_side([])
