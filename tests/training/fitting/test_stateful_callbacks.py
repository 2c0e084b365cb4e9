import keras
import numpy as np
import pytest

from kapps.errors import UserError
from kapps.training import WeightAverage
from kapps.training.fitting.stateful_callbacks import BestWeights, CleanTrainMetrics


def model_of_one_weight():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    return model


def walk(average, model, values):
    average.set_model(model)
    average.on_train_begin()
    for step, value in enumerate(values):
        model.weights[0].assign([[value]])
        average.on_train_batch_end(step)


def by_hand(start, values, decay):
    """Its first decays are (1 + t) / (10 + t)."""
    average = start
    for t, value in enumerate(values):
        d = min(decay, (1 + t) / (10 + t))
        average = d * average + (1 - d) * value
    return average


@pytest.mark.parametrize("decay", [0.15, 0.9])
def test_average_by_hand(decay):
    model, values = model_of_one_weight(), [1.0, -2.0, 5.0, 0.5]
    start = float(model.weights[0].numpy()[0, 0])
    average = WeightAverage(decay)
    walk(average, model, values)
    with average.swapped():
        inside = float(model.weights[0].numpy()[0, 0])
    assert inside == pytest.approx(by_hand(start, values, decay), rel=1e-5)
    assert float(model.weights[0].numpy()[0, 0]) == 0.5  # back to the weights that train


def test_statistics_are_averaged_too():
    model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
    average = WeightAverage(0.5)
    average.set_model(model)
    average.on_train_begin()
    model.layers[0].moving_mean.assign([10.0, 20.0])
    average.on_train_batch_end(0)
    with average.swapped():
        np.testing.assert_allclose(model.layers[0].moving_mean, [9.0, 18.0])  # decay 1 / 10


def test_validation_sees_the_average_and_training_goes_on_without():
    model = model_of_one_weight()
    average = WeightAverage(0.9)
    walk(average, model, [1.0, 3.0])
    with average.swapped():
        expected = model.evaluate(np.ones((1, 1)), np.zeros((1, 1)), verbose=0)
    seen = model.evaluate(np.ones((1, 1)), np.zeros((1, 1)), verbose=0, callbacks=[average])
    assert seen == expected != 9.0
    assert model.weights[0].numpy()[0, 0] == 3.0


def test_the_average_remembers():
    model, values = model_of_one_weight(), [1.0, -2.0, 5.0, 0.5]
    start = float(model.weights[0].numpy()[0, 0])
    first = WeightAverage(0.9)
    walk(first, model, values[:2])
    second = WeightAverage(0.9)
    second.set_model(model)
    second.on_train_begin()
    second.set_state(first.get_state())
    for value in values[2:]:
        model.weights[0].assign([[value]])
        second.on_train_batch_end(0)
    with second.swapped():
        inside = float(model.weights[0].numpy()[0, 0])
    assert inside == pytest.approx(by_hand(start, values, 0.9), rel=1e-5)


def test_clean_metrics_are_those_of_inference():
    """With dropout of nearly everything, training mode would give something else."""
    model = keras.Sequential(
        [keras.Input((50,)), keras.layers.Dropout(0.98), keras.layers.Dense(1, use_bias=False)]
    )
    model.compile("sgd", "mse")
    x, y = np.ones((4, 50), "float32"), np.zeros((4, 1), "float32")
    import tensorflow as tf

    callback = CleanTrainMetrics(tf.data.Dataset.from_tensors((x, y)))
    callback.set_model(model)
    logs = {"loss": 1.0}
    callback.on_epoch_end(0, logs)
    expected = float(np.mean(np.square(x @ model.weights[0].numpy())))
    assert logs["train_loss"] == pytest.approx(expected, rel=1e-5) and logs["loss"] == 1.0


@pytest.mark.parametrize("on_disk", [True, False])
@pytest.mark.parametrize(
    ("mode", "values", "epoch"), [("min", [3, 1, 2, 1], 2), ("max", [3, 5, 2, 5], 2)]
)
def test_the_first_best_epoch_is_restored(tmp_path, on_disk, mode, values, epoch):
    model = model_of_one_weight()
    best = BestWeights("figure", mode, tmp_path / "best.npz" if on_disk else None)
    best.set_model(model)
    for i, value in enumerate(values):
        model.weights[0].assign([[float(i + 1)]])
        best.on_epoch_end(i, {"figure": float(value)})
    best.restore()
    assert best.best_epoch == epoch == model.weights[0].numpy()[0, 0]


def test_a_run_that_diverges_keeps_what_it_had(tmp_path):
    model = model_of_one_weight()
    best = BestWeights("figure", path=tmp_path / "best.npz")
    best.set_model(model)
    for i, value in enumerate([float("nan"), 2.0, float("nan")]):
        model.weights[0].assign([[float(i)]])
        best.on_epoch_end(i, {"figure": value})
    best.restore()
    assert model.weights[0].numpy()[0, 0] == 1.0
    with pytest.raises(UserError, match="nothing named 'figure'"):
        best.on_epoch_end(3, {"loss": 1.0})
    (tmp_path / "best.npz").write_bytes(b"")
    with pytest.raises(UserError, match="best weights"):
        best.restore()
