import keras
import numpy as np
import pytest
import tensorflow as tf

from kapps.errors import UserError
from kapps.training import range_test
from kapps.training.optim import range_test as module


def test_the_suggestion_on_a_curve_by_hand():
    """Loss flat at 2, falling fastest around 1e-2, lowest at 1e-1, exploding after."""
    rates = np.geomspace(1e-5, 1, 101)
    position = np.log10(rates)
    losses = 2.0 - 1.0 / (1.0 + np.exp(-8.0 * (position + 2.0)))
    losses = np.where(position > -1, 1.0 + 3.0 * (position + 1), losses)
    found = module.summarize(rates, losses)
    assert found.suggestion == pytest.approx(1e-2, rel=0.15)
    assert found.highest == pytest.approx(1e-2, rel=0.15)  # a tenth of where it is lowest


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_model_is_put_back_and_the_rates_are_tried(seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int32") + (x[:, 1] > 0)
    before = [w.numpy() for w in model.weights]
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)
    found = range_test(model, batches, steps=60)
    for was, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(was, weight)
    assert int(model.optimizer.iterations) == 0
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)
    ratios = found.learning_rates[1:] / found.learning_rates[:-1]
    np.testing.assert_allclose(ratios, ratios[0])
    assert found.losses.min() < found.losses[0] - 0.05
    assert 1e-5 < found.suggestion < 10


def test_a_schedule_or_a_broken_loss_is_named():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    batches = tf.data.Dataset.from_tensors((np.ones((2, 1)), np.ones((2, 1))))
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 9)), "mse")
    with pytest.raises(UserError, match="constant learning rate"):
        range_test(model, batches)
    with pytest.raises(UserError, match="not finite"):
        module.summarize(np.geomspace(1e-6, 1, 20), np.full(20, np.nan))
