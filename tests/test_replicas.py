import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps import replicas

ROOT = pathlib.Path(__file__).parents[1]
WITH_A_STATE = re.compile(
    r"tf\.random\.(uniform|normal|truncated_normal|gamma|poisson|categorical|shuffle|log_uniform)"
    r"|tf\.image\.(random_|sample_distorted)|tf\.nn\.(experimental\.general_)?dropout"
    r"|tf\.raw_ops\.(Random|Multinomial|TruncatedNormal|ParameterizedTruncated|Sample)"
)


def test_nothing_draws_by_a_state_that_no_seed_of_ours_sets():
    """Such an op goes on where its last use has ended; `conftest.py` relies on there being none.

    Tests have them where a model that draws is refused.
    """
    for folder in ("kapps", "recipes"):
        for path in (ROOT / folder).rglob("*.py"):
            assert not WITH_A_STATE.search(path.read_text()), path


def test_seeds_differ_from_call_to_call_and_come_back():
    generator = keras.random.SeedGenerator(7)
    drawn = [tuple(replicas.next_seed(generator).numpy()) for _ in range(5)]
    assert len(set(drawn)) == 5
    again = keras.random.SeedGenerator(7)
    assert [tuple(replicas.next_seed(again).numpy()) for _ in range(5)] == drawn
    assert replicas.next_seed(again).dtype == "int32"


def test_the_seed_of_a_batch_does_not_depend_on_the_order_of_its_sum():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 28, 28, 1)).astype("float32")
    for x in (pixels / 127.5 - 1.0, pixels / 255.0):
        seed = replicas.seed_of_batch(3, tf.constant(x)).numpy()
        assert seed[0] == 3 and np.array_equal(seed, replicas.seed_of_batch(3, tf.constant(x)))
        for turned in (x[::-1], x[:, ::-1], np.sort(x, axis=None).reshape(x.shape)):
            assert np.array_equal(replicas.seed_of_batch(3, tf.constant(turned)), seed)
        x[0, 0, 0] = 1.0 - x[0, 0, 0]
        assert replicas.seed_of_batch(3, tf.constant(x)).numpy()[1] != seed[1]


def test_average_is_a_mean_in_float32():
    values = tf.constant([1.0, 2.0, 6.0], tf.float16)
    assert float(replicas.average(values)) == 3.0 and replicas.average(values).dtype == "float32"


def test_only_the_variables_that_are_named_move():
    a, b = keras.Variable([1.0, 2.0]), keras.Variable([3.0])
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build([a])
    rest = replicas.minimize(optimizer, lambda: (tf.reduce_sum(a * a) * b[0], "rest"), [a])
    assert rest == "rest"
    np.testing.assert_allclose(a, [1 - 0.1 * 6, 2 - 0.1 * 12], rtol=1e-6)  # 2 a b
    np.testing.assert_array_equal(b, [3.0])


@pytest.mark.parametrize("scale", [2.0, 2.0**15])
def test_a_scaled_loss_gives_the_same_step(scale):
    a = keras.Variable([1.0, 2.0])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), scale)
    optimizer.build([a])
    seen = []

    def objective():
        seen.append(1)
        return tf.reduce_sum(a * a), None

    replicas.minimize(optimizer, objective, [a])
    np.testing.assert_allclose(a, [0.8, 1.6], rtol=1e-6)
    assert len(seen) == 1


def test_a_step_that_overflows_is_left_out():
    a = keras.Variable([1.0])
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    optimizer.build([a])
    replicas.minimize(optimizer, lambda: (a[0] * 1e38 * 1e5, None), [a])
    np.testing.assert_array_equal(a, [1.0])
    assert float(optimizer.dynamic_scale) < 2.0**15
