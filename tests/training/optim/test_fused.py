import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps.training import optimizer

SHAPES = {"kernel": (5, 3), "bias": (3,), "table": (7, 2)}
PAIRS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
}


def train(built, dtype="float32", steps=20, jit=False):
    random = np.random.default_rng(0)
    variables = [
        keras.Variable(random.normal(size=shape).astype("float32"), dtype=dtype, name=name)
        for name, shape in SHAPES.items()
    ]
    built.build(variables)

    @tf.function(jit_compile=jit)
    def step(*gradients):
        built.apply(gradients, variables)

    for _ in range(steps):
        # Some are 0, and some are tiny: epsilon counts.
        step(
            *(
                (random.normal(size=shape) * random.choice([0.0, 1e-7, 1.0], shape)).astype(dtype)
                for shape in SHAPES.values()
            )
        )
    return [keras.ops.convert_to_numpy(keras.ops.cast(v, "float32")) for v in variables]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("settings", [{}, {"beta_1": 0.0, "beta_2": 0.99}, {"amsgrad": True}])
def test_it_moves_as_keras_own(name, settings):
    ours = train(optimizer(name, 0.01, weight_decay=0.1, **settings))
    stock = PAIRS[name](0.01, weight_decay=0.1, **settings)
    stock.exclude_from_weight_decay(var_names=["bias"])
    for got, wanted in zip(ours, train(stock), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-7)


def test_compiled_by_xla_it_is_the_same():
    for got, wanted in zip(
        train(optimizer("adam", 0.01), jit=True), train(optimizer("adam", 0.01)), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-7)


def test_variables_of_sixteen_bits():
    ours = train(optimizer("adam", 0.01), "bfloat16", steps=3)
    for got, wanted in zip(ours, train(keras.optimizers.Adam(0.01), "bfloat16", 3), strict=True):
        np.testing.assert_allclose(got, wanted, atol=0.03)  # a bit of numbers up to 4


def test_slices_of_a_table_are_as_their_dense_form():
    """Keras squares the slices of a row that occurs twice before it adds them: not this one."""

    def moved(built, sparse):
        table = keras.Variable(np.ones((4, 2), "float32"), name="table")
        for rows in ([0, 2], [2, 2], [3, 0]):
            slices = tf.IndexedSlices(tf.ones((2, 2)), tf.constant(rows), tf.constant([4, 2]))
            built.apply([slices if sparse else tf.convert_to_tensor(slices)], [table])
        return table.numpy()

    wanted = moved(keras.optimizers.Adam(0.1), sparse=False)
    np.testing.assert_allclose(moved(optimizer("adam", 0.1), sparse=True), wanted, rtol=1e-5)


def test_a_variable_costs_one_operation():
    variables = [keras.Variable(np.ones(shape, "float32")) for shape in SHAPES.values()]
    built = optimizer("adam", 0.1)
    built.build(variables)

    @tf.function
    def step():
        built.apply([tf.ones(shape) for shape in SHAPES.values()], variables)

    kinds = [operation.type for operation in step.get_concrete_function().graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == len(SHAPES)
    # The step's count is the only other thing that is written.
    assert sum(kind.startswith("Assign") for kind in kinds) == 1
