import keras
import numpy as np
import pytest

from kapps import evaluation
from kapps.training.fitting.stateful_callbacks import WeightAverage


def constant_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.layers[0].set_weights([np.array([[100.0]])])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    return model


def fit(model, callbacks, first, last, validate=True):
    x = np.zeros((4, 1))
    data = {"validation_data": (x, x)} if validate else {}
    model.fit(x, x, initial_epoch=first, epochs=last, callbacks=callbacks, verbose=0, **data)


def value(model):
    return np.full((2, 3, 3, 1), model.layers[0].get_weights()[0].item(), np.uint8)


class Set(keras.callbacks.Callback):
    """Gives the weight the value of the epoch, as a training would."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.layers[0].set_weights([np.array([[self.number]])])

    def on_epoch_begin(self, epoch, logs=None):
        self.number = 10.0 * (epoch + 1)


@pytest.mark.slow
def test_every_epoch_has_a_file_and_a_resumed_training_keeps_the_older_ones(tmp_path):
    model = constant_model()
    for first, last in ((0, 2), (1, 3)):  # the second epoch is repeated
        fit(model, [Set(), evaluation.SampleGrids(lambda: value(model), tmp_path)], first, last)
    grids, epochs = evaluation.samples_of(tmp_path)
    assert epochs == [1, 2, 3]
    assert [grid[0, 0, 0, 0] for grid in grids] == [10, 20, 30]
    assert grids[0].shape == (2, 3, 3, 1) and grids[0].dtype == np.uint8


@pytest.mark.slow
def test_averages_draw_where_averages_are_validated(tmp_path):
    model = constant_model()
    average = WeightAverage(0.9)
    grids = evaluation.SampleGrids(lambda: value(model), tmp_path)
    fit(model, [Set(), average, grids], 0, 1)
    # The decay of the first step is (1 + 0) / (10 + 0): 0.1 of 100 and 0.9 of 10.
    assert evaluation.samples_of(tmp_path)[0][0].max() == 19
    assert value(model).max() == 10


def test_without_validation_it_draws_at_the_end_of_the_epoch(tmp_path):
    model = constant_model()
    grids = evaluation.SampleGrids(lambda: value(model), tmp_path / "made")
    fit(model, [Set(), grids], 0, 1, validate=False)
    assert evaluation.samples_of(tmp_path / "made")[0][0].max() == 10
    assert evaluation.samples_of(tmp_path / "none") == ([], [])
