"""The fused batch normalization against Keras' own, which is the reference in every test."""

import inspect
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import layers

CHANNELS = 5


def pair(channels=CHANNELS, shape=(6, 7), **kwargs):
    """Keras' layer and ours, with the same random weights."""
    stock = keras.layers.BatchNormalization(**kwargs)
    fused = layers.BatchNormalization(**kwargs)
    stock.build((None, *shape, channels))
    fused.build((None, *shape, channels))
    rng = np.random.default_rng(1)
    weights = [rng.uniform(0.5, 1.5, w.shape).astype("float32") for w in stock.weights]
    stock.set_weights(weights)
    fused.set_weights(weights)
    return stock, fused


def images(batch=4, shape=(6, 7), channels=CHANNELS, dtype="float32"):
    values = np.random.default_rng(2).normal(0.7, 2.0, (batch, *shape, channels))
    return tf.cast(values, dtype)


def step(layer, x, training):
    """Output, gradients of a cubic loss, and weights after one call."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        loss = tf.reduce_sum(tf.cast(y, "float32") ** 3)
    gradients = tape.gradient(loss, [x, *[w.value for w in layer.trainable_weights]])
    return y, gradients, layer.get_weights()


def assert_same(ours, reference, dtype):
    # Half a unit in the last place of bfloat16 is 2**-9; the two round at different points.
    tolerance = {"float32": 2e-5, "bfloat16": 2**-7, "float16": 2**-9}[dtype]
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(reference), strict=True):
        a, b = np.asarray(tf.cast(a, "float32")), np.asarray(tf.cast(b, "float32"))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("center", [True, False])
def test_equals_keras(dtype, training, scale, center):
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    stock, fused = pair(scale=scale, center=center, momentum=0.8, epsilon=3e-3, dtype=policy)
    assert [w.path.split("/")[-1] for w in fused.weights] == [
        w.path.split("/")[-1] for w in stock.weights
    ]
    x = images(dtype=dtype)
    y, gradients, weights = step(fused, x, training)
    y_stock, gradients_stock, weights_stock = step(stock, x, training)
    assert y.dtype == dtype
    assert_same(y, y_stock, dtype)
    assert_same(gradients, gradients_stock, dtype)
    assert_same(weights, weights_stock, "float32")  # statistics are float32 under every policy
    assert fused._can_fuse(x, None)


def test_uses_the_fused_kernel():
    _, fused = pair()
    graph = tf.function(lambda x: fused(x, training=True)).get_concrete_function(images()).graph
    operations = {operation.type for operation in graph.get_operations()}
    assert "FusedBatchNormV3" in operations
    assert "SquaredDifference" not in operations


def test_moving_averages_by_hand():
    layer = layers.BatchNormalization(momentum=0.75)
    x = tf.reshape(tf.constant([1.0, 2.0, 3.0, 6.0]), [2, 2, 1, 1])
    layer(x, training=True)
    # mean 3, biased variance (4 + 1 + 0 + 9) / 4 = 3.5; they start from 0 and 1.
    np.testing.assert_allclose(layer.moving_mean, [0.25 * 3.0], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, [0.75 + 0.25 * 3.5], rtol=1e-6)


def test_one_value_per_channel():
    stock, fused = pair(shape=(1, 1))
    x = images(batch=1, shape=(1, 1))
    assert_same(step(fused, x, True), step(stock, x, True), "float32")
    assert np.isfinite(fused.moving_variance).all()


def test_empty_batch_leaves_the_moving_averages_alone():
    _, fused = pair()
    before = fused.get_weights()
    y = fused(images(batch=0), training=True)
    assert y.shape == (0, 6, 7, CHANNELS)
    for a, b in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_frozen_means_inference_mode():
    stock, fused = pair()
    stock.trainable = fused.trainable = False
    x = images()
    before = fused.get_weights()
    assert_same(fused(x, training=True), stock(x, training=False), "float32")
    for a, b in zip(fused.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("in_graph", [True, False])
def test_second_order_gradients(training, in_graph):
    """A gradient penalty differentiates the input gradient once more."""

    def penalty_gradients(layer, x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                # (not a cubic loss: training removes what beta adds to its gradient)
                loss = tf.reduce_sum(layer(x, training=training) ** 4)
            penalty = tf.reduce_sum(inner.gradient(loss, x) ** 2)
        return outer.gradient(penalty, [x, layer.gamma.value, layer.beta.value])

    stock, fused = pair()
    run = tf.function(penalty_gradients) if in_graph else penalty_gradients
    assert_same(run(fused, images()), run(stock, images()), "float32")


def test_under_xla():
    stock, fused = pair()
    x = images()
    compiled = tf.function(lambda x: fused(x, training=True), jit_compile=True)
    assert_same(compiled(x), stock(x, training=True), "float32")
    assert_same(fused.get_weights(), stock.get_weights(), "float32")


SINCE_3_13 = pytest.mark.skipif(
    "renorm" not in inspect.signature(keras.layers.BatchNormalization).parameters,
    reason="this Keras has no renorm",
)


@pytest.mark.parametrize(
    "kwargs, shape, mask, dtype",
    [
        ({}, (4, CHANNELS), None, "float32"),
        ({}, (4, 6, CHANNELS), None, "float32"),
        ({"axis": 1}, (4, 6, 7, CHANNELS), None, "float32"),
        pytest.param({"renorm": True}, (4, 6, 7, CHANNELS), None, "float32", marks=SINCE_3_13),
        ({"synchronized": True}, (4, 6, 7, CHANNELS), None, "float32"),
        ({"dtype": "float64"}, (4, 6, 7, CHANNELS), None, "float64"),
        ({}, (4, 6, 7, CHANNELS), (4, 6, 7), "float32"),
    ],
    ids=["rank 2", "rank 3", "axis 1", "renorm", "synchronized", "float64", "mask"],
)
def test_falls_back_to_keras(kwargs, shape, mask, dtype):
    x = tf.random.stateless_normal(shape, (1, 2), dtype=dtype)
    call = {"training": True}
    if mask:
        call["mask"] = tf.random.stateless_uniform(mask, (3, 4)) > 0.5
    stock, fused = keras.layers.BatchNormalization(**kwargs), layers.BatchNormalization(**kwargs)
    assert_same(fused(x, **call), stock(x, **call), "float32")
    assert_same(fused.get_weights(), stock.get_weights(), "float32")
    assert not fused._can_fuse(x, call.get("mask"))


def small_model(batch_normalization):
    return keras.Sequential(
        [
            keras.Input((6, 7, 3)),
            keras.layers.Conv2D(
                CHANNELS, 3, use_bias=False, kernel_initializer=keras.initializers.HeNormal(seed=1)
            ),
            batch_normalization(
                momentum=0.9,
                gamma_regularizer=keras.regularizers.L2(0.1),
                beta_constraint=keras.constraints.NonNeg(),
            ),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(seed=2)),
        ]
    )


def fitted(batch_normalization):
    model = small_model(batch_normalization)
    model.compile("sgd", "mse")
    x = np.asarray(images(batch=8, channels=3))
    y = np.linspace(-1, 1, 16).reshape(8, 2)
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    return model, x


def test_fit_with_regularizer_and_constraint():
    ours, x = fitted(layers.BatchNormalization)
    stock, _ = fitted(keras.layers.BatchNormalization)
    assert_same(ours.get_weights(), stock.get_weights(), "float32")
    assert (np.asarray(ours.layers[1].beta) >= 0).all()
    assert len(ours.losses) == 1
    assert_same(ours.predict(x, verbose=0), stock.predict(x, verbose=0), "float32")


def test_save_load_and_export(tmp_path):
    model, x = fitted(layers.BatchNormalization)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[1]) is layers.BatchNormalization
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), expected)
    model.export(str(tmp_path / "exported"), verbose=False)
    served = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(served.serve(x), expected, rtol=1e-5, atol=1e-6)


def test_weights_are_interchangeable_with_keras(tmp_path):
    ours, x = fitted(layers.BatchNormalization)
    ours.save_weights(tmp_path / "m.weights.h5")
    stock = small_model(keras.layers.BatchNormalization)
    stock.load_weights(tmp_path / "m.weights.h5")
    assert_same(ours.predict(x, verbose=0), stock.predict(x, verbose=0), "float32")


def test_rebuilding_a_nested_model_keeps_its_predictions():
    inner = small_model(keras.layers.BatchNormalization)
    inner.layers[1].trainable = False
    inputs = keras.Input((6, 7, 3))
    x = keras.layers.BatchNormalization(name="first")(inputs)
    model = keras.Model(inputs, [inner(x), inner(inputs)])  # shared between two calls
    model.set_weights([w + 0.1 * i for i, w in enumerate(model.get_weights())])
    rebuilt = layers.with_fused_batch_normalization(model)
    x = images(channels=3)
    assert_same(rebuilt(x), model(x), "float32")
    assert type(rebuilt.get_layer("first")) is layers.BatchNormalization
    nested = rebuilt.get_layer(inner.name)
    assert type(nested.layers[1]) is layers.BatchNormalization
    assert nested.layers[1].trainable is False
    assert [w.path for w in rebuilt.weights] == [w.path for w in model.weights]
    rebuilt.weights[0].assign(rebuilt.weights[0] + 1.0)  # its weights are its own
    assert not np.allclose(rebuilt.weights[0], model.weights[0])


ON_TWO_REPLICAS = """
import json, sys
import keras, numpy as np, tensorflow as tf
from kapps import layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).normal(1.0, 2.0, (9, 4, 4, 3)).astype("float32")
weights = {}
for name, layer in (("stock", keras.layers), ("fused", layers)):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = keras.Sequential([keras.Input((4, 4, 3)), layer.BatchNormalization(momentum=0.5)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
    examples = int(sys.argv[1])
    model.fit(x[:examples], x[:examples], batch_size=4, shuffle=False, verbose=0)
    weights[name] = [[v.numpy().tolist() for v in w.value.values] for w in model.weights]
print(json.dumps(weights))
"""


def on_two_replicas(examples):
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_REPLICAS, str(examples)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_on_two_replicas():
    weights = on_two_replicas(8)
    assert_same(weights["fused"], weights["stock"], "float32")


@pytest.mark.slow
def test_replica_without_examples():
    """The last of batches 4, 4, 1 gives nothing to the second replica: Keras' gamma turns NaN."""
    weights = on_two_replicas(9)
    assert np.isnan(weights["stock"][0]).all()
    assert np.isfinite(weights["fused"]).all()  # [weight, replica, channel]
