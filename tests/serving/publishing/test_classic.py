"""A model of points as a SavedModel."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import serving
from kapps.errors import UserError

POINTS = np.random.default_rng(0).normal(size=(7, 3)).astype("f4")


def network(outputs):
    keras.utils.set_random_seed(0)
    x = keras.Input((3,), name="points")
    return keras.Model(x, keras.layers.Dense(outputs)(x))


def served(version):
    return tf.saved_model.load(str(version)).signatures["serving_default"]


@pytest.mark.slow
def test_a_classifier_says_probabilities_and_labels(tmp_path):
    model = network(3)
    version = serving.export_points(model, tmp_path, ("a", "b", "c"), temperature=2.0, kind="toy")
    answer = served(version)(points=tf.constant(POINTS))
    expected = keras.ops.softmax(model(POINTS) / 2.0)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-5)
    labels = [b"abc"[i : i + 1] for i in np.argmax(expected, axis=1)]
    assert answer["label"].numpy().tolist() == labels
    card = (version / "model_card.md").read_text()
    assert "A toy" in card and "`label`: name of a class" in card and "points=" in card
    assert "For `sample`" not in card
    assert (version / "assets/labels.txt").read_text() == "a\nb\nc\n"


@pytest.mark.slow
def test_a_function_says_its_value(tmp_path):
    model = network(2)
    answer = served(serving.export_points(model, tmp_path))(points=tf.constant(POINTS))
    assert list(answer) == ["prediction"]
    np.testing.assert_allclose(answer["prediction"], model(POINTS), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "settings", "words"),
    [(("a", "b"), {}, "3 logits"), (("a", "b", "c"), {"temperature": 0.0}, "positive")],
)
def test_what_does_not_fit_is_refused(tmp_path, names, settings, words):
    with pytest.raises(UserError, match=words):
        serving.export_points(network(3), tmp_path, names, **settings)
    model = network(3)
    model.set_weights([np.full(w.shape, np.nan) for w in model.get_weights()])
    with pytest.raises(UserError, match="finite"):
        serving.export_points(model, tmp_path, ("a", "b", "c"))
    assert not [path for path in tmp_path.iterdir() if path.name.isdigit()]
