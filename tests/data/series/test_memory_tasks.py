"""The adding problem and the copying task: what they ask, and what is reached without memory."""

import math

import numpy as np
import pytest
import tensorflow as tf

from kapps.data.series import memory_tasks
from kapps.errors import UserError

SEED = tf.constant([3, 5])


def test_the_sum_is_that_of_two_marked_numbers_one_in_each_half():
    x, y = (t.numpy() for t in memory_tasks.adding(500, 11, SEED))
    assert x.shape == (500, 11, 2) and y.shape == (500, 1)
    marks = x[..., 1]
    assert set(np.unique(marks)) == {0.0, 1.0}
    assert (marks[:, :5].sum(1) == 1).all() and (marks[:, 5:].sum(1) == 1).all()
    assert (marks.sum(0) > 0).all()  # every step is asked for at times
    np.testing.assert_allclose((x[..., 0] * marks).sum(1), y[:, 0], rtol=1e-6)


def test_numbers_do_not_depend_on_marks_and_the_mean_costs_a_sixth():
    x, y = (t.numpy() for t in memory_tasks.adding(20_000, 10, SEED))
    assert 0 <= x[..., 0].min() and x[..., 0].max() < 1
    # Standard error of the mean square: sqrt(E (y-1)^4 - 1/36) / sqrt(n) = 0.0014.
    assert np.mean((y - 1.0) ** 2) == pytest.approx(1 / 6, abs=5 * 0.0014)
    assert abs(np.corrcoef(x[:, 0, 0], x[:, 0, 1])[0, 1]) < 5 / math.sqrt(20_000)


def test_ten_symbols_come_again_after_the_sign():
    x, y = (t.numpy() for t in memory_tasks.copying(300, 15, SEED))
    assert x.shape == (300, 35, 10) and y.shape == (300, 35)
    assert (x.sum(-1) == 1).all()
    shown = x.argmax(-1)
    blank, begin = 8, 9
    assert set(np.unique(shown[:, :10])) == set(range(8))
    assert (shown[:, 10:24] == blank).all() and (shown[:, 24] == begin).all()
    assert (shown[:, 25:] == blank).all()
    assert (y[:, :25] == blank).all()
    np.testing.assert_array_equal(y[:, 25:], shown[:, :10])


def test_who_forgets_pays_ten_log_eight():
    """Blank until the sign, then each symbol with 1/8: the cross-entropy of that answer."""
    _, y = memory_tasks.copying(50, 15, SEED)
    p = np.zeros((35, 9))
    p[:25, 8], p[25:, :8] = 1.0, 1 / 8
    nats = -np.log(np.take_along_axis(np.broadcast_to(p, (50, 35, 9)), y.numpy()[..., None], -1))
    assert memory_tasks.copy_baseline(15) == pytest.approx(nats.mean())


@pytest.mark.parametrize("task", memory_tasks.TASKS)
def test_a_function_of_the_seed(task):
    make, features, _ = memory_tasks.TASKS[task]
    one, again, other = (make(4, 9, tf.constant([1, s]))[0].numpy() for s in (2, 2, 3))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.shape[2] == features


def test_nothing_to_remember_is_refused():
    with pytest.raises(UserError, match="at least 4"):
        memory_tasks.check_length(3)
