"""Layers that train recurrent cells quickly, against Keras' own and against arithmetic by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import layers

KINDS = ("LSTM", "GRU")
UNITS, FEATURES = 3, 4


def pair(kind, **kwargs):
    """Keras' layer and ours, with the same random weights, biases too."""
    made = [getattr(owner, kind)(UNITS, **kwargs) for owner in (keras.layers, layers)]
    rng = np.random.default_rng(1)
    for layer in made:
        layer.build((None, 5, FEATURES))
    weights = [rng.normal(0, 0.7, w.shape) for w in made[0].trainable_weights]
    for layer in made:
        for variable, values in zip(layer.trainable_weights, weights, strict=True):
            variable.assign(values)
    return made


def series(batch=5, steps=5, seed=2):
    return tf.constant(
        np.random.default_rng(seed).normal(0, 1, (batch, steps, FEATURES)), "float32"
    )


def states(kind, batch=5):
    rng = np.random.default_rng(3)
    count = 2 if kind == "LSTM" else 1
    return [tf.constant(rng.normal(0, 1, (batch, UNITS)), "float32") for _ in range(count)]


def step(layer, x, initial_state=None, training=True):
    """What comes out, and gradients of an uneven sum of it, of inputs, states and weights."""
    with tf.GradientTape() as tape:
        tape.watch([x, initial_state or []])
        out = tf.nest.flatten(layer(x, initial_state=initial_state, training=training))
        loss = 0.0
        for i, each in enumerate(out):
            each = tf.cast(each, "float32")
            weights = tf.cast(tf.range(1, 1 + tf.size(each)), "float32")
            loss += tf.reduce_sum(tf.reshape(weights, tf.shape(each)) * each**2) * (1 + i)
    wanted = [x, *(initial_state or []), *[w.value for w in layer.trainable_weights]]
    return out, tape.gradient(loss, wanted)


def assert_same(ours, reference, tolerance=2e-5):
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(reference), strict=True):
        a, b = np.asarray(tf.cast(a, "float32")), np.asarray(tf.cast(b, "float32"))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max(initial=1))


def loops(layer, **how):
    """Loops in the graph of a call: Keras' layer has one, ours none where it is quick."""

    @tf.function
    def call(x):
        return layer(x, **how)

    graph = call.get_concrete_function(series()).graph.as_graph_def(add_shapes=False)
    return sum("While" in node.op for node in graph.node)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("outputs", ["last", "all", "all and states"])
def test_equals_keras(kind, use_bias, begun, outputs):
    kwargs = {"return_sequences": outputs != "last", "return_state": "states" in outputs}
    stock, ours = pair(kind, use_bias=use_bias, **kwargs)
    begin = states(kind) if begun else None
    assert_same(step(ours, series(), begin), step(stock, series(), begin))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("steps", [1, 2])
def test_small_batches_and_series(kind, batch, steps):
    stock, ours = pair(kind, return_sequences=True, return_state=True)
    x, begin = series(batch, steps), states(kind, batch)
    assert_same(step(ours, x, begin), step(stock, x, begin))


@pytest.mark.parametrize("kind", KINDS)
def test_no_series_at_all(kind):
    _, ours = pair(kind, return_sequences=True)
    (out,), gradients = step(ours, series(0), states(kind, 0))
    assert out.shape == (0, 5, UNITS)
    assert not any(np.any(each) for each in gradients)


@pytest.mark.parametrize("kind", KINDS)
def test_batch_of_unknown_size_in_a_graph(kind):
    stock, ours = pair(kind)
    signature = [tf.TensorSpec([None, 5, FEATURES])]
    graph = tf.function(lambda x: step(ours, x), input_signature=signature, autograph=False)
    for batch in (5, 2):
        assert_same(graph(series(batch)), step(stock, series(batch)))


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_closer_to_float32_than_keras_is(kind):
    def of(layer, policy):
        layer = type(layer)(UNITS, return_sequences=True, dtype=policy)
        layer.build((None, 100, FEATURES))
        for variable, values in zip(layer.trainable_weights, weights, strict=True):
            variable.assign(values)
        out, gradients = step(layer, series(64, 100))
        return [np.asarray(tf.cast(each, "float32")) for each in (*out, *gradients)]

    stock, ours = pair(kind)
    weights = stock.get_weights()
    exact = of(stock, "float32")
    errors = [
        np.mean(
            [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(found, exact, strict=True)]
        )
        for found in (of(ours, "mixed_bfloat16"), of(stock, "mixed_bfloat16"))
    ]
    assert errors[0] < min(errors[1], 2**-6)


@pytest.mark.parametrize("kind", KINDS)
def test_drops_as_keras_does(kind):
    stock, ours = pair(kind, dropout=0.5, seed=4, return_sequences=True)
    assert_same(step(ours, series()), step(stock, series()))
    assert_same(step(ours, series()), step(stock, series()))  # with the next mask
    first, second = (step(ours, series())[0] for _ in range(2))
    assert np.any(first[0] != second[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("kwargs", "how"),
    [
        ({}, {"training": False}),
        ({}, {"mask": tf.constant([[True, True, True, True, False]] * 5)}),
        ({"recurrent_dropout": 0.5}, {}),
        ({"go_backwards": True}, {}),
        ({"activation": "relu"}, {}),
        ({"recurrent_activation": "hard_sigmoid"}, {}),
        ({"dtype": "float64"}, {}),
        ({"implementation": 1}, {}),
    ],
)
def test_leaves_the_rest_to_keras(kind, kwargs, how):
    _, ours = pair(kind, **kwargs)
    assert loops(ours, **({"training": True} | how))


@pytest.mark.parametrize("kind", KINDS)
def test_asks_for_cudnn_as_keras_does(kind):
    _, ours = pair(kind, use_cudnn=True)
    with pytest.raises(ValueError, match="cuDNN"):
        ours(series(), training=True)


@pytest.mark.parametrize("kind", KINDS)
def test_drops_nothing_at_a_rate_of_1_as_keras_does(kind):
    stock, ours = pair(kind, dropout=1.0)
    assert_same(step(ours, series()), step(stock, series()))


@pytest.mark.parametrize("kind", KINDS)
def test_is_quick_otherwise(kind):
    stock, ours = pair(kind)
    assert loops(stock, training=True)
    assert not loops(ours, training=True)


def test_gru_that_resets_before_its_product_is_left_to_keras():
    stock, ours = pair("GRU", reset_after=False)
    assert loops(ours, training=True)
    assert_same(step(ours, series()), step(stock, series()))


@pytest.mark.parametrize("kind", KINDS)
def test_steps_that_are_compiled_as_a_whole_are_left_to_keras(kind):
    """XLA takes minutes for a hundred steps side by side."""
    _, ours = pair(kind)
    within = tf.function(lambda x: ours(x, training=True), autograph=False)
    for function in (within, lambda x: within(x) * 2):
        whole = tf.function(function, jit_compile=True, autograph=False)
        graph = whole.get_concrete_function(series()).graph.as_graph_def()
        nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
        assert any("While" in node.op for node in nodes)


@pytest.mark.parametrize("kind", KINDS)
def test_long_series_are_left_to_keras(kind):
    _, ours = pair(kind)
    assert ours(series(2, 129), training=True).shape == (2, UNITS)
    long = tf.function(lambda x: ours(x, training=True)).get_concrete_function(series(2, 129))
    assert any("While" in node.op for node in long.graph.as_graph_def().node)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", ["inputs", "kernel", "recurrent_kernel", "bias"])
def test_gradients_of_second_order_are_refused(kind, wanted):
    _, ours = pair(kind)
    x = series()
    second = x if wanted == "inputs" else getattr(ours.cell, wanted).value
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            total = tf.reduce_sum(ours(x, training=True))  # whose own gradient depends on nothing
        slope = inner.gradient(total, x)
    with pytest.raises(LookupError, match="first order alone"):
        outer.gradient(slope, second)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "int32", "bool"])
def test_takes_integers_as_keras_does(kind, dtype):
    stock, ours = pair(kind)
    x = tf.cast(series() > 0, dtype)
    assert_same(ours(x, training=True), stock(x, training=True))


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_without_bias(kind):
    stock, ours = pair(kind, use_bias=False, dtype="mixed_bfloat16")
    assert_same(ours(series(), training=True), stock(series(), training=True), 2**-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_each_example(kind):
    _, ours = pair(kind)

    def gradient(x):
        return step(ours, x[None])[1][1]  # of the kernel

    x = series(3)
    alone = tf.stack([gradient(each) for each in x])
    assert_same(tf.vectorized_map(gradient, x), alone)


@pytest.mark.parametrize("kind", KINDS)
def test_one_state_for_all_series(kind):
    stock, ours = pair(kind)
    begin = states(kind, 1)
    assert_same(
        ours(series(), initial_state=begin, training=True),
        stock(series(), initial_state=begin, training=True),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_cell_of_ones_own_is_left_to_keras(kind):
    _, ours = pair(kind)

    class Own(type(ours.cell)):
        pass

    ours.cell.__class__ = Own
    assert loops(ours, training=True)


@pytest.mark.parametrize("kind", KINDS)
def test_functions_that_train_are_saved(kind, tmp_path):
    _, ours = pair(kind)
    module = tf.Module()
    module.layer = ours
    module.step = tf.function(
        lambda x: step(ours, x)[1][1], input_signature=[tf.TensorSpec((5, 5, FEATURES))]
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    assert_same(loaded.step(series()), module.step(series()))


@pytest.mark.parametrize("kind", KINDS)
def test_is_saved_and_loaded(kind, tmp_path):
    inputs = keras.Input((5, FEATURES))
    model = keras.Model(inputs, getattr(layers, kind)(UNITS, dropout=0.1, name="cell")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer("cell")) is getattr(layers, kind)
    np.testing.assert_array_equal(loaded(series()), model(series()))


def test_lstm_by_hand():
    """One unit, one step: all gates see 0.5 x, x = 2, from output 0 and state 1."""
    layer = layers.LSTM(
        1, kernel_initializer=keras.initializers.Constant(0.5), unit_forget_bias=False
    )
    begin = [tf.zeros([1, 1]), tf.ones([1, 1])]
    gate, squashed = 1 / (1 + np.exp(-1)), np.tanh(1)
    expected = gate * np.tanh(gate * 1 + gate * squashed)
    found = layer(tf.constant([[[2.0]]]), initial_state=begin, training=True)
    np.testing.assert_allclose(found, [[expected]], rtol=1e-6)


def test_gru_by_hand():
    """One unit, one step: gates see 0.5 x plus 0.25 of the output before, x = 2, from 1."""
    layer = layers.GRU(
        1,
        kernel_initializer=keras.initializers.Constant(0.5),
        recurrent_initializer=keras.initializers.Constant(0.25),
    )
    gate = 1 / (1 + np.exp(-1.25))
    expected = gate * 1 + (1 - gate) * np.tanh(1 + gate * 0.25)
    found = layer(tf.constant([[[2.0]]]), initial_state=[tf.ones([1, 1])], training=True)
    np.testing.assert_allclose(found, [[expected]], rtol=1e-6)
