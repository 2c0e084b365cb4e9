"""Feature networks: packaged, cached, random, handed in; and that making one leaves no trace."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import data, evaluation
from kapps.errors import UserError
from kapps.evaluation.generative.samples import features, small_classifiers


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture
def trainings(monkeypatch):
    """Counts the trainings; weights stay as they began, which is quick."""
    done = []
    monkeypatch.setattr(small_classifiers, "train", lambda *args, **kw: done.append(kw))
    monkeypatch.setattr(small_classifiers, "accuracy", lambda model, split: 0.5)
    return done


def pictures(count=5, shape=(8, 8, 1), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def extract(images, where, **settings):
    return evaluation.feature_extractor(
        images, cache_dir=where, verbose=0, **{"epochs": 1, **settings}
    )


@pytest.mark.slow
def test_a_trained_network_knows_its_classes(digits, tmp_path):
    extractor = extract(digits, tmp_path, epochs=15)
    assert extractor.origin == "trained" and extractor.accuracy > 0.9
    assert (extractor.width, extractor.classes) == (64, 10)
    test = digits.splits["test"]
    shown = test.take(range(len(test)))
    found = extractor.features(shown)
    assert found.shape == (len(test), 64) and found.dtype == np.float32
    probabilities = extractor.probabilities(shown)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(probabilities.argmax(axis=1) == test.labels) > 0.9
    # The last dense layer alone makes the probabilities of the features.
    kernel, bias = extractor.network.get_layer("logits").get_weights()
    logits = found @ kernel + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-3, atol=1e-5)
    both = extractor.both(shown)
    np.testing.assert_array_equal(both[0], found)
    np.testing.assert_array_equal(both[1], probabilities)


@pytest.mark.slow
def test_it_is_trained_once(digits, tmp_path, trainings):
    first = extract(digits, tmp_path)
    again = extract(digits, tmp_path)
    assert len(trainings) == 1
    assert again.sha256 == first.sha256 and again.accuracy == first.accuracy
    shown = pictures()
    np.testing.assert_array_equal(first.features(shown), again.features(shown))
    assert [path.suffix for path in tmp_path.iterdir()] == [".npz"]


@pytest.mark.slow
def test_what_it_depends_on_makes_another(digits, tmp_path, trainings, monkeypatch):
    assert extract(digits, tmp_path).sha256 != extract(digits, tmp_path, seed=1).sha256
    extract(digits, tmp_path, epochs=2)
    extract(data.load("digits", seed=1), tmp_path)  # another division
    assert [(t["seed"], t["epochs"]) for t in trainings] == [(0, 1), (1, 1), (0, 2), (0, 1)]
    monkeypatch.setattr(features, "RECIPE", features.RECIPE + 1)
    extract(digits, tmp_path)
    assert len(trainings) == 5


@pytest.mark.slow
def test_a_damaged_file_is_made_again(digits, tmp_path, trainings):
    first = extract(digits, tmp_path)
    (path,) = tmp_path.iterdir()
    for content in (path.read_bytes()[:5000], b"not an archive"):
        path.write_bytes(content)
        assert extract(digits, tmp_path).sha256 == first.sha256
    assert len(trainings) == 3


@pytest.mark.slow
def test_where_it_is_kept(digits, tmp_path, monkeypatch, trainings):
    monkeypatch.setenv("KAPPS_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "given"))
    extract(digits, None)
    assert len(list((tmp_path / "own").glob("features-*.npz"))) == 1
    monkeypatch.delenv("KAPPS_CACHE")
    extract(digits, None)
    assert len(list((tmp_path / "given" / "kapps").glob("features-*.npz"))) == 1
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    extract(digits, None)
    assert len(list((tmp_path / "home" / ".cache" / "kapps").glob("features-*.npz"))) == 1


def test_a_cache_that_cannot_be_made_is_told_before_training(digits, tmp_path, trainings):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="KAPPS_CACHE"):
        extract(digits, tmp_path / "file" / "below")
    assert not trainings


@pytest.mark.slow
def test_making_one_leaves_no_trace(digits, tmp_path):
    keras.utils.set_random_seed(3)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        before = random.getstate(), np.random.get_state()[1].tolist()
        extractor = extract(digits, tmp_path)
        evaluation.random_features((8, 8, 1))
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    # It was float32 all the same, and the seeds of the program do not matter to it.
    keras.utils.set_random_seed(4)
    assert extract(digits, tmp_path / "other").sha256 == extractor.sha256
    assert all(layer.compute_dtype == "float32" for layer in extractor.network.layers)


@pytest.mark.slow
def test_what_is_drawn_next_is_as_without_it(digits, tmp_path):
    draws = []
    for make in (False, True):
        keras.utils.set_random_seed(5)
        if make:
            extract(digits, tmp_path)
        dense = keras.layers.Dense(3)
        dense.build((None, 2))
        draws.append((dense.kernel.numpy().tolist(), np.random.random()))
    assert draws[0] == draws[1]


@pytest.mark.slow
def test_features_do_not_depend_on_the_batch(monkeypatch):
    extractor = evaluation.random_features((8, 8, 1))
    shown = pictures(11)
    whole = extractor.features(shown)
    monkeypatch.setattr(features, "BATCH_SIZE", 4)
    np.testing.assert_allclose(extractor.features(shown), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(extractor.features(shown[5:6]), whole[5:6], rtol=1e-5, atol=1e-6)


def test_it_does_not_change():
    extractor = evaluation.random_features((8, 8, 1))
    assert extractor.network.trainable_weights == []
    kept = [w.numpy().copy() for w in extractor.network.weights]
    extractor.both(pictures(40))
    for before, after in zip(kept, extractor.network.weights, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_only_rounded_pictures_of_its_shape_are_taken():
    extractor = evaluation.random_features((8, 8, 1))
    shown = pictures()
    with pytest.raises(UserError, match="uint8 pictures, not of float32.*to_uint8"):
        extractor.features(shown.astype(np.float32))
    for wrong in (shown[0], shown[:0], pictures(shape=(8, 9, 1)), pictures(shape=(8, 8, 3))):
        with pytest.raises(UserError, match=r"Pictures \(8, 8, 1\) are wanted"):
            extractor.features(wrong)
    with pytest.raises(UserError, match="no class probabilities"):
        extractor.probabilities(shown)
    assert extractor.both(shown)[1] is None and extractor.classes == 0


def test_pixels_are_rounded_and_not_cut():
    pixels = np.array([-0.5, 0.0, 0.0019, 0.0020, 0.5, 0.998, 0.9981, 1.0, 7.0])
    np.testing.assert_array_equal(
        evaluation.to_uint8(pixels), [0, 0, 0, 1, 128, 254, 255, 255, 255]
    )
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(evaluation.to_uint8((levels / 255).astype(np.float32)), levels)


@pytest.mark.slow
def test_random_features_follow_their_seed():
    shown = pictures()
    one, same, other = (evaluation.random_features((8, 8, 1), seed=s) for s in (0, 0, 1))
    assert one.sha256 == same.sha256 != other.sha256
    np.testing.assert_array_equal(one.features(shown), same.features(shown))
    assert one.features(shown).std(axis=0).max() > 0 and one.origin == "random"


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (64, 64, 3), (8, 8, 1), (40, 5, 1)])
def test_networks_are_small_whatever_the_picture(shape):
    model = small_classifiers.build(shape, 10)
    assert model.count_params() <= 150_000
    assert model.get_layer("logits").input.shape == (None, 64)


def given_model(channels=3, size=(6, 10), outputs=1):
    image = keras.Input((*size, channels))
    maps = keras.layers.Conv2D(4, 1)(image)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    heads = [maps, pooled, [pooled, keras.layers.Dense(3)(pooled)]]
    return keras.Model(image, heads[outputs])


def test_any_model_can_be_handed_in():
    model = given_model(outputs=0)
    seen = []

    def preprocess(x):
        seen.append(x)
        return x / 127.5 - 1.0

    extractor = evaluation.Features.from_model(model, preprocess)
    assert extractor.origin == "given" and (extractor.width, extractor.classes) == (4, 0)
    shown = pictures(shape=(3, 5, 1))
    found = extractor.features(shown)
    assert seen[0].shape[1:] == (6, 10, 3) and seen[0].dtype == tf.float32
    # Grey on all channels, resized, scaled; the maps averaged over places.
    tiled = tf.image.resize(np.repeat(shown, 3, axis=-1).astype(np.float32), (6, 10))
    maps = model(tiled / 127.5 - 1.0).numpy()
    np.testing.assert_allclose(found, maps.mean(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_a_model_that_takes_pictures_as_they_are():
    model = given_model(channels=1, size=(None, None), outputs=2)
    extractor = evaluation.Features.from_model(model)
    shown = pictures(shape=(5, 7, 1))
    pooled, logits = model(shown.astype(np.float32))
    np.testing.assert_allclose(extractor.features(shown), pooled, rtol=1e-4)
    expected = tf.nn.softmax(logits).numpy()
    np.testing.assert_allclose(extractor.probabilities(shown), expected, rtol=1e-3, atol=1e-6)


def test_a_model_handed_in_is_copied():
    model = given_model(outputs=1)
    extractor = evaluation.Features.from_model(model)
    before = extractor.features(pictures(shape=(6, 10, 3)))
    assert model.trainable_weights  # not frozen by it
    for weight in model.weights:
        weight.assign(weight + 1.0)
    np.testing.assert_array_equal(extractor.features(pictures(shape=(6, 10, 3))), before)
    assert evaluation.Features.from_model(model).sha256 != extractor.sha256


def test_a_model_without_features_is_refused():
    image = keras.Input((4, 4, 1))
    several = keras.Model(image, [keras.layers.Flatten()(image) for _ in range(3)])
    sequence = keras.Model(image, keras.layers.Reshape((4, 4))(image))
    for model in (several, sequence):
        with pytest.raises(UserError, match=r"features \[b, d\]"):
            evaluation.Features.from_model(model)


class Fashion:
    """What the choice of the packaged network looks at."""

    spec, image_shape, classes = "fashion_mnist", (28, 28, 1), 10


def test_the_packaged_network():
    extractor = evaluation.feature_extractor(Fashion())
    assert extractor.origin == "packaged" and extractor.accuracy >= 0.92
    assert (extractor.width, extractor.classes) == (64, 10)
    # Figures that were published with it compare only while this is its hash.
    assert extractor.sha256 == "a5d42080bf05e6173f9f1c3e1787a016c229ecc7c6ec8733c1ae45c61fa99395"
    path = features.PACKAGED["fashion_mnist"]
    assert path.stat().st_size < 400_000
    # The weights being the same, so are the features: what the layers do has not changed either.
    found = extractor.features(pictures(2, (28, 28, 1)))
    np.testing.assert_allclose(found.sum(axis=1), PACKAGED_SUMS, rtol=1e-3)


PACKAGED_SUMS = [36.6203, 34.6213]


def test_other_sizes_of_fashion_mnist_have_their_own_network(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(features, "read_extractor", lambda path, **kw: asked.append((path, kw)))

    class Larger(Fashion):
        image_shape, fingerprint = (32, 32, 1), "1"
        splits = {"train": range(10)}

    evaluation.feature_extractor(Larger(), cache_dir=tmp_path)
    assert asked[0][0].parent == tmp_path and not asked[0][1]
