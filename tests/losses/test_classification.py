import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import losses


def gradient(y_true, logits):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = losses.softmax_cross_entropy(tf.constant(y_true), logits)
    return tape.gradient(value, logits).numpy()


def test_values_by_hand():
    y_true = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.9, 0.1]]
    logits = [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [np.log(9.0), 0.0]]
    # softplus(-1); softplus(1); ln 2; the entropy of (0.9, 0.1)
    expected = [0.3132617, 1.3132617, 0.6931472, 0.3250830]
    value = losses.softmax_cross_entropy(tf.constant(y_true), tf.constant(logits, tf.float32))
    assert value.shape == (4,) and value.dtype == "float32"
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_equals_keras_on_random_logits():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (32, 10)).astype("float32")
    y_true = rng.dirichlet(np.ones(10), 32).astype("float32")
    expected = keras.losses.categorical_crossentropy(y_true, logits, from_logits=True)
    np.testing.assert_allclose(losses.softmax_cross_entropy(y_true, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_gradient_is_probabilities_minus_labels(scale):
    # For logits (s, 0, -s) and s large, the probabilities are (1, 0, 0).
    result = gradient([[0.0, 1.0, 0.0]], [[scale, 0.0, -scale]])
    p = np.exp([0.0, -scale, -2 * scale]) / np.exp([0.0, -scale, -2 * scale]).sum()
    np.testing.assert_allclose(result, [p - [0, 1, 0]], atol=1e-6)


def test_gradient_is_linear_in_the_labels():
    logits = [[0.3, -1.0, 2.0]]
    np.testing.assert_allclose(
        gradient([[2.0, 0.0, 0.0]], logits), 2 * gradient([[1.0, 0.0, 0.0]], logits), rtol=1e-6
    )


def test_bfloat16_logits_are_summed_in_float32():
    logits = tf.cast([[8.0, 0.0, 0.0, 0.0]], tf.bfloat16)
    value = losses.softmax_cross_entropy(tf.constant([[1.0, 0.0, 0.0, 0.0]]), logits)
    assert value.dtype == "float32"
    np.testing.assert_allclose(value, [np.log1p(3 * np.exp(-8.0))], rtol=1e-4)


@pytest.mark.slow
def test_is_a_loss_of_compile_and_survives_saving(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("sgd", losses.softmax_cross_entropy)
    x, y = np.eye(4, dtype="float32"), np.eye(4, 3, dtype="float32")
    expected = losses.softmax_cross_entropy(y, model.predict(x, verbose=0)).numpy().mean()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_binary_cross_entropy_by_hand():
    y_true = [[1.0, 0.0], [0.0, 0.5]]
    logits = [[0.0, 1.0], [100.0, -100.0]]
    # (ln 2 + softplus(1)) / 2; (100 + 50) / 2
    value = losses.sigmoid_cross_entropy(tf.constant(y_true), tf.constant(logits))
    assert value.shape == (2,) and value.dtype == "float32"
    np.testing.assert_allclose(value, [(0.6931472 + 1.3132617) / 2, 75.0], rtol=1e-6)


def test_binary_cross_entropy_equals_keras_and_has_a_gradient_far_out():
    rng = np.random.default_rng(0)
    logits, y_true = rng.normal(0, 3, (32, 5)).astype("f4"), rng.random((32, 5)).astype("f4")
    expected = keras.losses.binary_crossentropy(y_true, logits, from_logits=True)
    np.testing.assert_allclose(losses.sigmoid_cross_entropy(y_true, logits), expected, rtol=1e-5)
    far = tf.constant([[200.0, -200.0]])
    with tf.GradientTape() as tape:
        tape.watch(far)
        value = losses.sigmoid_cross_entropy(tf.constant([[0.0, 1.0]]), far)
    np.testing.assert_allclose(tape.gradient(value, far), [[0.5, -0.5]])
