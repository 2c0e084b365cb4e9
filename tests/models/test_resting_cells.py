import keras
import numpy as np
import pytest

from kapps import models
from kapps.models.resting_cells import cells_at_rest


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru"])
def test_cells_at_rest_draw_nothing_and_answer_the_same(cell):
    model = models.rnn(2, 1, cell=cell, units=3, dropout=0.4, recurrent_dropout=0.3)
    seeds = [v for v in model.non_trainable_variables if "seed" in v.path]
    x = np.random.default_rng(0).normal(size=(2, 4, 2)).astype("float32")

    def states():
        return np.concatenate([np.array(v).ravel() for v in seeds])

    expected, before = model(x, training=False), states()
    with pytest.raises(RuntimeError), cells_at_rest(model):
        np.testing.assert_allclose(model(x, training=False), expected, rtol=1e-6)
        np.testing.assert_array_equal(states(), before)
        raise RuntimeError
    model(x, training=True)  # as it was, even after an error
    assert not np.array_equal(states(), before)
    [found] = [c for c in model._flatten_layers() if type(c).__name__.endswith("Cell")]
    assert (found.dropout, found.recurrent_dropout) == (0.4, 0.3)
    assert isinstance(model, keras.Model)
