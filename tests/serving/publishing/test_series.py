"""Export of models of series: the signature, its padding, what is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import models, serving
from kapps.errors import UserError


def series(count=3, steps=6):
    return np.random.default_rng(0).normal(size=(count, steps, 2)).astype("float32")


def served(path):
    return tf.saved_model.load(str(path)).signatures["serving_default"]


@pytest.mark.slow
def test_classes(tmp_path):
    keras.utils.set_random_seed(0)
    model = models.rnn(2, 3, units=4, bidirectional=True, feature_mean=1.0)
    x = series()
    x[1, 4:] = np.nan
    path = serving.export_sequences(
        model, tmp_path, ("a", "b", "c"), temperature=2.0, card="# Title", sample_series=x
    )
    answer = served(path)(sequence=tf.constant(x))
    logits = np.asarray(model(x), "float64") / 2.0
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(answer["probabilities"], expected, rtol=1e-5)
    assert [label.decode() for label in answer["label"].numpy()] == [
        "abc"[i] for i in expected.argmax(1)
    ]
    # Other lengths and batch sizes, and the series alone that was padded before.
    alone = served(path)(sequence=tf.constant(x[1:2, :4]))["probabilities"]
    np.testing.assert_allclose(alone[0], expected[1], rtol=1e-5)
    card = (path / "model_card.md").read_text()
    assert card.startswith("# Title") and "NaN" in card and "`sequence`" in card
    assert (path / "assets.extra" / "tf_serving_warmup_requests").exists()


@pytest.mark.slow
def test_numbers_and_steps(tmp_path):
    path = serving.export_sequences(models.rnn(2, 1, units=3, output_mean=5.0), tmp_path / "n")
    assert served(path)(sequence=tf.constant(series()))["prediction"].shape == (3, 1)
    model = models.rnn(2, 4, units=3, return_sequences=True)
    path = serving.export_sequences(model, tmp_path / "s", tuple("abcd"), sample_series=series())
    answer = served(path)(sequence=tf.constant(series()))
    assert answer["probabilities"].shape == (3, 6, 4) and answer["label"].shape == (3, 6)


def test_what_padding_changes_is_not_published(tmp_path):
    sequence = keras.Input((None, 2))
    filled = keras.layers.Lambda(lambda x: tf.where(tf.math.is_nan(x), 0.0, x))(sequence)
    pooled = keras.layers.GlobalAveragePooling1D()(filled)  # divides by padded steps, too
    model = keras.Model(sequence, keras.layers.Dense(2)(pooled))
    with pytest.raises(UserError, match="padding changes"):
        serving.export_sequences(model, tmp_path, ("a", "b"), sample_series=series())
    assert not list(tmp_path.iterdir())


def test_labels_and_temperature_have_to_fit(tmp_path):
    model = models.rnn(2, 3, units=3)
    with pytest.raises(UserError, match="3 logits for 2"):
        serving.export_sequences(model, tmp_path, ("a", "b"))
    with pytest.raises(UserError, match="1 names for the 2 features"):
        serving.export_sequences(model, tmp_path, ("a", "b", "c"), feature_names=("x",))
    with pytest.raises(UserError, match="temperature"):
        serving.export_sequences(model, tmp_path, ("a", "b", "c"), temperature=0.0)
