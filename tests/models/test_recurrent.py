"""Recurrent networks: padding, read-out, dropout over time, initial values, against NumPy."""

import keras
import numpy as np
import pytest

from kapps import models
from kapps.errors import UserError


def series(count=4, steps=9, features=2, seed=0):
    return np.random.default_rng(seed).normal(size=(count, steps, features)).astype("float32")


def padded(x, more):
    nothing = np.full((len(x), more, x.shape[2]), np.nan, "float32")
    return np.concatenate([x, nothing], axis=1)


def predict(model, x):
    return np.asarray(model(x))  # eager: quicker than to compile a graph for each


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights_of(model):
    """float64 weights, by the name of the layer."""
    return {
        layer.name: [w.astype("float64") for w in layer.get_weights()] for layer in model.layers
    }


VARIANTS = {
    "gru": dict(),
    "lstm-residual": dict(cell="lstm", units=(4, 4, 6), residual=True),
    "both-ways": dict(cell="simple", units=(4, 5), bidirectional=True),
    "all": dict(
        cell="lstm", units=(4, 6), bidirectional=True, residual=True, projection=3, dropout=0.3
    ),
    "mean": dict(pooling="mean", bidirectional=True),
    "max": dict(pooling="max", residual=True),
    "frames": dict(frame=4, bidirectional=True),
    "per-series": dict(per_series=True, bidirectional=True, units=(4, 4), residual=True),
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_padding_changes_nothing(variant):
    keras.utils.set_random_seed(0)
    model = models.rnn(2, 3, feature_mean=0.7, feature_std=(0.5, 2.0), **VARIANTS[variant])
    x = series() + 1.0
    alone = np.concatenate([predict(model, x[i : i + 1, : 9 - 2 * i]) for i in range(4)])
    for i in range(1, 4):
        x[i, 9 - 2 * i :] = np.nan
    np.testing.assert_allclose(predict(model, x), alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(predict(model, padded(x, 7)), alone, rtol=1e-5, atol=1e-6)
    assert np.ptp(alone, axis=0).min() > 1e-3  # the lengths and values do matter


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [0, 12])
def test_padding_changes_nothing_in_a_convolutional_one(shuffle):
    keras.utils.set_random_seed(0)
    model = models.rnn_fcn(2, 3, shuffle_steps=shuffle)
    model.compile("sgd", "mse")
    x, more = padded(series(), 0), 5
    x[1, 6:] = x[2, 3:] = np.nan
    same = models.rnn_fcn(2, 3, shuffle_steps=shuffle, dropout=0.0)
    other = models.rnn_fcn(2, 3, shuffle_steps=shuffle, dropout=0.0)
    for twin, batch in ((same, x), (other, padded(x, more))):
        twin.set_weights(model.get_weights())
        twin.compile("sgd", "mse")
        twin.train_on_batch(batch, np.ones((4, 3)))
    # A step of training, too: gradients and moving averages have not seen the padding.
    for a, b in zip(same.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    alone = np.concatenate([predict(same, x[1:2, :6]), predict(same, x[2:3, :3])])
    np.testing.assert_allclose(predict(same, x)[1:3], alone, rtol=1e-4, atol=1e-5)


def test_a_gru_is_its_equations():
    """arXiv:1406.1078, with the reset gate after the product (Keras' reset_after)."""
    model = models.rnn(2, 3, units=4)
    for w in model.weights:
        w.assign(np.random.default_rng(w.shape.num_elements()).normal(size=w.shape))
    weights = weights_of(model)
    kernel, recurrent, (bias, recurrent_bias) = weights["gru1"]
    x = series(count=1, steps=5)
    h = np.zeros(4)
    for t in range(5):
        a, b = x[0, t] @ kernel + bias, h @ recurrent + recurrent_bias
        z, r = sigmoid(a[:4] + b[:4]), sigmoid(a[4:8] + b[4:8])
        h = z * h + (1 - z) * np.tanh(a[8:] + r * b[8:])
    out, offset = weights["logits"]
    np.testing.assert_allclose(predict(model, x)[0], h @ out + offset, rtol=1e-4)


def test_both_ways_read_where_each_direction_has_seen_everything():
    """Two simple cells with a residual shortcut, written out for a series of three valid steps."""
    model = models.rnn(2, 2, cell="simple", units=3, bidirectional=True, residual=True)
    weights = weights_of(model)
    x = padded(series(count=1, steps=3), 2)
    steps = x[0, :3].astype("float64")

    def run(steps, layer):
        kernel, recurrent, bias = weights[layer]
        h, seen = np.zeros(3), []
        for step in steps:
            h = np.tanh(step @ kernel + h @ recurrent + bias)
            seen.append(h)
        return np.array(seen)

    both = np.concatenate(
        [run(steps, "simple1"), run(steps[::-1], "simple1_backwards")[::-1]], axis=1
    )
    mean, std = both.mean(axis=1, keepdims=True), np.sqrt(both.var(axis=1, keepdims=True) + 1e-3)
    gamma, beta = weights["norm1"]
    y = steps @ weights["shortcut1"][0] + (both - mean) / std * gamma + beta
    read = np.concatenate([y[2, :3], y[0, 3:]])
    out, offset = weights["logits"]
    np.testing.assert_allclose(predict(model, x)[0], read @ out + offset, rtol=1e-4, atol=1e-5)


def test_normalization_is_inside():
    keras.utils.set_random_seed(0)
    model = models.rnn(2, 3, feature_mean=(1.0, -2.0), feature_std=(2.0, 0.5))
    plain = models.rnn(2, 3)
    plain.set_weights(model.get_weights())
    x = series()
    normalized = (x - np.float32([1, -2])) / np.float32([2, 0.5])
    np.testing.assert_allclose(predict(model, x), predict(plain, normalized), rtol=1e-5, atol=1e-6)


def test_per_series_knows_no_offset_and_no_scale():
    model = models.rnn(2, 3, per_series=True)
    x = padded(series(), 3)
    x[1, 5:] = np.nan
    expected = predict(model, x)
    np.testing.assert_allclose(predict(model, 7 * x + 3), expected, rtol=1e-4, atol=1e-5)
    x[..., 1] = np.where(np.isnan(x[..., 1]), np.nan, 0.1)  # constant: 0, not noise, not NaN
    assert np.isfinite(predict(model, x)).all()


def test_the_mask_of_variational_dropout_does_not_change_over_time():
    model = models.rnn(3, 1, cell="simple", units=8, dropout=0.5, recurrent_dropout=0.5)
    layer = model.get_layer("simple1")
    layer.cell.activation = keras.activations.linear
    kernel, bias = np.tile(np.eye(3, 8), (1, 1)), np.zeros(8)

    # Inputs: what is dropped at the first step is dropped at all, and the rest is doubled.
    layer.set_weights([kernel, np.zeros((8, 8)), bias])
    y = np.asarray(layer(np.ones((20, 6, 3), "float32"), training=True))[..., :3]
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (y == y[:, :1]).all()
    assert len({tuple(row) for row in y[:, 0]}) > 3  # series are dropped apart

    # States: with an identity a unit is 0 from the second step on, or doubles at every step.
    x = np.zeros((20, 5, 3), "float32")
    x[:, 0] = 1.0
    layer.set_weights([kernel, np.eye(8), bias])
    y = np.asarray(layer(x, training=True))[..., :3]
    alive = y[:, 0] > 0
    ratio = y[:, 1:] / np.where(alive, y[:, 0], 1.0)[:, None]
    powers = 2.0 ** np.arange(1, 5)[:, None]
    for column in ratio.transpose(0, 2, 1)[alive]:
        assert (column == 0).all() or (column == powers[:, 0]).all()
    assert 0 < np.mean(ratio[:, 0][alive] == 0) < 1


def test_irnn_begins_as_an_identity():
    model = models.rnn(2, 3, cell="simple", units=100, activation="relu")
    kernel, recurrent, bias = model.get_layer("simple1").get_weights()
    np.testing.assert_array_equal(recurrent, np.eye(100))
    assert not bias.any()
    assert 0.0005 < kernel.std() < 0.0015  # 0.001, of 200 values


def test_initial_values_of_gates():
    model = models.rnn(2, 3, cell="lstm", units=5)
    _, recurrent, bias = model.get_layer("lstm1").get_weights()
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(5), atol=1e-5)
    np.testing.assert_array_equal(bias, [0] * 5 + [1] * 5 + [0] * 10)  # input, forget, cell, output


@pytest.mark.slow
@pytest.mark.parametrize("cell, gates, keeps, opposite", [("lstm", 4, 1, 0), ("gru", 3, 0, None)])
def test_gates_can_begin_with_a_long_memory(cell, gates, keeps, opposite):
    """Keras' order of gates: input, forget, cell, output; update, reset, candidate."""
    model = models.rnn(2, 3, cell=cell, units=200, memory=100)
    bias = model.get_layer(f"{cell}1").get_weights()[2]
    row = (bias[0] if cell == "gru" else bias).reshape(gates, 200)
    steps = np.exp(row[keeps])  # uniform from 1 to 99: mean 50, deviation 28.3 / sqrt(200)
    assert 1 <= steps.min() < 5 and 94 < steps.max() <= 99
    assert abs(steps.mean() - 50) < 4 * 2.0
    zeros = [gate for gate in range(gates) if gate not in (keeps, opposite)]
    assert not row[zeros].any()
    if opposite is not None:
        np.testing.assert_array_equal(row[opposite], -row[keeps])
    loaded = keras.Model.from_config(model.get_config())
    assert loaded.get_layer(f"{cell}1").cell.bias_initializer.memory == 100
    # What is let in is kept: 40 steps later a change of the first step is still seen in the state,
    # 14 times as much or more with eight seeds.
    x = np.zeros((2, 40, 2), "float32")
    x[1, 0] = 1.0
    usual = models.rnn(2, 3, cell=cell, units=200)
    seen = []
    for network in (model, usual):
        state = keras.Model(network.input, network.get_layer(f"{cell}1").output)
        seen.append(np.linalg.norm(np.diff(predict(state, x)[:, -1], axis=0)))
    assert seen[0] > 10 * seen[1]


@pytest.mark.slow
def test_an_output_for_each_step():
    model = models.rnn(2, 3, units=(4, 5), return_sequences=True)
    x = series()
    x[1, 5:] = np.nan
    y = predict(model, x)
    assert y.shape == (4, 9, 3)
    assert not y[1, 5:].any()
    np.testing.assert_allclose(y[:, :4], predict(model, x[:, :4]), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_states_go_from_one_part_of_a_series_to_the_next(cell):
    options = dict(cell=cell, units=(4, 5), embedding=3, return_sequences=True)
    whole = models.rnn(7, 7, **options)
    parts = models.rnn(7, 7, carry_state=True, **options)
    parts.set_weights(whole.get_weights())
    tokens = np.random.default_rng(0).integers(0, 7, (2, 10), dtype=np.int32)
    states = [np.zeros((2, n), "float32") for n in (4, 5) for _ in range(1 + (cell == "lstm"))]
    found = []
    for part in (tokens[:, :6], tokens[:, 6:]):
        y, *states = parts.predict([part, *states], verbose=0)
        found.append(y)
    expected = whole.predict(tokens, verbose=0)
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, rtol=1e-5, atol=1e-6)


def test_shuffled_steps_are_features():
    """LSTM-FCN's recurrent branch takes one step of all values for a series of one feature."""
    model = models.rnn_fcn(1, 2, shuffle_steps=20)
    assert model.get_layer("lstm").get_weights()[0].shape == (20, 4 * 8)
    assert model.get_layer("lstm").input.shape == (None, 1, 20)


@pytest.mark.parametrize(
    "change, word",
    [
        (dict(cell="rnn"), "simple, lstm, gru"),
        (dict(units=()), "units"),
        (dict(units=(4, 0)), r"units\[1\]"),
        (dict(activation="relu"), "simple cell"),
        (dict(dropout=1.0), "dropout"),
        (dict(cell="simple", memory=20), "memory"),
        (dict(memory=2), "memory"),
        (dict(feature_std=(1.0, 0.0)), "feature_std"),
        (dict(feature_mean=(1.0, 0.0, 2.0)), "2 channels"),
        (dict(frame=2, return_sequences=True), "frame"),
        (dict(carry_state=True), "return_sequences"),
        (dict(carry_state=True, return_sequences=True, bidirectional=True), "backwards"),
        (dict(embedding=3), "embedding"),
    ],
)
def test_mistakes_are_named(change, word):
    with pytest.raises(UserError, match=word):
        models.rnn(2, 3, **change)


def test_mistakes_are_named_in_a_convolutional_one():
    with pytest.raises(UserError, match="shuffle_steps"):
        models.rnn_fcn(2, 3, shuffle_steps=-1)
