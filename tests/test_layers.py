"""Each layer against what it should be: Keras' own batch normalization, NumPy's SVD."""

import inspect
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import layers, processor
from kapps.errors import UserError

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


@pytest.mark.slow
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
        ({"dtype": "float64"}, (4, 6, 7, CHANNELS), None, "float64"),
        ({}, (4, 6, 7, CHANNELS), (4, 6, 7), "float32"),
    ],
    ids=["rank 2", "rank 3", "axis 1", "renorm", "float64", "mask"],
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


@pytest.mark.slow
def test_fit_with_regularizer_and_constraint():
    ours, x = fitted(layers.BatchNormalization)
    stock, _ = fitted(keras.layers.BatchNormalization)
    assert_same(ours.get_weights(), stock.get_weights(), "float32")
    assert (np.asarray(ours.layers[1].beta) >= 0).all()
    assert len(ours.losses) == 1
    assert_same(ours.predict(x, verbose=0), stock.predict(x, verbose=0), "float32")


@pytest.mark.slow
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


@pytest.mark.slow
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
from kapps import layers, processor
from kapps.errors import UserError

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).normal(1.0, 2.0, (9, 4, 4, 3)).astype("float32")
weights = {}
for name, layer in (("stock", keras.layers), ("fused", layers)):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = keras.Sequential([keras.Input((4, 4, 3)), layer.BatchNormalization(momentum=0.5)])
        model.compile(keras.optimizers.SGD(0.1), "mse")
    begin = model.get_weights()
    for examples in (8, 9):
        model.set_weights(begin)
        model.fit(x[:examples], x[:examples], batch_size=4, shuffle=False, verbose=0)
        values = [[v.numpy().tolist() for v in w.value.values] for w in model.weights]
        weights[f"{name} {examples}"] = values
print(json.dumps(weights))
"""


@pytest.fixture(scope="module")
def on_two_replicas():
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_REPLICAS], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_on_two_replicas(on_two_replicas):
    assert_same(on_two_replicas["fused 8"], on_two_replicas["stock 8"], "float32")


@pytest.mark.slow
def test_replica_without_examples(on_two_replicas):
    """The last of batches 4, 4, 1 gives nothing to the second replica: Keras' gamma turns NaN."""
    assert np.isnan(on_two_replicas["stock 9"][0]).all()
    assert np.isfinite(on_two_replicas["fused 9"]).all()  # [weight, replica, channel]


# Spectral normalization ---------------------------------------------------------------------------

WRAPPED = {  # layer, input, and from its kernel to the matrix with a column per output
    "dense": (lambda: keras.layers.Dense(3), (4,), lambda k: k),
    "conv": (lambda: keras.layers.Conv2D(5, (2, 3)), (6, 6, 4), lambda k: k.reshape(-1, 5)),
    "transposed": (
        lambda: keras.layers.Conv2DTranspose(5, 3, strides=2),
        (4, 4, 2),
        lambda k: np.moveaxis(k, 2, 3).reshape(-1, 5),
    ),
    "embedding": (lambda: keras.layers.Embedding(7, 3), (2,), lambda k: k),
}


@pytest.fixture(params=WRAPPED)
def spectral(request):
    """A wrapped layer whose u has converged, an input, and from its kernel to its matrix."""
    make, shape, matrix = WRAPPED[request.param]
    keras.utils.set_random_seed(1)
    layer = layers.SpectralNormalization(make())
    x = np.random.default_rng(1).normal(size=(8, *shape)).astype("float32")
    if request.param == "embedding":
        x = np.abs(x * 3).astype("int32") % 7
    layer(x)
    layer.u.assign(-np.linalg.svd(matrix(layer.kernel.numpy()))[2][0])
    layer.update()  # stays where it is
    return layer, x, matrix


def largest(matrix):
    return np.linalg.svd(matrix, compute_uv=False)[0]


def test_sigma_is_the_largest_singular_value(spectral):
    layer, _, matrix = spectral
    assert float(layer.sigma()) == pytest.approx(largest(matrix(layer.kernel.numpy())), rel=1e-5)


def test_updates_converge(spectral):
    layer, _, matrix = spectral
    layer.u.assign(np.linspace(0.1, 1.0, layer.u.shape[0]))
    for _ in range(100):
        layer.update()
    assert float(layer.sigma()) == pytest.approx(largest(matrix(layer.kernel.numpy())), rel=1e-3)


def test_computes_with_the_kernel_over_sigma_and_stores_the_kernel(spectral):
    layer, x, matrix = spectral
    before = [w.numpy() for w in layer.weights]
    outputs = [layer(x, training=training).numpy() for training in (True, True, False)]
    for weight, old in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    layer.kernel.assign(layer.kernel.numpy() / largest(matrix(layer.kernel.numpy())))
    expected = layer.layer(x)
    for output in outputs:
        np.testing.assert_allclose(output, expected, rtol=1e-3, atol=1e-5)


def test_gradient_is_the_one_of_w_over_its_norm(spectral):
    """Against differences of W / |W|_2 by NumPy's SVD, and orthogonal to W."""
    layer, x, matrix = spectral
    noise = np.random.default_rng(2).normal(size=layer(x).shape).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) * noise)
    gradient = tf.convert_to_tensor(tape.gradient(loss, layer.kernel.value)).numpy()
    kernel = layer.kernel.numpy()
    cosine = np.sum(gradient * kernel) / np.linalg.norm(gradient) / np.linalg.norm(kernel)
    assert abs(cosine) < 1e-4
    # Central differences, each kernel normalized by NumPy.
    direction = np.random.default_rng(3).normal(size=kernel.shape).astype("float32")
    step = 1e-2 * np.std(kernel)
    values = []
    for sign in (1, -1):
        moved = kernel + sign * step * direction
        layer.kernel.assign(moved / largest(matrix(moved)))
        values.append(np.sum(layer.layer(x).numpy() * noise, dtype="float64"))
    slope = (values[0] - values[1]) / (2 * step)
    assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-2)


def test_one_update_is_one_step_of_the_power_iteration():
    layer = layers.SpectralNormalization(keras.layers.Dense(2, use_bias=False))
    layer.build((None, 2))
    layer.kernel.assign([[3.0, 0.0], [0.0, 1.0]])
    layer.u.assign([0.6, 0.8])
    # W u = (1.8, 0.8); W' W u = (5.4, 0.8)
    assert float(layer.sigma()) == pytest.approx(np.hypot(1.8, 0.8))
    layer.update()
    np.testing.assert_allclose(layer.u, np.array([5.4, 0.8]) / np.hypot(5.4, 0.8), rtol=1e-6)
    twice = layers.SpectralNormalization(keras.layers.Dense(2), power_iterations=2)
    twice.build((None, 2))
    twice.kernel.assign([[3.0, 0.0], [0.0, 1.0]])
    twice.u.assign([0.6, 0.8])
    twice.update()
    layer.update()
    np.testing.assert_allclose(layer.u, twice.u, rtol=1e-6)


def test_spectral_norm_of_zeros_is_finite():
    layer = layers.SpectralNormalization(keras.layers.Dense(2, kernel_initializer="zeros"))
    with tf.GradientTape() as tape:
        y = layer(np.ones((1, 3), "float32"))
    np.testing.assert_array_equal(y, 0.0)
    assert np.isfinite(tape.gradient(y, layer.kernel.value)).all()
    layer.update()
    assert np.isfinite(layer.u).all()


def test_spectral_norm_in_float32_under_sixteen_bits():
    """bfloat16 has 8 bits; sigma of a kernel cast to it would be off by a thousandth."""
    layer = layers.SpectralNormalization(keras.layers.Dense(50, dtype="mixed_bfloat16"))
    model = keras.Sequential([keras.Input((60,)), layer], name="mixed")
    model.dtype_policy = "mixed_bfloat16"
    kernel = layer.kernel.numpy()
    layer.u.assign(np.linalg.svd(kernel)[2][0])
    seen = []
    sigma = layer.sigma
    layer.sigma = lambda: seen.append(sigma()) or seen[-1]
    y = model(np.ones((1, 60), "float32"))
    assert y.dtype == tf.bfloat16
    assert float(seen[0]) == pytest.approx(largest(kernel), rel=1e-5)


def test_spectral_normalization_round_trip(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((5, 5, 2)),
            layers.SpectralNormalization(keras.layers.Conv2D(3, 2), power_iterations=3),
        ]
    )
    model.layers[0].update()
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 2)).astype("float32")
    np.testing.assert_array_equal(loaded(x), model(x))
    np.testing.assert_array_equal(loaded.layers[0].u, model.layers[0].u)
    assert loaded.layers[0].power_iterations == 3
    assert len(model.trainable_weights) == 2 and len(model.non_trainable_weights) == 1


def test_spectral_normalization_obeys_an_outer_stateless_call():
    layer = layers.SpectralNormalization(keras.layers.Dense(2))
    layer.build((None, 3))
    kernel, bias = np.eye(3, 2, dtype="float32"), np.array([5.0, 6.0], "float32")
    u = np.array([1.0, 0.0], "float32")
    y, _ = layer.stateless_call([kernel, bias], [u], np.zeros((1, 3), "float32"))
    np.testing.assert_array_equal(y, [[5.0, 6.0]])


def test_a_layer_without_kernel_is_refused():
    with pytest.raises(UserError, match="has no kernel"):
        layers.SpectralNormalization(keras.layers.ReLU(name="r")).build((None, 3))


def test_depth_to_space_by_hand(tmp_path):
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 2, 8)
    y = layers.DepthToSpace()(x)
    assert y.shape == (1, 2, 4, 2)
    # Two channels a pixel: the first four pairs are a square, the next four the one beside it.
    np.testing.assert_array_equal(y[0, :, :, 0], [[0, 2, 8, 10], [4, 6, 12, 14]])
    np.testing.assert_array_equal(y[0, :, :, 1], [[1, 3, 9, 11], [5, 7, 13, 15]])
    model = keras.Sequential([keras.Input((None, 3, 4)), layers.DepthToSpace()])
    assert model.output_shape == (None, None, 6, 1)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").output_shape == model.output_shape


def trained_step(layer, weights, x, order=1):
    """Output and gradients of a loss of the layer's outputs, or of those gradients' sum."""
    layer.set_weights(weights)
    values = [weight.value for weight in layer.trainable_weights]
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(tf.cast(y, "float32") ** 3)
        gradients = inner.gradient(loss, [x, *values])
        if order == 2:
            penalty = sum(tf.reduce_sum(tf.cast(g, "float32") ** 2) for g in gradients)
    return y, outer.gradient(penalty, [x, *values]) if order == 2 else gradients


def convolutions(name, *given, **settings):
    """Keras' layer and ours with its weights, built for five channels."""
    stock, ours = (kind(*given, **settings) for kind in (
        getattr(keras.layers, name), getattr(layers, name)
    ))  # fmt: skip
    for layer in (stock, ours):
        layer.build((None, 9, 8, CHANNELS))
    return stock, ours, [
        np.random.default_rng(3).normal(size=w.shape).astype("float32") for w in stock.weights
    ]  # fmt: skip


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kernel", [(5, 5), (3, 7), (7, 4)])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_wide_depthwise_kernels_do_as_keras_does(kernel, strides, padding, order):
    """Also where "same" pads more on one side than on the other, in a picture of 9 x 8."""
    settings = {"strides": strides, "padding": padding, "depth_multiplier": 2}
    stock, ours, weights = convolutions("DepthwiseConv2D", kernel, activation="tanh", **settings)
    assert ours.wide
    x = images(3, (9, 8))
    expected, found = (trained_step(layer, weights, x, order) for layer in (stock, ours))
    assert_same(found, expected, "float32")


def operations_of(layer, training, sides=(9, 8), channels=CHANNELS):
    """Types of the operations of its output and of its gradients."""

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=training) ** 2)
        return tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_weights)])

    graph = step.get_concrete_function(tf.TensorSpec([None, *sides, channels])).graph
    return [operation.type for operation in graph.get_operations()], graph


def test_its_gradient_is_the_fast_one_on_a_cpu_while_training(monkeypatch):
    wide = layers.DepthwiseConv2D(5, padding="same")

    def padding():
        _, graph = operations_of(wide, True)
        [gradient] = (op for op in graph.get_operations() if op.type.endswith("BackpropFilter"))
        return gradient.get_attr("padding")

    assert padding() == b"EXPLICIT"
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    assert padding() == b"SAME"


def test_predictions_and_other_kernels_are_those_of_keras():
    assert "IdentityN" not in operations_of(layers.DepthwiseConv2D(5, padding="same"), False)[0]
    assert "IdentityN" not in operations_of(layers.DepthwiseConv2D(3), True)[0]
    half = layers.DepthwiseConv2D(5, padding="same", dtype="mixed_bfloat16")
    assert "IdentityN" not in operations_of(half, True)[0]
    # "Same" is not known as numbers for pictures of any size.
    any_size = layers.DepthwiseConv2D(5, padding="same")
    assert "IdentityN" not in operations_of(any_size, True, (None, None))[0]


def test_frozen_it_passes_the_gradient_on():
    layer = layers.DepthwiseConv2D(5)
    layer.build((None, None, None, CHANNELS))
    layer.trainable = False
    x = images()
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer(x, training=True))
    corner = np.asarray(layer.kernel)[0, 0, :, 0]  # what alone reads the first pixel
    np.testing.assert_allclose(tape.gradient(loss, x)[0, 0, 0], corner, rtol=1e-5)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (1, 5), (7, 7)])
@pytest.mark.parametrize("strides", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_small_maps_do_as_keras_does(monkeypatch, kernel, strides, padding, order):
    """In float32, where rounding hides nothing; "valid" also leaves rows and columns unread."""
    monkeypatch.setattr(layers.Conv2D, "_pays", lambda self, inputs: True)
    settings = {"strides": strides, "padding": padding, "activation": "tanh"}
    stock, ours, weights = convolutions("Conv2D", 3, kernel, **settings)
    x = images(3, (9, 8))
    expected, found = (trained_step(layer, weights, x, order) for layer in (stock, ours))
    assert_same(found, expected, "float32")


@pytest.fixture
def sixteen_bits(monkeypatch):
    """A processor with bfloat16 instructions, whichever this one is."""
    monkeypatch.setattr(processor, "instructions", lambda: frozenset({"avx512_bf16"}))


def many_channels(sides=(10, 10), filters=64, channels=64, training=True, **settings):
    """Types of the operations of a convolution and its gradients, in bfloat16 if not told."""
    settings = {"kernel_size": 3, "padding": "same", "dtype": "mixed_bfloat16", **settings}
    layer = layers.Conv2D(filters, **settings)
    layer.build((None, *sides, channels))
    return operations_of(layer, training, sides, channels)[0]


def test_bfloat16_in_small_maps_takes_the_quick_gradient(sixteen_bits):
    for settings in (
        {},
        {"sides": (20, 19), "strides": 2},
        {"sides": (12, 12), "padding": "valid"},
        {"kernel_size": (1, 3)},
    ):
        assert not [each for each in many_channels(**settings) if "BackpropFilter" in each]
    stock, ours = keras.layers.Conv2D, layers.Conv2D
    x = images(3, (7, 6), 64)
    settings = {"strides": 2, "padding": "same", "dtype": "mixed_bfloat16"}
    weights = [
        np.random.default_rng(3).normal(size=shape) / 24 for shape in ((3, 3, 64, 64), (64,))
    ]
    expected, found = (
        trained_step(kind(64, 3, **settings), weights, x) for kind in (built(stock), built(ours))
    )
    assert_same(found, expected, "bfloat16")


def built(kind):
    """What makes a layer of that kind with weights, for 64 channels."""

    def made(*given, **settings):
        layer = kind(*given, **settings)
        layer.build((None, None, None, 64))
        return layer

    return made


@pytest.mark.parametrize(
    "settings",
    [
        {"training": False},
        {"dtype": "float32"},
        {"dtype": "mixed_float16"},
        {"sides": (11, 10)},
        {"sides": (None, None)},
        {"filters": 63},
        {"channels": 63},
        {"kernel_size": 1},
        {"strides": (1, 2)},
        {"dilation_rate": 2},
        {"groups": 2, "filters": 128, "channels": 128},
    ],
    ids=str,
)
def test_where_it_does_not_pay_it_is_the_gradient_of_keras(sixteen_bits, settings):
    assert "IdentityN" not in many_channels(**settings)


def test_of_other_processors_and_devices_it_is_that_of_keras(monkeypatch):
    for has in ({"avx512f"}, {"avx512_bf16", "amx_bf16"}):
        monkeypatch.setattr(processor, "instructions", lambda has=has: frozenset(has))
        assert "IdentityN" not in many_channels()
    monkeypatch.setattr(processor, "instructions", lambda: frozenset({"avx512_bf16"}))
    assert "IdentityN" in many_channels()
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    assert "IdentityN" not in many_channels()


def test_networks_are_built_of_it():
    """Those whose small maps have many channels, and the pretrained ones."""
    from kapps import models

    backbone = models.backbone("resnet50", weights="none", input_shape=(32, 32, 3))
    for model in (models.classifier("resnet8_wide", (28, 28, 1), 3), backbone):
        kinds = {type(each) for each in model.layers if isinstance(each, keras.layers.Conv2D)}
        assert kinds == {layers.Conv2D}


def test_a_penalty_on_gradients_needs_no_slow_gradient_either(sixteen_bits):
    layer = built(layers.Conv2D)(64, 3, padding="same", dtype="mixed_bfloat16")

    @tf.function
    def penalty(x):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                score = tf.reduce_sum(tf.cast(layer(x, training=True), "float32") ** 2)
            penalty = tf.reduce_sum(inner.gradient(score, x) ** 2)
        return outer.gradient(penalty, layer.kernel.value)

    graph = penalty.get_concrete_function(tf.TensorSpec([None, 6, 6, 64])).graph
    types = [operation.type for operation in graph.get_operations()]
    assert "Conv2DBackpropInput" in types and "Conv2DBackpropFilter" not in types


@pytest.mark.parametrize(
    "layer", [layers.Conv2D(64, 3, dtype="mixed_bfloat16"), layers.DepthwiseConv2D(5)]
)
def test_whether_one_trains_may_be_a_tensor(sixteen_bits, layer):
    x = images(2, (6, 6), 64)
    traced = tf.function(lambda training: layer(x, training=training))
    assert_same(traced(tf.constant(True)), layer(x), layer.compute_dtype)


def test_a_convolution_of_ones_own_is_computed(sixteen_bits):
    class Doubled(layers.Conv2D):
        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, 2 * kernel)

    layer = Doubled(64, 3, use_bias=False, dtype="mixed_bfloat16")
    x = images(2, (5, 5), 64)
    twice = layer(x, training=True)
    assert_same(twice, 2 * keras.layers.Conv2D.convolution_op(layer, tf.cast(x, "bfloat16"),
        tf.cast(layer.kernel, "bfloat16")), "bfloat16")  # fmt: skip
