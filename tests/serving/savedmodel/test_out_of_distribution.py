"""The out-of-distribution score: its value, its threshold, and what it is good for."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from kapps import data, models, serving
from kapps.serving.publishing.families import family_of
from kapps.serving.savedmodel import out_of_distribution
from kapps.serving.savedmodel.out_of_distribution import OUTPUT, ScoreWatch

SHAPE, CLASSES = (4, 3, 1), 3


def network():
    """Features are the pixels, 0 to 1, in float32."""
    image = keras.Input(SHAPE, name="image")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(image))
    return keras.Model(image, keras.layers.Dense(CLASSES)(x))


def images(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


def fit(model, validation=40):
    train, labels = images(60, 0), np.arange(60) % CLASSES
    known = images(validation, 1)
    return out_of_distribution.fit(model, (train[:50], train[50:]), labels, (known,))


def by_scipy(asked):
    """The same distance by definition, with an inverse and a loop."""
    features = images(60, 0).reshape(60, -1) / 255
    labels = np.arange(60) % CLASSES
    means = [features[labels == c].mean(0) for c in range(CLASSES)]
    within = features - np.stack(means)[labels]
    inverse = np.linalg.inv(LedoitWolf(assume_centered=True).fit(within).covariance_)
    return [
        min(mahalanobis(x, mean, inverse) for mean in means)
        for x in asked.reshape(len(asked), -1) / 255
    ]


def score_of(detector, asked):
    return detector.score(detector.network(tf.constant(asked, tf.float32))[0]).numpy()


def test_the_score_is_the_distance_to_the_nearest_class():
    detector, asked = fit(network()), images(9, 5)
    np.testing.assert_allclose(score_of(detector, asked), by_scipy(asked), rtol=1e-4)
    validation = by_scipy(images(40, 1))
    assert detector.threshold == pytest.approx(np.percentile(validation, 95), rel=1e-4)
    assert detector.about()["validation_examples"] == 40


def test_of_a_model_that_looks_more_than_once_one_look_is_scored():
    inner = network()
    around = models.with_views(inner, mirror=True)
    detector, asked = fit(around), images(3, 5)
    np.testing.assert_allclose(score_of(detector, asked), by_scipy(asked), rtol=1e-4)
    logits = detector.network(tf.constant(asked, tf.float32))[1]
    np.testing.assert_allclose(logits, around(asked.astype("f4")), rtol=1e-5)


def test_where_no_dense_layer_makes_the_logits_they_are_the_features():
    image = keras.Input(SHAPE, name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    logits = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(CLASSES, 2)(x))
    features, said = fit(keras.Model(image, logits)).network(tf.zeros((2, *SHAPE)))
    assert features.shape == (2, CLASSES)
    np.testing.assert_array_equal(features, said)


def test_where_there_is_nothing_to_estimate_there_is_no_score():
    assert fit(network(), validation=19) is None
    dead = network()
    dead.layers[1].scale = 0.0
    assert fit(dead) is None


def test_a_version_brings_the_threshold(tmp_path):
    model = network()
    detector = fit(model)
    version = serving.export(model, tmp_path, "abc", detector=detector)
    assert out_of_distribution.read(version) == {"threshold": detector.threshold}
    asked = images(5, 5)
    signatures = tf.saved_model.load(str(version)).signatures
    png = tf.constant([tf.io.encode_png(image).numpy() for image in asked])
    for said in (
        signatures["serving_default"](image=tf.constant(asked)),
        signatures["from_bytes"](image_bytes=png),
    ):
        assert set(said) == {"probabilities", "label", OUTPUT}
        np.testing.assert_allclose(said[OUTPUT], by_scipy(asked), rtol=1e-4)
    card = (version / "model_card.md").read_text(encoding="utf-8")
    assert f"have at most {detector.threshold:.4g}" in card
    for broken in ("[", "[]", "{}", '{"threshold": "x"}', '{"threshold": NaN}'):
        (tmp_path / "assets.extra").mkdir(exist_ok=True)
        (tmp_path / out_of_distribution.FILE).write_text(broken)
        assert out_of_distribution.read(tmp_path) == {}


def test_a_score_that_is_another_one_is_not_published(tmp_path, monkeypatch):
    model = network()
    detector = fit(model)
    calls = iter(range(100))
    right = type(detector).score

    def drifting(self, features):
        return right(self, features) + float(next(calls))

    monkeypatch.setattr(type(detector), "score", drifting)
    with pytest.raises(RuntimeError, match="the score of .* differs from the model"):
        serving.export(model, tmp_path, "abc", detector=detector)
    assert serving.versions(tmp_path) == {}


def test_scores_are_counted_until_somebody_asks():
    watch = ScoreWatch(2.0)
    watch.see(np.float32([1, 2, 2.5]))
    watch.see(np.float32([np.nan, 7]))
    assert watch.take() == [5, 3, 12.5]
    assert watch.take() == []


@pytest.mark.slow
def test_noise_and_inverted_digits_are_told_from_test_digits(tmp_path):
    keras.utils.set_random_seed(0)
    digits = data.load("digits")
    train, test = digits.splits["train"], digits.splits["test"]
    x = train.take(range(len(train)))
    model = models.cnn(digits.image_shape, 10, filters=(8, 16))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x.astype("f4"), train.labels, batch_size=64, epochs=6, verbose=0)
    family = family_of(model, digits)
    version = family.export(model, tmp_path, **family.settings(model, digits, 1.0))
    threshold = json.loads((version / out_of_distribution.FILE).read_text())["threshold"]
    ask = tf.saved_model.load(str(version)).signatures["serving_default"]
    known = test.take(range(len(test)))
    others = {
        "noise": np.random.default_rng(0).integers(0, 256, known.shape, np.uint8),
        "inverted": 255 - known,
    }
    scores = ask(image=tf.constant(known))[OUTPUT].numpy()
    assert 0.01 < np.mean(scores > threshold) < 0.15  # 5 % of 360, of other images
    for name, unlike in others.items():
        against = ask(image=tf.constant(unlike))[OUTPUT].numpy()
        truth = np.repeat([0, 1], [len(scores), len(against)])
        found = roc_auc_score(truth, np.concatenate([scores, against]))
        print(name, found, np.mean(against > threshold))
        assert found > 0.9, name
