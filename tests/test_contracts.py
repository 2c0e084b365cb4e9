"""What every model of kapps.models keeps to, swept over the table in contracts.py."""

import inspect
import typing

import keras
import numpy as np
import pytest
import tensorflow as tf

from contracts import CASES
from kapps import models
from kapps.layers import BatchNormalization
from kapps.models.text.words import WordPlaces

pytestmark = pytest.mark.slow  # every case builds a network or publishes one

# What costs nothing, or stands for a weight.
NOT_COUNTED = (
    "AssignVariableOp", "Const", "Identity", "NoOp", "Placeholder", "ReadVariableOp"
)  # fmt: skip

# One of each class of models and each kind of inputs: Keras traces a model three times.
EXPORTED_BY_KERAS = (
    "char_rnn-gru", "code_prior", "delta_rule-3", "dense_vae-3", "gan", "linear_autoencoder-3",
    "mlp-3", "perceptron-3", "tabular_mlp-classes", "text_classifier-wide", "vq_vae-3",
)  # fmt: skip


@pytest.fixture(
    scope="module", params=[case for case in CASES if not case.twin], ids=lambda case: case.name
)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def traced(case):
    """A model trained for two epochs of a step, and the graph of each time its step was traced.

    Moving averages and offsets are not at their initial values any more.
    """
    keras.utils.set_random_seed(0)
    model, graphs = case.build(), []
    own_step = type(model).train_step is not keras.Model.train_step
    model.compile(keras.optimizers.SGD(0.01), loss=None if own_step else "mse")
    step = model.train_step

    def train_step(batch):
        graphs.append(tf.compat.v1.get_default_graph())
        return step(batch)

    model.train_step = train_step
    x = case.inputs(4) if case.training_inputs is None else case.training_inputs(4)
    x = tuple(x) if isinstance(x, list) else x
    batch = x, np.zeros((4, *case.output_shape), "float32")
    model.fit(tf.data.Dataset.from_tensors(batch), epochs=2, shuffle=False, verbose=0)
    del model.train_step
    return model, graphs


@pytest.fixture(scope="module")
def model(traced):
    return traced[0]


@pytest.fixture(scope="module")
def nodes(traced):
    """What a training step computes, functions inside it included."""
    definition = traced[1][0].as_graph_def()
    functions = [list(function.node_def) for function in definition.library.function]
    return sum(functions, list(definition.node))


def answer(model, x):
    """What `predict` says, without the seconds of a graph; `test_export` has one."""
    return np.asarray(model(x, training=False))


def test_every_public_builder_has_a_row():
    functions = [getattr(models, name) for name in models.__all__]
    returns = {f: typing.get_type_hints(f).get("return") for f in functions}
    # What takes a model makes another one of it, and builds none.
    builders = {
        f
        for f, r in returns.items()
        if inspect.isclass(r) and issubclass(r, keras.Model)
        if "model" not in inspect.signature(f).parameters
    }
    assert builders == {case.builder for case in CASES}


def assert_shapes(case, model, y):
    assert model.output_shape[0] is None and len(model.output_shape) == len(case.output_shape) + 1
    for said, length in zip(model.output_shape[1:], case.output_shape, strict=True):
        assert said in (None, length)  # None: as many steps as there are
    assert y.shape == (3, *case.output_shape)
    assert y.dtype == np.float32
    assert np.isfinite(y).all()
    assert model.count_params() == sum(int(np.prod(w.shape)) for w in model.weights)


def assert_parameters(case, model):
    assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == case.parameters


def assert_gradients(case, model):
    x = case.inputs(4)
    with tf.GradientTape() as tape:
        loss = case.objective(model, x)
    gradients = tape.gradient(loss, [w.value for w in model.trainable_weights])
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.path
        gradient = tf.convert_to_tensor(gradient)  # that of an embedding is sparse
        assert np.isfinite(gradient).all(), weight.path
        assert np.any(gradient != 0), weight.path


def normalizations_of_maps(model):
    layers = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    of_maps = [x for x in layers if len(x.get_build_config()["input_shape"]) == 4]
    assert [x.path for x in of_maps if not isinstance(x, BatchNormalization)] == []
    return of_maps


@pytest.mark.parametrize("case", [case for case in CASES if case.twin], ids=lambda case: case.name)
def test_what_can_differ_between_twins(case):
    model = case.build()
    for i, weight in enumerate(model.trainable_weights):  # what begins at zero hides what is behind
        weight.assign_add(0.05 * np.random.default_rng(i).normal(size=weight.shape))
    assert_shapes(case, model, answer(model, case.inputs(3)))
    assert_parameters(case, model)
    assert_gradients(case, model)
    normalizations_of_maps(model)


def test_shapes_and_names(case, model):
    assert_shapes(case, model, answer(model, case.inputs(3)))


def test_parameters(case, model):
    assert_parameters(case, model)


def test_every_weight_gets_a_gradient(case, model):
    assert_gradients(case, model)


def test_save_and_load(case, model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = case.inputs(3)
    np.testing.assert_allclose(answer(loaded, x), answer(model, x), rtol=1e-6, atol=1e-6)


def write_savedmodel(model, x, directory):
    """As kapps publishes: a module of the variables, and one trace for batches of all sizes."""
    specs = keras.tree.map_structure(lambda a: tf.TensorSpec((None, *a.shape[1:]), a.dtype), x)
    served = tf.Module()
    served.model_variables = [variable.value for variable in model.variables]
    served.serve = tf.function(
        lambda x: model(x, training=False), input_signature=[specs], autograph=False
    )
    tf.saved_model.save(served, directory)


def test_export(case, model, tmp_path):
    batches = [
        keras.tree.map_structure(
            lambda a: a.astype("float32") if a.dtype == np.uint8 else a, case.inputs(count)
        )
        for count in (1, 3)
    ]
    expected = [answer(model, x) for x in batches]  # Keras exports what has been called
    if case.name in EXPORTED_BY_KERAS:
        model.export(str(tmp_path), verbose=False)
    else:
        write_savedmodel(model, batches[0], str(tmp_path))
    served = tf.saved_model.load(str(tmp_path))
    for x, y in zip(batches, expected, strict=True):
        np.testing.assert_allclose(served.serve(x), y, rtol=1e-5, atol=1e-5)


def test_mixed_precision(case, model):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = case.build()
    finally:
        keras.config.set_dtype_policy(policy)
    assert any(layer.compute_dtype == "bfloat16" for layer in mixed.layers)
    mixed.set_weights(model.get_weights())
    x = case.inputs(3)
    y, expected = answer(mixed, x), answer(model, x)
    assert y.dtype == np.float32
    # 8 bits of mantissa, some twenty layers: the same function, to a few per cent of its range.
    np.testing.assert_allclose(y, expected, atol=0.05 * np.ptp(expected))
    assert not np.array_equal(y, expected)


def test_the_step_is_traced_once(traced):
    assert len(traced[1]) == 1


def test_batch_normalization_of_maps_is_fused(model, nodes):
    of_maps = normalizations_of_maps(model)
    assert sum(node.op == "FusedBatchNormV3" for node in nodes) >= len(of_maps)


def test_a_step_in_float32_computes_in_float32(model, nodes):
    """No double, no 16 bits, and so no cast between numbers of different length.

    The density of a mixture prior is the one exception: its terms cancel (`priors.Mixture`).
    """
    refused = {tf.float64, tf.float16, tf.bfloat16}
    if any(isinstance(layer, models.VampPrior) for layer in model._flatten_layers()):
        refused.remove(tf.float64)
    for node in nodes:
        types = {tf.as_dtype(value.type) for value in node.attr.values() if value.type}
        wrong = types & refused
        assert not wrong, (node.name, node.op, wrong)


def test_a_step_has_a_bounded_number_of_operations(model, nodes):
    counted = [node for node in nodes if node.op not in NOT_COUNTED]
    layers = list(model._flatten_layers())
    loops = sum(isinstance(layer, keras.layers.RNN) for layer in layers)
    parts = len(layers) + len(model.weights)
    # When this was written: 4 to 9.6 a part, and 80 to 610 for the loops of a recurrent layer.
    texts = sum(isinstance(layer, WordPlaces) for layer in layers)  # splits and looks up
    assert len(counted) <= 60 + 10 * parts + 700 * loops + 150 * texts
